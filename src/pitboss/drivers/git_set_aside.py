"""Setting a worktree's state aside: everything only this worktree has, as one commit under a private ref.

Nothing here changes the worktree, its index, its HEAD or its branch. What may not come in: removing anything.
`git` calls it before it removes a worktree. What cannot be saved is refused, and then the worktree stays.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from pitboss.drivers.git_command import Git, GitFailed
from pitboss.drivers.git_private_refs import Found, Kept, commit_tree, last, record, refs_of_actor
from pitboss.drivers.git_repository import Entry, Place, branch_of, commit_of
from pitboss.model.effects import TidyWorktree
from pitboss.model.run import SetAside

_GITLINK = b"160000"
_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
    "sequencer": "sequence of picks",
}
_UNBORN = re.compile(r"'(.+)/' does not have a commit checked out")
"""What git says of a repository in the worktree in which nothing was committed yet."""

_SHA = re.compile(rb"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")


class _Where(NamedTuple):
    """Where a worktree stands."""

    parent: str
    """The commit that is checked out, or the nearest thing to it."""
    tree: str
    tip: str
    """The commit its own branch points at, or its base if the branch is gone."""
    settled: bool
    """True if HEAD is on that branch and no merge or the like is half done."""
    operation: str


class _State(NamedTuple):
    """What a worktree holds, as objects of the repository."""

    tree: str
    """All files as they lie there."""
    staged: str | None
    """What was staged; ``None`` if the index could not be written as a tree."""
    files: int
    ignored: int


class _Listed(NamedTuple):
    """What the index says about itself."""

    assumed: list[bytes]
    skipped: list[bytes]
    submodules: list[bytes]


async def set_aside(
    git: Git, place: Place, entry: Entry, effect: TidyWorktree, at: float, *, rewind: bool = False
) -> SetAside | None:
    """Save what would be lost with a worktree.

    Args:
        git: Asked in the repository.
        place: What there is where the worktree is.
        entry: Git's record of it.
        effect: Which worktree it is, and the ref to save it under.
        at: The time the commit is dated.
        rewind: Its branch is going to be put back: where that is now is part of what would be lost.

    Returns:
        What was saved, or ``None`` if the branch has it all already.

    Raises:
        GitFailed: Something in it cannot be saved, so it must not be removed.
    """
    where = await _stand(git, entry, effect)
    if place.exists and (entry.populated or not place.empty):
        await asyncio.to_thread(_open_folders, entry.path)
        with tempfile.TemporaryDirectory(prefix="pitboss-", dir=entry.admin) as scratch:
            state = await _with_files(git, entry, where, Path(scratch) / "index")
    else:
        state = await _without_files(git, entry, where)
    if entry.note is not None and entry.note.leaving:
        earlier = await last(git, effect)
        if await _only_lost_files(git, earlier, where, state):
            return earlier.as_report() if earlier else None
    strays = await _strays(git, entry, effect, where, branch_goes=rewind or where.tip == effect.base)
    if where.settled and not strays and {state.tree, state.staged} == {where.tree}:
        return None
    extra = await _staged_commit(git, entry, where, state)
    unfinished = f"\n\nA {where.operation} was not finished." if where.operation else ""
    subject = f"What {effect.actor} left uncommitted on {effect.branch}{unfinished}"
    parents = [where.parent, *extra, *strays, *([where.tip] if rewind else [])]
    kept = Kept(state.tree, parents, subject, state.files, state.ignored)
    return await record(git, entry.admin, effect, kept, at)


async def keep_branch(git: Git, common: Path, effect: TidyWorktree, tip: str, at: float) -> SetAside | None:
    """Save the commits of a branch that is going to be put back to its base.

    Returns:
        What was saved, or ``None`` if there are none, or what was set aside for the actor earlier has them already.
    """
    log = common / "logs" / "refs" / "heads" / effect.branch
    known = {tip} | (await asyncio.to_thread(_shas, log) if effect.created_branch else set())
    reached = {effect.base} | {found.commit for found in await refs_of_actor(git, effect)}
    heads = await _heads(git, known, reached)
    if not heads:
        return None
    tree = (await git.ask("rev-parse", f"{tip}^{{tree}}")).text
    subject = f"What {effect.actor} had committed to {effect.branch} before it began again"
    return await record(git, common, effect, Kept(tree, [tip, *heads], subject), at)


async def _only_lost_files(git: Git, earlier: Found | None, where: _Where, state: _State) -> bool:
    """True if nothing came in since a removal began that was then cut short."""
    if not (where.settled if earlier is None else earlier.parents[0] == where.parent):
        return False
    options = ("-r", "--name-only", "--no-renames", "--diff-filter=d")
    return not (await git.ask("diff-tree", *options, earlier.tree if earlier else where.tree, state.tree)).out


async def _stand(git: Git, entry: Entry, effect: TidyWorktree) -> _Where:
    here = git.on(entry.admin)
    head, on = await commit_of(here, "HEAD"), await branch_of(here)
    ref = f"refs/heads/{effect.branch}"
    tip = await commit_of(here, ref)
    parent = head or tip or effect.base
    tree = (await here.ask("rev-parse", f"{parent}^{{tree}}")).text
    operation = next((word for name, word in _OPERATIONS.items() if (entry.admin / name).exists()), "")
    settled = head is not None and tip == head and on == ref and not operation
    return _Where(parent, tree, tip or effect.base, settled, operation)


def _open_folders(top: Path) -> None:
    """Give ourselves back the folders an agent has closed: unread they cannot be saved, unwritable not removed."""
    pending = [os.fspath(top)]
    while pending:
        folder = pending.pop()
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            try:
                os.chmod(folder, stat.S_IMODE(os.lstat(folder).st_mode) | stat.S_IRWXU)  # noqa: PTH101  (walking 30,000 files as Path objects costs three times as much)
            except OSError as error:
                raise GitFailed(
                    f"The folder {folder} cannot be opened ({error.strerror}): change its owner."
                ) from error
        with os.scandir(folder) as children:
            pending += [child.path for child in children if child.is_dir(follow_symlinks=False)]


async def _without_files(git: Git, entry: Entry, where: _Where) -> _State:
    """The state of a worktree whose folder is gone or was never filled: what was staged is still there."""
    staged = await git.on(entry.admin).run("write-tree") if entry.populated else None
    tree = staged.text if staged is not None and staged.ok else where.tree
    return _State(tree, tree, await _differing(git.on(entry.admin), where.tip, tree), 0)


async def _with_files(git: Git, entry: Entry, where: _Where, index: Path) -> _State:
    saving = git.saving(entry.admin, entry.path, index)
    listed = await _copy_index(saving, entry, where, index)
    await _reveal(saving, entry.path, listed)
    for name in listed.submodules:
        await _check_submodule(git, entry.path / os.fsdecode(name))
    staged = await saving.run("write-tree")
    await _add_all(saving)
    await _check_nested(saving, where)
    tree = (await saving.ask("write-tree")).text
    ignored = (await saving.ask("ls-files", "-z", "--others", "--ignored", "--exclude-standard")).out.count(b"\0")
    files = await _differing(saving, where.tip, tree)
    return _State(tree, staged.text if staged.ok else None, files, ignored)


async def _copy_index(saving: Git, entry: Entry, where: _Where, index: Path) -> _Listed:
    """Start from a copy of the worktree's own index, because it knows which files need not be read again."""
    if entry.populated:
        await asyncio.to_thread(shutil.copyfile, entry.admin / "index", index)
        listed = await saving.run("ls-files", "-v", "--stage", "-z")
        if listed.ok:
            return await asyncio.to_thread(_parse, listed.out)
        # The agent, or whatever stopped it, has left a broken one.
        await asyncio.to_thread(index.unlink)
    await saving.ask("read-tree", where.parent)
    return await asyncio.to_thread(_parse, (await saving.ask("ls-files", "-v", "--stage", "-z")).out)


