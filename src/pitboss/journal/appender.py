"""A file that only grows, has one writer, and is flushed for many lines at once.

While one flush is under way the next lines gather, so the disk's pace never becomes the pace of the callers.
What the lines say does not come in here. Used by ``journal.log`` and ``journal.publish``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from pitboss.journal.disk import DISK, Disk, disk_errors

__all__ = ["Appender"]


def _nothing() -> None:
    """What most files have to do before a write."""


class Appender:
    """Gathers lines and commits them: one write and one flush, in a thread of its own.

    All state changes in the event loop's thread; the worker thread only gets bytes and a place to put them.
    """

    def __init__(self, path: Path, descriptor: int, end: int, disk: Disk, before: Callable[[], None]) -> None:
        self.path = path
        self._disk = disk
        self._before = before
        self._descriptor = descriptor
        self._end = end
        self._lines: list[bytes] = []
        self._batch = b""
        """Being written, or left over from a commit that failed."""
        self._commit: _Commit | None = None
        self._work: SimpleQueue[_Commit | None] = SimpleQueue()
        # Not the loop's shared threads: one that waits for a lock there must not hold up the journal. Nor a pool of
        # one: handing work to it costs a tenth of a flush.
        self._thread = Thread(target=self._carry_out, name=f"pitboss-{path.stem}", daemon=True)
        self._thread.start()

    @classmethod
    def create(
        cls, path: Path, first: bytes = b"", *, disk: Disk = DISK, before: Callable[[], None] = _nothing
    ) -> Appender:
        """Creates the file, which must not exist yet, with its first bytes; both are durable on return.

        Args:
            path: Where.
            first: How it begins.
            disk: What it is written with.
            before: Called before each write, in the worker's thread: makes durable what the lines refer to.

        Raises:
            WorldError: If it exists or cannot be written.
        """
        with disk_errors("create", path):
            descriptor = disk.create(path)
            try:
                disk.write_all(descriptor, first, 0)
                disk.flush(descriptor)
                disk.sync_directory(path.parent)
            except BaseException:
                disk.close(descriptor)
                raise
        return cls(path, descriptor, len(first), disk, before)

    @classmethod
    def open(
        cls, path: Path, *, end: int | None = None, disk: Disk = DISK, before: Callable[[], None] = _nothing
    ) -> Appender:
        """Opens a file to go on behind its end. A torn last line is closed first, so that it spoils no other.

        Args:
            path: Where.
            end: Where it is to end: what is behind is cut off, durably. ``None`` leaves it as it is.
            disk: What it is written with.
            before: As for ``create``.

        Raises:
            WorldError: If there is no such file or it cannot be written.
        """
        with disk_errors("open", path):
            descriptor = disk.open(path)
            try:
                size = os.fstat(descriptor).st_size
                if end is not None and end < size:
                    disk.truncate(descriptor, end)
                    disk.flush(descriptor)
                    size = end
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            except BaseException:
                disk.close(descriptor)
                raise
        appender = cls(path, descriptor, size, disk, before)
        if torn:
            appender.write(b"\n")
        return appender

    def write(self, data: bytes) -> None:
        """Adds bytes to what the next ``sync`` commits; never blocks."""
        self._lines.append(data)

    async def sync(self) -> None:
        """Returns when everything written before this call is on the disk.

        After a failure nothing is lost: the same bytes are kept and go first at the next ``sync``.

        Raises:
            WorldError: If the disk is full, or the like.
        """
        while self._commit is not None:
            await self._commit.over.wait()
        self._batch = b"".join([self._batch, *self._lines])
        self._lines.clear()
        if not self._batch:
            return
        commit = self._commit = _Commit(self._batch, self._end, asyncio.get_running_loop())
        self._work.put(commit)
        # A caller that is cancelled takes back nothing: the thread goes on writing, and others wait for that.
        await commit.over.wait()
        if commit.problem is not None:
            with disk_errors("write", self.path):
                raise commit.problem

    def close(self) -> None:
        """Closes the file after a commit under way; what was never synced is not written."""
        self._work.put(None)
        self._thread.join()
        self._disk.close(self._descriptor)

    def _carry_out(self) -> None:
        """The thread: one commit after the other."""
        while (commit := self._work.get()) is not None:
            try:
                self._write_and_flush(commit.batch, commit.offset)
            except Exception as problem:  # noqa: BLE001 - it is raised where it is waited for
                commit.problem = problem
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                commit.loop.call_soon_threadsafe(self._settle, commit)

    def _write_and_flush(self, batch: bytes, offset: int) -> None:
        self._before()
        # At a fixed offset: a second try overwrites what a failed one left, with the same bytes. That also holds
        # for a flush that failed: the system then takes the old write for done, so flushing again proves nothing.
        self._disk.write_all(self._descriptor, batch, offset)
        self._disk.flush(self._descriptor)

    def _settle(self, commit: _Commit) -> None:
        self._commit = None
        if commit.problem is None:
            self._end += len(self._batch)
            self._batch = b""
        commit.over.set()


class _Commit:
    """One write and one flush."""

    def __init__(self, batch: bytes, offset: int, loop: asyncio.AbstractEventLoop) -> None:
        self.batch = batch
        self.offset = offset
        self.loop = loop
        self.over = asyncio.Event()
        self.problem: Exception | None = None
