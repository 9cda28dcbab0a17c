"""Making a worktree: registered under the repository's lock, checked out beside all others.

The registration - branch, git's entry, our note in it - is short and happens under one lock per repository, also
against other dispatchers. The checkout takes all the time and happens outside it. The note says whether it was
finished: until then it may be done again, afterwards the files are the agent's and are never touched.

A worktree that vanished is made again from its branch, with what was set aside of it laid over that; what git still
knew of one whose folder is gone is set aside first. What may not come in: signals, and anything that removes an
agent's work. `git` and `git_tidy` call it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.drivers.git_command import Git, GitFailed, Locks, Output
from pitboss.drivers.git_private_refs import find_set_aside
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
from pitboss.drivers.git_restore import Saved, fill, read_saved
from pitboss.drivers.git_set_aside import set_aside
from pitboss.model.effects import PrepareWorktree, TidyWorktree
from pitboss.model.run import SetAside

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
    effect: PrepareWorktree
    at: float
    kept: SetAside | None
    """What was set aside before it begins again from the start."""

    def look(self) -> Place:
        return look(self.checkout.common, self.path)


class _Back(NamedTuple):
    """What is to be uncommitted again in a new worktree, if anything."""

    aside: SetAside | None = None
    saved: Saved | None = None
    """The same, as git has it; ``None`` if its ref is gone."""
    recorded: bool = True
    """The journal knows of it."""


class _Branch(NamedTuple):
    """The branch of a worktree, as it was found or made."""

    tip: str
    base: str
    """The commit that counts as its beginning."""
    ours: bool
    """It goes with its worktree if nothing is ever committed to it."""
    new: bool
    """It was made just now."""


def as_tidying(effect: PrepareWorktree, base: str) -> TidyWorktree:
    """The same place, as it is to be put away in the name of the attempt that left it."""
    earlier = effect.earlier
    return TidyWorktree(
        actor=effect.actor,
        attempt=effect.attempt,
        directory=effect.directory,
        path=effect.path,
        branch=effect.branch or effect.name,
        base=(earlier.base if earlier else "") or base,
        created_branch=False,
        remove=True,
        ref=effect.ref,
        cookie=earlier.cookie if earlier else effect.cookie,
    )


async def make(locks: Locks, effect: PrepareWorktree, at: float, kept: SetAside | None = None) -> Made:
    """Make a worktree, or finish one that was begun; a ready one is only reported.

    Args:
        locks: The locks all worktrees are made and unmade under.
        effect: What is wanted.
        at: The time what is set aside is dated.
        kept: What was set aside before it begins again from the start.

    Raises:
        PitbossError: There can be none; nothing of it is left.
    """
    git = Git(cookie=effect.cookie)
    checkout = await survey(git, effect.directory)
    branch = effect.branch or effect.name
    check_branch_name(branch)
    path, private = str(absolute(effect.path)), not effect.branch
    wanted = _Wanted(git.at(checkout.directory), checkout, path, branch, private, effect, at, kept)
    async with locks.of_repository(checkout.common) as lock:
        entry, note = await _register(wanted, lock)
    begun = not note.ready
    try:
        if begun:
            note = await _check_out(locks, git, entry, note)
        cwd = await asyncio.to_thread(_working_folder, entry.path, checkout.prefix)
    except (GitFailed, OSError) as error:
        remains = await _undo(locks, wanted, entry, note) if begun else ""
        raise GitFailed(f"{error}{remains}") from error
    return Made(entry.path, cwd, note)


async def _register(wanted: _Wanted, lock: int) -> tuple[Entry, Note]:
    """Find the worktree as an earlier request has left it, or register it with git."""
    place = await asyncio.to_thread(wanted.look)
    if place.exists:
        standing = await _adopt(wanted, place)
        if standing is not None:
            return standing
    back = await _to_bring_back(wanted, unrecorded=place.entry is None)
    branch = await _branch(wanted, lock, back.saved)
    try:
        await wanted.checkout.require_prefix(wanted.git, branch.tip)
        entry = await _add(wanted, lock)
        note = await _note(wanted, branch, back)
    except BaseException:
        if branch.new:
            await delete_branch(wanted.git, wanted.branch)
        raise
    try:
        return await _noted(entry, note)
    except GitFailed as error:
        raise GitFailed(f"{error}{await _remove(wanted, entry, note)}") from error


async def _to_bring_back(wanted: _Wanted, *, unrecorded: bool) -> _Back:
    """What was set aside and is to be uncommitted again.

    With ``unrecorded``, also by somebody who had no journal to write it in: a `prune` that did not get to its end.
    """
    earlier = wanted.effect.earlier
    if earlier is None:
        return _Back()
    aside = earlier.set_aside
    if aside is None and unrecorded and not wanted.effect.fresh:
        aside = await find_set_aside(wanted.git, as_tidying(wanted.effect, earlier.base))
    if aside is None:
        return _Back()
    saved = await read_saved(wanted.git, aside.ref, aside.commit)
    return _Back(aside, saved, recorded=earlier.set_aside is not None)


def _not_laid(ref: str) -> str:
    return f"what was set aside as {ref} could not be laid over its new worktree"


async def _note(wanted: _Wanted, branch: _Branch, back: _Back) -> Note:
    """What the worktree is, for whoever asks again."""
    note = Note(branch=wanted.branch, base=branch.base, created_branch=branch.ours)
    earlier, kept, aside = wanted.effect.earlier, wanted.kept, back.aside
    if aside is not None:
        if back.saved is None:
            return msgspec.structs.replace(note, message=f"{_not_laid(aside.ref)}: the ref is gone")
        if branch.tip == back.saved.parent:
            found = f"it had been put away; what was set aside then as {aside.ref} is uncommitted in it again"
            return msgspec.structs.replace(note, brought_back=aside, message="" if back.recorded else found)
        moved = f"it was saved on {back.saved.parent[:12]}, and branch {wanted.branch} is at {branch.tip[:12]} now"
        return msgspec.structs.replace(note, message=f"{_not_laid(aside.ref)}: {moved}")
    if earlier is None:
        return note
    if kept is not None:
        message = f"it began again from the start; what it had done is kept as {kept.ref}"
        return msgspec.structs.replace(note, set_aside=kept, message=message)
    if wanted.effect.fresh:
        return note
    # Perhaps by an earlier request, which was cut short after it.
    lost = await find_set_aside(wanted.git, as_tidying(wanted.effect, branch.base))
    if lost is None:
        gone = branch.new and not earlier.branch_deleted
        return msgspec.structs.replace(note, message=_branch_gone(branch)) if gone else note
    message = f"its folder had vanished; what git still knew of it is kept as {lost.ref}"
    return msgspec.structs.replace(note, set_aside=lost, message=message)


def _branch_gone(branch: _Branch) -> str:
    return (
        f"its branch was gone and begins at {branch.tip[:12]} again; what was committed to it `git fsck --lost-found` "
        "finds, as long as git has not collected it"
    )


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
    begun = entry.note is None and not entry.populated and place.empty and tip is not None
    if begun and tip and on_branch:
        # Killed between the registration and our note: no agent was here, so a new branch is still at its base. One
        # with commits of its own is not new: an earlier attempt, perhaps one under Pitboss 0.9, has made them.
        back = await _to_bring_back(wanted, unrecorded=True)
        ours = wanted.private and await _follows(wanted.git, wanted.checkout.head, tip)
        begun_branch = await _found_branch(wanted, tip, ours=ours)
        return await _noted(entry, await _note(wanted, begun_branch, back))
    if wanted.effect.adopt and entry.note is None:
        return await _take_over(wanted, place, entry, tip if on_branch else None)
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


async def _branch(wanted: _Wanted, lock: int, saved: Saved | None) -> _Branch:
    """Create the branch, or find where it is."""
    git, ref, head = wanted.git, f"refs/heads/{wanted.branch}", wanted.checkout.head
    # Deleted by hand, it comes back where its worktree stood, not where the operator stands today.
    start = saved.parent if saved else head
    if wanted.effect.fresh and wanted.effect.earlier:
        start = wanted.effect.earlier.base  # what was there was put away by `git_tidy.start_over`
    made = await git.run("update-ref", "-m", "branch: Created by pitboss", ref, start, "", hold=(lock,))
    if made.ok and saved:
        return (await _found_branch(wanted, start, ours=True))._replace(new=True)
    if made.ok:
        return _Branch(start, start, ours=True, new=True)
    found = await commit_of(git, ref)
    if found is None:
        raise GitFailed(f"Branch {wanted.branch} cannot be created: {made.reason}.")
    # One that moved on holds the work of an earlier attempt, and is not ours to delete.
    return await _found_branch(wanted, found, ours=wanted.private and found == head)


async def _found_branch(wanted: _Wanted, tip: str, *, ours: bool) -> _Branch:
    """A branch that is at ``tip``: where an earlier attempt has made it is still its base, unless it was rewritten."""
    earlier = wanted.effect.earlier
    if earlier is not None and not earlier.base:
        return _Branch(tip, tip, ours=False, new=False)  # what Pitboss 0.9 had committed to it may be all there is
    if earlier is not None and not earlier.branch_deleted and await _follows(wanted.git, tip, earlier.base):
        return _Branch(tip, earlier.base, earlier.created_branch, new=False)
    return _Branch(tip, tip, ours, new=False)


async def _follows(git: Git, later: str, earlier: str) -> bool:
    """True if all of ``earlier`` is in ``later``."""
    return (await git.run("merge-base", "--is-ancestor", earlier, later)).ok


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
    """Have git forget a worktree that has no files; what was staged, or on no branch, it alone still knows."""
    if not entry.unborn:
        base = entry.note.base if entry.note else wanted.checkout.head
        await set_aside(wanted.git, place, entry, as_tidying(wanted.effect, base), wanted.at)
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


async def _check_out(locks: Locks, git: Git, entry: Entry, note: Note) -> Note:
    """Write the files. Not under the repository's lock: this is where the time goes."""
    async with locks.of_worktree(entry.admin) as lock:
        # A git that outlived its dispatcher would still hold our lock: whoever left this one is dead.
        await asyncio.to_thread((entry.admin / "index.lock").unlink, missing_ok=True)
        # `reset` is what `worktree add` uses itself; it runs no hook and needs no second look at the files.
        reset = ("reset", "--hard", "--quiet", "--no-recurse-submodules")
        output = await git.at(entry.path).run(*reset, hold=(lock,))
        if not output.ok:
            raise GitFailed(f"The files of {note.branch} could not be checked out: {output.reason}.")
        if note.brought_back is not None:
            await _bring_back(git.at(entry.path), note.brought_back, lock)
        done = msgspec.structs.replace(note, ready=True)
        await asyncio.to_thread(write_note, entry, done)
        return done


async def _bring_back(git: Git, aside: SetAside, lock: int) -> None:
    saved = await read_saved(git, aside.ref, aside.commit)
    if saved is None:
        raise GitFailed(f"{aside.ref} went away while it was being brought back: ask again to go on without it.")
    await fill(git, saved, hold=(lock,))


def _working_folder(path: Path, prefix: str) -> Path:
    folder = path / prefix
    if not path.is_dir():
        raise GitFailed(f"{path} is not a folder any more: move away what has taken its place, or make the link good.")
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
    if note.created_branch and await commit_of(wanted.git, f"refs/heads/{note.branch}") == note.base:
        await delete_branch(wanted.git, note.branch)
    return ""


async def delete_branch(git: Git, branch: str) -> Output:
    """Delete a branch, unless somebody has it checked out: that is why it is not `update-ref`."""
    return await git.run("branch", "--quiet", "-D", "--", branch)
