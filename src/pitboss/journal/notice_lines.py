"""The hand that writes ``notifications.jsonl``: how telling went, one line a time; and the mark that something is owed.

A projection of the facts, like every public file. The mark, a file, is there from the start of a run that tells
somebody until nothing is owed any more: by it later commands find such runs without reading their journals. It is empty
until one of them has tried in vain, and then says when to try again. Called by ``engine.perform``, ``compose`` and
``upkeep``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from pitboss.errors import WorldError
from pitboss.journal.appender import Appender
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import Emit, PublishNotices
from pitboss.model.signals import ArtifactFailed, ArtifactWritten
from pitboss.wire.notices import encode_settled

__all__ = ["Later", "NoticeLines", "later_of", "mark", "put_off", "unmark"]


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


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """When what is owed may be sent again: the content of the mark."""

    tries: int = 0
    """How many commands have tried in vain."""
    not_before: float = 0.0
    """Seconds since the epoch."""


def put_off(run: RunDir, later: Later) -> None:
    """Note that sending was tried in vain, and is not to be tried again at once.

    Raises:
        WorldError: It cannot be written.
    """
    run.disk.write_atomic(run.notices_due, msgspec.json.encode(later))


def later_of(run: RunDir) -> Later:
    """When what is owed may be sent again: at once, unless the mark says otherwise."""
    try:
        return msgspec.json.decode(run.notices_due.read_bytes(), type=Later)
    except (OSError, msgspec.DecodeError):
        return Later()


def unmark(run: RunDir) -> None:
    """Nothing is owed any more."""
    run.notices_due.unlink(missing_ok=True)
