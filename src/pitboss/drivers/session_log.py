"""Where the raw streams of a session go: ``stdout.log`` and ``stderr.log``, byte for byte, private, appended to.

Writing is a thread's work: a disk that is busy with other things makes a writer wait for tenths of a second, and the
loop must not be that writer. A disk that fails must not end a session either: what could not be written is counted,
and told once.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

TAIL_BYTES = 8192
"""How much of stderr is kept in memory for the explanation of a failure."""

BACKLOG_BYTES = 64 * 1024 * 1024
"""With more than this waiting for the disk, the loop waits with it: memory stays bounded, and so do the agents."""


class Scribe:
    """One thread that writes for all sessions of a run, each file in the order it was asked."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._backlog = 0
        self._thread: threading.Thread | None = None

    def write(self, log: LogFile, chunk: bytes) -> None:
        """Have ``chunk`` appended to ``log``; waits only while the backlog is full."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="scribe", daemon=True)
            self._thread.start()
        with self._room:
            self._room.wait_for(lambda: self._backlog < BACKLOG_BYTES)
            self._backlog += len(chunk)
        self._jobs.put(lambda: self._append(log, chunk))

    async def flush(self) -> None:
        """Return once everything asked for so far has been handed to the system."""
        if self._thread is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self._jobs.put(lambda: loop.call_soon_threadsafe(done.set))
        await done.wait()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _append(self, log: LogFile, chunk: bytes) -> None:
        try:
            log.append(chunk)
        finally:
            with self._room:
                self._backlog -= len(chunk)
                self._room.notify()


class LogFile:
    """One file that is only appended to."""

    def __init__(self, path: Path, lost: Callable[[str, str], None]) -> None:
        self._path = path
        self._lost: Callable[[str, str], None] | None = lost
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, chunk: bytes) -> None:
        """Write all of ``chunk``; a failure is told once and never raised."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as problem:
            lost, self._lost = self._lost, None
            if lost is not None:
                lost(str(self._path), f"{problem.strerror}: part of the agent's output is not in this file")

    @property
    def size(self) -> int:
        """How long it is now, in bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


class SessionLog:
    """The two log files of one attempt."""

    def __init__(self, scribe: Scribe, out: LogFile, err: LogFile) -> None:
        self._scribe = scribe
        self._out = out
        self._err = err
        self.stderr_tail = b""

    @classmethod
    async def open(cls, scribe: Scribe, folder: Path, lost: Callable[[str, str], None]) -> SessionLog:
        """Open the files.

        Args:
            scribe: Who writes.
            folder: ``tasks/<actor>`` of the run directory; made if it is not there.
            lost: Told path and reason on the loop, once for each file that could not be written.

        Raises:
            OSError: They cannot be made.
        """
        loop = asyncio.get_running_loop()

        def tell(path: str, reason: str) -> None:
            loop.call_soon_threadsafe(lost, path, reason)

        def make() -> tuple[LogFile, LogFile]:
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            return LogFile(folder / "stdout.log", tell), LogFile(folder / "stderr.log", tell)

        return cls(scribe, *await asyncio.to_thread(make))

    def out(self, chunk: bytes) -> None:
        """Append to ``stdout.log``."""
        self._scribe.write(self._out, chunk)

    def err(self, chunk: bytes) -> None:
        """Append to ``stderr.log`` and remember its end."""
        self._scribe.write(self._err, chunk)
        self.stderr_tail = (self.stderr_tail + chunk)[-TAIL_BYTES:]

    @property
    def size(self) -> int:
        """How long ``stdout.log`` is now, in bytes; exact after a ``flush``."""
        return self._out.size

    async def flush(self) -> None:
        """Return once everything has been handed to the system."""
        await self._scribe.flush()

    async def close(self) -> None:
        """Wait until everything has been written, then close both files."""
        await self.flush()
        self._out.close()
        self._err.close()