def _parse(listing: bytes) -> _Listed:
    listed = _Listed([], [], [])
    for line in listing.split(b"\0")[:-1]:
        words, _, name = line.partition(b"\t")
        tag, mode = words[:1], words[2:8]
        if tag.islower():
            listed.assumed.append(name)
        if tag in b"Ss":
            listed.skipped.append(name)
        if mode == _GITLINK:
            listed.submodules.append(name)
    return listed


async def _reveal(saving: Git, top: Path, listed: _Listed) -> None:
    """Take away the marks that make git look past a file, where the file is there: an agent may have changed it."""
    present = await asyncio.to_thread(_present, top, listed.skipped)
    for flag, names in (("--no-assume-unchanged", listed.assumed), ("--no-skip-worktree", present)):
        if names:
            await saving.ask("update-index", "-z", flag, "--stdin", stdin=b"\0".join(names) + b"\0")


def _present(top: Path, names: list[bytes]) -> list[bytes]:
    folder = os.fsencode(top)
    return [name for name in names if os.path.lexists(folder + b"/" + name)]


async def _add_all(saving: Git) -> None:
    output = await saving.run("add", "--all", "--sparse")
    if unborn := _UNBORN.search(output.err):
        raise GitFailed(_nested(unborn[1]))
    # An untracked folder that cannot be read is only a warning to git.
    if not output.ok or "Permission denied" in output.err or "could not open" in output.err:
        raise GitFailed(f"Not everything in it can be saved ({output.reason}).")


