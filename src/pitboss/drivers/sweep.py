"""How to end everyone who runs on our behalf: the part that needs no event loop.

``Hunt`` decides who of those that ``lookout`` finds is sent which signal, and when to stop looking; ``carry_out``
sends it and, in the end, strikes; ``stop_all`` does it all until nothing is left. ``process`` uses the first two
without blocking the loop; the guardian and ``pitboss resume`` call the last.

Only the standard library's small modules and psutil may come in: the guardian loads this file in a process that
should stay small. Signals and facts stay out, the callers translate.

One that hops from process to process is killed at the moment it is found (``strike``). What hops faster than a strike
asks and signals, about every 0.2 ms, may survive it by luck: then the hunt ends unsure, never with a clean bill.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil

from pitboss.drivers.lookout import Finding, Found, Known, Lookout, Tour, covers

STRIKE_SECS = 1.0
"""The longest a strike goes on at a stretch; the hunt then looks, and strikes again."""

FIRST_PAUSE_SECS = 0.01
LONGEST_PAUSE_SECS = 0.25
QUIET_LOOKS = 2
"""Looks in a row that must find nothing: at the one moment when the numbers start again from the bottom, a process
can hop from the part of the table that is still to be read into the part that has been."""


class Step(NamedTuple):
    """What a hunt wants next."""

    targets: tuple[Found, ...]
    number: int
    """The signal for the targets."""
    pause_secs: float | None
    """How long to wait before the next look; ``None`` ends the hunt."""
    strike_secs: float = 0.0
    """How long to strike after the signal, at most."""


class Hunt:
    """When to send which signal and when to stop looking: TERM, a grace, KILL and a strike, until it is quiet twice.

    Knows no clock and no process: it is told the time and what was found.

    Attributes:
        stopped: Everyone a signal was sent to.
        left: What the last look found; not empty after the end means it could not be stopped in time.
        sure: Whether the last look can have missed nobody.
    """

    def __init__(self, grace_secs: float, kill_secs: float) -> None:
        self.stopped: set[int] = set()
        self.left: list[Found] = []
        self.sure = False
        self._grace_secs = grace_secs
        self._limit_secs = grace_secs + kill_secs
        self._began: float | None = None
        self._pause_secs = FIRST_PAUSE_SECS
        self._quiet = 0
        self._told: set[tuple[int, float]] = set()  # a number may come back as somebody else

    def step(self, now: float, finding: Finding) -> Step:
        """Take in what a look found, and say what to do before the next one."""
        found = self.left = finding.found
        self.sure = finding.sure
        if finding == ([], True):
            self._quiet += 1
            return Step((), 0, None if self._quiet >= QUIET_LOOKS else 0.0)
        self._quiet = 0
        self._began = now if self._began is None else self._began
        spent = now - self._began
        if spent >= self._limit_secs:
            return Step((), 0, None)
        kill = spent >= self._grace_secs
        targets = tuple(found if kill else (one for one in found if one[:2] not in self._told))
        self._told.update(one[:2] for one in targets)
        self.stopped.update(one.pid for one in targets)
        pause_secs = self._pause(spent)
        if not kill:
            return Step(targets, signal.SIGTERM, pause_secs)
        return Step(targets, signal.SIGKILL, pause_secs, min(STRIKE_SECS, self._limit_secs - spent))

    def _pause(self, spent: float) -> float:
        """Short at first, longer each time, but never past the moment when something changes."""
        pause, self._pause_secs = self._pause_secs, min(2 * self._pause_secs, LONGEST_PAUSE_SECS)
        edge = self._grace_secs if spent < self._grace_secs else self._limit_secs
        if pause >= edge - spent:
            self._pause_secs = FIRST_PAUSE_SECS
        return min(pause, edge - spent)


def send(targets: Iterable[Found], number: int) -> None:
    """Signal each process if it is still the one that was found, and wake it if it is frozen.

    One that may not be signalled is not an error here: the next look finds it again, and the hunt ends with it.
    """
    for found in targets:
        try:
            found.process.send_signal(number)
            found.process.send_signal(signal.SIGCONT)
        except psutil.Error:
            continue


def strike(cookie: str, *, session: int | None = None, secs: float = STRIKE_SECS) -> set[int]:
    """Kill everyone who belongs to a cookie at the moment it is found, until two passes in a row met nobody.

    A look asks all before anybody is signalled: too late for one that hops. Here nothing stands between the answer
    and the signal. KILL needs no SIGSTOP before it: the kernel lets nobody fork who has one pending.

    Args:
        cookie: A whole cookie, or a prefix ending in a slash.
        session: A session, and group, whose leader is gone and reaped: all of it is meant too, unless its number has
            become somebody else's.
        secs: When to give up.

    Returns:
        The pids that were killed; one may still be about to die.
    """
    met, killed = 0, set[int]()

    def meet(answer: Known) -> None:
        nonlocal met
        held = answer.found is not None and covers(cookie, answer.found.cookie)
        kin = session is not None and session in answer.place and not psutil.pid_exists(session)
        if (held or kin) and not answer.ended:
            met += 1  # also one that was too fast for the signal: its successor runs on
            with contextlib.suppress(psutil.Error):
                answer.process.kill()
                killed.add(answer.process.pid)

    tour, quiet, deadline = Tour({}), 0, time.monotonic() + secs
    while quiet < QUIET_LOOKS and time.monotonic() < deadline:
        before = met
        sure = tour.go_round(meet)
        quiet = quiet + 1 if sure and met == before else 0
    return killed


def carry_out(step: Step, cookie: str, *, session: int | None = None) -> set[int]:
    """Do what a hunt wants; blocks for as long as it strikes.

    Returns:
        Whom the strike killed beside the targets.
    """
    send(step.targets, step.number)
    return strike(cookie, session=session, secs=step.strike_secs) if step.strike_secs else set()


class Sweep(NamedTuple):
    """What ``stop_all`` did."""

    stopped: tuple[int, ...]
    """Pids that were sent a signal."""
    left: tuple[Found, ...]
    """Processes that were still there at the end."""
    sure: bool
    """The last look can have missed nobody."""
    looks: int
    secs: float


def stop_all(
    prefix: str,
    *,
    grace_secs: float = 1.5,
    limit_secs: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Sweep:
    """Stop every process that belongs to a cookie; blocks until two looks in a row could ask all and found nothing.

    Args:
        prefix: ``<run>/`` for a whole run, or one whole cookie.
        grace_secs: Time between TERM and KILL.
        limit_secs: After this long, what is left is given up and named in the answer.
        clock: Time that never runs backwards.
        sleep: How to wait.
    """
    lookout, hunt, began, looks = Lookout(), Hunt(grace_secs, limit_secs - grace_secs), clock(), 0
    while True:
        step = hunt.step(clock(), lookout.look().belonging(prefix))
        looks += 1
        hunt.stopped |= carry_out(step, prefix)
        if step.pause_secs is None:
            return Sweep(tuple(sorted(hunt.stopped)), tuple(hunt.left), hunt.sure, looks, clock() - began)
        sleep(step.pause_secs)
