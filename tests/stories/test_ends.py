"""How runs end: orders of the terminal, processes that do not want to, a dispatcher that is killed."""

import os
import signal
import subprocess
import time

import psutil
import pytest

from support.parts import until_exists
from support.pit import Pit

pytestmark = pytest.mark.slow

LONG = [{"delay": 60}, {"text": "late"}]


def gone(pit: Pit, timeout: float = 60.0) -> list[psutil.Process]:
    """What still has a cookie after at most so long."""
    deadline = time.monotonic() + timeout
    while (left := pit.with_cookie()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_one_interrupt_lets_the_running_end_and_starts_nothing_more(pit: Pit) -> None:
    go = pit.place / "go"
    process = pit.dispatching(pit.manifest({"a": [until_exists(go)], "b": "go"}, max_parallel_tasks=1))
    pit.until(lambda run: run.told("SessionOpened"))

    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    go.touch()
    ended = pit.finish(process)

    assert (130, {"a": "Success"}, True) == (ended.code, pit.run.statuses(), pit.run.summary["was_interrupted"])
    assert ["b"] == pit.run.summary["tasks_not_started"]


def test_two_interrupts_stop_everything_with_an_exact_account(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": LONG, "b": LONG}))
    pit.until(lambda run: len(run.told("SessionOpened")) == 2)

    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    process.send_signal(signal.SIGINT)
    ended = pit.finish(process)

    assert (130, {"a": "Cancelled", "b": "Cancelled"}) == (ended.code, pit.run.statuses())
    assert [] == pit.with_cookie()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminating_signal_stops_in_order_and_writes_the_summary(pit: Pit, number: signal.Signals) -> None:
    process = pit.dispatching(pit.manifest({"a": LONG, "b": "go"}, max_parallel_tasks=1))
    pit.until(lambda run: run.told("SessionOpened"))

    process.send_signal(number)
    ended = pit.finish(process)

    assert (130, {"a": "Cancelled"}, True) == (ended.code, pit.run.statuses(), pit.run.summary["was_interrupted"])
    assert [] == pit.with_cookie()


def test_an_agent_that_traps_sigterm_still_ends(pit: Pit) -> None:
    steps = [{"ignore_term": 1}, {"hang": 1}]
    process = pit.dispatching(pit.manifest({"a": {"prompt": steps, "use_worktree": False}}))
    pit.until(lambda run: run.told("SessionOpened"))

    process.send_signal(signal.SIGTERM)
    ended = pit.finish(process)

    rungs = [fact["rung"] for fact in pit.run.told("RungReached")]
    assert (130, ["interrupt", "close_stdin", "term", "kill"]) == (ended.code, rungs)
    assert "Cancelled" == pit.run.record("a")["status"]


def test_a_time_out_ends_the_task_and_its_account_is_exact(pit: Pit) -> None:
    slow = {"prompt": LONG, "timeout_secs": 1, "use_worktree": False}
    ended = pit.dispatch(pit.manifest({"a": slow, "b": "go"}))

    assert (1, "TimedOut", "Success") == (ended.code, pit.run.statuses()["a"], pit.run.statuses()["b"])


def test_what_an_agent_leaves_behind_is_stopped_and_named(pit: Pit) -> None:
    steps = [{"spawn": 600, "hold": 1}, {"text": "done"}]
    ended = pit.dispatch(pit.manifest({"a": steps}))

    (process,) = pit.run.told("ProcessEnded")
    certificate = process["certificate"]
    assert isinstance(certificate, dict)
    assert (0, True, True) == (ended.code, certificate["group_empty"], certificate["cookie_empty"])
    assert 1 == len(certificate["stopped"])
    assert "left-over" in str(pit.run.record("a")["note"])
    assert [] == pit.with_cookie()


def test_a_killed_dispatcher_leaves_nothing_alive(pit: Pit) -> None:
    steps = [{"spawn": 600}, {"ignore_term": 1}, {"hang": 1}]
    process = pit.dispatching(pit.manifest({"a": steps, "b": LONG}))
    pit.until(lambda run: len(run.told("SessionOpened")) == 2)
    pit.until(lambda run: len(pit.with_cookie()) >= 3)

    process.kill()
    process.communicate()

    assert [] == gone(pit)
    status = pit.pitboss("status", "--run-dir", str(pit.runs))
    assert "interrupted" in status.out
    assert "running" not in status.out.lower().replace("0 running", "")


def test_a_killed_guardian_is_replaced(pit: Pit) -> None:
    go = pit.place / "go"
    process = pit.dispatching(pit.manifest({"a": [until_exists(go)]}))
    run = pit.until(lambda run: run.told("SessionOpened"))
    first = int(str(run.told("GuardianStarted")[0]["pid"]))

    os.kill(first, signal.SIGKILL)
    pit.until(lambda run: len(run.told("GuardianStarted")) == 2)
    go.touch()

    assert 0 == pit.finish(process).code


def test_a_shell_that_never_ends_is_stopped_after_its_grace(pit: Pit) -> None:
    steps = [{"background": "endless"}, {"text": "started it"}]
    ended = pit.dispatch(pit.manifest({"a": steps}, background_grace_secs=1))

    record = pit.run.record("a")
    assert (0, "Success") == (ended.code, record["status"])
    assert "background" in str(record["note"])
    assert [] == pit.with_cookie()


def test_a_subagent_is_waited_for(pit: Pit) -> None:
    agent = {"agent": [{"delay": 1}, {"text": "sub done"}], "description": "sub"}
    ended = pit.dispatch(pit.manifest({"a": [agent, {"text": "first"}, {"end": 1}, {"text": "after the sub"}]}))

    assert 0 == ended.code
    assert 2 == len(pit.run.told("TurnFinished"))


def test_a_closed_output_ends_nothing(pit: Pit) -> None:
    tasks = {f"t{n}": [{"delay": 0.3}, {"text": "ok"}] for n in range(4)}
    process = pit.dispatching(pit.manifest(tasks, max_parallel_tasks=1))
    assert process.stdout is not None
    assert process.stderr is not None
    pit.until(lambda run: run.told("ActorAdmitted"))

    process.stdout.close()
    process.stderr.close()

    assert 0 == process.wait(timeout=60)
    assert ["Success"] * 4 == list(pit.run.statuses().values())


def test_a_silent_agent_is_reported_and_left_alone(pit: Pit) -> None:
    steps = [{"delay": 1.5}, {"text": "ok"}]
    ended = pit.dispatch(pit.manifest({"a": {"prompt": steps, "use_worktree": False}}, stall_secs=0.5))

    assert 0 == ended.code
    assert pit.run.told("ActorStalled")
    assert pit.run.told("ActorRevived")


def test_no_process_holds_the_guardians_pipe_but_the_dispatcher(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": [{"spawn": 600}, {"hang": 1}]}))
    run = pit.until(lambda run: run.told("SessionOpened"))
    guardian = psutil.Process(int(str(run.told("GuardianStarted")[0]["pid"])))

    process.kill()
    process.communicate()

    assert [] == gone(pit)
    guardian.wait(timeout=40)


def test_dispatch_from_an_interactive_shell_survives_its_terminal(pit: Pit) -> None:
    """A hang-up is an order to stop: the run ends in order, with records, instead of vanishing."""
    process = pit.dispatching(pit.manifest({"a": LONG}), stdin=subprocess.PIPE)
    pit.until(lambda run: run.told("SessionOpened"))
    os.killpg(process.pid, signal.SIGHUP)

    assert 130 == pit.finish(process).code
    assert (pit.run.path / "summary.json").exists()
