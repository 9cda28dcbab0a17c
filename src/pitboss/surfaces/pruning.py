"""Clearing old runs away: what there is, what is decided, what is done.

A run is only ever removed under its own lock, after every worktree it still has was set aside and removed by git;
that git and the process table are asked at all is `upkeep`'s business, handed in as `Tidy`. What may not come in:
anything that could touch a live run or a repository directly. Called by ``commands`` for ``prune``;
what is said of it is ``pruning_report``'s.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from pitboss.core.state import Actor, RunState
from pitboss.core.views import run_record
from pitboss.errors import OperatorError, PitbossError, WorldError
from pitboss.journal.discovery import RunEntry, discover
from pitboss.journal.disk import disk_errors
from pitboss.journal.lock import RunLock, is_held
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import TidyWorktree
from pitboss.model.records import RunRecord
from pitboss.model.run import ActorId, Phase, RunId, SetAside
from pitboss.model.signals import WorktreeTidied
from pitboss.surfaces import words
from pitboss.surfaces.restoring import history
from pitboss.wire.artifacts import decode_meta, decode_tasks, encode_run
from pitboss.wire.scalars import from_timestamp

__all__ = [
    "Aside",
    "Asked",
    "Found",
    "Outcome",
    "Plan",
    "Tidy",
    "age_in_secs",
    "carry_out",
    "plan",
]

# --- prune: what there is -------------------------------------------------------------------------------------------

Action = Literal["synthesize", "remove", "none"]

Tidy: TypeAlias = Callable[[str, Sequence[TidyWorktree]], list[WorktreeTidied]]
"""Stops what is left of a dead run, by its id, and has git tidy its worktrees; the answers in the same order."""

_LIVELY_SECS = 4 * 3600
"""As long as something was written this lately, a run of 0.9, which keeps no lock, may be running."""


class Aside(NamedTuple):
    """Work that was set aside."""

    actor: ActorId
    directory: str
    """The task's directory, in whose repository it is."""
    saved: SetAside


class Asked(NamedTuple):
    """What the operator wants."""

    older_than: float = 0.0
    aborted: bool = False
    complete: bool = False
    remove: bool = False


class Found(NamedTuple):
    """A run that may be dealt with."""

    entry: RunEntry
    age: float
    """Seconds since anything was written in it."""
    size: int
    """Bytes on disk, its worktrees included."""
    trees: tuple[TidyWorktree, ...]
    """Its worktrees that are still there."""
    refs: tuple[Aside, ...]
    """What was set aside while it ran; the run is what names it."""
    strangers: tuple[str, ...]
    """Worktrees of a run of 0.9: they stay."""
    extent: int
    """How long its journal was."""
    action: Action
    why: str = ""
    """Why nothing is done about it, if nothing is."""


class Plan(NamedTuple):
    """What there is to do, and what is left alone and why."""

    found: list[Found]
    left: list[tuple[RunEntry, str]]


