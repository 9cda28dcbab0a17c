"""Tidying a worktree: everything is set aside first, then git removes it, then the branch nobody used.

Before an actor begins again from the start, its branch is put back too, after its commits were set aside like the rest.

What may not come in: signals, and any deletion that is not git's own. `git` calls it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.drivers.git_command import Git, GitFailed, Locks, Output
from pitboss.drivers.git_prepare import as_tidying, delete_branch
from pitboss.drivers.git_private_refs import find_set_aside, refs_of_actor
from pitboss.drivers.git_repository import Entry, Place, commit_of, holders, look, taken, write_note
from pitboss.drivers.git_set_aside import keep_branch, set_aside
from pitboss.errors import PitbossError
from pitboss.model.effects import PrepareWorktree, TidyWorktree
from pitboss.model.run import SetAside


class Cleared(NamedTuple):
    """What became of a worktree."""

    removed: bool
    saved: SetAside | None = None
    branch_deleted: bool = False
    message: str = ""


class _Job(NamedTuple):
    """A request, with all that is needed to carry it out."""

    locks: Locks
    git: Git
    common: Path
    effect: TidyWorktree
    at: float
    rewind: bool

    def look(self) -> Place:
        return look(self.common, self.effect.path)


async def clear(locks: Locks, effect: TidyWorktree, at: float, *, rewind: bool = False) -> Cleared:
    """Set a worktree's state aside, remove it, and delete its branch if nothing ever happened on it.

    Args:
        locks: The locks all worktrees are made and unmade under.
        effect: Which worktree, and where its state goes.
        at: The time what is set aside is dated.
        rewind: The branch's commits are set aside too, and it goes back to its base, or away if we made it.

    Raises:
        PitbossError: Something cannot be saved or looked at; the worktree is as it was.
    """
    git = Git(cookie=effect.cookie).at(effect.directory)
    common = Path((await git.ask("rev-parse", "--path-format=absolute", "--git-common-dir")).text)
    job = _Job(locks, git, common, effect, at, rewind)
    place = await asyncio.to_thread(job.look)
    if rewind:
        await _require_rewindable(job, place)
    if place.entry is None:
        return await _clear_unregistered(job, place)
    _require_removable(place, place.entry)
    async with locks.of_worktree(place.entry.admin) as lock:
        # Seen again under the lock: a git of a dispatcher that died may have been at work until now.
        place = await asyncio.to_thread(job.look)
        if place.entry is None:
            return await _clear_unregistered(job, place)
        saved = None
        if not _untouched(place.entry, rewind=rewind):
            saved = await set_aside(git, place, place.entry, effect, at, rewind=rewind)
        output = await _remove(git, place, place.entry, lock)
    if not output.ok:
        return Cleared(False, saved, message=f"The worktree {place.path} could not be removed: {output.reason}.")
    vanished = f"The worktree {place.path} had vanished: only what git itself knew of it could be saved."
    return await _clear_branch(job, saved, "" if place.exists else vanished)


def _untouched(entry: Entry, *, rewind: bool) -> bool:
    """True if no agent can have been in it: it was not finished, so files that are missing are nobody's doing."""
    return entry.unborn or (rewind and entry.note is not None and not entry.note.ready)


async def start_over(locks: Locks, effect: PrepareWorktree, at: float) -> SetAside | None:
    """Put away all that an actor has done, so that its next worktree begins where its first one did.

    Asked again after it was cut short, it finishes; what it has saved already is not saved twice.

    Returns:
        What of the actor's was set aside last, now or earlier.

    Raises:
        PitbossError: Something cannot be saved, or the branch cannot go back; then that is as it was.
    """
    earlier = effect.earlier
    if earlier is None:
        return None
    if not earlier.base:
        raise GitFailed("It cannot begin again from the start: Pitboss 0.9 did not tell where its branch began.")
    tidying = msgspec.structs.replace(as_tidying(effect, earlier.base), created_branch=earlier.created_branch)
    try:
        cleared = await clear(locks, tidying, at, rewind=True)
    except (PitbossError, OSError) as error:
        raise GitFailed(f"It cannot begin again from the start: {error}") from error
    if not cleared.removed:
        raise GitFailed(f"It cannot begin again from the start: {cleared.message}")
    kept = await refs_of_actor(Git(cookie=effect.cookie).at(effect.directory), tidying)
    return kept[-1].as_report() if kept else None


