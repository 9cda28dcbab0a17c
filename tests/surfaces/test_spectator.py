"""``pitboss watch``, of runs at work, cut off, ended and of 0.9."""

from __future__ import annotations

import io
import itertools
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from pitboss.core.attention import Need
from pitboss.core.views import run_view
from pitboss.journal.lock import RunLock
from pitboss.model import facts as f
from pitboss.model.approval_facts import ApprovalRequested
from pitboss.model.approvals import Approval, Pending
from pitboss.model.run import ActorId, Status
from pitboss.model.views import RunView
from pitboss.surfaces.cli import cli
from pitboss.surfaces.client import RunClient
from pitboss.surfaces.outlet import Outlet
from pitboss.surfaces.spectator import Call, watch
from pitboss.wire import views as wire
from support.dispatcher import Dispatcher, Talk
from support.pictures import RUN, START, append, begun, done, opened, picture, state_of, working, write_run

NOW = START + 60


def facts(base: Path) -> list[f.AnyFact]:
    return [opened(base, "a"), f.GuardianStarted(at=START, pid=7), *begun("a"), *done("a")]


def end(code: int = 0) -> f.RunEnded:
    return f.RunEnded(at=START + 9, exit_code=code, was_interrupted=False)


def run(base: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["watch", *words, "--run-dir", str(base)], prog_name="pitboss")


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


