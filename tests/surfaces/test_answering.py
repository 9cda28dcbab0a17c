"""``pitboss approvals``, and who else says that somebody waits: runs that were cut off, ended, or live."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from pitboss.journal.lock import RunLock
from pitboss.journal.log import replay
from pitboss.journal.rundir import RunDir
from pitboss.model import approval_facts as a
from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model.approvals import CALLER_ENDED, Approval, Decision, Pending, Proposal
from pitboss.model.run import ActorId, Policy, Rule, RunSpec, TaskSpec, TreeSpec
from pitboss.surfaces import unattended
from pitboss.surfaces.cli import cli
from support.dispatcher import Dispatcher, Talk
from support.pictures import RUN, START, begun, done, opened, write_run

ONE, TWO = "req-01a20000-0000-7000-8000-000000000001", "req-01a20000-0000-7000-8000-000000000002"


def asked(name: str, **changes: object) -> a.ApprovalRequested:
    approval = Approval(
        request_id=name,
        kind="deed",
        actor=ActorId("a"),
        path=(ActorId("boss"), ActorId("a")),
        role="worker",
        category="tool_use",
        summary="Bash git push",
        tool_name="Bash",
        tool_input='{"command":"git push \\u001b[31m"}',
        asked_at=START,
        expires_at=START + 1e9,
        why='[[approval_policy]] #1: block if tool = "Bash"',
    )
    return a.ApprovalRequested(
        at=START,
        actor=ActorId("a"),
        attempt=1,
        approval=replace(approval, **changes),
        pending=Pending(attempt=1, hook_id="h"),
    )


def decided(name: str, *, approved: bool = False) -> a.ApprovalDecided:
    ruling = Decision(approved=approved, by="operator", via="ann with the web")
    return a.ApprovalDecided(at=START, actor=ActorId("a"), attempt=1, request_id=name, ruling=ruling, heard=True)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def a_run(runs: Path, *facts: f.AnyFact) -> RunDir:
    """A run that was cut off, with this in its journal."""
    return write_run(runs, [opened(runs, "a"), *begun("a"), *facts])


def run(runs: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--run-dir", str(runs)], prog_name="pitboss")


def facts(folder: RunDir) -> list[f.AnyFact]:
    return [entry.fact for entry in replay(folder.journal)]


# --- list -------------------------------------------------------------------------------------------------------------


def test_the_list_tells_who_asks_what_since_when_until_when_and_why(runs: Path) -> None:
    plan = Proposal(summary="dig", rationale="gold", resources=("spade",), risks=("water", "mud"), rollback="fill")
    a_run(
        runs,
        asked(ONE),
        asked(TWO, kind="plan", summary="dig", plan=plan, tool_name=None, tool_input="", why="", expires_at=None),
    )

    out = run(runs, "approvals", "list").output

    first, second, hints = out.split("\n\n")
    assert first.startswith(f"{ONE}  [TOOL CALL]\n")
    assert "who:       boss→a (worker)" in first
    assert "left, then it is rejected" in first
    assert 'tool:      Bash {"command":"git push \\u001b[31m"}' in first
    assert 'why:       [[approval_policy]] #1: block if tool = "Bash"' in first
    assert second.startswith(f"{TWO}  [PRE-FLIGHT PLAN]\n")
    assert "waits for as long as it takes" in second
    for line in ("because:   gold", "touches:   spade", "RISK:      water", "RISK:      mud", "rollback:  fill"):
        assert f"  {line}\n" in second + "\n"
    assert "default_approval_policy" in second
    assert "No dispatcher is at work" in hints
    assert f"approvals approve {RUN[:13]} REQUEST --run-dir {runs}" in hints


def test_while_a_dispatcher_is_at_work_a_request_ends_with_the_time_of_whoever_asks(runs: Path) -> None:
    first = opened(runs, "a")
    task = replace(first.run.tasks[0], timeout_secs=int(5e8))
    folder = write_run(runs, [replace(first, run=replace(first.run, tasks=(task,))), *begun("a"), asked(ONE)])
    with RunLock.acquire(folder.lock):
        assert "left, then whoever asks times out" in run(runs, "approvals", "list").output
        (shape,) = json.loads(run(runs, "approvals", "list", "--json").output)
    assert ("timeout", True) == (shape["ends_by"], shape["ends_at"] < shape["expires_at"])

    assert "left, then it is rejected" in run(runs, "approvals", "list").output


def test_what_an_agent_wrote_does_not_reach_the_terminal_raw(runs: Path) -> None:
    a_run(runs, asked(ONE, summary="\x1b[2Jgone\nreq-fake  [TOOL CALL]"))
    out = run(runs, "approvals", "list").output
    assert "\x1b" not in out
    assert "\nreq-fake" not in out


def test_the_list_as_json_is_what_the_socket_says(runs: Path) -> None:
    a_run(runs, asked(ONE), asked(TWO), decided(TWO))
    (shape,) = json.loads(run(runs, "approvals", "list", "--json").output)
    assert (ONE, ["boss", "a"]) == (shape["request_id"], shape["actor_path"])


def test_nothing_waits(runs: Path) -> None:
    a_run(runs)
    result = run(runs, "approvals", "list")
    assert (0, f"No approvals wait in run {RUN}.\n") == (result.exit_code, result.output)


def test_status_says_on_top_that_somebody_waits(runs: Path) -> None:
    a_run(runs, asked(ONE), asked(TWO))
    top = run(runs, "status").output.splitlines()[0]
    assert f"2 approvals wait: pitboss approvals list {RUN[:13]} --run-dir {runs}" == top


def test_status_says_nothing_of_the_kind_where_nobody_does(runs: Path) -> None:
    a_run(runs, asked(ONE), decided(ONE))
    assert run(runs, "status").output.startswith("Run: ")


# --- naming -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nope", "req-", "", "x" * 5000])
def test_a_request_that_is_not_there_is_an_error_that_says_which_are(runs: Path, name: str) -> None:
    folder = a_run(runs, asked(ONE))
    result = run(runs, "approvals", "approve", "latest", name)
    assert 2 == result.exit_code
    assert ONE in result.output
    assert not any(isinstance(fact, a.ApprovalDecided) for fact in facts(folder))


def test_a_beginning_that_two_share_is_refused_and_one_that_only_one_has_is_not(runs: Path) -> None:
    a_run(runs, asked(ONE), asked(TWO))
    result = run(runs, "approvals", "approve", "latest", ONE[:-1])
    assert 2 == result.exit_code
    assert ONE in result.output
    assert TWO in result.output

    assert 0 == run(runs, "approvals", "reject", "latest", TWO.removeprefix("req-")).exit_code
    assert 0 == run(runs, "approvals", "approve", "latest", ONE[:-1]).exit_code, "only one still waits"


def test_a_second_answer_says_who_was_first(runs: Path) -> None:
    a_run(runs, asked(ONE), decided(ONE))
    result = run(runs, "approvals", "approve", "latest", ONE)
    assert 1 == result.exit_code
    assert "answered already: rejected by operator, ann with the web" in result.output


def test_a_request_whose_asker_has_ended_was_answered_by_nobody(runs: Path) -> None:
    ended = replace(decided(ONE), ruling=Decision(approved=False, by=CALLER_ENDED))
    a_run(runs, asked(ONE), ended)
    result = run(runs, "approvals", "approve", "latest", ONE)
    told = f"pitboss: nobody waits for an answer to {ONE} any more: whoever asked has ended\n"
    assert (1, told) == (result.exit_code, result.stderr)


def test_a_refusal_as_json_has_an_error_and_its_code(runs: Path) -> None:
    a_run(runs, asked(ONE), decided(ONE))
    result = run(runs, "approve", "latest", ONE, "--json")
    told = json.loads(result.stdout)
    assert (1, "approve", "conflict", False) == (result.exit_code, told["op"], told["code"], told["changed"])
    assert "answered already" in told["error"]
    assert told["order_id"]


def test_in_a_run_that_has_ended_nothing_is_answered(runs: Path) -> None:
    write_run(
        runs,
        [
            opened(runs, "a"),
            *begun("a"),
            asked(ONE),
            *done("a"),
            f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False),
        ],
    )
    result = run(runs, "approvals", "approve", "latest", ONE)
    assert 1 == result.exit_code
    assert "has ended" in result.output
    listed = run(runs, "approvals", "list")
    assert (0, f"No approvals wait in run {RUN}. It has ended.\n") == (listed.exit_code, listed.output)


# --- without a dispatcher ---------------------------------------------------------------------------------------------


def test_an_answer_is_kept_in_the_journal_of_a_run_that_was_cut_off(runs: Path) -> None:
    folder = a_run(runs, asked(ONE))

    result = run(runs, "approvals", "approve", "latest", ONE, "--comment", "fine", "--edit", "push to dev")

    assert (0, f"approved {ONE}: a hears it when the run is resumed\n") == (result.exit_code, result.output)
    last, order = facts(folder)[-2:]
    assert isinstance(order, of.OrderTaken)
    assert isinstance(last, a.ApprovalDecided)
    assert (True, "operator", "fine", "push to dev") == (
        last.ruling.approved,
        last.ruling.by,
        last.ruling.comment,
        last.ruling.edited_summary,
    )
    assert "with pitboss" in last.ruling.via
    assert not last.heard
    with RunLock.acquire(folder.lock):
        pass  # and it is free for the next dispatcher


def test_a_half_written_line_at_the_journals_end_is_cut_off_first(runs: Path) -> None:
    folder = a_run(runs, asked(ONE))
    with folder.journal.open("ab") as journal:
        journal.write(b'{"seq":99,"torn')
    assert 0 == run(runs, "approvals", "reject", "latest", ONE, "--reason", "no").exit_code
    assert [a.ApprovalDecided, of.OrderTaken] == [type(fact) for fact in facts(folder)[-2:]]


def test_an_agent_cannot_answer(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_run(runs, asked(ONE))
    monkeypatch.setenv("PITBOSS_COOKIE", f"{RUN}/a/1")
    result = run(runs, "approvals", "approve", "latest", ONE)
    assert 2 == result.exit_code
    assert "an agent cannot give orders" in result.output
    assert isinstance(facts(folder)[-1], a.ApprovalRequested)


# --- with one ---------------------------------------------------------------------------------------------------------


@contextmanager
def dispatcher(folder: RunDir, *answers: bytes, socket_path: Path | None) -> Iterator[list[bytes]]:
    """Something that holds the run's lock and, if it has a socket, answers each line with one of ours."""
    heard: list[bytes] = []
    with RunLock.acquire(folder.lock):
        if socket_path is None:
            yield heard
            return
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(socket_path))
            door.listen()
            thread = threading.Thread(target=_serve, args=(door, answers, heard), daemon=True)
            thread.start()
            yield heard
            thread.join(10)


