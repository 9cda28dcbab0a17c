"""Who still runs on our behalf: reading the process table so that nobody is missed.

Every process of a run carries ``PITBOSS_COOKIE=<run>/<actor>/<attempt>`` in its environment, and so does all it
starts. ``Lookout`` says who holds a cookie, and whether it can have missed somebody. How to end them is ``sweep``'s.

Only the standard library's small modules and psutil may come in: the guardian loads this file in a process that
should stay small.

A process is found by three nets: its cookie; the process group of somebody with the cookie; the session that
somebody with the cookie leads. So one that cleared its environment is found while it stays in its group or session.
Out of reach is one that does both: that clears or overwrites its environment (``env -i``; nginx and others write
their title over it) and also opens a session of its own.

Some hop: they fork, let the parent end, and are somebody else before anyone has asked who they were. A look that
could not ask everybody says so, and is then no evidence of quiet (``Lookout.look`` has the rule and why it holds for
hops of any length).

What differs on macOS: the system shows nobody the environment of its own protected binaries (``/bin/sh``,
``/usr/bin/env``), so those are found by group and session only; the rest is the same code over psutil.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import NamedTuple

import psutil

COOKIE = "PITBOSS_COOKIE"
"""Name of the environment variable by which all descendants of an attempt can be found."""

BELIEVED_SECS = 2.0
"""How long a group leader without a cookie is believed to be the same process: its number would have to be freed, go
once round all numbers and come back as the leader of the same group within this time."""

SETTLED_SECS = 10.0
"""Age from which a process is taken to keep its environment: before, it may not have exec'd yet."""

LOOK_PASSES = 50
LOOK_SECS = 0.25
"""A look in which processes keep vanishing before they were asked ends unsure after so many passes or so long."""


class Place(NamedTuple):
    """Where a process stands: its group and its session."""

    group: int
    session: int


class Found(NamedTuple):
    """A living process that belongs to us."""

    pid: int
    create_time: float
    cookie: str
    """Empty for one that was found by its group or session alone."""
    place: Place
    process: psutil.Process
    """Its handle: refuses to signal somebody else who got the number later, whatever happened to the clock."""


class Known(NamedTuple):
    """What a process answered when it was asked for its cookie."""

    place: Place
    process: psutil.Process
    found: Found | None
    """The process with its cookie; ``None`` if it holds none."""
    final: bool
    """It will not answer otherwise later."""
    seen: float
    """When it was last made sure that this is still the same process, on the monotonic clock."""
    ended: bool = False
    """It was a zombie when it was asked."""


class Finding(NamedTuple):
    """What a look says about one cookie."""

    found: list[Found]
    sure: bool
    """Nobody can have been missed. Only with this does an empty answer mean that nobody is there."""


class Snapshot(NamedTuple):
    """The process table at one moment: where everyone stands, and who holds a cookie."""

    places: dict[int, Place]
    holders: tuple[Found, ...]
    kinships: frozenset[int]
    """Every group and every session that has a member."""
    ended: frozenset[int]
    """The zombies."""
    sure: bool
    """Everyone who was there could be asked; see ``Lookout.look``."""

    def carrying(self, cookie: str) -> list[Found]:
        """Those with this cookie, or, if it ends in a slash, with one that begins so."""
        return [found for found in self.holders if covers(cookie, found.cookie)]

    def belonging(self, cookie: str, *, session: int | None = None) -> Finding:
        """Those ``carrying`` the cookie and their kin: all of their groups, and of the sessions they lead.

        Args:
            cookie: A whole cookie, or a prefix ending in a slash.
            session: A session, and group, known to be ours although its leader is gone and reaped. If somebody has
                that number now, it was free for reuse: nobody of ours was left in it.
        """
        if session in self.places:
            session = None
        holders = self.carrying(cookie)
        pids = {found.pid for found in holders}
        groups = {self.places[pid].group for pid in pids} - {os.getpgrp()}
        sessions = pids if session is None else pids | {session}
        kin = [
            pid
            for pid, place in self.places.items()
            if pid not in pids and (place.group in groups or place.session in sessions or place.group == session)
        ]
        living = [found for pid in kin if pid not in self.ended and (found := _living(pid, self.places[pid]))]
        vanished = len(kin) - len(living) - len(self.ended.intersection(kin))
        return Finding([*holders, *living], self.sure and not vanished)


class Lookout:
    """Looks through all processes for cookies, and remembers the answers so that looking again is cheap.

    A remembered number may have been reused. That of a group's leader is recognized by its start time at each look;
    anyone else's by its group and session, which would have to be reused together with it.
    """

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}

    def look(self) -> Snapshot:
        """Read the process table now, and again until everyone in it could be asked.

        Between listing a process and asking it, it may vanish, and a successor that was not listed run on. So a
        pass is conclusive, and the look ``sure``, only if everyone it listed

        - has answered, in this pass or before, or was known to be a zombie; or
        - vanished from a session whose leader answered. Nobody can enter a session that exists: our child and its
          descendants are in those they opened, each led by a holder of the cookie, or by one that is gone.

        Else there is another pass at once, which asks only those who have not answered yet.

        Why nothing slips through: numbers are given out upwards and listed upwards, so at least one of a chain of
        hoppers is in every list, however short its hops (but for the moment when numbers start again from the
        bottom: see ``QUIET_LOOKS``). Either it answers, and is found; or it vanishes, and its session has no leader
        that could vouch for it, since it or its dead parent leads it: then this pass proves nothing.

        Why busy machines still get their answer: the many short processes of a ``make -j`` vanish from the session
        of a living shell. Those without one, or gone before their session could be read, spoil a pass only if they
        end between its list and its question, 0.1 ms apart: at a thousand such ends a second nine passes in ten are
        conclusive, and there are up to 50.

        Costs about 50 us for a process that is new, 20 us for a leader or holder that is known, 1 us for the others.
        """
        tour, sure, deadline = Tour(self._known), False, time.monotonic() + LOOK_SECS
        for _ in range(LOOK_PASSES):
            sure = tour.go_round()
            if sure or time.monotonic() >= deadline:
                break
        self._known = {pid: answer for pid, answer in tour.answers.items() if answer.final}
        return tour.snapshot(sure=sure)


