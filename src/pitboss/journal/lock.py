"""One dispatcher per run: a lock that the kernel lets go of when its holder dies, however it dies.

The file stays for good; what counts is the lock on it, never the file or the pid in it. Readers ask with
``is_held``, so a run whose dispatcher is dead is never called running. Used by ``compose`` and ``journal.discovery``.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pitboss.errors import RunBusy
from pitboss.journal.disk import PRIVATE, disk_errors, flush

__all__ = ["Holder", "RunLock", "is_held"]

_MAX_BYTES = 4096


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lock, or held it last: the content of the lock's file."""

    pid: int = 0
    epoch: int = 0
    """Counts the dispatchers that have worked on this run, from 1."""
    host: str = ""


class RunLock:
    """The right to write in a run's directory, held until ``release`` or the end of the process."""

    epoch: int
    """1 for the first dispatcher of a run, one more for each that resumes it."""

    def __init__(self, descriptor: int, epoch: int) -> None:
        self._descriptor = descriptor
        self.epoch = epoch

    @classmethod
    def acquire(cls, path: Path) -> RunLock:
        """Takes the lock, or says who has it; does not wait.

        Raises:
            RunBusy: If another dispatcher is at work on this run.
            WorldError: If the file cannot be opened or written.
        """
        with disk_errors("lock", path):
            # Close-on-exec: an agent that inherited it would hold the lock after our death.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            try:
                os.fchmod(descriptor, PRIVATE)
                _lock_exclusively(descriptor, path)
                epoch = _read(descriptor).epoch + 1
                _write(descriptor, Holder(pid=os.getpid(), epoch=epoch, host=os.uname().nodename))
            except BaseException:
                os.close(descriptor)
                raise
        return cls(descriptor, epoch)

    @classmethod
    async def acquire_patiently(cls, path: Path) -> RunLock:
        """Takes the lock, within a second: a command that leaves an order in the journal has it for a moment.

        Raises:
            RunBusy: If another dispatcher is at work on this run.
            WorldError: If the file cannot be opened or written.
        """
        import asyncio  # here: whoever only asks who holds a lock is to start fast

        for _ in range(10):
            try:
                return cls.acquire(path)
            except RunBusy:
                await asyncio.sleep(0.1)
        return cls.acquire(path)

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> int | None:
    """The pid of the dispatcher at work on a run, or ``None`` if there is none.

    The pid is 0 in the instant between a dispatcher's taking the lock and its writing its name, so compare with
    ``None``.

    Raises:
        WorldError: If the file cannot be read.
    """
    with disk_errors("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return None if _try(descriptor, fcntl.LOCK_SH) else _read(descriptor).pid
        finally:
            os.close(descriptor)


def _lock_exclusively(descriptor: int, path: Path) -> None:
    while not _try(descriptor, fcntl.LOCK_EX):
        # A reader that is just asking shares the lock and is gone in an instant; a dispatcher does not share.
        if not _try(descriptor, fcntl.LOCK_SH):
            raise _busy(path, _read(descriptor))
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Holder:
    try:
        return msgspec.json.decode(os.pread(descriptor, _MAX_BYTES, 0), type=Holder)
    except msgspec.DecodeError:
        return Holder()


def _write(descriptor: int, holder: Holder) -> None:
    text = msgspec.json.encode(holder) + b"\n"
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    flush(descriptor)


def _busy(path: Path, holder: Holder) -> RunBusy:
    who = f"process {holder.pid} on {holder.host}" if holder.pid else "another process"
    return RunBusy(f"the run in {path.parent} is being worked on by {who}; wait for it to end, or stop it first")
