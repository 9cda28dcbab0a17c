"""The git binary, held firmly: one child at a time, its environment ours, its hooks silent, its end awaited.

Also the locks that git children share with us. What may not come in: what a worktree is, or anything else
about our trade. Only the other ``git`` rooms call it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pitboss.errors import OperatorError, WorldError

MINIMUM = (2, 36)
"""2.31 brought settings by environment, 2.34 ``add --sparse``, 2.36 the choice of what is flushed to disk."""

_LOCK = "pitboss.lock"

_POLITE_SECS = 5.0
"""How long a git that was told to stop may take to remove its lock files and half-made folders."""

_NEIGHBOUR_LEFT = re.compile(r"failed to read .*/worktrees/[^/]+/\w+: No such file or directory")
"""What git 2.39 fails with before it has done anything, if a worktree that it lists is removed at the same moment."""

_PAUSES = (0.02, 0.1, 0.4)
"""Before such a command is run again."""

_SETTINGS = {
    # Nobody's hooks run for our plumbing, and no daemon is started that would outlive it or hold our locks.
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.splitIndex": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "commit.gpgSign": "false",
    # What is set aside is saved as it is: a mixture of line ends is no reason to refuse it.
    "core.safecrlf": "false",
    "i18n.commitEncoding": "utf-8",
    "advice.addEmbeddedRepo": "false",
}

_DURABLE = {
    # What is reported as saved has left the disk's cache; `batch` makes that one flush for each command.
    "core.fsync": "objects,reference",
    "core.fsyncMethod": "batch",
}

_REMOVED = frozenset(
    {
        # What `git rev-parse --local-env-vars` lists: it leads git to another repository.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS",
        "GIT_CONFIG_COUNT",
        "GIT_OBJECT_DIRECTORY",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_REPLACE_REF_BASE",
        "GIT_PREFIX",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_COMMON_DIR",
        # What changes the meaning or the output of plumbing.
        "GIT_NAMESPACE",
        "GIT_QUARANTINE_PATH",
        "GIT_ATTR_SOURCE",
        "GIT_INDEX_VERSION",
        "GIT_REFLOG_ACTION",
        "GIT_LITERAL_PATHSPECS",
        "GIT_GLOB_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_EXTERNAL_DIFF",
        "GIT_DIFF_OPTS",
        "GIT_PAGER",
        "GIT_EDITOR",
        "GIT_SEQUENCE_EDITOR",
        "GIT_AUTHOR_DATE",
        "GIT_COMMITTER_DATE",
        "LANGUAGE",
    }
)

_FORCED = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_NAME": "Pitboss",
    "GIT_AUTHOR_EMAIL": "pitboss@localhost",
    "GIT_COMMITTER_NAME": "Pitboss",
    "GIT_COMMITTER_EMAIL": "pitboss@localhost",
}


class GitFailed(WorldError):
    """A git command did not do what it was asked."""


class GitUnusable(OperatorError):
    """There is no git here, or it is too old."""


class Output(NamedTuple):
    """What a git command said."""

    code: int
    out: bytes
    err: str

    @property
    def ok(self) -> bool:
        """True if it did what it was asked."""
        return self.code == 0

    @property
    def text(self) -> str:
        """Its standard output as text that turns back into the same bytes, without the last line's end."""
        return os.fsdecode(self.out.removesuffix(b"\n"))

    @property
    def reason(self) -> str:
        """The one line that says best why it failed."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
        line = (told or lines or [f"git ended with code {self.code} and said nothing"])[0]
        return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")


def environment(inherited: Mapping[str, str], cookie: str, *, durable: bool = False) -> dict[str, str]:
    """The environment of a git child: the operator's, without what would lead git elsewhere, and our settings.

    Settings travel in the environment, not as ``-c``, so that the commands git itself starts obey them too.
    """
    kept = {key: value for key, value in inherited.items() if key not in _REMOVED}
    settings = _SETTINGS | _DURABLE if durable else _SETTINGS
    numbered = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        numbered |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return kept | numbered | _FORCED | {"PITBOSS_COOKIE": cookie}


@dataclass(frozen=True, slots=True)
class Git:
    """The git binary and the place it is asked about."""

    cookie: str = ""
    place: tuple[str, ...] = ()
    """Global options that come first: which repository, which folder."""
    index: str | None = None
    """An index other than the worktree's own."""
    durable: bool = False
    """Whether what it writes has to survive a power cut."""

    def at(self, directory: str | Path) -> Git:
        """Asked in a directory, which finds its own repository."""
        return replace(self, place=("-C", str(directory)))

    def on(self, admin: Path, *, durable: bool = False) -> Git:
        """Asked about exactly this git directory, whatever lies in the folders around it."""
        return replace(self, place=(f"--git-dir={admin}",), durable=durable)

    def saving(self, admin: Path, worktree: Path, index: Path) -> Git:
        """Asked about exactly this worktree, with another index, and writing for good."""
        place = (f"--git-dir={admin}", "-C", str(worktree), f"--work-tree={worktree}")
        return replace(self, place=place, index=str(index), durable=True)

    async def ask(
        self, *args: str, stdin: bytes | None = None, hold: Iterable[int] = (), at: float | None = None
    ) -> Output:
        """Run a command that has to work.

        Raises:
            GitFailed: It did not.
        """
        output = await self.run(*args, stdin=stdin, hold=hold, at=at)
        if not output.ok:
            raise GitFailed(f"`git {args[0]}` failed: {output.reason}")
        return output

    async def run(
        self, *args: str, stdin: bytes | None = None, hold: Iterable[int] = (), at: float | None = None
    ) -> Output:
        """Run a command to its end and say how it went; whoever cancels it gets a git that has ended.

        Args:
            args: The command and its arguments.
            stdin: What it reads; nothing if ``None``.
            hold: Descriptors of locks. The child holds them too, so a lock lasts as long as a git that
                outlives us.
            at: The time a commit is dated.
        """
        output = await self._run(args, stdin, tuple(hold), at)
        for pause in _PAUSES:
            if output.ok or not _NEIGHBOUR_LEFT.search(output.err):
                break
            await asyncio.sleep(pause)
            output = await self._run(args, stdin, tuple(hold), at)
        return output

    async def _run(self, args: tuple[str, ...], stdin: bytes | None, hold: tuple[int, ...], at: float | None) -> Output:
        process = await self._start(args, stdin, hold, at)
        try:
            out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                await _stop(process)
        return Output(process.returncode or 0, out, err.decode("utf-8", "replace"))

    async def _start(
        self, args: tuple[str, ...], stdin: bytes | None, hold: tuple[int, ...], at: float | None
    ) -> asyncio.subprocess.Process:
        env = environment(os.environ, self.cookie, durable=self.durable)
        if self.index is not None:
            env["GIT_INDEX_FILE"] = self.index
        if at is not None:
            env |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{int(at)} +0000")
        try:
            return await asyncio.create_subprocess_exec(
                "git",
                "--no-pager",
                *self.place,
                *args,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=env,
                pass_fds=hold,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise GitUnusable("git was not found: install git and put it on PATH.") from error
        except (OSError, ValueError) as error:
            raise GitFailed(f"git could not be started: {error}.") from error


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a git that nobody waits for any more: politely first, because it then cleans up behind itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _POLITE_SECS)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def check_version(git: Git) -> None:
    """Make sure that git is there and new enough.

    Raises:
        GitUnusable: It is not.
    """
    said = (await git.run("version")).text
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None:
        raise GitUnusable(f"`git version` said {said!r}, which names no version: check which git is on PATH.")
    if (int(found[1]), int(found[2])) < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise GitUnusable(f"git {found[0]} is too old: Pitboss needs {wanted} or newer; install a newer git.")


