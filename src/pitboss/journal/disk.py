"""Writing so that it stays written: private files, whole or not at all, flushed down to the disk.

Everything blocks; those who must not block call it in a thread. What the bytes mean does not come in here.
``Disk`` is the few things asked of the system, and what is built of them; everything durable goes through one, so
that a test can hand in a disk that fills up, fails, or loses its power (``testing.faulty_disk``).
Used by the rest of ``journal``.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pitboss.errors import WorldError

__all__ = ["DISK", "PRIVATE", "Disk", "disk_errors", "flush"]

PRIVATE = 0o600
"""Prompts, answers and paths are the operator's own business."""

_PRIVATE_DIRECTORY = 0o700

_HINTS = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would pass the limit for file sizes (see: ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another place with --run-dir",
    errno.EACCES: "check who may write there",
    errno.EPERM: "check who may write there",
    errno.EMFILE: "too many files are open (see: ulimit -n)",
}

_numbers = itertools.count(1)


@contextmanager
def disk_errors(deed: str, path: Path) -> Iterator[None]:
    """Turns an ``OSError`` into a ``WorldError`` that says what could not be done, where, and what to do."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        advice = f"; {hint}" if hint else ""
        raise WorldError(f"cannot {deed} {path}: {error.strerror or error}{advice}") from error


def flush(descriptor: int) -> None:
    """Returns when the file's content, and the length needed to read it, is on the disk."""
    if sys.platform == "darwin":
        # There, fsync leaves the data in the drive's cache; some file systems have nothing better.
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


class Disk:
    """A disk: what is asked of the system, one call each, and below it what is built of those calls."""

    def create(self, path: Path) -> int:
        """Creates a file that must not exist yet, for its owner only whatever the umask; returns its descriptor."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        os.fchmod(descriptor, PRIVATE)
        return descriptor

    def open(self, path: Path) -> int:
        """Opens a file that exists, to read and write it."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Writes at ``offset``; returns how much was taken, which may be less than all."""
        return os.pwrite(descriptor, data, offset)

    def flush(self, descriptor: int) -> None:
        """Returns when the file's content is on the disk."""
        flush(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cuts a file off."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        """Gives a file back."""
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        """Gives a file another name; what had that name is gone."""
        old.replace(new)

    def make_directory(self, path: Path, *, may_exist: bool) -> None:
        """Creates a directory, for its owner only whatever the umask."""
        path.mkdir(_PRIVATE_DIRECTORY, exist_ok=may_exist)
        path.chmod(_PRIVATE_DIRECTORY)

    def sync_directory(self, path: Path) -> None:
        """Makes the names in a directory durable: a flushed file without its name is lost all the same."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return  # one may create names in a directory that one may not read; then there is no way to flush it
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # what is built of it

    def write_all(self, descriptor: int, data: bytes, offset: int) -> None:
        """Writes all of ``data`` at ``offset``: one call, and more only if the system took part of it."""
        view = memoryview(data)
        while view:
            written = self.write(descriptor, view, offset)
            view = view[written:]
            offset += written

    def make_directories(self, path: Path) -> None:
        """Creates a directory that must not exist yet, and the missing ones above it, durably.

        Raises:
            FileExistsError: If it exists.
        """
        missing = [path, *itertools.takewhile(lambda parent: not parent.exists(), path.parents)]
        for directory in reversed(missing):
            # Two runs may begin at once and share a parent; the directory itself is never shared.
            self.make_directory(directory, may_exist=directory != path)
        for directory in missing:
            self.sync_directory(directory.parent)

    def write_atomic(self, path: Path, data: bytes) -> None:
        """Puts a whole private file in place, durably; a reader sees the old content or the new, never a part.

        Raises:
            WorldError: If it cannot be written; what was there before is untouched.
        """
        self.write_together(path.parent, {path.name: data})

    def write_together(self, directory: Path, files: Mapping[str, bytes]) -> None:
        """Puts several whole private files in place, durably.

        First all are written, then all are flushed: the first flush takes most of the others along.

        Raises:
            WorldError: If one cannot be written; each is as it was before or whole.
        """
        with ExitStack() as drafts:
            written = [(directory / name, *self._draft(drafts, directory / name, data)) for name, data in files.items()]
            for path, descriptor, draft in written:
                with disk_errors("write", path):
                    self.flush(descriptor)
                    self.replace(draft, path)
        with disk_errors("write", directory):
            self.sync_directory(directory)

    def _draft(self, stack: ExitStack, path: Path, data: bytes) -> tuple[int, Path]:
        """Writes a fresh file beside ``path``; at the end of ``stack`` it is closed, and gone unless it was renamed."""
        with disk_errors("write", path):
            descriptor, draft = self._create_draft(path)
            stack.callback(draft.unlink, missing_ok=True)
            stack.callback(self.close, descriptor)
            self.write_all(descriptor, data, 0)
        return descriptor, draft

    def _create_draft(self, path: Path) -> tuple[int, Path]:
        """The name is ours alone, but a dead process with our pid may have left a file of that name."""
        while True:
            draft = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
            try:
                return self.create(draft), draft
            except FileExistsError:
                continue


DISK = Disk()
"""The machine's own."""
