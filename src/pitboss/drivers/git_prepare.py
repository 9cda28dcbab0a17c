"""Making a worktree: registered under the repository's lock, checked out beside all others.

The registration - branch, git's entry, our note in it - is short and happens under one lock per repository, also
against other dispatchers. The checkout takes all the time and happens outside it. The note says whether it was
finished: until then it may be done again, afterwards the files are the agent's and are never touched.

What may not come in: signals, and anything that removes an agent's work. `git` calls it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.drivers.git_command import Git, GitFailed, Locks, Output
from pitboss.drivers.git_repository import (
    Checkout,
    Entry,
    Note,
    Place,
    absolute,
    branch_of,
    check_branch_name,
    commit_of,
    holders,
    look,
    points_back,
    survey,
    taken,
    write_note,
)
from pitboss.model.effects import PrepareWorktree

_PAUSES = (0.05, 0.2)
"""Before trying again: another git may have been at work in the repository at the same moment."""


class Made(NamedTuple):
    """A worktree that stands ready."""

    path: Path
    cwd: Path
    note: Note


class _Wanted(NamedTuple):
    """A request, understood."""

    git: Git
    checkout: Checkout
    path: str
    branch: str
    private: bool
    """The branch's name is ours alone: if it exists, we made it."""
    foreign: bool
    """The worktree has no note of ours, because Pitboss 0.9 made it."""

    def look(self) -> Place:
        return look(self.checkout.common, self.path)


async def make(locks: Locks, effect: PrepareWorktree) -> Made:
    """Make a worktree, or finish one that was begun; a ready one is only reported.

    Raises:
        PitbossError: There can be none; nothing of it is left.
    """
    git = Git(cookie=effect.cookie)
    checkout = await survey(git, effect.directory)
    branch = effect.branch or effect.name
    check_branch_name(branch)
    path, private = str(absolute(effect.path)), not effect.branch
    wanted = _Wanted(git.at(checkout.directory), checkout, path, branch, private, effect.adopt)
    async with locks.of_repository(checkout.common) as lock:
        entry, note = await _register(wanted, lock)
    try:
        if not note.ready:
            await _check_out(locks, git, entry, note)
        cwd = await asyncio.to_thread(_working_folder, entry.path, checkout.prefix)
    except (GitFailed, OSError) as error:
        remains = "" if note.ready else await _undo(locks, wanted, entry, note)
        raise GitFailed(f"{error}{remains}") from error
    return Made(entry.path, cwd, note)


async def _register(wanted: _Wanted, lock: int) -> tuple[Entry, Note]:
    """Find the worktree as an earlier request has left it, or register it with git."""
    place = await asyncio.to_thread(wanted.look)
    if place.exists:
        standing = await _adopt(wanted, place)
        if standing is not None:
            return standing
    base, created = await _branch(wanted, lock)
    try:
        await wanted.checkout.require_prefix(wanted.git, base)
        entry = await _add(wanted, lock)
    except BaseException:
        if created:
            await delete_branch(wanted.git, wanted.branch)
        raise
    note = Note(branch=wanted.branch, base=base, created_branch=created)
    try:
        return await _noted(entry, note)
    except GitFailed as error:
        raise GitFailed(f"{error}{await _remove(wanted, entry, note)}") from error


async def _adopt(wanted: _Wanted, place: Place) -> tuple[Entry, Note] | None:
    """Take over what stands at the path if it is ours; ``None`` if it was cleared away or is an empty folder."""
    path, branch, entry = place.path, wanted.branch, place.entry
    if entry is None:
        if not place.empty:
            raise GitFailed(f"{path} already exists and is no worktree of this repository: move it away.")
        if place.pointer:
            await asyncio.to_thread((path / ".git").unlink)  # all that an earlier, killed attempt got to
        return None
    if entry.unborn:
        await _discard(wanted, place, entry)
        return None
    if entry.note is not None and entry.note.branch == branch:
        # Used again: if its removal had begun, what that saved is no longer all there is.
        return await _noted(entry, msgspec.structs.replace(entry.note, leaving=False))
    tip = await commit_of(wanted.git.on(entry.admin), "HEAD")
    on_branch = await branch_of(wanted.git.on(entry.admin)) == f"refs/heads/{branch}"
    if wanted.foreign and entry.note is None:
        return await _take_over(wanted, place, entry, tip if on_branch else None)
    begun = entry.note is None and not entry.populated and place.empty and tip is not None
    if begun and tip and on_branch:
        # Killed between the registration and our note: no agent was here, so the branch is still at its base.
        return await _noted(entry, Note(branch=branch, base=tip, created_branch=wanted.private))
    raise GitFailed(f"{path} is already a worktree, but not ours for branch {branch}: move or remove it.")


async def _take_over(wanted: _Wanted, place: Place, entry: Entry, tip: str | None) -> tuple[Entry, Note]:
    """Make a worktree of Pitboss 0.9 ours, exactly as it is; ``tip`` is its commit if it is on its branch."""
    if entry.locked is not None:
        raise GitFailed(f"The worktree {place.path} is locked: run `git worktree unlock` when that is over.")
    if tip is None:
        raise GitFailed(
            f"The worktree {place.path} of Pitboss 0.9 is not on branch {wanted.branch} any more: "
            "switch it back to that branch, or move it away with `git worktree move`."
        )
    if not entry.populated or not await asyncio.to_thread(points_back, place, entry):
        raise GitFailed(f"The worktree {place.path} of Pitboss 0.9 is damaged: mend it with `git worktree repair`.")
    # Its files are an agent's, so they are ready. Where its branch began is not known: it is never deleted.
    return await _noted(entry, Note(branch=wanted.branch, base=tip, created_branch=False, ready=True))