def _serve(door: socket.socket, answers: tuple[bytes, ...], heard: list[bytes]) -> None:
    client, _ = door.accept()
    with client, client.makefile("rb") as lines:
        for answer in answers:
            heard.append(lines.readline())
            client.sendall(answer)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Names for sockets; pytest's own folders may have paths too long for one."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield lambda: Path(folder, "s")


HELLO = b'{"event":"hello"}\n{"event":"from a later version"}\n{"event":"approval_request","request_id":"x"}\n'


def test_a_live_run_is_told_over_the_socket_its_folder_names(runs: Path, short: Callable[[], Path]) -> None:
    folder = a_run(runs, asked(ONE))
    place = short()
    folder.control_path.write_text(f"{place}\n")
    with dispatcher(folder, HELLO, b'{"event":"op_acked","op":"approve"}\n', socket_path=place) as heard:
        result = run(runs, "approvals", "reject", "latest", ONE, "--reason", "no")

    assert (0, f"rejected {ONE}: a is told\n") == (result.exit_code, result.output)
    assert "hello" == json.loads(heard[0])["op"]
    order = json.loads(heard[1])
    assert order.pop("order_id"), "given again under it, it is not carried out again"
    assert {"op": "approve", "request_id": ONE, "approved": False, "reason": "no"} == order
    assert isinstance(facts(folder)[-1], a.ApprovalRequested), "its dispatcher writes, and nobody else"


