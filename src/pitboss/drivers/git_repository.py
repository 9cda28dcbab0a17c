"""What git keeps about a checkout and its worktrees, read without changing anything.

The nouns: a checkout (where the operator points), an entry (git's record of one worktree) and our note in it.
What may not come in: making, removing, saving. `git`, `git_set_aside` and `git_preflight` call it.
"""

from __future__ import annotations

import asyncio
import os
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.drivers.git_command import Git
from pitboss.errors import OperatorError
from pitboss.model.run import SetAside

_NOTE = "pitboss.json"
_NO_BRANCH = re.compile(
    r"^-|^@$|^HEAD$|@\{|\.\.|//|^/|/$|\.$|(^|/)\.|\.lock(/|$)|[\x00-\x20\x7f~^:?*\[\\]"  # see git-check-ref-format
)
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Checkout(NamedTuple):
    """A place in a repository that worktrees can start from."""

    directory: str
    """Where the operator pointed, absolute."""
    prefix: str
    """That place inside the repository, such as ``packages/api``; empty for its top."""
    common: Path
    """The git directory that all worktrees of the repository share."""
    head: str
    """The commit that is checked out there."""

    async def require_prefix(self, git: Git, commit: str) -> None:
        """Make sure that a worktree started from a commit will have the operator's folder.

        Raises:
            OperatorError: The folder was never committed, or not to that branch.
        """
        if not self.prefix:
            return
        kind = await git.at(self.directory).run("cat-file", "-t", f"{commit}:{self.prefix}")
        if kind.text != "tree":
            raise OperatorError(
                f"The folder {self.prefix} is not in commit {commit[:12]}, so a worktree would not have it: "
                "commit it first, or point `directory` at the top of the repository."
            )


async def survey(git: Git, directory: str) -> Checkout:
    """Look at the place a worktree is to start from.

    Raises:
        OperatorError: No worktree can start there; the message says why and what to do.
    """
    real = await asyncio.to_thread(os.path.realpath, directory)
    if not await asyncio.to_thread(os.path.isdir, real):
        raise OperatorError(f"{directory} is not a directory: create it, or correct `directory`.")
    asked = ("--path-format=absolute", "--is-bare-repository", "--is-inside-work-tree")
    output = await git.at(real).run("rev-parse", *asked, "--show-cdup", "--git-common-dir", "HEAD^{commit}")
    lines = output.text.split("\n")
    if len(lines) < 3:
        raise OperatorError(_no_repository(directory, output.reason))
    bare, inside, cdup, *rest = lines
    if inside != "true":
        what = "a bare repository" if bare == "true" else "inside a repository's own git directory"
        raise OperatorError(f"{directory} is {what}, so nothing is checked out there: point `directory` at a checkout.")
    *common, head = rest
    if not _SHA.fullmatch(head):
        raise OperatorError(
            f"The repository at {directory} has no commit at its HEAD ({output.reason}), "
            "so there is nothing a worktree could start from: commit something first."
        )
    return Checkout(real, _prefix(real, cdup), Path("\n".join(common)), head)


def _prefix(real: str, cdup: str) -> str:
    """The folder's name inside its repository, from the way up to the top (which no line end can break)."""
    depth = cdup.count("../")
    return "/".join(real.split("/")[-depth:]) if depth else ""


def _no_repository(directory: str, reason: str) -> str:
    if "not a git repository" in reason:
        return (
            f"{directory} is not inside a git repository: run `git init` there and commit, "
            "point `directory` elsewhere, or set `use_worktree = false`."
        )
    return f"git refuses to work in {directory}: {reason}."


def check_branch_name(branch: str) -> None:
    """Refuse what git does not accept as a branch, or would take for something else (``-``, ``@{-1}``).

    Raises:
        OperatorError: The name cannot be a branch's.
    """
    if _NO_BRANCH.search(branch):
        raise OperatorError(f"{branch!r} cannot be the name of a branch: choose another for `branch`.")


async def commit_of(git: Git, name: str) -> str | None:
    """The commit a name stands for, if there is one."""
    output = await git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return output.text if output.ok else None


async def branch_of(git: Git) -> str | None:
    """The full name of the branch HEAD is on; ``None`` if HEAD is detached."""
    output = await git.run("symbolic-ref", "--quiet", "HEAD")
    return output.text if output.ok else None


async def holders(git: Git) -> dict[str, str]:
    """Which branch is checked out where, in the main checkout and in all worktrees."""
    found: dict[str, str] = {}
    for block in (await git.ask("worktree", "list", "--porcelain", "-z")).out.split(b"\0\0"):
        words = dict(os.fsdecode(line).partition(" ")[::2] for line in block.split(b"\0") if line)
        if "branch" in words:
            found[words["branch"].removeprefix("refs/heads/")] = words["worktree"]
    return found


