"""What ended runs still owe, sent by a command that is there for something else: beside its run, or on its way.

When that is tried, and when again, is decided here; ``owed`` sends. It happens in a thread with a loop of its own, so
that a run neither begins later nor stands still for a receiver that is dead, or for journals to be read. Called by
``upkeep``.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pitboss.drivers.cookies import COOKIE
from pitboss.engine.clock import SystemClock
from pitboss.errors import PitbossError, RunBusy, WorldError
from pitboss.journal.disk import disk_errors
from pitboss.journal.lock import RunLock, is_held
from pitboss.journal.notice_lines import Later, later_of, put_off, unmark
from pitboss.journal.rundir import RunDir
from pitboss.manifest.receivers import UrlError, filled, fingerprint
from pitboss.model.notices import PARENT, Settled, Sink
from pitboss.services import owed

__all__ = ["PAUSES_SECS", "LeftOver", "LeftOvers"]

LEFT_OVER_SECS = 5.0
"""How long sending takes at most: so long can it hold up the end of a command."""

NEWS_SECS = 24 * 3600.0
"""What is older is no news: it is only sent by hand."""

PAUSES_SECS = (60.0, 300.0, 1800.0, 7200.0)
"""How long a run's receivers are left alone after the first command that could not reach one, the second, and so on."""

PATIENCE_SECS = 1.0
"""How long a command waits without saying why."""

WAITING = f"waiting up to {LEFT_OVER_SECS:.0f} s for notifications of earlier runs; Ctrl-C ends the waiting"


class LeftOver(NamedTuple):
    """What became of what a run owed."""

    run_id: str
    settled: list[Settled]
    trouble: str
    """Why its journal could not be read or written; empty if it could."""
    again_at: float
    """Until when no command tries again; 0 if nothing has to be tried again."""


class LeftOvers:
    """Sends what ended runs owe, as far as it is news and its sinks are known here, beside what else is done."""

    def __init__(
        self,
        base: Path,
        say: Callable[[str], None],
        *,
        within_secs: float = LEFT_OVER_SECS,
        patience_secs: float = PATIENCE_SECS,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Prepare to send.

        Args:
            base: The folder of all runs.
            say: Told what a ``log`` sink is told, from another thread.
            within_secs: For all runs together.
            patience_secs: How long the end waits without saying why.
            now: What time it is; by the system's clock if not given.
        """
        self._base = base
        self._say = say
        self._within_secs = within_secs
        self._patience_secs = patience_secs
        self._now = now or SystemClock().now
        self._found: list[LeftOver] = []
        self._thread: threading.Thread | None = None
        self._work: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._cut_short = False

    def begin(self) -> None:
        """Begin to send, if it was not begun yet; returns at once."""
        self._begun()

    def _begun(self) -> threading.Thread:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="left over", daemon=True)
            self._thread.start()
        return self._thread

    def end(self, on_wait: Callable[[str], None]) -> list[LeftOver]:
        """Send if it was not begun yet, and wait until that is over; Ctrl-C ends the waiting.

        Args:
            on_wait: Told why, if it takes long.

        Returns:
            One for each run that owed something and was dealt with.
        """
        thread = self._begun()
        try:
            thread.join(self._patience_secs)
            if thread.is_alive():
                on_wait(WAITING)
            thread.join()
        except KeyboardInterrupt:
            self._hurry()
            thread.join()
        return self._found

    def _hurry(self) -> None:
        """Give up what is under way; who was reached already is written down."""
        self._cut_short = True
        if self._work is not None:
            loop, task = self._work
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        task = asyncio.current_task()
        if COOKIE in os.environ or not self._base.is_dir() or task is None:
            return  # an agent has not the secrets
        self._work = (asyncio.get_running_loop(), task)
        end = self._now() + self._within_secs
        try:
            with disk_errors("read the runs in", self._base):
                marked = sorted(path.parent for path in self._base.glob("*/notifications.due"))
                at_rest = [run for run in map(RunDir, marked) if _is_at_rest(run)]
        except WorldError as problem:
            self._found.append(LeftOver("", [], str(problem), 0.0))
            return
        for run in at_rest:  # not one that ends meanwhile, such as the run that this is beside: it has just tried
            if self._cut_short or self._now() >= end:
                return  # the rest is for the next command
            left = await _send_one(run, self._say, self._now, end)
            self._found += [left] if left is not None else []


def _is_at_rest(run: RunDir) -> bool:
    """True if it has ended, and nobody is at work on it; else a resume sends what it owes, or its dispatcher does."""
    return run.summary.exists() and is_held(run.lock) is None


async def _send_one(run: RunDir, say: Callable[[str], None], now: Callable[[], float], end: float) -> LeftOver | None:
    later = later_of(run)
    if now() < later.not_before <= now() + PAUSES_SECS[-1]:  # further off was written by a clock that was wrong
        return None
    settled, trouble = list[Settled](), ""
    try:
        with RunLock.acquire(run.lock):
            if not run.summary.exists():
                return None  # somebody has begun to go on with it meanwhile, and was cut off
            past, state = owed.state_of(run)
            news = [(notice, sink) for notice, sink in state.outbox.owed if now() - notice.at < NEWS_SECS]
            if not news:
                await owed.publish(run, state)  # its dispatcher may have come no more to the last lines
                unmark(run)
                return None
            known = {sink.id for sink in state.spec.sinks if _is_known(sink)}
            due = [(notice, sink) for notice, sink in news if sink in known]
            if not due:
                return None
            settled = await owed.send(run, past, state, due, say, max(0.0, end - now()), is_talkative=False)
    except RunBusy:
        return None
    except PitbossError as problem:
        trouble = str(problem)
    again_at = 0.0
    if trouble or any(one.outcome == "undelivered" for one in settled):
        again_at = now() + PAUSES_SECS[min(later.tries, len(PAUSES_SECS) - 1)]
        with suppress(WorldError):  # then the next command tries again
            put_off(run, Later(tries=later.tries + 1, not_before=again_at))
    return LeftOver(run.run_id, settled, trouble, again_at)


def _is_known(sink: Sink) -> bool:
    """Its secrets are in this environment, and the parent is the one that it was."""
    try:
        url = filled(sink, os.environ).url if sink.kind != "log" else ""
    except UrlError:
        return False
    return sink.id != PARENT or sink.url == fingerprint(url)