def test_what_a_live_run_refuses_is_said(runs: Path, short: Callable[[], Path]) -> None:
    folder = a_run(runs, asked(ONE))
    place = short()
    folder.control_path.write_text(f"{place}\n")
    refusal = b'{"event":"op_failed","op":"approve","error":"already answered by operator"}\n'
    with dispatcher(folder, HELLO, refusal, socket_path=place):
        result = run(runs, "approvals", "approve", "latest", ONE)
    assert (1, "pitboss: already answered by operator\n") == (result.exit_code, result.output)


def test_a_live_run_without_a_socket_says_what_can_be_done(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pitboss.surfaces.ordering.PATIENCE_SECS", 0.0)
    folder = a_run(runs, asked(ONE))
    with dispatcher(folder, socket_path=None):
        result = run(runs, "approvals", "approve", "latest", ONE)
    assert 1 == result.exit_code
    assert "cannot be reached" in result.output
    assert "resume" in result.output


def test_a_stranger_on_the_socket_is_no_answer(runs: Path, short: Callable[[], Path]) -> None:
    folder = a_run(runs, asked(ONE))
    place = short()
    folder.control_path.write_text(f"{place}\n")
    with dispatcher(folder, b"HTTP/1.1 400 Bad Request\r\n", socket_path=place):
        result = run(runs, "approvals", "approve", "latest", ONE)
    assert 1 == result.exit_code
    assert "no Pitboss" in result.output


def breaks_off(talk: Talk) -> None:
    """Hear the order, and be gone."""
    talk.hear()
    talk.hear()


def acknowledges(talk: Talk) -> None:
    """Carry the order out."""
    talk.hear()
    talk.say(HELLO)
    talk.hear()
    talk.say({"event": "op_acked", "op": "approve", "approved": True})


def test_a_dispatcher_that_dies_in_the_middle_leaves_it_to_the_journal(runs: Path) -> None:
    folder = a_run(runs, asked(ONE))
    with Dispatcher(folder, breaks_off):
        result = run(runs, "approvals", "approve", "latest", ONE)
    assert (0, f"approved {ONE}: a hears it when the run is resumed\n") == (result.exit_code, result.output)
    assert [a.ApprovalDecided, of.OrderTaken] == [type(fact) for fact in facts(folder)[-2:]]


def test_an_order_whose_answer_was_lost_is_given_again_under_the_same_id(runs: Path) -> None:
    folder = a_run(runs, asked(ONE))
    with Dispatcher(folder, breaks_off, acknowledges) as run_at_work:
        result = run(runs, "approve", "latest", ONE)
    assert (0, f"approved {ONE}: a is told\n") == (result.exit_code, result.output)
    first, second = [order for order in run_at_work.heard if order["op"] == "approve"]
    assert first == second
    assert first["order_id"]


# --- a word to those who dispatch without a terminal ------------------------------------------------------------------


def a_spec(*rules: Rule, default: str = "block", **tree: object) -> RunSpec:
    policy = Policy(rules=rules, default_action=default)  # type: ignore[arg-type]  # one of its three words
    lead = TaskSpec(id=ActorId("l"), directory="/r", prompt="go", session_id="s")
    grown = TreeSpec(lead=lead, **tree) if tree else None  # type: ignore[arg-type]  # fields of it
    return RunSpec(run_id=RUN, run_dir="/r", manifest_path="m", tasks=(), policy=policy, tree=grown)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "reasons"),
    [
        (a_spec(), []),
        (a_spec(Rule(action="auto_reject", tool="Bash")), []),
        (a_spec(Rule(action="block", tool="Bash")), ['1 rule with action = "block"']),
        (a_spec(Rule(action="block"), Rule(action="block"), max_workers=1), ['2 rules with action = "block"']),
        (a_spec(max_workers=1), []),
        (a_spec(require_plan_approval=True), ["require_plan_approval"]),
        (a_spec(require_plan_approval=True, default="auto_approve"), []),
        (a_spec(permission_routing="path_b", require_plan_approval=True), ["require_plan_approval", "path_b"]),
    ],
)
def test_who_may_wait_for_nobody_is_warned_with_the_command_that_answers(spec: RunSpec, reasons: list[str]) -> None:
    lines = list(unattended.warnings(spec, "pitboss approvals list X"))
    assert len(reasons) + bool(reasons) == len(lines)
    assert all(reason in line for reason, line in zip(reasons, lines, strict=False))
    assert not reasons or "pitboss approvals list X" in lines[-1]
