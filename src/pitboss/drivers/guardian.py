"""The guardian of a run: a small process that stops everything of the run when the dispatcher is gone (law 3).

It holds the reading end of a pipe whose writing end only the dispatcher has. However the dispatcher ends, the kernel
closes that end, and the guardian sweeps: see ``guardian_main``, which is all that runs over there. Here is the
dispatcher's side: start it, hear of its death, release it. What to do without a guardian is the core's opinion.

The guardian leads its own session, deaf to ^C and hang-up, works in ``/``, inherits no descriptor but its three
pipes and no cookie: not even that of an outer run that this dispatcher may be an actor of, or the outer sweep would
stop the inner guardian first and leave the inner actors alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil

import pitboss
from pitboss.drivers.lookout import COOKIE
from pitboss.drivers.process import Child
from pitboss.errors import WorldError

__all__ = ["Guardian"]

READY_SECS = 30.0
"""How long a start may take, on a machine that is busy starting other things."""

LEAVE_SECS = 5.0
"""How long a released guardian may take to leave."""


class Guardian:
    """The living guardian of one run."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """The guardian's process."""
        return self._child.pid

    @classmethod
    async def start(cls, run_id: str, *, report: Path | None = None) -> Guardian:
        """Start a guardian; it watches from the moment this returns.

        Args:
            run_id: The run whose processes it stops.
            report: File it appends one JSON line to, if it ever has to sweep; made with mode 0600.

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
