"""A file that only grows, has one writer, and is flushed for many lines at once.

While one flush is under way the next lines gather, so the disk's pace never becomes the pace of the callers.
What the lines say does not come in here. Used by ``journal.log`` and ``journal.publish``.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pitboss.journal.disk import create_private, disk_errors, flush, sync_directory, write_all

__all__ = ["Appender"]


class Appender:
    """Gathers lines and commits them: one write and one flush, in a thread of its own.

    All state changes in the event loop's thread; the worker thread only gets bytes and a place to put them.
    """

    def __init__(self, path: Path, descriptor: int, end: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._end = end
        self._lines: list[bytes] = []
        self._batch = b""
        """Being written, or left over from a commit that failed."""
        self._commit: asyncio.Future[None] | None = None
        # Not the loop's shared threads: one that waits for a lock there must not hold up the journal.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"pitboss-{path.stem}")

    @classmethod
    def create(cls, path: Path, first: bytes = b"") -> Appender:
        """Creates the file, which must not exist yet, with its first bytes; both are durable on return.

        Raises:
            WorldError: If it exists or cannot be written.
        """
        with disk_errors("create", path):
            descriptor = create_private(path)
            try:
                write_all(descriptor, first, 0)
                flush(descriptor)
                sync_directory(path.parent)
            except BaseException:
                os.close(descriptor)
                raise
        return cls(path, descriptor, len(first))

    @classmethod
    def open(cls, path: Path) -> Appender:
        """Opens a file to go on behind its end. A torn last line is closed first, so that it spoils no other.

        Raises:
            WorldError: If there is no such file or it cannot be written.
        """
        with disk_errors("open", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            end = os.fstat(descriptor).st_size
            appender = cls(path, descriptor, end)
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
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
            await asyncio.wait([self._commit])
        self._batch = b"".join([self._batch, *self._lines])
        self._lines.clear()
        if not self._batch:
            return
        loop = asyncio.get_running_loop()
        commit = loop.run_in_executor(self._thread, self._write_and_flush, self._batch, self._end)
        self._commit = commit
        commit.add_done_callback(self._settle)
        with disk_errors("write", self.path):
            # A caller that is cancelled cannot take back what the thread is writing.
            await asyncio.shield(commit)

    def close(self) -> None:
        """Closes the file after a commit under way; what was never synced is not written."""
        self._thread.shutdown(wait=True)
        os.close(self._descriptor)

    def _write_and_flush(self, batch: bytes, offset: int) -> None:
        # At a fixed offset: a second try overwrites what a failed one left, with the same bytes.
        write_all(self._descriptor, batch, offset)
        flush(self._descriptor)

    def _settle(self, commit: asyncio.Future[None]) -> None:
        self._commit = None
        if commit.exception() is None:
            self._end += len(self._batch)
            self._batch = b""
