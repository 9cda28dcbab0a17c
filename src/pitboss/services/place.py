"""Where operators reach a run: a private socket, and a file in the run's folder that says which.

A path is chosen that all programs of 0.9 look at, if it can be had; the file is for readers with another
``XDG_RUNTIME_DIR``. Who may come in, and what is said, is the business of ``services.control`` and ``services.mcp``,
which call this.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pitboss.errors import WorldError
from pitboss.journal.disk import PRIVATE
from pitboss.journal.rundir import RunDir

__all__ = ["LONGEST_PATH", "Place", "claim", "temp_folders"]

LONGEST_PATH = 103
"""So many bytes the path of a socket may have on macOS, the stricter of the two; Linux has room for 107."""

_ONLY_OURS = 0o700
_BACKLOG = 16
_ASK_SECS = 1.0
"""How long somebody may take to accept a connection to a socket that we would like to have."""


class Place(NamedTuple):
    """A socket that is being listened on."""

    path: Path
    listener: socket.socket
    folder: Path | None
    """A folder made for it alone."""

    def leave(self) -> None:
        """Take the socket away, if it is still ours."""
        self.listener.close()
        with suppress(OSError):
            self.path.unlink()
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()


def temp_folders() -> Sequence[str]:
    """Where short paths are to be had: some systems have a long one for their first choice."""
    return list(dict.fromkeys((tempfile.gettempdir(), "/tmp")))  # noqa: S108 - mkdtemp makes what is in it ours alone


def claim(run: RunDir, runtime_dir: str, temp: Sequence[str], name: str = "control") -> Place:
    """Listen where clients will look.

    Args:
        run: The run, whose lock is held.
        runtime_dir: ``XDG_RUNTIME_DIR``; empty or relative counts as none.
        temp: Folders for a folder of its own, where the other paths are too long or taken.
        name: The socket's name, without its ending.

    Raises:
        WorldError: There is no place to be had.
    """
    refusals: list[str] = []
    for path, folder in _candidates(run, runtime_dir, temp, name):
        try:
            return Place(path, _listen(path), folder)
        except OSError as problem:
            refusals.append(f"{path}: {problem.strerror or problem}")
            if folder is not None:
                folder.rmdir()
    raise WorldError("; ".join(refusals) or "there is no folder for a socket")


def _candidates(run: RunDir, runtime_dir: str, temp: Sequence[str], name: str) -> Iterator[tuple[Path, Path | None]]:
    if runtime_dir.startswith("/") and (shared := _private_folder(Path(runtime_dir, "pitboss"))) is not None:
        path = shared / f"{run.run_id}.{name}.sock"
        if _fits(path):
            yield path, None
    inside = run.path / f"{name}.sock"
    if _fits(inside):
        yield inside, None
    for base in temp:
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="pitboss-", dir=base))
            path = folder / f"{name}.sock"
            if _fits(path):
                yield path, folder
            else:
                folder.rmdir()


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_PATH


def _private_folder(folder: Path) -> Path | None:
    """The folder, if it is there or can be made, and is ours alone."""
    try:
        folder.mkdir(_ONLY_OURS, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None
        folder.chmod(_ONLY_OURS)
    except OSError:
        return None
    return folder


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(str(path))
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE or not _is_dead(path):
                raise
            path.unlink(missing_ok=True)
            listener.bind(str(path))
        path.chmod(PRIVATE)  # nobody can have connected before: it does not listen yet
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_dead(path: Path) -> bool:
    """True for a socket that nobody listens on: its age says nothing, a run may live for days."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question:
            question.settimeout(_ASK_SECS)
            question.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False
