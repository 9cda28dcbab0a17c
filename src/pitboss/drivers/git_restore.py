"""Bringing set-aside work back: as a new worktree that stands as the lost one stood, or as a new branch.

The other half of `git_set_aside`, whose commits are read here: the tree is every file as it lay there, the first
parent what was checked out, the next one what was staged if that was something else, the others commits nobody else
knew. Refs are only read, and the operator's checkout, index and branches are never written to. What may not come
in: runs and their records. Called by `upkeep` for the operator, when no dispatcher need be at work, and by
`git_prepare` for an actor that goes on where its worktree was removed.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pitboss.drivers.git_command import Git, GitFailed, Locks
from pitboss.drivers.git_repository import absolute, check_branch_name, commit_of
from pitboss.errors import OperatorError

__all__ = ["Change", "Saved", "fill", "find_saved", "read_saved", "restore_branch", "restore_worktree"]

_STAGED = "What was staged"
_OWNER, _IGNORED = "Pitboss-Attempt", "Pitboss-Ignored"


class Change(NamedTuple):
    """One path in which the set-aside state differs from the commit it stood on."""

    kind: str
    """``A`` added, ``M`` modified, ``D`` deleted or ``T`` of another type, as git says it."""
    path: str


class Saved(NamedTuple):
    """One state that was set aside."""

    ref: str
    commit: str
    parent: str
    """The commit that was checked out."""
    staged: str | None
    """A commit of what was staged, if that was neither committed nor what lay in the folder."""
    others: tuple[str, ...]
    """Commits that only the worktree remembered: made on a detached HEAD, reset away or half merged in."""
    changes: tuple[Change, ...]
    ignored: int
    """Ignored files that were there and were not saved."""
    at: float


async def find_saved(directory: str, ref: str, owner: str) -> list[Saved]:
    """What was set aside for one actor, oldest first.

    Args:
        directory: The repository, or a folder inside it.
        ref: The actor's private ref; a state that was set aside later has a number after it.
        owner: ``<run>/<actor>``: tells the second state of ``a`` from the first of an actor called ``a.2``.

    Raises:
        GitFailed: The repository is gone, or git cannot read it.
    """
    git = await _repository(directory)
    mine = [row for row in await _rows(git, ref, f"{ref}.*") if _trailer(row[4], _OWNER).rpartition("/")[0] == owner]
    return [await _saved(git, *row) for row in sorted(mine, key=lambda row: (len(row[0]), row[0]))]


async def read_saved(git: Git, ref: str, commit: str) -> Saved | None:
    """One state that was set aside, if its ref still keeps it."""
    rows = [row for row in await _rows(git, ref) if row[:2] == [ref, commit]]
    return await _saved(git, *rows[0]) if rows else None


async def _rows(git: Git, *patterns: str) -> list[list[str]]:
    """Ref, commit, parents, date and message of every ref that matches."""
    shown = "%(refname)%00%(objectname)%00%(parent)%00%(committerdate:unix)%00%(contents)%00"
    output = await git.ask("for-each-ref", f"--format={shown}", *patterns)
    words = [word.removeprefix("\n") for word in output.text.split("\0")[:-1]]
    return [words[first : first + 5] for first in range(0, len(words), 5)]


async def restore_worktree(directory: str, saved: Saved, into: str) -> Path:
    """Make a worktree in which the set-aside state is uncommitted again, on the commit it stood on.

    Returns:
        Where it is.

    Raises:
        OperatorError: There is something at ``into`` already.
        GitFailed: Git cannot make it; nothing of it is left.
    """
    git = await _repository(directory)
    path = absolute(into)
    await asyncio.to_thread(_require_free, path)
    common = Path((await git.ask("rev-parse", "--path-format=absolute", "--git-common-dir")).text)
    async with Locks().of_repository(common) as lock:
        add = ("worktree", "add", "--quiet", "--no-checkout", "--detach", "--", str(path), saved.parent)
        output = await git.run(*add, hold=(lock,))
    if not output.ok:
        raise GitFailed(f"no worktree can be made in {path}: {output.reason}; choose another folder for --into")
    try:
        await fill(git.at(path), saved)
    except BaseException:
        await git.run("worktree", "remove", "--force", "--force", "--", str(path))
        raise
    return path


async def restore_branch(directory: str, saved: Saved, branch: str) -> None:
    """Put a new branch at the set-aside commit.

    Raises:
        OperatorError: The name is taken, or cannot be a branch's.
        GitFailed: Git cannot make it.
    """
    check_branch_name(branch)
    git = await _repository(directory)
    ref = f"refs/heads/{branch}"
    if await commit_of(git, ref) is not None:
        raise OperatorError(f"there is a branch {branch} in {directory} already: choose another name for --branch")
    output = await git.run("update-ref", "-m", "branch: Created by pitboss restore", ref, saved.commit, "")
    if not output.ok:
        raise GitFailed(f"the branch {branch} cannot be created in {directory}: {output.reason}")


async def _repository(directory: str) -> Git:
    git = Git().at(directory)
    if not await asyncio.to_thread(os.path.isdir, directory):
        raise GitFailed(f"{directory}, where the work was set aside, is gone: put the repository back, then try again")
    output = await git.run("rev-parse", "--git-dir")
    if not output.ok:
        raise GitFailed(f"{directory}, where the work was set aside, cannot be used as a repository: {output.reason}")
    return git


async def _saved(git: Git, ref: str, commit: str, parents: str, date: str, message: str) -> Saved:
    parent, *others = parents.split()
    staged = others.pop(0) if others and await _is_staged(git, others[0], parent) else None
    names = (await git.ask("diff-tree", "-r", "-z", "--no-renames", "--name-status", parent, commit)).out.split(b"\0")
    changes = [Change(os.fsdecode(kind), os.fsdecode(path)) for kind, path in zip(names[0::2], names[1::2])]  # noqa: B905 - the last end of a record leaves an odd one
    ignored = int(_trailer(message, _IGNORED) or 0)
    return Saved(ref, commit, parent, staged, tuple(others), tuple(changes), ignored, float(date))


async def _is_staged(git: Git, commit: str, parent: str) -> bool:
    """Tell the commit of what was staged from one that an agent made and nobody else knew."""
    options = ("--no-patch", "--no-show-signature", "--format=%P%n%ae%n%s")
    shown = (await git.ask("show", *options, commit)).text
    return shown == f"{parent}\npitboss@localhost\n{_STAGED}"


def _trailer(message: str, key: str) -> str:
    found = re.findall(rf"^{key}: (.*)$", message, re.MULTILINE)
    return found[-1] if found else ""


def _require_free(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise OperatorError(f"{path} is there already and is no folder: choose another for --into")
    if any(path.iterdir()):
        raise OperatorError(f"the folder {path} is not empty: choose another for --into")


async def fill(git: Git, saved: Saved, *, hold: Iterable[int] = ()) -> None:
    """Write all files, then have the index say what was staged; a sparse checkout must hide nothing of it.

    Args:
        git: Asked in the worktree, which holds nothing anybody wants to keep.
        saved: What is to lie in it.
        hold: Descriptors of locks, as for `Git.run`.

    Raises:
        GitFailed: It cannot be had whole; what is there may be half of it.
    """
    await git.ask("read-tree", "--no-sparse-checkout", "--reset", "-u", saved.commit, hold=hold)
    # Without `-u` the files stay, and what is equal need not be read again.
    await git.ask("read-tree", "--no-sparse-checkout", "--reset", saved.staged or saved.parent, hold=hold)