def age_in_secs(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``4h`` or ``7d`` in seconds.

    Raises:
        OperatorError: It is none of these.
    """
    said = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip(), re.ASCII)
    if said is None:
        raise OperatorError(f"--older-than {text!r} is no age: give a whole number and s, m, h or d, such as 7d")
    return float(int(said[1]) * words.AGE_UNITS[said[2]])


def plan(folder: Path, asked: Asked, now: float) -> Plan:
    """Look at all runs in ``folder``; nothing is changed.

    Raises:
        WorldError: The folder cannot be read.
    """
    planned = Plan([], [])
    for entry in discover(folder, now=now):
        try:
            found = _excuse(entry, asked) or _look(entry, asked, now)
        except (PitbossError, OSError) as error:
            found = f"it cannot be read: {error}"
        if isinstance(found, Found):
            planned.found.append(found)
        else:
            planned.left.append((entry, found))
    return planned


def _excuse(entry: RunEntry, asked: Asked) -> str:
    """Why a run of this state is not looked at any further; empty if it is."""
    match entry.state:
        case "running":
            return "it is running"
        case "unverifiable":
            return "it may not be looked at"
        case "aborted":
            return "" if asked.aborted else "--include-aborted takes it up"
        case "complete":
            return "" if asked.complete else "--include-complete takes it up"
        case "stale" | "interrupted" | "unbegun":
            return ""


def _look(entry: RunEntry, asked: Asked, now: float) -> Found | str:
    run = RunDir(entry.path)
    if is_held(run.lock) is not None:  # one with a damaged summary is called aborted before that is asked
        return "it is running"
    extent = _extent(run)
    state, asides = history(run)
    trees = _trees(state)
    size, written_at = _measure([run.path, *(Path(tree.path) for tree in trees)])
    age = max(0.0, now - written_at)
    if not _is_ours(run) and entry.state != "complete" and age <= _LIVELY_SECS:
        return f"something was written in it {words.age(age)} ago, so it may be running"
    if age < asked.older_than:
        return "it is not old enough"
    action, why = _action(entry, run, state, remove=asked.remove)
    strangers = tuple(_strangers(run, state))
    refs = tuple(Aside(name, state.actors[name].spec.directory, saved) for name, saved in asides.items())
    return Found(entry, age, size, tuple(trees), refs, strangers, extent, action, why)


def _is_ours(run: RunDir) -> bool:
    return run.lock.exists() or run.journal.exists()


def _extent(run: RunDir) -> int:
    return run.journal.stat().st_size if run.journal.exists() else 0


def _strangers(run: RunDir, state: RunState) -> Iterator[str]:
    """The worktrees of a run of 0.9 that are still there: it did not write down what git has to know of them."""
    if _is_ours(run):
        made = [actor.worktree for actor in state.actors.values() if actor.worktree is not None]
        yield from (tree.path for tree in made if tree.foreign and not tree.removed and Path(tree.path).is_dir())
        return
    for pointer in sorted(run.tasks.glob("*/worktree.path")):
        path = os.fsdecode(pointer.read_bytes())
        if Path(path).is_absolute() and Path(path).is_dir():
            yield path


def _action(entry: RunEntry, run: RunDir, state: RunState, *, remove: bool) -> tuple[Action, str]:
    if remove:
        return "remove", ""
    if entry.state == "complete":
        return "none", "it has its summary, --remove clears it away"
    if _is_ours(run) and state.exit_code is None:
        if state.run is None or state.run.rehearsal:
            return "none", "it cannot be resumed, --remove clears it away"
        return "none", f"`{run.typed('resume', program=words.program())}` goes on with it, --remove clears it away"
    return "synthesize", ""


def _measure(places: Iterable[Path]) -> tuple[int, float]:
    """Bytes on disk below some folders, and when something was last written there."""
    seen: set[tuple[int, int]] = set()
    size, newest = 0, 0.0
    for path in (path for place in places for path in _walk(place)):
        about = path.lstat()
        if (about.st_dev, about.st_ino) not in seen:
            seen.add((about.st_dev, about.st_ino))
            size += about.st_blocks * 512
        # Not the lock: to look at a run in earnest is to write our name into it.
        if not stat.S_ISDIR(about.st_mode) and path.name != "dispatcher.lock":
            newest = max(newest, about.st_mtime)
    return size, newest


def _walk(place: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(place):
        yield from (Path(folder, name) for name in [*files, *folders])


def _trees(state: RunState) -> list[TidyWorktree]:
    """Every worktree of a run that has not been removed, as it is to be put away."""
    return [tree for actor in state.actors.values() if (tree := _tree(state, actor)) is not None]


def _tree(state: RunState, actor: Actor) -> TidyWorktree | None:
    run, name, made = state.spec, actor.spec.id, actor.worktree
    if made is None and actor.phase is not Phase.PREPARING:
        return None
    if made is not None and (made.foreign or (made.removed and actor.phase is not Phase.PREPARING)):
        return None
    private = f"pitboss-{name}-{run.run_id}"
    # One that was being made when its dispatcher died is where `core.decision` asked for it. Its base is not known,
    # so its branch stays.
    begun = f"{run.worktree_root}/{private}" if run.worktree_root else f"{run.run_dir}/worktrees/{name}"
    # In the name of the attempt that left it: there a resume looks for it, should the run be kept after all.
    attempt = made.attempt if made and not made.removed else actor.attempt
    return TidyWorktree(
        actor=name,
        attempt=attempt,
        directory=actor.spec.directory,
        path=made.path if made else begun,
        branch=made.branch if made else actor.spec.branch or private,
        base=made.base if made else "HEAD",
        created_branch=made.created_branch if made else False,
        remove=True,
        ref=f"refs/pitboss/{run.run_id}/{name}",
        cookie=f"{run.run_id}/{name}/{attempt}",
    )


# --- prune: what is done --------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of one run."""

    found: Found
    ok: bool
    message: str
    saved: tuple[Aside, ...] = ()
    """What was set aside now."""


def carry_out(found: Found, tidy: Tidy, now: float) -> Outcome:
    """Deal with one run as planned; it is looked at again under its lock, and what went wrong is in the answer."""
    run = RunDir(found.entry.path)
    saved: list[Aside] = []
    try:
        match found.action:
            case "none":
                message = found.why
            case "synthesize":
                _synthesize(run, found, now)
                message = "summary.json written"
            case "remove":
                _clear(run, found, tidy, saved)
                message = f"removed, {words.size(found.size)} freed"
    except (PitbossError, OSError) as error:
        return Outcome(found, ok=False, message=str(error), saved=tuple(saved))
    return Outcome(found, ok=True, message=message, saved=tuple(saved))


def _synthesize(run: RunDir, found: Found, now: float) -> None:
    """Write the summary a run has not got: from its journal, or for one of 0.9 from its records as they are."""
    if _is_ours(run):
        with RunLock.acquire(run.lock):
            _require_unchanged(run, found)
            _put_summary(run, encode_run(run_record(history(run).state)))
        return
    with disk_errors("read", run.meta):
        meta = decode_meta(run.meta.read_bytes())
    started_at = from_timestamp(meta.started_at)
    known = run.summary_lines.exists()
    records = decode_tasks(run.summary_lines.read_bytes()).records if known else []
    ended_at = records[-1].ended_at if records else started_at if known else now
    record = RunRecord(
        run_id=RunId(meta.run_id),
        manifest_path=meta.manifest_path,
        manifest_name=found.entry.name,
        pitboss_version=meta.pitboss_version,
        claude_version=meta.claude_version,
        started_at=started_at,
        ended_at=ended_at,
        was_interrupted=True,
        tasks=tuple(records),
    )
    _put_summary(run, encode_run(record))


def _put_summary(run: RunDir, data: bytes) -> None:
    with disk_errors("set aside", run.summary):
        if run.summary.exists():  # it could not be read; whoever knows better still can
            run.summary.rename(run.path / "summary.json.damaged")
    run.disk.write_atomic(run.summary, data)


def _clear(run: RunDir, found: Found, tidy: Tidy, saved: list[Aside]) -> None:
    """Put away a run's worktrees, and only then the run."""
    if not _is_ours(run):
        _require_no_work(run)
        _delete(run)
        return
    with RunLock.acquire(run.lock):
        _require_unchanged(run, found)
        state = history(run).state
        if state.run is not None:
            _require_original(run, state)
            _put_away(state, tidy, saved)
        _require_no_work(run)
        _delete(run)


def _require_unchanged(run: RunDir, found: Found) -> None:
    """What was resumed and has ended since is another case, and perhaps none that was asked for."""
    if _extent(run) != found.extent:
        raise OperatorError("somebody has worked on it since it was looked at: prune again")


def _require_original(run: RunDir, state: RunState) -> None:
    """The journal of a copy speaks of the worktrees and processes of the original, which may be alive."""
    told = state.spec.run_dir
    if os.path.realpath(told) != os.path.realpath(run.path) and (os.path.lexists(told) or _trees(state)):
        raise OperatorError(f"it is a copy of the run in {told}, or was moved from there: remove it by hand")


def _put_away(state: RunState, tidy: Tidy, saved: list[Aside]) -> None:
    trees = _trees(state)
    kept = []
    for tree, report in zip(trees, tidy(state.spec.run_id, trees), strict=True):
        if report.set_aside is not None:
            saved.append(Aside(tree.actor, tree.directory, report.set_aside))
        if not report.removed:
            kept.append(report.message)
    if kept:
        raise WorldError(f"the run was kept, because of its worktrees: {' '.join(kept)}")


def _require_no_work(run: RunDir) -> None:
    """Refuse to delete a repository or worktree nobody told of, wherever in the run it lies."""
    for folder, folders, files in os.walk(run.path):
        if ".git" in folders or ".git" in files:
            raise WorldError(f"the run was kept: {folder} is a repository or worktree it does not know; look at it")


def _delete(run: RunDir) -> None:
    """Delete a run's folder, what tells of its life last: cut short, it can be asked for again."""
    with disk_errors("remove", run.path):
        last = (run.summary_lines, run.journal, run.lock)
        for item in set(run.path.iterdir()) - set(last):
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
        for item in last:
            item.unlink(missing_ok=True)
        run.path.rmdir()
        for relic in _relics(run):
            relic.unlink(missing_ok=True)


def _relics(run: RunDir) -> Iterator[Path]:
    """What 0.9 leaves outside of a run's folder."""
    yield run.path.with_name(f"{run.run_id}.bg-stderr.log")
    if sockets := os.environ.get("XDG_RUNTIME_DIR"):
        yield from (Path(sockets, "pitboss", f"{run.run_id}{end}") for end in (".control.sock", ".sock"))
