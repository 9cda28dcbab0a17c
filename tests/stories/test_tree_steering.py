"""Actors that are redirected, frozen, paused and ended in the middle of their work."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import psutil
import pytest

from support.parts import FOREVER, Step, bash, commit, hear, say, spawn, steer, until_exists, wait
from support.pit import Json, Pit, Run

pytestmark = pytest.mark.slow


def drifting(place: Path) -> list[Step]:
    """A worker that says that it is at work, and then does something that never ends."""
    return [commit("started"), say("/shared/at", "work"), bash(f"touch {place}/drifts; sleep 600")]


def states(pit: Pit, actor: str) -> set[str]:
    """The states of all processes of an actor: its session, and whatever that has started."""
    found = []
    for process in pit.with_cookie():
        with contextlib.suppress(psutil.Error):
            if f"/{actor}/" in process.environ().get("PITBOSS_COOKIE", ""):
                found.append(process.status())
    return set(found)


def stands_still(pit: Pit, actor: str) -> bool:
    """All processes of an actor are stopped; one whose child was stopped before its exec waits for that."""
    found = states(pit, actor)
    return psutil.STATUS_STOPPED in found and found <= {psutil.STATUS_STOPPED, psutil.STATUS_DISK_SLEEP}


def until(true: Callable[[], object], secs: float = 60.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + secs
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def pid_of(run: Run, label: str) -> int:
    """The process of an actor's latest attempt."""
    return int(str(run.told("ProcessStarted", run.actor(label))[-1]["pid"]))


def waits_for_actors(run: Run) -> bool:
    """Somebody has begun to wait for an actor's end."""
    return any(cast("Json", fact["awaited"])["type"] == "actors" for fact in run.told("WaitBegan"))


def test_a_drifting_worker_drops_what_it_does_and_reads_its_new_prompt_in_its_session(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": drifting(pit.place),
        "right": [bash("pgrep -f 'sleep 60[0]' -s 0 || true"), commit("right"), {"text": "told: {{heard}}"}],
        "lead": [
            *(spawn("w"), hear("/shared/at"), until_exists(pit.place / "drifts")),
            *(steer("reprompt_worker", "w", prompt="PLAY: right\nDo this instead."), wait("w")),
        ],
    }
    ended = pit.dispatch(pit.tree(parts=parts))

    run = pit.run
    worker = run.actor("w")
    assert (0, {"w": "Success", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
    assert 1 == len(run.told("ProcessStarted", worker)), "nothing was killed"
    assert 1 == len(run.told("InterruptAsked", worker))
    subtypes = [cast("Json", fact["result"])["subtype"] for fact in run.told("TurnFinished", worker)]
    assert ["error_during_execution", "success"] == subtypes
    record = run.record(worker)
    assert (1, 0, "told: PLAY: right\nDo this instead.") == (
        record["reprompt_count"],
        record["exit_code"],
        record["final_message"],
    )
    assert [] == cast("Json", run.told("ProcessEnded", worker)[0]["certificate"])["stopped"], "its shell went at once"
    assert "right\nstarted" == pit.git("log", "--format=%s", f"main..{record['branch']}")
    assert [] == pit.with_cookie()


def test_a_frozen_worker_stands_still_and_so_does_its_clock(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), until_exists(pit.place / "go"), {"text": "thawed"}],
        "lead": [
            *(spawn("w", timeout_secs=4), hear("/shared/at"), steer("pause_worker", "w", mode="freeze")),
            *(until_exists(pit.place / "thaw"), steer("continue_worker", "w"), wait("w")),
        ],
    }
    process = pit.dispatching(pit.tree(parts=parts, use_worktree=False))
    run = pit.until(lambda run: run.told("ActorFrozen"))
    worker = run.actor("w")
    until(lambda: stands_still(pit, worker))
    overdue = float(str(run.told("ProcessStarted", run.actor("w"))[0]["at"])) + 4.5
    until(lambda: time.time() > overdue)
    (pit.place / "go").touch()
    assert stands_still(pit, worker), f"its shell stands still, too, and has not seen the file: {states(pit, worker)}"
    assert not run.told("TurnFinished", run.actor("w"))

    (pit.place / "thaw").touch()

    assert 0 == pit.finish(process).code
    record = run.record(run.actor("w"))
    assert ("Success", "thawed", 1) == (record["status"], record["final_message"], record["pause_count"])
    assert 1 == len(run.told("ActorThawed"))
    assert 1 == len(run.told("ProcessStarted", run.actor("w")))