async def _require_rewindable(job: _Job, place: Place) -> None:
    branch, base = job.effect.branch, job.effect.base
    if await commit_of(job.git, base) is None:
        raise GitFailed(f"the commit {base[:12]}, where branch {branch} began, is not there any more.")
    if place.entry is not None and place.entry.note is None and place.entry.populated:
        raise GitFailed(f"{place.path} is a worktree, but not ours: move or remove it.")
    holder = (await holders(job.git)).get(branch)
    if holder is not None and not await asyncio.to_thread(_same, holder, place.path):
        raise GitFailed(taken(branch, holder))


def _same(holder: str, path: Path) -> bool:
    return os.path.realpath(holder) == os.path.realpath(path)


def _require_removable(place: Place, entry: Entry) -> None:
    if place.exists and not place.path.is_dir():
        raise GitFailed("there is a file in its place; look at it, then remove the worktree by hand.")
    if place.pointer is False:
        raise GitFailed("a repository of its own, or a link, has taken its place; save what is in it by hand.")
    if entry.locked is not None and not entry.unborn:
        why = f" ({entry.locked})" if entry.locked else ""
        raise GitFailed(f"it is locked{why}; run `git worktree unlock` when that is over.")


async def _remove(git: Git, place: Place, entry: Entry, lock: int) -> Output:
    if entry.note is not None:
        await asyncio.to_thread(write_note, entry, msgspec.structs.replace(entry.note, leaving=True))
    if place.exists and place.pointer is None:
        # Git removes only what looks like its worktree; this one lost its pointer, and its state is saved.
        await asyncio.to_thread((place.path / ".git").write_text, f"gitdir: {entry.admin}\n")
    force = ("--force", "--force") if entry.unborn else ("--force",)
    return await git.run("worktree", "remove", *force, "--", str(place.path), hold=(lock,))


async def _clear_unregistered(job: _Job, place: Place) -> Cleared:
    """The second half of an earlier request, or somebody else was faster."""
    saved = await find_set_aside(job.git, job.effect)
    # An empty folder is what a worktree begins with, should one have been begun in its place already.
    if place.exists and not (job.rewind and place.empty):
        kept = f"{place.path} was left as it is: git does not know it as a worktree any more; remove it by hand."
        return Cleared(False, saved, message=kept)
    return await _clear_branch(job, saved, "")


async def _clear_branch(job: _Job, saved: SetAside | None, message: str) -> Cleared:
    """Delete the branch we made if it never moved; one with commits is the agent's result."""
    git, effect = job.git, job.effect
    if job.rewind:
        return await _rewind(job, saved, message)
    if not effect.created_branch or saved is not None:
        return Cleared(True, saved, message=message)
    async with job.locks.of_repository(job.common):
        tip = await commit_of(git, f"refs/heads/{effect.branch}")
        deleted = await delete_branch(git, effect.branch) if tip == effect.base else None
    if deleted is not None and not deleted.ok:
        kept = f"Branch {effect.branch} was kept: {deleted.reason}."
        return Cleared(True, saved, message=f"{message} {kept}".strip())
    return Cleared(True, saved, branch_deleted=tip in {None, effect.base}, message=message)


async def _rewind(job: _Job, saved: SetAside | None, message: str) -> Cleared:
    """Put the branch back to its base, or delete it if we made it, once its commits are kept elsewhere."""
    git, effect, ref = job.git, job.effect, f"refs/heads/{job.effect.branch}"
    async with job.locks.of_repository(job.common) as lock:
        await _require_rewindable(job, await asyncio.to_thread(job.look))
        tip = await commit_of(git, ref)
        if tip is None:
            return Cleared(True, saved, branch_deleted=True, message=message)
        saved = await keep_branch(git, job.common, effect, tip, job.at) or saved
        # With the old value: whoever commits to it in this moment keeps the branch, and we are refused.
        words = ("-d", ref, tip) if effect.created_branch else (ref, effect.base, tip)
        output = await git.run("update-ref", "-m", "pitboss: begun again", *words, hold=(lock,))
    if not output.ok:
        kept = f"Branch {effect.branch} could not be put back to {effect.base[:12]}: {output.reason}."
        return Cleared(False, saved, message=f"{message} {kept}".strip())
    return Cleared(True, saved, branch_deleted=effect.created_branch, message=message)