def taken(branch: str, holder: str) -> str:
    """The sentence for a branch that is checked out elsewhere."""
    if not os.path.lexists(holder):
        return (
            f"Branch {branch} belongs to the worktree {holder}, which no longer exists: "
            "run `git worktree prune` in the repository, or choose another branch."
        )
    return (
        f"Branch {branch} is already checked out in {holder}: "
        "choose another branch, or switch that checkout to a different one."
    )


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What we write into an entry, so that a repeated request gets the same answer."""

    branch: str
    base: str
    created_branch: bool
    ready: bool = False
    """All files were checked out. From then on they are the agent's, and are never written to again."""
    leaving: bool = False
    """Everything was set aside and the removal began: files that are missing now are not the agent's doing."""
    brought_back: SetAside | None = None
    """What had been set aside and is, or is going to be, uncommitted in it."""
    set_aside: SetAside | None = None
    """What was found in its place and set aside before it was made."""
    message: str = ""
    """What became of earlier work, if it does not simply lie in it."""


class Entry(NamedTuple):
    """Git's own record of one worktree, as it was found."""

    admin: Path
    """Its folder below the common git directory."""
    path: Path
    """The worktree."""
    locked: str | None
    """Why git was told to leave the worktree alone; ``None`` if it was not."""
    populated: bool
    """True if all files were checked out at some time: git writes the index last."""
    note: Note | None
    """Our note, if we made this worktree."""

    @property
    def unborn(self) -> bool:
        """True if git died while it made the entry: it locks a new one with this word until it is whole."""
        return self.locked == "initializing"


class Place(NamedTuple):
    """What there is where a worktree is, or should be."""

    path: Path
    exists: bool
    empty: bool
    """True for a folder that holds nothing but the pointer to its repository."""
    pointer: bool | None
    """True if its ``.git`` is the file it should be, ``None`` if there is none, False if it is anything else."""
    entry: Entry | None


def absolute(path: str) -> Path:
    """A path that git reads the same from anywhere; ``..`` is taken as text, as git takes it."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (pathlib only has the one that follows links)


def look(common: Path, path: str) -> Place:
    """See what there is at a path; blocks for as long as a few small files take."""
    where = absolute(path)
    real = where.is_dir() and not where.is_symlink()
    pointer = where / ".git"
    return Place(
        path=where,
        exists=os.path.lexists(where),
        empty=real and all(child.name == ".git" and child.is_file() for child in where.iterdir()),
        pointer=real and pointer.is_file() if os.path.lexists(pointer) else None,
        entry=_entry(common, where),
    )


def points_back(place: Place, entry: Entry) -> bool:
    """True if the folder's own ``.git`` names the entry: the two belong together. Blocks as ``look`` does."""
    said = _read(place.path / ".git") if place.pointer else None
    admin = (said or "").removeprefix("gitdir: ")
    return bool(admin) and os.path.realpath(place.path / admin) == os.path.realpath(entry.admin)


def write_note(entry: Entry, note: Note) -> None:
    """Put our note into an entry, whole or not at all."""
    draft = entry.admin / f"{_NOTE}.new"
    draft.write_bytes(msgspec.json.encode(note))
    draft.replace(entry.admin / _NOTE)


def _entry(common: Path, path: Path) -> Entry | None:
    """Git's entry for a path, whether or not a folder is there.

    The entry's own pointer decides, not the folder's: an agent can overwrite the folder's ``.git`` file.
    """
    wanted = {str(path), f"{os.path.realpath(path.parent)}/{path.name}"}
    worktrees = common / "worktrees"
    # Git names an entry after its folder whenever it can: then one look is enough.
    for pointer in chain([worktrees / path.name / "gitdir"], worktrees.glob("*/gitdir")):
        target = _read(pointer)
        if target is not None and os.path.normpath(pointer.parent / target).removesuffix("/.git") in wanted:
            return _entry_at(pointer.parent, path)
    return None


def _entry_at(admin: Path, path: Path) -> Entry:
    return Entry(admin, path, _read(admin / "locked"), (admin / "index").exists(), _note(admin))


def _note(admin: Path) -> Note | None:
    try:
        return msgspec.json.decode((admin / _NOTE).read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _read(file: Path) -> str | None:
    """A small file of git's, without its line end; ``None`` if it is gone, perhaps just now."""
    try:
        return os.fsdecode(file.read_bytes()).removesuffix("\n")
    except FileNotFoundError:
        return None
