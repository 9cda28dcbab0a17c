"""Orders from the command line: what is sent, what is said, what is left in a journal, and what cannot be."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from pitboss.core.views import run_view
from pitboss.journal.lock import RunLock
from pitboss.journal.log import Journal, replay
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.approval_facts import ApprovalRequested
from pitboss.model.approvals import Approval, Pending
from pitboss.model.run import ActorId, Certificate, Policy, Rule, Status
from pitboss.surfaces import awaiting, outcomes
from pitboss.surfaces.cli import cli
from pitboss.surfaces.outlet import Outlet
from pitboss.wire import views
from pitboss.wire.control import CancelRun, CancelWorker, Drain
from support.dispatcher import Dispatcher, Json, Script, Talk
from support.legacy import a_record, a_resolved_task, write_legacy
from support.pictures import CART, RUN, START, begun, done, grown, opened, state_of, write_run

A = ActorId("a")
CANCELLED = [
    f.StopBegan(at=START + 61, actor=A, attempt=1, reason="cancel", note="cancelled by operator: slow"),
    *done("a", 62.0)[2:-1],
    f.ActorSettled(at=START + 62, actor=A, attempt=1, status=Status.CANCELLED, note="cancelled by operator: slow"),
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def run(runs: Path, *words: str, **more: object) -> Result:
    return CliRunner().invoke(cli, [*words, "--run-dir", str(runs)], prog_name="pitboss", **more)  # type: ignore[arg-type]


def at_work(runs: Path) -> RunDir:
    """A run whose one task is at work."""
    return write_run(runs, [opened(runs, "a"), *begun("a")])


def facts(folder: RunDir) -> list[f.AnyFact]:
    return [entry.fact for entry in replay(folder.journal)]


def answers(event: Json) -> Script:
    """A dispatcher that carries out, or refuses, the one order it is given."""

    def talk(talk: Talk) -> None:
        talk.hear()
        talk.say({"event": "hello"})
        order = talk.hear()
        named = {"task_id": order["task_id"]} if "task_id" in order else {}
        talk.say({"event": "op_acked", "op": order["op"], **named} | event)

    return talk


def shows(folder: RunDir, *, now: list[f.AnyFact], then: list[f.AnyFact]) -> Script:
    """A dispatcher that shows the run as it is, then as it is after more has happened."""

    def talk(talk: Talk) -> None:
        talk.welcome()
        before = run_view(state_of([*facts(folder), *now]), 1)
        after = run_view(state_of([*facts(folder), *now, *then]), 2)
        talk.say(views.encode_snapshot(before, "e"))
        talk.say(views.encode_delta(before, after))
        talk.until_left()

    return talk


def told(runs: Path, event: Json, *words: str, **more: object) -> tuple[Json, Result]:
    """What a live run is sent by a command, and how the command ends."""
    folder = RunDir(runs / RUN) if (runs / RUN).exists() else at_work(runs)
    with RunLock.acquire(folder.lock), Dispatcher(folder, answers(event)) as dispatcher:
        result = run(runs, *words, **more)
    order = dispatcher.heard[1]
    assert order.pop("order_id")
    return order, result


# --- what is sent, and what is said -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "event", "order", "line"),
    [
        (
            ("cancel", "latest", "a", "--reason", "slow", "--no-wait"),
            {"changed": True},
            {"op": "cancel_worker", "task_id": "a", "reason": "slow"},
            "a is being cancelled; see: pitboss status",
        ),
        (
            ("cancel", "latest", "--yes", "--no-wait"),
            {"changed": True},
            {"op": "cancel_run"},
            "is stopping: everything is ended",
        ),
        (("stop", "latest", "--no-wait"), {"changed": False}, {"op": "cancel_run"}, "is stopping already"),
        (
            ("drain", "latest", "--reason", "lunch", "--no-wait"),
            {"changed": True},
            {"op": "drain", "reason": "lunch"},
            "is draining: nothing more is started",
        ),
        (
            ("pause", "latest", "a", "--freeze", "--no-wait"),
            {"state": "frozen"},
            {"op": "pause_worker", "task_id": "a", "mode": "freeze"},
            "a is being paused",
        ),
        (
            ("continue", "latest", "a", "mind the tests"),
            {"state": "pending"},
            {"op": "continue_worker", "task_id": "a", "prompt": "mind the tests"},
            "a goes on in its own place and session and hears what you wrote",
        ),
        (
            ("tell", "latest", "a", "use tabs"),
            {},
            {"op": "note_worker", "task_id": "a", "text": "use tabs"},
            "a hears it as soon as the tool it runs has ended",
        ),
        (
            ("tell", "latest", "a", "use tabs"),
            {"state": "paused"},
            {"op": "note_worker", "task_id": "a", "text": "use tabs"},
            f"a hears it when it is let go on, with: pitboss continue {RUN[:13]} a",
        ),
        (
            ("tell", "latest", "a", "use tabs"),
            {"state": "pending"},
            {"op": "note_worker", "task_id": "a", "text": "use tabs"},
            "a hears it as soon as it is at work",
        ),
        (
            ("tell", "latest", "a", "use tabs", "--now"),
            {"state": "pending"},
            {"op": "reprompt_worker", "task_id": "a", "prompt": "use tabs"},
            "a goes on and hears this next",
        ),
        (
            ("tell", "latest", "a", "use tabs", "--now"),
            {},
            {"op": "reprompt_worker", "task_id": "a", "prompt": "use tabs"},
            "a drops what it does and hears this next",
        ),
        (
            ("model", "latest", "a", "claude-opus-4-7"),
            {"changed": True},
            {"op": "set_model", "task_id": "a", "model": "claude-opus-4-7"},
            "a goes on with claude-opus-4-7 from its next request on",
        ),
        (
            ("model", "latest", "a", "m"),
            {"changed": False},
            {"op": "set_model", "task_id": "a", "model": "m"},
            "a has the model m already; nothing was changed",
        ),
        (
            ("budget", "latest", "$7.50"),
            {"budget_usd": 7.5, "spent_usd": 1.0, "left_usd": 6.5},
            {"op": "set_limits", "budget_usd": 7.5},
            f"run {RUN[:13]} has a budget of $7.50 ($1.00 spent, $6.50 left)",
        ),
        (
            ("limits", "latest", "a", "--timeout", "90"),
            {"timeout_secs": 90, "changed": False},
            {"op": "set_limits", "task_id": "a", "timeout_secs": 90},
            "a has a time-out of 90 s already; nothing was changed",
        ),
        (
            ("limits", "latest", "--workers", "3"),
            {"max_workers": 3},
            {"op": "set_limits", "max_workers": 3},
            f"run {RUN[:13]} has at most 3 at once",
        ),
    ],
)
def test_a_command_sends_its_op_and_says_what_came_of_it(
    runs: Path, words: tuple[str, ...], event: Json, order: Json, line: str
) -> None:
    sent, result = told(runs, event, *words)
    assert (0, order) == (result.exit_code, sent), result.output
    assert line in result.stdout
    assert 1 == result.stdout.count("\n")


def test_a_text_can_come_from_the_standard_input(runs: Path) -> None:
    sent, _ = told(runs, {}, "tell", "latest", "a", "-", input="two\nlines")
    assert "two\nlines" == sent["text"]


@pytest.mark.parametrize("live", [True, False])
def test_a_text_that_no_run_would_take_is_not_sent(runs: Path, *, live: bool) -> None:
    folder = at_work(runs)
    with ExitStack() as stack:
        if live:
            stack.enter_context(RunLock.acquire(folder.lock))
        result = run(runs, "tell", "latest", "a", "-", input="x" * (1 << 20))
    assert 1 == result.exit_code
    assert result.stderr.startswith("pitboss: an order has at most 1,048,576 bytes, and this one has 1,048,")
    assert not [fact for fact in facts(folder) if isinstance(fact, of.OrderTaken)]


def test_quiet_says_nothing_of_what_went_well(runs: Path) -> None:
    _, result = told(runs, {}, "tell", "latest", "a", "x", "-q")
    assert (0, "") == (result.exit_code, result.output)


def test_json_is_one_object_with_the_runs_own_words(runs: Path) -> None:
    _, result = told(
        runs, {"changed": True, "state": "running", "spent_usd": 0.5}, "model", "latest", "a", "m", "--json"
    )
    shape = json.loads(result.stdout)
    assert ("set_model", RUN, "a", True, "running", False) == tuple(
        shape[key] for key in ("op", "run_id", "task_id", "changed", "state", "in_journal")
    )
    assert shape["order_id"]
    assert not {"error", "code"} & shape.keys()


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: Json = {"event": "op_failed", "error": "a has already \x1b[31mended", "code": "conflict", "state": "done"}


def test_a_refusal_is_said_cleanly_and_ends_with_1(runs: Path) -> None:
    _, result = told(runs, REFUSED, "model", "latest", "a", "m")
    assert (1, "pitboss: a has already [31mended\n") == (result.exit_code, result.stderr)


def test_who_is_turned_away_at_the_door_is_told_so(runs: Path) -> None:
    event: Json = {"event": "op_failed", "op": "hello", "error": "an agent cannot give orders to a run"}
    event |= {"code": "forbidden"}
    _, result = told(runs, event, "stop", "latest", "--json")
    shape = json.loads(result.stdout)
    assert (1, "cancel_run", "forbidden", "an agent cannot give orders to a run") == (
        result.exit_code,
        shape["op"],
        shape["code"],
        shape["error"],
    )


def test_a_refusal_as_json_has_its_code_and_the_same_exit_code(runs: Path) -> None:
    _, result = told(runs, REFUSED, "model", "latest", "a", "m", "--json")
    shape = json.loads(result.stdout)
    assert (1, "conflict", "done", False) == (result.exit_code, shape["code"], shape["state"], shape["changed"])
    assert shape["error"]


@pytest.mark.parametrize(
    ("words", "state", "line"),
    [
        (("pause", "latest", "a"), "paused", "a is paused already; nothing was changed\n"),
        (("pause", "latest", "a", "--freeze"), "frozen", "a is frozen already; nothing was changed\n"),
        (("continue", "latest", "a"), "running", "a is not paused: it is at work; nothing was changed\n"),
        (("continue", "latest", "a"), "pending", "a is not paused: it waits to be started; nothing was changed\n"),
    ],
)
def test_what_is_so_already_is_no_failure(runs: Path, words: tuple[str, ...], state: str, line: str) -> None:
    event: Json = {"event": "op_unknown_state", "code": "conflict", "error": "no", "state": state}
    _, result = told(runs, event, *words)
    assert (0, line) == (result.exit_code, result.output)


def test_what_was_to_be_said_to_one_that_is_not_paused_is_told_as_unsaid(runs: Path) -> None:
    event: Json = {"event": "op_unknown_state", "code": "conflict", "error": "no", "state": "running"}
    _, result = told(runs, event, "continue", "latest", "a", "mind the tests")
    assert f"; what you wrote was not said, use: pitboss tell {RUN[:13]} a TEXT" in result.output


def test_the_wrong_state_comes_with_what_to_do_first(runs: Path) -> None:
    event: Json = {"event": "op_unknown_state", "code": "conflict", "error": "worker is frozen", "state": "frozen"}
    _, result = told(runs, event, "tell", "latest", "a", "x", "--now")
    assert 1 == result.exit_code
    assert f"hint: let it go on first: pitboss continue {RUN[:13]} a" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cancel", "latest"), "--yes"),
        (("cancel", "latest", "nobody"), "there are: a"),
        (("tell", "latest", "a", "  "), "TEXT is empty"),
        (("limits", "latest"), "--budget, --workers or --timeout"),
        (("budget", "latest", "much"), "'much' is not an amount"),
        (("budget", "latest", "nan"), "nan is not an amount"),
        (("limits", "latest", "--budget", "inf", "--workers", "2"), "inf is not an amount"),
        (("budget", "latest", "a", "b", "3"), "at most one actor"),
        (("budget", "latest", "5", "--jsn"), "No such option '--jsn'. Did you mean '--json'?"),
        (("budget", "latest", "-x", "5"), "No such option '-x'"),
        (("policy", "latest", "--edit", "--set", "x"), "exclude each other"),
        (("policy", "latest", "--if-version", "1"), "belongs to --set"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(runs: Path, words: tuple[str, ...], says: str) -> None:
    folder = at_work(runs)
    with RunLock.acquire(folder.lock):
        result = run(runs, *words)
    assert 2 == result.exit_code
    assert says in result.stderr


@pytest.mark.parametrize("words", [("budget", "latest", "-5"), ("budget", "latest", "a", "-0.5")])
def test_an_amount_below_zero_is_sent_for_the_run_to_refuse(runs: Path, words: tuple[str, ...]) -> None:
    refused: Json = {"event": "op_failed", "error": "a budget is at least $0", "code": "invalid_arg"}
    order, result = told(runs, refused, *words)
    assert float(words[-1]) == order["budget_usd"]
    assert (1, "pitboss: a budget is at least $0\n") == (result.exit_code, result.stderr)


# --- waiting ----------------------------------------------------------------------------------------------------------


def waited(folder: RunDir, runs: Path, *words: str, now: list[f.AnyFact], then: list[f.AnyFact]) -> Result:
    """A command that waits until the run it is shown has become what was ordered."""
    scripts = answers({"changed": True}), shows(folder, now=now, then=then)
    with RunLock.acquire(folder.lock), Dispatcher(folder, *scripts):
        return run(runs, *words)


def test_cancel_waits_and_tells_the_time_the_cost_and_the_place(runs: Path) -> None:
    result = waited(at_work(runs), runs, "cancel", "latest", "a", now=CANCELLED[:1], then=CANCELLED[1:])
    assert (0, "cancelled a after 1m01s; $0.01 spent; its work is on branch a\n") == (result.exit_code, result.output)


def test_who_ends_before_it_can_be_cancelled_is_told_as_what_it_is(runs: Path) -> None:
    result = waited(at_work(runs), runs, "cancel", "latest", "a", now=[], then=done("a"))
    assert "a ended before it could be cancelled (Success after 4s)" in result.output


def test_pause_waits_until_the_processes_are_gone(runs: Path) -> None:
    stopping = f.StopBegan(at=START + 9, actor=A, attempt=1, reason="pause")
    paused = t.ActorPaused(at=START + 10, actor=A, attempt=1, certificate=Certificate(exit_code=0), cost_usd=0.01)
    result = waited(at_work(runs), runs, "pause", "latest", "a", now=[stopping], then=[paused])
    assert result.output.startswith("paused a; $0.01 spent so far; its place and its session are kept"), result.output
    assert f"pitboss continue {RUN[:13]} a" in result.output


def test_what_is_still_to_come_is_shown_on_a_terminal_and_wiped(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = at_work(runs)
    monkeypatch.setenv("TERM", "xterm")
    op = CancelWorker(task_id="a")
    screen, stream = os.openpty()
    with (
        os.fdopen(stream, "w") as file,
        RunLock.acquire(folder.lock),
        Dispatcher(folder, shows(folder, now=CANCELLED[:1], then=CANCELLED[1:])),
    ):
        is_so = outcomes.is_so(op)
        assert is_so is not None
        view = awaiting.until(folder.path, is_so, lambda view: outcomes.still_to_come(op, view), Outlet(file))
        shown = ""
        while not shown.endswith("waiting)\r\x1b[2K"):  # a terminal hands on what was written piece by piece
            assert select.select([screen], [], [], 10)[0], f"nothing more is shown than {shown!r}"
            shown += os.read(screen, 4096).decode()
    os.close(screen)
    assert view.actors[0].status is Status.CANCELLED
    assert "a: stopping (Ctrl-C ends only the waiting)" in shown


def test_who_is_frozen_is_named_as_what_a_drain_waits_for(runs: Path) -> None:
    frozen = t.ActorFrozen(at=START + 5, actor=A, attempt=1, by="operator")
    folder = write_run(runs, [opened(runs, "a"), *begun("a"), frozen])
    _, result = told(runs, {"changed": True, "running": 1, "frozen": "a"}, "drain", "latest", "--no-wait")
    assert f"it does not end while a is frozen: pitboss continue {RUN[:13]} a" in result.stdout

    view = run_view(state_of(facts(folder)), 1)
    assert "draining: 1 actor to go, held up by a: frozen" == outcomes.still_to_come(Drain(), view)
    assert "stopping: 1 actor to go" == outcomes.still_to_come(CancelRun(), view)


def test_a_dispatcher_that_dies_before_it_is_so_is_a_failure(runs: Path) -> None:
    folder = at_work(runs)
    with Dispatcher(folder, answers({"changed": True})):
        result = run(runs, "cancel", "latest", "a")
    assert 1 == result.exit_code
    assert "a is to be cancelled, but the dispatcher has ended before that" in result.stderr
    assert "pitboss resume" in result.stderr


# --- without a dispatcher ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind", "line"),
    [
        (("tell", "latest", "a", "x"), t.MessageSent, "a hears it when the run is resumed"),
        (("model", "latest", "a", "m"), of.ModelSet, "a goes on with m when the run is resumed"),
        (("budget", "latest", "4"), of.LimitsChanged, "; it holds when the run is resumed"),
    ],
)
def test_what_can_wait_is_left_in_the_journal(
    runs: Path, words: tuple[str, ...], kind: type[f.AnyFact], line: str
) -> None:
    folder = at_work(runs)
    result = run(runs, *words)
    assert 0 == result.exit_code, result.output
    assert line in result.stdout
    changed, order = facts(folder)[-2:]
    assert isinstance(changed, kind)
    assert isinstance(order, of.OrderTaken)
    assert order.order_id


@pytest.mark.parametrize("words", [("cancel", "latest", "a"), ("pause", "latest", "a"), ("stop", "latest")])
def test_what_cannot_wait_says_how_to_take_the_run_up_again(runs: Path, words: tuple[str, ...]) -> None:
    at_work(runs)
    result = run(runs, *words)
    assert 1 == result.exit_code
    assert "no dispatcher is at work on this run" in result.stderr
    assert f"pitboss resume {RUN[:13]} --run-dir {runs}" in result.stderr


def test_in_a_run_that_has_ended_there_is_nothing_left_to_end(runs: Path) -> None:
    ended = f.RunEnded(at=START + 70, exit_code=1, was_interrupted=False)
    write_run(runs, [opened(runs, "a"), *begun("a"), *CANCELLED, ended])
    stopped, cancelled = run(runs, "stop", "latest"), run(runs, "cancel", "latest", "a")
    paused = run(runs, "pause", "latest", "a")
    assert (0, f"run {RUN[:13]} has ended already; nothing was changed\n") == (stopped.exit_code, stopped.output)
    assert 0 == cancelled.exit_code
    assert "a was cancelled already by operator: slow (Cancelled after 1m01s); nothing was changed" in cancelled.output
    assert (1, "pitboss: the run has ended; nothing runs in it\n") == (paused.exit_code, paused.output)


@pytest.mark.parametrize(
    ("words", "ended", "code", "says"),
    [
        (("stop", "latest"), True, 0, "has ended already; nothing was changed"),
        (("cancel", "latest", "a"), True, 0, "a had ended already (Success after 1m00s); nothing was changed"),
        (("tell", "latest", "a", "x"), True, 1, "has no journal to leave an order in"),
        (("stop", "latest"), False, 1, "has no journal to leave an order in"),
    ],
)
def test_a_run_of_0_9_refuses_like_any_other(
    runs: Path, words: tuple[str, ...], *, ended: bool, code: int, says: str
) -> None:
    write_legacy(runs, [a_resolved_task("a")], [a_record("a")], ended=ended)
    result = run(runs, *words, "--json")
    shape = json.loads(result.stdout)
    assert (code, False) == (result.exit_code, shape["changed"])
    assert says in str(shape.get("error" if code else "message"))
    assert shape.get("state") != "draining"


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("words", [("stop", "latest"), ("tell", "latest", "a", "x"), ("budget", "latest", "5")])
def test_a_run_that_was_cut_off_before_its_first_fact_is_left_as_it_is(
    runs: Path, words: tuple[str, ...], *, header: bool
) -> None:
    folder = RunDir(write_legacy(runs, [a_resolved_task("a")], [], ended=False))
    Journal.create(folder.journal, {"run_id": folder.run_id}).close()
    folder.lock.touch()
    if not header:
        folder.journal.write_bytes(b"")
    before = folder.journal.read_bytes()
    result = run(runs, *words)
    assert (1, before) == (result.exit_code, folder.journal.read_bytes())
    assert f"run {folder.run_id} was cut off before it began anything; dispatch it again\n" in result.stderr
    assert "resume" not in result.stderr
    assert "was cut off before it began anything" in run(runs, "policy", "latest").stderr


def test_a_dispatcher_that_has_not_opened_its_socket_yet_is_waited_for(runs: Path) -> None:
    folder, opened_late = at_work(runs), ExitStack()
    opening = threading.Timer(0.2, lambda: opened_late.enter_context(Dispatcher(folder, answers({}))))
    with RunLock.acquire(folder.lock), opened_late:
        opening.start()
        result = run(runs, "tell", "latest", "a", "x")
        opening.join()
    assert (0, True) == (result.exit_code, result.output.startswith("a hears it")), result.output


def test_a_dispatcher_that_only_tells_what_is_still_to_be_told_is_not_to_be_stopped(runs: Path) -> None:
    ended = f.RunEnded(at=START + 70, exit_code=0, was_interrupted=False)
    folder = write_run(runs, [opened(runs, "a"), *begun("a"), *done("a"), ended])
    with RunLock.acquire(folder.lock):
        stopped, told = run(runs, "stop", "latest"), run(runs, "tell", "latest", "a", "x")
    assert (0, f"run {RUN[:13]} has ended already; nothing was changed\n") == (stopped.exit_code, stopped.output)
    why = "pitboss: the run has ended; its dispatcher only tells what is still to be told, and takes no orders\n"
    assert (1, why) == (told.exit_code, told.output)


def test_a_dispatcher_without_a_socket_is_told_as_what_it_is(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pitboss.surfaces.ordering.PATIENCE_SECS", 0.0)
    folder = at_work(runs)
    with RunLock.acquire(folder.lock):
        result = run(runs, "tell", "latest", "a", "x", "--json")
    shape = json.loads(result.stdout)
    assert (1, "unavailable") == (result.exit_code, shape["code"])
    assert "cannot be reached through a socket" in shape["error"]
    assert "resume" in shape["hint"]


# --- requests ---------------------------------------------------------------------------------------------------------


def asks(actor: ActorId) -> ApprovalRequested:
    approval = Approval(
        request_id="req-1",
        kind="action",
        actor=actor,
        path=(ActorId("coordinator"), actor),
        role="worker",
        category="other",
        summary=f"stop {actor}",
        asked_at=START + 8,
        expires_at=None,
        why="",
    )
    pending = Pending(attempt=1, hook_id="h")
    return ApprovalRequested(at=START + 8, actor=actor, attempt=1, approval=approval, pending=pending)


def test_whoever_is_frozen_hears_an_answer_when_it_goes_on(runs: Path) -> None:
    frozen = t.ActorFrozen(at=START + 9, actor=A, attempt=1, by="operator")
    write_run(runs, [opened(runs, "a"), *begun("a"), asks(A), frozen])
    _, result = told(runs, {"changed": True}, "approve", "latest", "req-1")
    hears = f"a is frozen and hears it when it is let go on, with: pitboss continue {RUN[:13]} a --run-dir {runs}"
    assert f"approved req-1: {hears}\n" == result.output


def test_who_asks_is_listed_by_label(runs: Path) -> None:
    write_run(runs, [*grown(runs), asks(CART)])
    listed = run(runs, "approvals", "list").output
    assert "coordinator→cart (worker)" in listed
    assert "stop cart" in listed
    assert CART not in listed


# --- trees ------------------------------------------------------------------------------------------------------------


def test_an_actor_is_named_by_its_label_and_told_by_it(runs: Path) -> None:
    write_run(runs, grown(runs))
    event: Json = {"event": "op_failed", "code": "conflict", "error": f"{CART} has already completed", "state": "done"}
    sent, result = told(runs, event, "tell", "latest", "cart", "x", "--now")
    assert CART == sent["task_id"]
    assert "pitboss: cart has already completed" in result.stderr


# --- the rules --------------------------------------------------------------------------------------------------------

RULES = '[[approval_policy]]\naction = "block"\n\n[approval_policy.match]\ntool = "Bash"\nargs = {command = "*push*"}'


def with_rules(runs: Path) -> RunDir:
    """A run that was cut off, with one rule."""
    first = opened(runs, "a")
    rule = Rule(action="block", tool="Bash", args={"command": "*push*"})
    return write_run(runs, [replace(first, run=replace(first.run, policy=Policy(rules=(rule,)))), *begun("a")])


def test_the_rules_are_shown_as_a_manifest_has_them_and_as_json(runs: Path) -> None:
    with_rules(runs)
    shown = run(runs, "policy", "latest").stdout
    assert f"# Rules of run {RUN}, version 0" in shown
    assert '[run]\ndefault_approval_policy = "block"\n' in shown
    assert RULES in shown
    shape = json.loads(run(runs, "policy", "latest", "--json").stdout)
    assert (0, "block") == (shape["version"], shape["default_action"])
    assert [{"action": "block", "match": {"tool": "Bash", "args": {"command": "*push*"}}}] == shape["rules"]


def test_what_was_shown_can_be_set_again_and_changes_nothing(runs: Path) -> None:
    with_rules(runs)
    text = run(runs, "policy", "latest").stdout
    result = run(runs, "policy", "latest", "--set", "-", input=text)
    line = f"run {RUN[:13]} has these rules already, version 0; nothing was changed\n"
    assert (0, line) == (result.exit_code, result.output)


def test_other_rules_are_sent_with_the_version_that_was_looked_at(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(RULES.replace("block", "auto_reject"))
    sent, result = told(runs, {"rules": 1, "version": 1, "changed": True}, "policy", "latest", "--set", str(file))
    assert (0, 0, "auto_reject") == (result.exit_code, sent["version"], sent["rules"][0]["action"])  # type: ignore[index]
    assert f"run {RUN[:13]} has 1 rule now, version 1" in result.stdout


def test_a_concurrent_change_is_told_and_nothing_is_changed(runs: Path) -> None:
    folder = with_rules(runs)
    result = run(runs, "policy", "latest", "--set", "-", "--if-version", "3", input="")
    assert 1 == result.exit_code
    assert "version 0 is in force, not 3" in result.stderr
    assert f"hint: see which rules are in force with: pitboss policy {RUN[:13]}" in result.stderr
    assert not [fact for fact in facts(folder) if isinstance(fact, of.PolicyReplaced)]


def test_a_file_with_a_mistake_is_told_by_its_line(runs: Path, tmp_path: Path) -> None:
    with_rules(runs)
    file = tmp_path / "rules.toml"
    file.write_text('[[approval_policy]]\naction = "no"\n')
    result = run(runs, "policy", "latest", "--set", str(file))
    assert 2 == result.exit_code
    assert f"{file}:2: error: [[approval_policy]] #1: action is an unknown approval_policy action" in result.stderr


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has an editor that runs this Python over the text, as ``text``."""

    def use(code: str) -> None:
        script = tmp_path / "editor.py"
        script.write_text(
            "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
            f"{code}\npath.write_text(text)\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)

    return use


def test_the_rules_are_edited_in_the_editor(runs: Path, editor: Callable[[str], None], tmp_path: Path) -> None:
    folder = with_rules(runs)
    editor("text = text.replace('*push*', '*commit*')")
    result = run(runs, "policy", "latest", "--edit")
    assert 0 == result.exit_code, result.output
    assert "has 1 rule when it is resumed, version 1" in result.stdout
    (changed,) = [fact for fact in facts(folder) if isinstance(fact, of.PolicyReplaced)]
    assert {"command": "*commit*"} == changed.rules[0].args
    assert [] == list(tmp_path.glob("pitboss-policy-*"))


def test_what_was_written_with_a_mistake_is_kept(runs: Path, editor: Callable[[str], None], tmp_path: Path) -> None:
    with_rules(runs)
    editor("text = text.replace('block', 'blok')")
    result = run(runs, "policy", "latest", "--edit")
    (kept,) = tmp_path.glob("pitboss-policy-*")
    assert 2 == result.exit_code
    use = f"pitboss policy {RUN[:13]} --set {kept} --run-dir {runs}"
    assert f"what you wrote is in {kept}; use it with: {use}\n" in result.stderr
    assert "did you mean 'block'?" in result.stderr
    assert "blok" in kept.read_text()


# --- completion -------------------------------------------------------------------------------------------------------


def completed(runs: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is offered for the last word of a line."""
    monkeypatch.setenv("PITBOSS_RUNS_DIR", str(runs))
    words = line.split(" ")
    env = {
        "_PITBOSS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    out = CliRunner().invoke(cli, [], prog_name="pitboss", env=env, complete_var="_PITBOSS_COMPLETE").output
    return [row.partition(",")[2] for row in out.splitlines() if row]


def test_a_shell_is_offered_runs_actors_and_requests(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(runs, grown(runs))
    assert ["latest", RUN] == completed(runs, "pitboss cancel ", monkeypatch)
    assert ["cart"] == completed(runs, "pitboss cancel latest ca", monkeypatch)
    assert "coordinator" in completed(runs, "pitboss why latest ", monkeypatch)
    assert [] == completed(runs, "pitboss approve latest ", monkeypatch)
    assert [] == completed(runs, "pitboss tell nonsense ", monkeypatch)
    assert "continue" in completed(runs, "pitboss con", monkeypatch)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completions", shell], prog_name="pitboss")
    assert 0 == result.exit_code
    assert f"_PITBOSS_COMPLETE={shell}_complete" in result.stdout
