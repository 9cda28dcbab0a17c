"""The hand of ``StartGuardian``: keeps the guardian of a run, and tells when it is lost.

Used as an async context manager by ``compose``, around the loop: the guardian is released on an orderly way out
only. On any other way out it finds its pipe closed and does what it is there for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pitboss.drivers.guardian import Guardian, Post
from pitboss.errors import WorldError
from pitboss.model.effects import Emit, StartGuardian
from pitboss.model.signals import GuardianDown, GuardianUp


class Watch:
    """One guardian at a time, for as long as the run lasts."""

    def __init__(self, clock: Callable[[], float], report: Path, post: Post) -> None:
        """Prepare to watch.

        Args:
            clock: What time it is.
            report: Where a guardian writes what it had to stop.
            post: The guardian's place.
        """
        self._clock = clock
        self._report = report
        self._post = post
        self._guardian: Guardian | None = None
        self._group = asyncio.TaskGroup()
        self._waits: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wait in self._waits:
            wait.cancel()
        guardian, self._guardian = self._guardian, None
        if guardian is not None and error is None:
            await guardian.release()
        await self._group.__aexit__(None, None, None)

    async def start(self, effect: StartGuardian, emit: Emit) -> None:
        """Start a guardian; from then on its death is reported."""
        try:
            self._guardian = guardian = await Guardian.start(effect.run_id, report=self._report, post=self._post)
        except WorldError as problem:
            emit(GuardianDown(at=self._clock(), message=str(problem)))
            return
        emit(GuardianUp(at=self._clock(), pid=guardian.pid))
        self._waits.append(self._group.create_task(self._mourn(guardian, emit)))

    async def _mourn(self, guardian: Guardian, emit: Emit) -> None:
        await guardian.wait()
        emit(GuardianDown(at=self._clock(), message=f"the guardian (process {guardian.pid}) has died"))