class Locks:
    """Locks between tasks of this process and between processes: files that git children hold with us."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._queues: dict[Path, asyncio.Lock] = {}

    def of_repository(self, common: Path) -> AbstractAsyncContextManager[int]:
        """The one lock under which worktrees and branches of a repository are made and unmade."""
        if self._folder is None:
            return self._held(common / _LOCK)
        name = hashlib.sha256(os.fsencode(common)).hexdigest()[:16]
        return self._held(self._folder / f"{name}.lock")

    def of_worktree(self, admin: Path) -> AbstractAsyncContextManager[int]:
        """The lock of one worktree, by its folder in the git directory."""
        return self._held(admin / _LOCK)

    @asynccontextmanager
    async def _held(self, path: Path) -> AsyncIterator[int]:
        """Hold a lock; yields the descriptor, for children to hold it too.

        Our own tasks queue up without polling; only the first of them asks again and again for a lock that
        another process has, because waiting for it in a thread could not be cancelled.
        """
        async with self._queues.setdefault(path, asyncio.Lock()):
            descriptor = _open(path)
            try:
                await _lock(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise GitFailed(
            f"The lock file {path} cannot be opened ({error.strerror}): make its folder writable."
        ) from error


async def _lock(descriptor: int) -> None:
    pause = 0.002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        else:
            return
