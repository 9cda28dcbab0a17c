"""Writing so that it stays written: private files, whole or not at all, flushed down to the disk.

Everything blocks; those who must not block call it in a thread. What the bytes mean does not come in here.
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

__all__ = [
    "PRIVATE",
    "append_line",
    "create_private",
    "disk_errors",
    "flush",
    "make_private_directory",
    "sync_directory",
    "write_all",
    "write_atomic",
    "write_together",
]

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


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable: a flushed file without its name is lost all the same."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # one may create names in a directory that one may not read; then there is no way to flush it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_private(path: Path) -> int:
    """Creates a file that must not exist yet, for its owner only whatever the umask; returns its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    os.fchmod(descriptor, PRIVATE)
    return descriptor


def make_private_directory(path: Path) -> list[Path]:
    """Creates a directory that must not exist yet, and the missing ones above it, for their owner only.

    Returns:
        The directories that hold a new name now: to be made durable with ``sync_directory``.
    """
    missing = [path, *itertools.takewhile(lambda parent: not parent.exists(), path.parents)]
    for directory in reversed(missing):
        # Two runs may begin at once and share a parent; the directory itself is never shared.
        directory.mkdir(_PRIVATE_DIRECTORY, exist_ok=directory != path)
        directory.chmod(_PRIVATE_DIRECTORY)
    return [directory.parent for directory in missing]


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of ``data`` at ``offset``: one call, and more only if the system took part of it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def write_atomic(path: Path, data: bytes) -> None:
    """Puts a whole private file in place, durably; a reader sees the old content or the new, never a part.

    Raises:
        WorldError: If it cannot be written; what was there before is untouched.
    """
    write_together(path.parent, {path.name: data})


def write_together(directory: Path, files: Mapping[str, bytes]) -> None:
    """Puts several whole private files in place, durably.

    First all are written, then all are flushed: the first flush takes most of the others along.

    Raises:
        WorldError: If one cannot be written; each is as it was before or whole.
    """
    with ExitStack() as drafts:
        written = [(directory / name, *_draft(drafts, directory / name, data)) for name, data in files.items()]
        for path, descriptor, draft in written:
            with disk_errors("write", path):
                flush(descriptor)
                draft.replace(path)
    with disk_errors("write", directory):
        sync_directory(directory)


def append_line(path: Path, line: bytes) -> None:
    """Adds one line to a private file, durably: the line and its newline are one write, so lines never mix.

    Raises:
        WorldError: If it cannot be written.
    """
    with disk_errors("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            os.fchmod(descriptor, PRIVATE)
            whole = line + b"\n"
            if os.write(descriptor, whole) != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(descriptor)
        finally:
            os.close(descriptor)


def _draft(stack: ExitStack, path: Path, data: bytes) -> tuple[int, Path]:
    """Writes a fresh file beside ``path``; at the end of ``stack`` it is closed, and gone unless it was renamed."""
    with disk_errors("write", path):
        descriptor, draft = _create_draft(path)
        stack.callback(draft.unlink, missing_ok=True)
        stack.callback(os.close, descriptor)
        write_all(descriptor, data, 0)
    return descriptor, draft


def _create_draft(path: Path) -> tuple[int, Path]:
    """The name is ours alone, but a dead process with our pid may have left a file of that name."""
    while True:
        draft = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
        try:
            return create_private(draft), draft
        except FileExistsError:
            continue