async def _branch(wanted: _Wanted, lock: int) -> tuple[str, bool]:
    """Create the branch, or find where it is; says which commit it is at and whether it is ours."""
    git, ref, head = wanted.git, f"refs/heads/{wanted.branch}", wanted.checkout.head
    made = await git.run("update-ref", "-m", "branch: Created by pitboss", ref, head, "", hold=(lock,))
    if made.ok:
        return head, True
    found = await commit_of(git, ref)
    if found is None:
        raise GitFailed(f"Branch {wanted.branch} cannot be created: {made.reason}.")
    # One that moved on holds the work of an earlier attempt, and is not ours to delete.
    return found, wanted.private and found == head


async def _add(wanted: _Wanted, lock: int, pauses: tuple[float, ...] = _PAUSES) -> Entry:
    """Have git make the entry, without any files; clears away or explains what is in its way."""
    args = ("worktree", "add", "--quiet", "--no-checkout", "--", wanted.path, wanted.branch)
    output = await wanted.git.run(*args, hold=(lock,))
    place = await asyncio.to_thread(wanted.look)
    if output.ok and place.entry is not None:
        return place.entry
    if place.entry is not None and not place.exists and pauses:
        await _discard(wanted, place, place.entry)  # its folder was deleted by hand, or never made
        return await _add(wanted, lock, pauses[1:])
    holder = (await holders(wanted.git)).get(wanted.branch)
    if holder is not None:
        raise GitFailed(taken(wanted.branch, holder))
    if not pauses:
        raise GitFailed(f"The worktree {wanted.path} could not be made: {output.reason}.")
    await asyncio.sleep(pauses[0])
    return await _add(wanted, lock, pauses[1:])


async def _discard(wanted: _Wanted, place: Place, entry: Entry) -> None:
    """Have git forget a worktree that has no files."""
    if not entry.unborn and await branch_of(wanted.git.on(entry.admin)) is None:
        raise GitFailed(
            f"The worktree {entry.path} has vanished, and its HEAD was on no branch: "
            "give its commit a name with `git branch`, then run `git worktree prune`."
        )
    if place.exists:
        await asyncio.to_thread(_remove_empty, place)
    await wanted.git.ask("worktree", "remove", "--force", "--force", "--", str(entry.path))


def _remove_empty(place: Place) -> None:
    if place.empty:
        (place.path / ".git").unlink(missing_ok=True)
        place.path.rmdir()


async def _noted(entry: Entry, note: Note) -> tuple[Entry, Note]:
    """Make sure that our note is in the entry; without it, it would be a stranger's."""
    try:
        if note != entry.note:
            await asyncio.to_thread(write_note, entry, note)
    except OSError as error:
        raise GitFailed(f"{entry.admin} cannot be written: {error.strerror}.") from error
    return entry, note


async def _check_out(locks: Locks, git: Git, entry: Entry, note: Note) -> None:
    """Write the files. Not under the repository's lock: this is where the time goes."""
    async with locks.of_worktree(entry.admin) as lock:
        # A git that outlived its dispatcher would still hold our lock: whoever left this one is dead.
        await asyncio.to_thread((entry.admin / "index.lock").unlink, missing_ok=True)
        # `reset` is what `worktree add` uses itself; it runs no hook and needs no second look at the files.
        reset = ("reset", "--hard", "--quiet", "--no-recurse-submodules")
        output = await git.at(entry.path).run(*reset, hold=(lock,))
        if not output.ok:
            raise GitFailed(f"The files of {note.branch} could not be checked out: {output.reason}.")
        await asyncio.to_thread(write_note, entry, msgspec.structs.replace(note, ready=True))


def _working_folder(path: Path, prefix: str) -> Path:
    folder = path / prefix
    if not folder.is_dir():
        raise GitFailed(f"{folder} was not checked out: add it to the sparse checkout, or start from the top folder.")
    return folder


async def _undo(locks: Locks, wanted: _Wanted, entry: Entry, note: Note) -> str:
    """Remove a worktree no agent has seen."""
    async with locks.of_repository(wanted.checkout.common):
        return await _remove(wanted, entry, note)


async def _remove(wanted: _Wanted, entry: Entry, note: Note) -> str:
    """Unmake entry, folder and branch; returns what to add to the message if that fails."""
    output = await wanted.git.run("worktree", "remove", "--force", "--force", "--", str(entry.path))
    if not output.ok:
        return f" Its remains in {entry.path} could not be removed either: {output.reason}."
    if note.created_branch:
        await delete_branch(wanted.git, note.branch)
    return ""


async def delete_branch(git: Git, branch: str) -> Output:
    """Delete a branch, unless somebody has it checked out: that is why it is not `update-ref`."""
    return await git.run("branch", "--quiet", "-D", "--", branch)