def test_a_frozen_worker_can_be_cancelled(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), FOREVER],
        "lead": [
            *(spawn("w"), hear("/shared/at"), steer("pause_worker", "w", mode="freeze")),
            *(steer("reprompt_worker", "w", prompt="hear me"), say("/shared/no", "{{w_reprompt_worker.error}}")),
            *(steer("cancel_worker", "w"), wait("w")),
        ],
    }
    ended = pit.dispatch(pit.tree(parts=parts, use_worktree=False))

    run = pit.run
    assert (0, {"w": "Cancelled", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
    assert "worker is frozen" in str(run.stored()["/shared/no"])
    assert "interrupt" in [fact["rung"] for fact in run.told("RungReached", run.actor("w"))]
    assert "kill" not in [fact["rung"] for fact in run.told("RungReached", run.actor("w"))]
    assert [] == pit.with_cookie()


def test_a_paused_worker_goes_on_in_its_session_and_its_worktree_with_one_record(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": drifting(pit.place),
        "w/2": [bash("cat started draft"), commit("more"), {"text": "told: {{heard}}"}],
        "lead": [
            *(spawn("w"), hear("/shared/at"), until_exists(pit.place / "drifts")),
            *(steer("pause_worker", "w"), until_exists(pit.place / "go")),
            *(steer("continue_worker", "w", prompt="Finish it."), wait("w")),
        ],
    }
    process = pit.dispatching(pit.tree(parts=parts))
    run = pit.until(lambda run: run.told("ActorPaused"))
    worker = run.actor("w")
    assert not psutil.pid_exists(pid_of(run, "w"))
    assert set() == states(pit, worker)
    (run.path / "worktrees" / worker / "draft").write_text("draft\n")

    (pit.place / "go").touch()

    assert 0 == pit.finish(process).code
    record = run.record(worker)
    assert ("Success", 1, "told: Finish it.") == (record["status"], record["pause_count"], record["final_message"])
    first, second = run.told("ActorAdmitted", worker)
    assert first["session_id"] == second["session_id"] == record["claude_session_id"]
    assert 1 == len(run.told("ActorSettled", worker))
    assert 2 == len((run.path / "summary.jsonl").read_text().splitlines())
    assert "more\nstarted" == pit.git("log", "--format=%s", f"main..{record['branch']}")
    assert "draft" == pit.git("show", f"{cast('Json', record['set_aside'])['ref']}:draft")
    assert "Exit code" not in pit.run.log(worker).decode(), "it found its files"


def test_a_paused_worker_ends_with_its_lead(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), FOREVER],
        "lead": [spawn("w"), hear("/shared/at"), steer("pause_worker", "w"), {"text": "enough"}],
    }
    ended = pit.dispatch(pit.tree(parts=parts))

    assert (0, {"w": "Cancelled", "lead": "Success"}) == (ended.code, pit.run.labelled()), ended.err
    assert [] == pit.with_cookie()


# --- the operator's Ctrl-C -------------------------------------------------------------------------------------------


def test_one_interrupt_refuses_spawns_and_lets_the_rest_end(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), until_exists(pit.place / "go"), {"text": "in time"}],
        "lead": [
            *(spawn("w"), hear("/shared/at"), until_exists(pit.place / "go")),
            *(spawn("more"), say("/shared/no", "{{more.error}}"), wait("w")),
        ],
    }
    process = pit.dispatching(pit.tree(parts=parts))
    run = pit.until(lambda run: run.told("StoreWritten"))
    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    (pit.place / "go").touch()

    ended = pit.finish(process)

    assert (130, {"w": "Success", "lead": "Success"}) == (ended.code, run.labelled())
    assert "run is draining" in str(run.stored()["/shared/no"])
    assert run.summary["was_interrupted"]
    assert [] == pit.with_cookie()


def test_after_an_interrupt_a_paused_worker_is_not_started_again(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), FOREVER],
        "lead": [
            *(spawn("w"), hear("/shared/at"), steer("pause_worker", "w"), until_exists(pit.place / "go")),
            *(steer("continue_worker", "w"), {"text": "{{w_continue_worker.error}}"}),
        ],
    }
    process = pit.dispatching(pit.tree(parts=parts))
    run = pit.until(lambda run: run.told("ActorPaused"))
    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    (pit.place / "go").touch()

    ended = pit.finish(process)

    assert (130, {"w": "Cancelled", "lead": "Success"}) == (ended.code, run.labelled())
    assert "worker not paused" in str(run.record("lead")["final_message"])
    assert "never continued: the run is draining" in str(run.record(run.actor("w"))["note"])
    assert [] == pit.with_cookie()


def test_two_interrupts_stop_the_tree_with_exact_accounts(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), FOREVER],
        "frozen": [say("/shared/cold", "work"), FOREVER],
        "lead": [
            *(spawn("w"), spawn("frozen"), hear("/shared/at"), hear("/shared/cold")),
            *(steer("pause_worker", "frozen", mode="freeze"), wait("w")),
        ],
    }
    process = pit.dispatching(pit.tree(parts=parts))
    pit.until(lambda run: run.told("ActorFrozen") and waits_for_actors(run))
    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    process.send_signal(signal.SIGINT)

    ended = pit.finish(process)

    run = pit.run
    assert (130, {"w": "Cancelled", "frozen": "Cancelled", "lead": "Cancelled"}) == (ended.code, run.labelled())
    assert len(run.told("TurnFinished")) == 3, "each turn was interrupted, and told what it had cost"
    assert [] == pit.with_cookie()
