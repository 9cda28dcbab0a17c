"""What runs at rest still owe to those who are told: sent by hand; and test messages.

The same hand sends, and how that went is written where the run's dispatcher would have written it, under its lock.
Called by ``upkeep``, which it blocks, and by ``leftover`` for what is sent by the next command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pitboss.core import notices
from pitboss.core.decision import Decision
from pitboss.core.state import RunState, rebuilt
from pitboss.engine.clock import SystemClock
from pitboss.errors import OperatorError, WorldError
from pitboss.journal.lock import RunLock
from pitboss.journal.log import Journal, Replay, replay
from pitboss.journal.notice_lines import NoticeLines, unmark
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import FinishNotices, Notify, PublishNotices
from pitboss.model.notices import Notice, Settled, Sink
from pitboss.model.run import RunId
from pitboss.model.signals import ArtifactFailed, NoticeReported, Signal
from pitboss.services.notify import notifier

__all__ = ["publish", "send", "send_owed", "state_of", "test_sinks"]

SEND_SECS = 60.0
"""How long sending by hand takes at most: nobody can resume the run meanwhile."""

TEST_SECS = 60.0

Say = Callable[[str], None]


def send_owed(run_dir: Path, say: Say, *, within_secs: float = SEND_SECS) -> list[Settled]:
    """Send everything of a run that did not arrive, what was refused too.

    Args:
        run_dir: The run's folder.
        say: Told what a ``log`` sink is told.
        within_secs: For all of it; what has not arrived by then is still owed.

    Returns:
        How each went.

    Raises:
        RunBusy: A dispatcher is at work on it, and sends what is owed itself.
        OperatorError: The run has no journal.
        WorldError: Its journal is damaged, or cannot be written.
    """
    run = RunDir(run_dir)
    if not run.journal.exists():
        raise OperatorError(f"run {run.run_id} has no journal, so nothing is owed in it: Pitboss 0.9 kept none")
    with RunLock.acquire(run.lock):
        past, state = state_of(run)
        due = [(state.outbox.notices[key], sink) for key, sink in state.outbox.due]
        return asyncio.run(send(run, past, state, due, say, within_secs))


def state_of(run: RunDir) -> tuple[Replay, RunState]:
    """A run's journal, and what it leads to."""
    past = replay(run.journal)
    return past, rebuilt(entry.fact for entry in past)


async def send(
    run: RunDir,
    past: Replay,
    state: RunState,
    due: Sequence[tuple[Notice, str]],
    say: Say,
    within_secs: float,
    *,
    is_talkative: bool = True,
) -> list[Settled]:
    """Send, and write down how it went, under the run's lock.

    Args:
        run: The run; its lock is held.
        past: Its journal.
        state: What that leads to.
        due: What to send, and to whom.
        say: Told what a ``log`` sink is told.
        within_secs: For all of it.
        is_talkative: Whether ``say`` is told, too, why it takes long.

    Returns:
        How each went.

    Raises:
        WorldError: It could not be written down.
    """
    clock, sinks = SystemClock(), {sink.id: sink for sink in state.spec.sinks} if state.run else {}
    wanted = [Notify(notice=notice, sink=sinks[sink], run_id=RunId(run.run_id)) for notice, sink in due]
    d, before = Decision(state, clock.now()), len(state.outbox.settled)

    if wanted:
        reports = list[NoticeReported]()
        try:
            await _tell(wanted, clock, say, within_secs, reports, is_talkative=is_talkative)
        finally:  # also if Ctrl-C ends the waiting for the others: who was reached is not told again
            for report in reports:
                d.at = report.at
                notices.settled(d, report)
            await _keep(run, past, d)
    if not d.state.outbox.due:
        unmark(run)
    return list(d.state.outbox.settled[before:])


async def _tell(
    wanted: Sequence[Notify],
    clock: SystemClock,
    say: Say,
    within_secs: float,
    reports: list[NoticeReported],
    *,
    is_talkative: bool = True,
) -> None:
    """Send, and add to ``reports`` how each went, as soon as that is known."""
    hand = notifier(clock.now, say)

    def report(signal: Signal) -> None:
        if isinstance(signal, NoticeReported):
            reports.append(signal)

    if is_talkative:
        await hand.finish(FinishNotices(within_secs=within_secs), report)
    else:
        hand.end_within(within_secs)
    async with asyncio.TaskGroup() as group:
        for effect in wanted:
            group.create_task(hand.notify(effect, report))


async def _keep(run: RunDir, past: Replay, d: Decision) -> None:
    journal = Journal.reopen(run.journal, past, disk=run.disk)
    try:
        for fact in d.facts:
            journal.append(fact, cause=0, by="NoticeReported")
        await journal.sync()
    finally:
        journal.close()
    await publish(run, d.state)


async def publish(run: RunDir, state: RunState) -> None:
    """Write ``notifications.jsonl`` anew from what is known.

    Raises:
        WorldError: It could not be written.
    """
    said = list[Signal]()
    lines = NoticeLines(run, SystemClock().now)
    await lines.publish(PublishNotices(settled=state.outbox.settled, anew=True), said.append)
    for failed in said:
        if isinstance(failed, ArtifactFailed):
            raise WorldError(f"not written in full: {failed.path}: {failed.message}")


def test_sinks(sinks: Sequence[Sink], run_id: str, say: Say) -> list[Settled]:
    """Send every sink a test message, whatever it wants to hear; nothing of that is written down.

    Returns:
        How each went.
    """
    clock = SystemClock()
    notice = Notice(
        key=f"{run_id}:test:{clock.now():.6f}",
        kind="test",
        severity="info",
        at=clock.now(),
        event={"kind": "test", "run_id": run_id},
    )
    wanted = [Notify(notice=notice, sink=sink, run_id=RunId(run_id)) for sink in sinks]
    reports = list[NoticeReported]()
    asyncio.run(_tell(wanted, clock, say, TEST_SECS, reports))
    return [
        Settled(
            at=report.at,
            key=report.key,
            kind="test",
            sink=report.sink,
            outcome=report.outcome,
            tries=report.tries,
            error=report.error,
        )
        for report in reports
    ]