class Screen(Outlet):
    """An outlet that leads to a terminal."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        super().__init__(self.stream)

    def isatty(self) -> bool:
        return True


def live(base: Path, *views: RunView, code: int = 0) -> tuple[int, str, str]:
    """Watch a run whose dispatcher shows these views and then ends; gives code, lines, and what called a person."""
    folder = write_run(base, facts(base)[:1])
    lock = RunLock.acquire(folder.lock)

    def show(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(views[0], "one"))
        for old, new in itertools.pairwise(views):
            talk.say(wire.encode_delta(old, new))
        append(folder, [*facts(base)[1:], end(code)])
        lock.release()

    out, screen = io.StringIO(), Screen()
    with Dispatcher(folder, show), RunClient(folder.path) as seen:
        call = Call(screen, bell=True, notify=True, environ={"TERM": "xterm"})
        result = watch(seen, Outlet(out), call, clock=lambda: NOW)
    return result, out.getvalue(), screen.stream.getvalue()


def shown(base: Path, cursor: int) -> RunView:
    return run_view(state_of(facts(base)[:cursor]), cursor)


def test_a_live_run_is_told_line_by_line_until_its_end(tmp_path: Path) -> None:
    code, lines, called = live(tmp_path, shown(tmp_path, 2), shown(tmp_path, 6), shown(tmp_path, 12))
    assert (0, "") == (code, called)
    assert [
        "16:01:00  run               nightly · 1m00s · 0 running · 1 queued · 0 done · $0.00",
        "16:00:01  a                 started",
        "16:00:05  a                 ✓ Success, 4s, $0.01",
        "16:00:09  run               ended: 1 of 1 task successful, 9s, $0.01",
    ] == lines.splitlines()


def test_what_needs_a_person_is_noticed_while_nothing_happens(tmp_path: Path) -> None:
    folder = write_run(tmp_path, facts(tmp_path)[:1])
    lock, out, noticed = RunLock.acquire(folder.lock), io.StringIO(), threading.Event()

    def show(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 1), "one"))
        assert noticed.wait(60)
        append(folder, [*facts(tmp_path)[1:], end()])
        lock.release()

    def clock() -> float:
        if "guardian" in out.getvalue():
            noticed.set()
        return START + 60 if out.getvalue() else START + 5

    with Dispatcher(folder, show), RunClient(folder.path) as seen:
        watch(seen, Outlet(out), Call(Screen()), clock=clock, again_secs=0.01)
    first, second, *_ = out.getvalue().splitlines()
    assert ("nightly" in first, "guardian" in second.lower()) == (True, True)


def test_a_run_that_does_not_end_well_gives_one(tmp_path: Path) -> None:
    code, _, _ = live(tmp_path, shown(tmp_path, 2), code=1)
    assert 1 == code


def test_a_person_is_called_once_for_what_is_newly_needed(tmp_path: Path) -> None:
    calm = shown(tmp_path, 6)
    slowed = replace(calm, throttle="\x1b[2Jrate limit")
    _, _, called = live(tmp_path, calm, slowed, replace(slowed, spent_usd=0.1))
    assert "\x1b]9;nightly: Starting is slowed to 2 at once: [2Jrate limit\x1b\\\a" == called


def test_nobody_is_called_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    need = Need(kind="api", text="Starting is slowed")
    Call(Outlet(out), bell=True, notify=True).about([need], picture(working("a")), NOW)
    assert "" == out.getvalue()


# --- runs that are not at work ----------------------------------------------------------------------------------------


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    write_run(tmp_path, [*facts(tmp_path), end()])
    return tmp_path


def test_a_run_that_has_ended_is_told_in_a_line(ended: Path) -> None:
    result = run(ended)
    assert 0 == result.exit_code
    assert ["nightly · 9s · 0 running · 1 done · $0.01"] == [line[28:] for line in result.output.splitlines()]


def test_a_run_that_was_cut_off_needs_a_person_and_gives_one(tmp_path: Path) -> None:
    write_run(tmp_path, facts(tmp_path)[:6])
    result = run(tmp_path)
    assert 1 == result.exit_code
    assert "! The run was cut off" in result.output.splitlines()[1]


@pytest.mark.parametrize("words", [("watch", "--json"), ("watch", "--once", "--json"), ("status", "--json", "--full")])
def test_what_helps_can_be_typed_where_the_run_is_found(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_run(tmp_path, facts(tmp_path)[:6])
    command = f"pitboss resume {RUN[:13]} --run-dir {tmp_path}"
    assert command in CliRunner().invoke(cli, [*words, "--run-dir", str(tmp_path)], prog_name="pitboss").output


def test_a_failure_is_told_to_whoever_comes_later(tmp_path: Path) -> None:
    settled = f.ActorSettled(at=START + 5, actor=ActorId("a"), attempt=1, status=Status.FAILED)
    write_run(tmp_path, [*facts(tmp_path)[:-1], settled, end(1)])
    result = run(tmp_path, "latest", "--json")
    assert 1 == result.exit_code
    assert ["run", "failed"] == [json.loads(line)["kind"] for line in result.output.splitlines()]


def test_at_a_glance_a_run_is_one_line(ended: Path) -> None:
    result = run(ended, "--once")
    assert (0, "nightly · 9s · 0 running · 1 done · $0.01\n") == (result.exit_code, result.output)


def test_at_a_glance_as_json(ended: Path) -> None:
    told = json.loads(run(ended, "--once", "--json").output)
    assert ("complete", 1, 0, []) == (told["state"], told["succeeded"], told["failed"], told["attention"])


def test_a_run_of_pitboss_09_is_told_too(tmp_path: Path) -> None:
    folder = tmp_path / RUN
    (folder / "tasks" / "one").mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    (folder / "summary.jsonl").write_text("")
    result = run(tmp_path, "--once")
    assert (0, f"{RUN} · ") == (result.exit_code, result.output[: len(RUN) + 3]), result.output


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert 1 == run(tmp_path, "zzz").exit_code


def test_a_terminal_rings_and_notifies_and_is_steered_by_nobody_else(tmp_path: Path) -> None:
    approval = Approval(
        request_id="req-1",
        kind="action",
        actor=ActorId("a"),
        path=(ActorId("a"),),
        role="task",
        category="tool_use",
        summary="\x1b]0;owned\x07push",
        asked_at=START + 5,
        expires_at=None,
    )
    asked = ApprovalRequested(
        at=START + 5, actor=ActorId("a"), attempt=1, approval=approval, pending=Pending(attempt=1, call_id=1)
    )
    runs = tmp_path / "runs"
    write_run(runs, [*facts(runs)[:6], asked])
    (tmp_path / "home").mkdir()
    ours, theirs = pty.openpty()
    words = ["watch", "--bell", "--notify", "--run-dir", str(runs)]
    done_ = subprocess.run(
        [sys.executable, "-m", "pitboss", *words],
        env={"HOME": str(tmp_path / "home"), "TERM": "xterm", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)

    assert 1 == done_.returncode
    assert "a asks for approval: ]0;ownedpush" in said
    assert "\x1b]9;nightly: The run was cut off" in said
    assert 2 == said.count("\x1b")
    assert 1 == said.count("\x07")
