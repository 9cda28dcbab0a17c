"""The guardian of a run: a small process that stops everything of the run when the dispatcher is gone (law 3).

It holds the reading end of a pipe whose writing end only the dispatcher has. However the dispatcher ends, the kernel
closes that end, and the guardian sweeps: see ``guardian_main``, which is all that runs over there. Here is the
dispatcher's side: start it, hear of its death, release it. What to do without a guardian is the core's opinion.

The guardian that sweeps is the last of its dispatcher, and a resume may be there before it has done: it would stop the
next dispatcher's sessions with the old ones. So it has a ``Post``, which the next dispatcher must have before it starts
anything.

The guardian leads its own session, deaf to ^C and hang-up, works in ``/``, inherits no descriptor but its three
pipes and its post, and no cookie: not even that of an outer run that this dispatcher may be an actor of, or the outer
sweep would stop the inner guardian first and leave the inner actors alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

import pitboss
from pitboss.drivers.lookout import COOKIE
from pitboss.drivers.process import Child
from pitboss.errors import WorldError

__all__ = ["Guardian", "Post"]

READY_SECS = 30.0
"""How long a start may take, on a machine that is busy starting other things."""

PATIENCE_SECS = 60.0
"""How long a new dispatcher waits for the guardian of an old one: twice what a sweep may take."""

LOOK_AGAIN_SECS = 0.02

LEAVE_SECS = 5.0
"""How long a released guardian may take to leave."""


class Post:
    """The place of a run's guardian: a lock that is held until the last process that has it is gone.

    A dispatcher takes it, and each guardian it starts is born with it: there is no moment in which a guardian lives
    and the post is free, and the kernel frees it however they die.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, on_wait: Callable[[], None], patience_secs: float = PATIENCE_SECS) -> Self:
        """Take the post, once the guardian of an earlier dispatcher has left it; blocks until then.

        Args:
            path: The lock's file, in the run's folder; made with mode 0600.
            on_wait: Called if there is such a guardian.
            patience_secs: How long to wait for it at most: longer than a sweep ever takes.

        Raises:
            WorldError: It does not leave, or the file cannot be opened.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise WorldError(f"cannot lock {path}: {problem.strerror}") from problem
        deadline, told = time.monotonic() + patience_secs, False
        while not _lock(descriptor):
            if not told:
                told = True
                on_wait()
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise WorldError(
                    f"the guardian of the old dispatcher does not end; stop it (fuser {path}), then try again"
                )
            time.sleep(LOOK_AGAIN_SECS)
        return cls(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Guardian:
    """The living guardian of one run."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """The guardian's process."""
        return self._child.pid

    @classmethod
    async def start(cls, run_id: str, *, report: Path | None = None, post: Post | None = None) -> Guardian:
        """Start a guardian; it watches from the moment this returns.

        Args:
            run_id: The run whose processes it stops.
            report: File it appends one JSON line to, if it ever has to sweep; made with mode 0600.
            post: What keeps the next dispatcher waiting for as long as it lives.

        Raises:
            WorldError: It could not be started, or died at once.
        """
        ready, said = asyncio.Event(), bytearray()
        child = await Child.start(
            _command(run_id, report),
            cwd="/",
            env={name: value for name, value in os.environ.items() if name != COOKIE},
            on_stdout=lambda _: ready.set(),
            on_stderr=said.extend,
            pass_fds=(post.descriptor,) if post else (),
        )
        guardian = cls(child)
        try:
            answered = await _answered(child, ready)
        except asyncio.CancelledError:
            await guardian._kill()
            raise
        if not answered:
            await guardian._kill()
            last = said.decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing"
            raise WorldError(f"the guardian process did not start: {last}; check that {sys.executable!r} runs")
        return guardian

    async def wait(self) -> None:
        """Return when the guardian is dead, for whatever reason."""
        await self._child.wait()
        await self._child.drain(0)

    async def release(self) -> None:
        """Let it leave without stopping anything; returns when it is gone."""
        self._child.write(b"release\n")
        self._child.close_stdin()
        try:
            async with asyncio.timeout(LEAVE_SECS):
                await self.wait()
        except TimeoutError:
            await self._kill()

    async def _kill(self) -> None:
        self._child.signal(signal.SIGKILL)
        await self._child.wait()
        await self._child.drain(1.0)


def _command(run_id: str, report: Path | None) -> list[str]:
    """Isolated, without site packages, writing no bytecode; told where to find what it will need."""
    homes = [Path(module.__file__ or "").resolve().parents[1] for module in (psutil, pitboss)]
    where = "" if report is None else str(report.absolute())
    script = str(Path(__file__).resolve().with_name("guardian_main.py"))
    return [sys.executable, "-I", "-S", "-B", script, run_id, where, *map(str, dict.fromkeys(homes))]


async def _answered(child: Child, ready: asyncio.Event) -> bool:
    """Wait until it is ready, or dead, or overdue; true if it is ready."""
    waits = [asyncio.ensure_future(ready.wait()), asyncio.ensure_future(child.wait())]
    try:
        await asyncio.wait(waits, timeout=READY_SECS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return ready.is_set()