class Tour:
    """Passes over the process table; each asks only those who have not answered in an earlier one.

    Attributes:
        answers: What everyone said, those of ``known`` included whom a pass has met again.
        places: Where everyone stood that was met.
    """

    def __init__(self, known: Mapping[int, Known]) -> None:
        self.answers: dict[int, Known] = {}
        self.places: dict[int, Place] = {}
        self._known = known

    def go_round(self, meet: Callable[[Known], None] | None = None) -> bool:
        """Make one pass, the newest first, because they are the first to vanish.

        Args:
            meet: Called with each answer as it comes.

        Returns:
            True if the pass was conclusive: see ``Lookout.look``.
        """
        vanished: list[Place | None] = []
        for pid in sorted(set(psutil.pids()).difference(self.answers, (os.getpid(),)), reverse=True):
            place: Place | None = None
            try:
                place = Place(os.getpgid(pid), os.getsid(pid))
                if place.group == 0:
                    continue  # the kernel's own, or of a group outside our process namespace: no descendant of ours
                self.places[pid] = place
                known = self._remembered(pid, place)
                answer = known or _ask(pid, place)
                if answer.ended and known is None:
                    vanished.append(place)
            except (ProcessLookupError, psutil.NoSuchProcess):
                vanished.append(place)
                continue
            except PermissionError:
                continue  # the system hides it from us
            self.answers[pid] = answer
            if meet is not None:
                meet(answer)
        return all(map(self._vouched, vanished))

    def snapshot(self, *, sure: bool) -> Snapshot:
        """What all passes together have seen."""
        holders = tuple(answer.found for answer in self.answers.values() if answer.found is not None)
        ended = frozenset(pid for pid, answer in self.answers.items() if answer.ended)
        return Snapshot(self.places, holders, frozenset(chain.from_iterable(self.places.values())), ended, sure)

    def _vouched(self, place: Place | None) -> bool:
        """True if one that vanished from here cannot have been of a cookie that was not found anyway."""
        if place is None:
            return False
        leader = self.answers.get(place.session)
        return place.session == 0 or (leader is not None and not leader.ended)

    def _remembered(self, pid: int, place: Place) -> Known | None:
        known = self._known.get(pid)
        if known is None or known.place != place:
            return None
        now = time.monotonic()
        if pid == place.group and (known.found is not None or now - known.seen > BELIEVED_SECS):
            if known.process != psutil.Process(pid):
                return None
            known = known._replace(seen=now)
        if known.found is not None and known.process.status() == psutil.STATUS_ZOMBIE:
            return None  # it has died since, and nobody has collected it
        return known


def _ask(pid: int, place: Place) -> Known:
    """Read a process's environment.

    The answer is not final if it may be that of the program before its next exec: a young process, or an empty
    environment.

    Raises:
        psutil.NoSuchProcess: It is gone, or has nothing to say at this moment.
    """
    process = psutil.Process(pid)
    try:
        environment = _environment(process)
        settled = time.time() - process.create_time() > SETTLED_SECS
        if not environment:
            if not (_has_memory(process) or settled):
                raise psutil.NoSuchProcess(pid)
            environment = _environment(process)
    except psutil.ZombieProcess:
        return Known(place, process, None, final=True, seen=time.monotonic(), ended=True)
    cookie = environment.get(COOKIE) if environment else None
    found = Found(pid, process.create_time(), cookie, place, process) if cookie else None
    return Known(place, process, found, settled and environment != {}, time.monotonic())


def _environment(process: psutil.Process) -> dict[str, str] | None:
    """What it shows of its environment; ``None`` if it may not be read."""
    try:
        return process.environ()
    except psutil.AccessDenied:
        return None


def _has_memory(process: psutil.Process) -> bool:
    """False for one that is ending, or in the middle of its exec: it shows no environment, but no arguments either.

    To those who are not root it denies its environment instead.
    """
    try:
        return bool(process.cmdline())
    except psutil.AccessDenied:
        return True


def _living(pid: int, place: Place) -> Found | None:
    """The process, if it runs: a zombie that nobody collects is not ours to wait for."""
    try:
        process = psutil.Process(pid)
        runs = process.status() != psutil.STATUS_ZOMBIE
        return Found(pid, process.create_time(), "", place, process) if runs else None
    except psutil.NoSuchProcess:
        return None  # it has ended since it was listed


def covers(cookie: str, held: str) -> bool:
    """True if a process with the cookie ``held`` is meant by a whole cookie, or by a prefix ending in a slash."""
    return held.startswith(cookie) if cookie.endswith("/") else held == cookie
