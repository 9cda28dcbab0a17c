"""Tidying a worktree: everything is set aside first, then git removes it, then the branch nobody used.

What may not come in: signals, and any deletion that is not git's own. `git` calls it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.drivers.git_command import Git, GitFailed, Locks, Output
from pitboss.drivers.git_prepare import delete_branch
from pitboss.drivers.git_private_refs import find_set_aside
from pitboss.drivers.git_repository import Entry, Place, commit_of, look, write_note
from pitboss.drivers.git_set_aside import set_aside
from pitboss.model.effects import TidyWorktree
from pitboss.model.run import SetAside


class Cleared(NamedTuple):
    """What became of a worktree."""

    removed: bool
    saved: SetAside | None = None
    branch_deleted: bool = False
    message: str = ""


async def clear(locks: Locks, effect: TidyWorktree, at: float) -> Cleared:
    """Set a worktree's state aside, remove it, and delete its branch if nothing ever happened on it.

    Raises:
        PitbossError: Something cannot be saved or looked at; the worktree is as it was.
    """
    git = Git(cookie=effect.cookie).at(effect.directory)
    common = Path((await git.ask("rev-parse", "--path-format=absolute", "--git-common-dir")).text)
    place = await asyncio.to_thread(look, common, effect.path)
    if place.entry is None:
        return await _clear_unregistered(locks, git, common, place, effect)
    _require_removable(place, place.entry)
    async with locks.of_worktree(place.entry.admin) as lock:
        # Seen again under the lock: a git of a dispatcher that died may have been at work until now.
        place = await asyncio.to_thread(look, common, effect.path)
        if place.entry is None:
            return await _clear_unregistered(locks, git, common, place, effect)
        saved = None if place.entry.unborn else await set_aside(git, place, place.entry, effect, at)
        output = await _remove(git, place, place.entry, lock)
    if not output.ok:
        return Cleared(False, saved, message=f"The worktree {place.path} could not be removed: {output.reason}.")
    vanished = f"The worktree {place.path} had vanished: only what git itself knew of it could be saved."
    return await _clear_branch(locks, git, common, effect, saved, "" if place.exists else vanished)


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


async def _clear_unregistered(locks: Locks, git: Git, common: Path, place: Place, effect: TidyWorktree) -> Cleared:
    """The second half of an earlier request, or somebody else was faster."""
    saved = await find_set_aside(git, effect)
    if place.exists:
        kept = f"{place.path} was left as it is: git does not know it as a worktree any more; remove it by hand."
        return Cleared(False, saved, message=kept)
    return await _clear_branch(locks, git, common, effect, saved, "")


async def _clear_branch(
    locks: Locks, git: Git, common: Path, effect: TidyWorktree, saved: SetAside | None, message: str
) -> Cleared:
    """Delete the branch we made if it never moved; one with commits is the agent's result."""
    if not effect.created_branch or saved is not None:
        return Cleared(True, saved, message=message)
    async with locks.of_repository(common):
        tip = await commit_of(git, f"refs/heads/{effect.branch}")
        deleted = await delete_branch(git, effect.branch) if tip == effect.base else None
    if deleted is not None and not deleted.ok:
        kept = f"Branch {effect.branch} was kept: {deleted.reason}."
        return Cleared(True, saved, message=f"{message} {kept}".strip())
    return Cleared(True, saved, branch_deleted=tip in {None, effect.base}, message=message)
