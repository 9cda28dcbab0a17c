"""What runs at rest still owe to those who are told: sent by hand, or by the next command; and test messages.

The same hand sends, and how that went is written where the run's dispatcher would have written it, under its lock.
Called by ``upkeep``; blocks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pitboss.core import notices
from pitboss.core.decision import Decision
from pitboss.core.state import RunState, rebuilt
from pitboss.drivers.cookies import COOKIE
from pitboss.engine.clock import SystemClock
from pitboss.errors import OperatorError, PitbossError, RunBusy, WorldError
from pitboss.journal.disk import disk_errors
from pitboss.journal.lock import RunLock, is_held
from pitboss.journal.log import Journal, Replay, replay
from pitboss.journal.notice_lines import NoticeLines, unmark
from pitboss.journal.rundir import RunDir
from pitboss.manifest.receivers import UrlError, filled, fingerprint
from pitboss.model.effects import FinishNotices, Notify, PublishNotices
from pitboss.model.notices import PARENT, Notice, Settled, Sink
from pitboss.model.run import RunId
from pitboss.model.signals import ArtifactFailed, NoticeReported, Signal
from pitboss.services.notify import notifier

__all__ = ["LeftOver", "send_left_over", "send_owed", "test_sinks"]

LEFT_OVER_SECS = 5.0
"""How long a command that is there for something else may be held up."""

NEWS_SECS = 24 * 3600.0
"""What is older is no news: it is only sent by hand."""

SEND_SECS = 60.0
"""How long sending by hand takes at most: nobody can resume the run meanwhile."""

TEST_SECS = 60.0

Say = Callable[[str], None]


class LeftOver(NamedTuple):
    """What became of what a run owed."""

    run_id: str
    settled: list[Settled]
    trouble: str
    """Why its journal could not be read or written; empty if it could."""


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
        past, state = _state(run)
        due = [(state.outbox.notices[key], sink) for key, sink in state.outbox.due]
        return _send(run, past, state, due, say, within_secs)


def send_left_over(base: Path, say: Say, *, within_secs: float = LEFT_OVER_SECS) -> list[LeftOver]:
    """Send what ended runs owe, as far as it is news and its sinks are known here.

    Args:
        base: The folder of all runs.
        say: Told what a ``log`` sink is told.
        within_secs: For all of them together.

    Returns:
        One for each run that owed something.
    """
    if COOKIE in os.environ or not base.is_dir():
        return []  # an agent has not the secrets
    clock = SystemClock()
    end, found = clock.now() + within_secs, list[LeftOver]()
    with disk_errors("read the runs in", base):
        marked = sorted(path.parent for path in base.glob("*/notifications.due"))
    for path in marked:
        left = _send_left_over(RunDir(path), say, clock.now(), max(0.0, end - clock.now()))
        found += [left] if left is not None else []
    return found


def _send_left_over(run: RunDir, say: Say, now: float, within_secs: float) -> LeftOver | None:
    if not run.summary.exists() or is_held(run.lock) is not None:
        return None  # a resume sends it, or its dispatcher does
    try:
        with RunLock.acquire(run.lock):
            past, state = _state(run)
            news = [(notice, sink) for notice, sink in state.outbox.owed if now - notice.at < NEWS_SECS]
            if not news:
                asyncio.run(_publish(run, state))  # its dispatcher may have come no more to the last lines
                unmark(run)
                return None
            known = {sink.id for sink in state.spec.sinks if _is_known(sink)}
            due = [(notice, sink) for notice, sink in news if sink in known]
            settled = _send(run, past, state, due, say, within_secs) if due else []
    except RunBusy:
        return None
    except PitbossError as problem:
        return LeftOver(run.run_id, [], str(problem))
    return LeftOver(run.run_id, settled, "") if settled else None


def _is_known(sink: Sink) -> bool:
    """Its secrets are in this environment, and the parent is the one that it was."""
    try:
        url = filled(sink, os.environ).url if sink.kind != "log" else ""
    except UrlError:
        return False
    return sink.id != PARENT or sink.url == fingerprint(url)


def _state(run: RunDir) -> tuple[Replay, RunState]:
    past = replay(run.journal)
    return past, rebuilt(entry.fact for entry in past)


def _send(
    run: RunDir,
    past: Replay,
    state: RunState,
    due: Sequence[tuple[Notice, str]],
    say: Say,
    within_secs: float,
) -> list[Settled]:
    """Send, and write down how it went."""
    clock, sinks = SystemClock(), {sink.id: sink for sink in state.spec.sinks} if state.run else {}
    wanted = [Notify(notice=notice, sink=sinks[sink], run_id=RunId(run.run_id)) for notice, sink in due]
    d, before = Decision(state, clock.now()), len(state.outbox.settled)

    async def work() -> None:
        reports = list[NoticeReported]()
        try:
            await _tell(wanted, clock, say, within_secs, reports)
        finally:  # also if Ctrl-C ends the waiting for the others: who was reached is not told again
            for report in reports:
                d.at = report.at
                notices.settled(d, report)
            await _keep(run, past, d)

    if wanted:
        asyncio.run(work())
    if not d.state.outbox.due:
        unmark(run)
    return list(d.state.outbox.settled[before:])


async def _tell(
    wanted: Sequence[Notify],
    clock: SystemClock,
    say: Say,
    within_secs: float,
    reports: list[NoticeReported],
) -> None:
    """Send, and add to ``reports`` how each went, as soon as that is known."""
    hand = notifier(clock.now, say)

    def report(signal: Signal) -> None:
        if isinstance(signal, NoticeReported):
            reports.append(signal)

    await hand.finish(FinishNotices(within_secs=within_secs), report)
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
    await _publish(run, d.state)


async def _publish(run: RunDir, state: RunState) -> None:
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