async def _check_nested(saving: Git, where: _Where) -> None:
    """Refuse repositories inside the worktree: git would save their name and commit, not their files."""
    entries = (await saving.ask("diff-index", "--cached", "--raw", "-z", "--no-renames", where.parent)).out.split(b"\0")
    for change, name in zip(entries[0::2], entries[1::2], strict=False):
        if change.split(b" ")[1] == _GITLINK:
            raise GitFailed(_nested(os.fsdecode(name)))


def _nested(name: str) -> str:
    return (
        f"It contains the repository {name}, whose content cannot be saved from outside: "
        "move that away or push it, then remove the worktree."
    )


async def _check_submodule(git: Git, folder: Path) -> None:
    """Refuse a submodule with work of its own: its repository lies inside what is going to be removed."""
    if not (folder / ".git").exists():
        return
    inner = git.at(folder)
    status = await inner.run("status", "--porcelain", "--ignore-submodules=none")
    local = await inner.run("rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes")
    if not (status.ok and local.ok) or status.out or local.out:
        raise GitFailed(
            f"Its submodule {folder.name} has changes or commits that exist nowhere else: "
            "push them or move them away, then remove the worktree."
        )


async def _differing(git: Git, commit: str, tree: str) -> int:
    """How many paths differ between a commit and a tree."""
    return (await git.ask("diff-tree", "-r", "-z", "--name-only", "--no-renames", commit, tree)).out.count(b"\0")


async def _strays(git: Git, entry: Entry, effect: TidyWorktree, where: _Where, *, branch_goes: bool) -> list[str]:
    """Commits that only this worktree still remembers: made on a detached HEAD, reset away, or half merged in.

    Git keeps HEAD's log and the heads of unfinished operations with the worktree, so they would go with it.
    What the branch's own log remembers stays, unless the branch is going to be deleted.
    """
    log = await asyncio.to_thread(_shas, entry.admin.parent.parent / "logs" / "refs" / "heads" / effect.branch)
    deleted = effect.created_branch and branch_goes
    known = await asyncio.to_thread(_remembered, entry.admin) | (log if deleted else set())
    reached = {where.parent} | (set() if deleted else log)
    return await _heads(git.on(entry.admin), known - {where.parent, where.tip}, reached, "--all")


async def _heads(git: Git, known: set[str], reached: set[str], *others: str) -> list[str]:
    """Those of some commits that no other of them leads to, nor what is reached anyway."""
    if not known:
        return []
    asked = "\n".join([*sorted(known), *(f"^{sha}" for sha in sorted(reached)), ""])
    options = ("--parents", "--ignore-missing", "--stdin", *(("--not", *others) if others else ()))
    output = await git.ask("rev-list", *options, stdin=asked.encode())
    lines = [line.split() for line in output.text.splitlines()]
    parents = {parent for line in lines for parent in line[1:]}
    return [line[0] for line in lines if line[0] not in parents]


def _remembered(admin: Path) -> set[str]:
    heads = [file for file in admin.glob("*_HEAD") if file.name != "FETCH_HEAD"]
    return set().union(*map(_shas, [admin / "logs" / "HEAD", *heads]))


def _shas(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    found = {sha.decode() for sha in _SHA.findall(file.read_bytes())}
    return {sha for sha in found if sha.strip("0")}


async def _staged_commit(git: Git, entry: Entry, where: _Where, state: _State) -> list[str]:
    """Save what was staged too, if it is neither what is committed nor what lies in the folder."""
    if state.staged is None or state.staged in {where.tree, state.tree}:
        return []
    saving = git.on(entry.admin, durable=True)
    # Dated like its parent, so that a repeated request makes the same commit.
    date = (await saving.ask("show", "--no-patch", "--format=%ct", where.parent)).text
    return [await commit_tree(saving, state.staged, [where.parent], "What was staged\n", float(date))]
