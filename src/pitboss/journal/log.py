"""The journal of a run: every fact, in order, on disk before anything is done about it.

One dispatcher writes it, after taking ``journal.lock``; anyone may read it meanwhile. ``journal.entries`` has the
format, ``journal.reader`` the reading side, which is also to be had here. Called by the engine's loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pitboss.journal.appender import Appender
from pitboss.journal.blobs import Blobs, blobs_of
from pitboss.journal.disk import DISK, Disk
from pitboss.journal.entries import FORMAT, Entry, Scalar, encode_entry, encode_header
from pitboss.journal.reader import Follower, Replay, Torn, last_entries, replay
from pitboss.model.facts import Fact

__all__ = ["Entry", "Follower", "Journal", "Replay", "Torn", "last_entries", "replay", "write_whole"]


class Journal:
    """The one writer of a journal."""

    def __init__(self, appender: Appender, blobs: Blobs, *, seq: int = 0, format_version: int = FORMAT) -> None:
        self._appender = appender
        self.seq = seq
        """Of the last fact that was taken down."""
        self._keep = blobs.put if format_version > 1 else None

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Scalar], *, disk: Disk = DISK) -> Journal:
        """Begins a journal with its header, on disk when this returns.

        Args:
            path: Where; the file must not exist yet.
            header: What readers want to know before the first fact, such as the run's id.
            disk: What it is written with.

        Raises:
            WorldError: If it exists or cannot be written.
        """
        blobs = Blobs(blobs_of(path), disk)
        return cls(Appender.create(path, encode_header(header), disk=disk, before=blobs.flush), blobs)

    @classmethod
    def reopen(cls, path: Path, past: Replay, *, disk: Disk = DISK) -> Journal:
        """Goes on with a journal behind its last sound fact; what a crash left half written behind it is cut off.

        It goes on in the format it was begun in, so that its header stays true.

        Args:
            path: Where.
            past: The journal, read to its end.
            disk: What it is written with.

        Raises:
            WorldError: If it cannot be written.
        """
        blobs = Blobs(blobs_of(path), disk)
        appender = Appender.open(path, end=past.end, disk=disk, before=blobs.flush)
        return cls(appender, blobs, seq=past.seq, format_version=past.format_version)

    def append(self, fact: Fact, *, cause: int, by: str) -> int:
        """Adds a fact to what the next ``sync`` commits; never blocks.

        Args:
            fact: What happened.
            cause: The number of the fact it follows from; 0 if none.
            by: The signal or rule that brought it about.

        Returns:
            The fact's number: 1, 2, 3 and so on.
        """
        self.seq += 1
        self._appender.write(encode_entry(self.seq, cause, by, fact, self._keep))
        return self.seq

    async def sync(self) -> None:
        """Returns when every fact appended before this call is on the disk: one write, one flush.

        Facts appended meanwhile go to the next commit. After a failure the facts are kept and go first next time.

        Raises:
            WorldError: If the disk is full, or the like.
        """
        await self._appender.sync()

    def close(self) -> None:
        """Closes the file; facts that were never synced are not written: nothing was done about them either."""
        self._appender.close()


def write_whole(path: Path, header: Mapping[str, Scalar], facts: Iterable[Fact], *, by: str, disk: Disk = DISK) -> None:
    """Puts a journal with its first facts in place, whole and durable: readers see all of it or none.

    Args:
        path: Where; there must be none yet.
        header: As for ``Journal.create``.
        facts: The facts, each following from the first.
        by: The rule that brought them about.
        disk: What it is written with.

    Raises:
        WorldError: If it cannot be written.
    """
    blobs = Blobs(blobs_of(path), disk)
    entries = [encode_entry(seq, min(seq - 1, 1), by, fact, blobs.put) for seq, fact in enumerate(facts, start=1)]
    blobs.flush()
    disk.write_atomic(path, b"".join([encode_header(header), *entries]))
