"""Bringing set-aside work back: what a journal tells of it, what is refused, what is said.

That git is asked at all is `upkeep`'s business. Called by ``commands`` for ``restore``; ``pruning`` reads the same
history.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from pitboss.core.state import RunState, evolve
from pitboss.errors import OperatorError, WorldError
from pitboss.journal.reader import replay
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.run import ActorId, SetAside
from pitboss.surfaces import words
from pitboss.wire.scalars import to_json, to_timestamp

__all__ = [
    "History",
    "Origin",
    "Saved",
    "brought_back_line",
    "history",
    "origin_of",
    "require",
    "saved_json",
    "saved_lines",
]

_SHOWN = 20
"""How many changed paths are listed before the rest is only counted."""


class History(NamedTuple):
    """What a journal tells."""

    state: RunState
    asides: dict[ActorId, SetAside]
    """What was set aside last for each actor; a later attempt that left nothing does not change that."""


def history(run: RunDir) -> History:
    """Read a run's journal to its end; a run without one has an empty history."""
    told = History(RunState(), {})
    for entry in replay(run.journal) if run.journal.exists() else ():
        told = told._replace(state=evolve(told.state, entry.fact))
        if isinstance(entry.fact, f.WorktreeLeft | f.WorktreeMade) and entry.fact.set_aside is not None:
            told.asides[entry.fact.actor] = entry.fact.set_aside
    return told


class Saved(Protocol):
    """One state that was set aside, as the git driver finds it."""

    @property
    def ref(self) -> str:
        """The ref that keeps it."""

    @property
    def commit(self) -> str:
        """Its commit."""

    @property
    def parent(self) -> str:
        """The commit that was checked out."""

    @property
    def others(self) -> Sequence[str]:
        """Commits that only the worktree remembered."""

    @property
    def changes(self) -> Sequence[tuple[str, str]]:
        """What differs from ``parent``: git's letter for the kind of change, and the path."""

    @property
    def ignored(self) -> int:
        """How many ignored files were not saved."""

    @property
    def at(self) -> float:
        """When it was set aside."""


class Origin(NamedTuple):
    """Where an actor's set-aside work is to be looked for."""

    run_id: str
    actor: ActorId
    directory: str
    """The task's directory: the repository, or a folder inside it."""
    ref: str
    owner: str
    """``<run>/<actor>``, which every commit names that was set aside for it."""
    recorded: SetAside | None
    """What the journal says was set aside last."""
    worktree: str | None
    """Its worktree, if that was not removed."""


def origin_of(path: Path, actor: ActorId) -> Origin:
    """Where to look for the work of an actor of the run in ``path``.

    Raises:
        OperatorError: The run is one of Pitboss 0.9, or has no such actor.
    """
    run = RunDir(path)
    if not run.journal.exists():
        raise OperatorError(f"the run {path.name} was made by Pitboss 0.9, which set nothing aside")
    state, asides = history(run)
    if actor not in state.actors:
        raise OperatorError(f"no task {actor!r} is recorded in run {path.name}; see: {words.program()} status")
    run_id, found = state.spec.run_id, state.actors[actor]
    owner = f"{run_id}/{actor}"
    worktree = found.worktree.path if found.worktree and not found.worktree.removed else None
    return Origin(run_id, actor, found.spec.directory, f"refs/pitboss/{owner}", owner, asides.get(actor), worktree)


def require(found: Sequence[Saved], origin: Origin) -> None:
    """Make sure that there is something to bring back.

    Raises:
        OperatorError: Nothing was ever set aside.
        WorldError: It was, but its ref is gone.
    """
    if found:
        return
    if origin.recorded is None:
        there = "it left nothing uncommitted"
        if origin.worktree is not None:
            is_there = Path(origin.worktree).is_dir()
            there = (
                f"its worktree is still there: {origin.worktree}" if is_there else "its worktree was deleted by hand"
            )
        raise OperatorError(f"nothing of {origin.actor} was set aside in run {origin.run_id}: {there}")
    raise WorldError(
        f"the ref {origin.recorded.ref} is gone from {origin.directory}; "
        f"as long as git has not collected it, this brings it back: "
        f"git -C {shlex.quote(origin.directory)} branch NAME {origin.recorded.commit}"
    )


def saved_lines(found: Sequence[Saved], origin: Origin, *, runs_dir: str | None) -> list[str]:
    """What is there, and how to bring it back."""
    *earlier, last = found
    lines = [
        f"{origin.actor}: {words.plural(len(last.changes), 'file')} set aside as {last.ref}",
        f"  commit {last.commit}",
        f"  saved on {words.moment(last.at)} UTC, on top of {last.parent[:12]}, in {words.clean(origin.directory)}",
        *(f"    {kind} {words.clean(path)}" for kind, path in last.changes[:_SHOWN]),
    ]
    if len(last.changes) > _SHOWN:
        lines.append(f"    … and {len(last.changes) - _SHOWN} more")
    if last.ignored:
        lines.append(f"  {words.plural(last.ignored, 'ignored file')} not saved")
    lines += [f"  with commit {sha[:12]}, which is on no branch" for sha in last.others]
    lines += [f"  earlier: {words.plural(len(one.changes), 'file')} as {one.ref}" for one in earlier]
    command = f"{words.program()} restore {origin.run_id} {origin.actor}"
    return [*lines, f"bring it back with: {command} --into DIR{words.at(runs_dir)}  (or --branch NAME)"]


def brought_back_line(last: Saved, origin: Origin, *, into: str | None, branch: str | None) -> str:
    """One sentence on what was brought back, and where it is now."""
    files = words.plural(len(last.changes), "file")
    if into is not None:
        return f"{origin.actor}: {files} back in {words.clean(into)}, uncommitted on {last.parent[:12]}; the ref stays"
    return f"{origin.actor}: {files} back on the new branch {branch}, at {last.commit[:12]}; the ref stays"


def saved_json(found: Sequence[Saved], origin: Origin, *, into: str | None, branch: str | None) -> str:
    """The same for programs: the last state, the earlier ones, and what was done."""
    shape = {
        "version": 1,
        "run_id": origin.run_id,
        "actor": origin.actor,
        "directory": origin.directory,
        **_saved_shape(found[-1]),
        "earlier": [_saved_shape(one) for one in found[:-1]],
        "into": into,
        "branch": branch,
    }
    return msgspec.json.format(to_json(shape), indent=2).decode()


def _saved_shape(saved: Saved) -> dict[str, object]:
    return {
        "ref": saved.ref,
        "commit": saved.commit,
        "parent": saved.parent,
        "at": to_timestamp(saved.at),
        "files": [{"change": kind, "path": path} for kind, path in saved.changes],
        "ignored": saved.ignored,
        "other_commits": list(saved.others),
    }
