"""The hand that writes ``notifications.jsonl``: how telling went, one line a time; and the mark that something is owed.

A projection of the facts, like every public file. The mark, an empty file, is there from the start of a run that tells
somebody until nothing is owed any more: by it later commands find such runs without reading their journals. Called by
``engine.perform``, ``compose`` and ``upkeep``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pitboss.errors import WorldError
from pitboss.journal.appender import Appender
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import Emit, PublishNotices
from pitboss.model.signals import ArtifactFailed, ArtifactWritten
from pitboss.wire.notices import encode_settled

__all__ = ["NoticeLines", "mark", "unmark"]


class NoticeLines:
    """Writes lines; whatever the disk does comes home as a signal."""

    def __init__(self, run: RunDir, clock: Callable[[], float]) -> None:
        self._run = run
        self._clock = clock
        self._turn = asyncio.Lock()

    async def publish(self, effect: PublishNotices, emit: Emit) -> None:
        """Add lines, or write the file anew."""
        path, data = self._run.notifications, b"".join(map(encode_settled, effect.settled))
        try:
            async with self._turn:
                if effect.anew or not path.exists():
                    await asyncio.to_thread(self._run.disk.write_atomic, path, data)
                else:
                    await self._add(data)
        except WorldError as error:
            emit(ArtifactFailed(at=self._clock(), path=str(path), message=str(error)))
        else:
            emit(ArtifactWritten(at=self._clock(), path=str(path)))

    async def _add(self, data: bytes) -> None:
        lines = Appender.open(self._run.notifications, disk=self._run.disk)
        try:
            lines.write(data)
            await lines.sync()
        finally:
            lines.close()


def mark(run: RunDir) -> None:
    """Note that something may be owed.

    Raises:
        WorldError: It cannot be written.
    """
    run.disk.write_atomic(run.notices_due, b"")


def unmark(run: RunDir) -> None:
    """Nothing is owed any more."""
    run.notices_due.unlink(missing_ok=True)
