"""Reading a journal: from the beginning, on from where one stood, or its end only.

A torn tail - what a crash leaves of a write that was never confirmed - is no error: reading stops before it and
says so. Damage with sound lines behind it is one. Nothing here waits or polls: the caller decides when to read.
Free of asyncio, so that ``status`` and ``list`` start fast. Used by the surfaces, ``journal.discovery`` and the engine.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pitboss.errors import WorldError
from pitboss.journal.blobs import Blobs, blobs_of
from pitboss.journal.disk import disk_errors
from pitboss.journal.entries import Entry, Fetch, Header, is_whole, parse_entry, parse_header
from pitboss.model.order_facts import OrderTaken

__all__ = ["Follower", "Replay", "Torn", "last_entries", "replay"]

_TAIL_BYTES = 8192


_ORDER = "OrderGiven"
"""The signal that an order comes in."""


class Torn(NamedTuple):
    """Where a journal stops making sense; nothing sound comes after it."""

    line: int
    offset: int
    """Bytes before it: the length to which the file is sound."""


class Replay(Iterator[Entry]):
    """The entries of a journal in order; its attributes tell how far it has got."""

    header: Header | None
    """The first line; ``None`` until it has been read."""
    torn: Torn | None
    """Set when reading stopped before a torn tail; ``None`` if every line so far was sound."""
    end: int
    """The offset behind the last sound line."""
    seq: int
    """The number of the last entry; 0 before the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = None
        self.torn = None
        self.end = 0
        self.seq = 0
        self._line = 0
        self._order = -1
        """The first fact of the last order that is whole: what follows from it comes behind its ``OrderTaken``."""
        self._fetch = Blobs(blobs_of(path)).get
        self._entries = self.more()

    def __next__(self) -> Entry:
        return next(self._entries)

    @property
    def format_version(self) -> int:
        """The version of the format it is written in, once its header has been read."""
        return int((self.header or {}).get("format") or 0)

    def more(self) -> Iterator[Entry]:
        """The entries behind the last one that was read: for a file that has grown since."""
        self.torn = None
        with disk_errors("read", self.path), self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self.end:
                raise WorldError(f"the journal {self.path} has become shorter than what was read of it; read it anew")
            file.seek(self.end)
            held: list[Entry] = []
            mark = (self._line, self.end, self.seq)
            for line in file:
                if not is_whole(line):
                    self._stop_at(line, file)
                    break
                if not held:
                    mark = (self._line, self.end, self.seq)
                entry = self._take(line)
                if entry is None:
                    continue
                held.append(entry)
                if not self._is_half_an_order(entry, held[0]):
                    yield from held
                    held.clear()
            if held:
                self._line, self.end, self.seq = mark
                self.torn = Torn(self._line + 1, self.end)

    def _is_half_an_order(self, entry: Entry, first: Entry) -> bool:
        """True while the fact is still to come that an order was taken: without it nothing of that order was done.

        All of it was to be written at once, and nothing is done or answered before it is. So what a crash has left of
        an order counts for nothing, or it would be carried out twice when it is given again under its id.
        """
        if entry.by != _ORDER or entry.cause == self._order:
            return False
        if isinstance(entry.fact, OrderTaken):
            self._order = first.seq
            return False
        return True

    def _take(self, line: bytes) -> Entry | None:
        """What a sound line says: ``None`` for the header."""
        entry = None
        try:
            if self._line == 0:
                self.header = parse_header(line)
            else:
                entry = parse_entry(line, self._fetch)
        except WorldError as error:
            raise self._damage(str(error)) from error
        if entry is not None:
            if entry.seq != self.seq + 1:
                raise self._damage(f"fact {self.seq + 1} should stand here, but it is fact {entry.seq}")
            self.seq = entry.seq
        self._line += 1
        self.end += len(line)
        return entry

    def _stop_at(self, line: bytes, file: BinaryIO) -> None:
        """Decides what a line that is not whole means."""
        # Without a newline it is the end of the file as it was a moment ago, and may grow under our eyes:
        # what follows by now is the rest of this very line, so looking further would only mislead.
        if line.endswith(b"\n"):
            goes_on = any(is_whole(later) for later in file)
            if self._line == 0:
                raise self._beheaded() if goes_on else self._damage("this is not the header of a Pitboss journal")
            if goes_on:
                raise self._damage("the line is damaged (its checksum is wrong)")
        self.torn = Torn(self._line + 1, self.end)

    def _beheaded(self) -> WorldError:
        """The first line is damaged: what it says of the others cannot be relied on, and nothing goes on from there."""
        facts = f"`tail -n +2 {shlex.quote(str(self.path))} | jq -c .`"
        return WorldError(
            f"{self.path}:1: the journal's header is damaged (its checksum is wrong), so the run can neither be shown "
            "nor resumed; the facts behind it are still there",
            hint=f"put line 1 back from a copy of the file; without one, {facts} tells what happened and where the "
            "branches and worktrees are, which are as the run left them",
        )

    def _damage(self, what: str) -> WorldError:
        if not self.seq:
            return WorldError(f"{self.path}:{self._line + 1}: {what} (byte {self.end})")
        cut = f"cut it with `truncate -s {self.end}`"
        return WorldError(
            f"{self.path}:{self._line + 1}: {what} (byte {self.end}); the journal is sound up to fact {self.seq}",
            hint=f"to go on from there, keep a copy of the file, {cut}, then resume the run",
        )


def replay(path: Path) -> Replay:
    """All entries of a journal, from the first.

    Iterating raises ``WorldError``, naming file, line and byte, where the journal is damaged or says what this
    version does not know. A torn tail ends the iteration; ``torn`` of the result tells of it afterwards.
    """
    return Replay(path)


class Follower:
    """Reads a journal as it grows: what a surface holds of a live run."""

    def __init__(self, path: Path) -> None:
        self._replay = Replay(path)

    @property
    def header(self) -> Header | None:
        """The first line, once it is there."""
        return self._replay.header

    @property
    def torn(self) -> Torn | None:
        """Set if the last ``read`` ended before a line that is not whole (yet)."""
        return self._replay.torn

    def read(self) -> list[Entry]:
        """What has been added since the last call; empty as long as there is no journal.

        A line that is still being written is left for the next call.

        Raises:
            WorldError: If the journal is damaged, or has become shorter than what was read of it.
        """
        if not self._replay.path.exists():
            return []
        return list(self._replay.more())


def last_entries(path: Path) -> list[Entry]:
    """The last few sound entries, newest first, read from the end: the cost does not grow with the run.

    Lines that are torn, or that only a later version understands, are left out.

    Raises:
        WorldError: If the file cannot be read.
    """
    fetch = Blobs(blobs_of(path)).get
    with disk_errors("read", path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        window = _TAIL_BYTES
        while True:
            start = max(0, size - window)
            file.seek(start)
            # The first line of the window is cut off, unless the window holds the whole file.
            lines = file.read(size - start).splitlines(keepends=True)[1 if start else 0 :]
            entries = [entry for line in reversed(lines) if (entry := _entry_or_none(line, fetch)) is not None]
            if entries or start == 0:
                return entries
            window *= 4


def _entry_or_none(line: bytes, fetch: Fetch) -> Entry | None:
    try:
        return parse_entry(line, fetch) if is_whole(line) else None
    except WorldError:
        return None  # the header, a kind of fact we do not know, or one that refers to what is gone
