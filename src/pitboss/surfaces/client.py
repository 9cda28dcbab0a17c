"""One run, seen from outside: live, ended, cut short, or written by Pitboss 0.9.

Whatever is left of a run becomes the same ``RunView`` that a live floor shows, so that every command reads every
run alike. Nothing is written here, and no order is given. Called by ``commands``; free of asyncio, the engine and the
manifest, so that ``status`` starts fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pitboss.core.state import Asked, RunState, evolve
from pitboss.core.views import display_name, in_tree_order, run_view, task_record
from pitboss.errors import OperatorError
from pitboss.journal.discovery import RunEntry, State, discover, resolve
from pitboss.journal.entries import Entry
from pitboss.journal.legacy import Legacy, branch_of, read_legacy
from pitboss.journal.lock import is_held
from pitboss.journal.reader import Follower, replay
from pitboss.journal.rundir import RunDir, runs_base
from pitboss.model import facts as f
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Phase, Role, Usage
from pitboss.model.views import ActorView, RunView
from pitboss.surfaces import words
from pitboss.wire.artifacts import encode_tasks
from pitboss.wire.resolved import Resolved, ResolvedActor
from pitboss.wire.scalars import to_timestamp

__all__ = [
    "Run",
    "TaskWatch",
    "base",
    "entries",
    "find_actor",
    "list_json",
    "list_runs",
    "log_path",
    "open_run",
    "records_json",
    "run_json",
]


def base(override: str | None) -> Path:
    """The folder of all runs, by the one rule that every command follows."""
    return runs_base(os.environ, os.environ.get("HOME", ""), override)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it was found."""

    path: Path
    state: State
    view: RunView
    records: tuple[TaskRecord, ...]
    """Of the settled actors, in the order they settled."""
    damaged: int = 0
    """Records of a run of 0.9 that could not be read."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """Every request for approval, by its id, in the order they were asked."""


def open_run(folder: Path, name: str) -> Run:
    """Look at the run that goes by ``name`` (an id, the beginning of one, or ``latest``).

    Raises:
        RunNotFound: None does, or more than one.
        WorldError: What is there cannot be read.
    """
    path = resolve(folder, name)
    return _ours(path) if RunDir(path).journal.exists() else _of_old(path)


def entries(path: Path) -> list[Entry]:
    """Every fact of a run.

    Raises:
        OperatorError: It was written by a Pitboss that kept no journal.
        WorldError: The journal is damaged.
    """
    journal = RunDir(path).journal
    if not journal.exists():
        raise OperatorError(f"the run {path.name} has no journal, so it has no story: Pitboss 0.9 kept none")
    return list(replay(journal))


def find_actor(run: Run, name: str) -> ActorId:
    """The actor that goes by ``name`` in this run: its id, else its label, else the beginning of exactly one id.

    Raises:
        OperatorError: None does, or more than one; the message names the ones there are.
    """
    known = sorted(run.view.actors, key=lambda actor: actor.id)
    start = name.rstrip("…")
    matches = (
        [actor for actor in known if actor.id == name]
        or [actor for actor in known if name and actor.label == name]
        or [actor for actor in known if start and actor.id.startswith(start)]
    )
    if len(matches) == 1:
        return matches[0].id
    noun = "actors" if any(actor.parent for actor in known) else "tasks"
    if matches:
        how = "are called" if matches[0].label == name else "begin with"
        listed = ", ".join(actor.id for actor in matches)
        raise OperatorError(f"{len(matches)} {noun} of run {run.path.name} {how} {name!r}: {listed}")
    there = ", ".join(map(words.full_name, known)) if known else "nothing is recorded of any yet"
    raise OperatorError(f"no {noun.removesuffix('s')} {name!r} in run {run.path.name}; there are: {there}")


def log_path(run: Run, actor: ActorId, *, stderr: bool = False) -> Path:
    """Where an actor's log is, or will be.

    Raises:
        OperatorError: The path leads out of the run's directory.
    """
    folder = RunDir(run.path)
    path = folder.stderr_log(actor) if stderr else folder.stdout_log(actor)
    if not path.resolve().is_relative_to(folder.tasks.resolve()):
        raise OperatorError(f"the log {path} is a link that leads out of its run; it is not followed")
    return path


# --- as JSON --------------------------------------------------------------------------------------------------------


def records_json(run: Run) -> str:
    """The records of the settled actors: an array, as ever."""
    return encode_tasks(run.records).decode()


def run_json(run: Run) -> str:
    """The run as a whole, with every actor."""
    shape = {"version": 1, "state": run.state, **msgspec.structs.asdict(run.view)}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def list_runs(folder: Path, *, active: bool = False) -> list[RunEntry]:
    """All runs, or those that someone is at work on; newest first."""
    return [entry for entry in discover(folder) if not active or entry.state == "running"]


def list_json(found: Iterable[RunEntry]) -> str:
    """An array of runs: the keys of 0.9, and then ours."""
    shape = [
        {
            "run_id": entry.run_id,
            "run_dir": str(entry.path),
            "started_at": to_timestamp(entry.started_at),
            "tasks_total": entry.tasks_total,
            "tasks_failed": entry.tasks_failed,
            "status": entry.state,
            "name": entry.name,
            "ended_at": None if entry.ended_at is None else to_timestamp(entry.ended_at),
            "was_interrupted": entry.was_interrupted,
            "total_cost_usd": entry.total_cost_usd,
            "rehearsal": entry.rehearsal,
            "pid": entry.pid,
        }
        for entry in found
    ]
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


# --- runs with a journal --------------------------------------------------------------------------------------------


def _ours(path: Path) -> Run:
    # The lock is asked first: a dispatcher that ends in between has written its last fact by then.
    held = is_held(RunDir(path).lock) is not None
    state = RunState()
    for entry in replay(RunDir(path).journal):
        state = evolve(state, entry.fact)
    if state.run is None:
        return _of_old(path)  # killed, or looked at, before its first fact was on disk
    view = run_view(state)
    records = tuple(task_record(state, actor) for actor in state.order)
    return Run(path=path, state=_state(view, held=held), view=view, records=records, asked=state.approvals)


def _state(view: RunView, *, held: bool) -> State:
    if view.ended_at:
        return "complete"
    return "running" if held else "interrupted"


class TaskWatch:
    """Tells when nothing more will be written about one actor."""

    def __init__(self, run: Run, actor: ActorId) -> None:
        self._run = run
        self._actor = actor
        self._folder = RunDir(run.path)
        self._follower = Follower(self._folder.journal)
        self.settled = False
        """True once the actor has its final status; false if its run ended, or died, before that."""

    def ended(self) -> bool:
        """True if the actor is settled or its run is over. Cheap: only what is new is read."""
        if not self._folder.journal.exists():
            return self._ended_by_the_old_rules()
        held = is_held(self._folder.lock) is not None
        over = False
        for entry in self._follower.read():
            self.settled = self.settled or (isinstance(entry.fact, f.ActorSettled) and entry.fact.actor == self._actor)
            over = over or isinstance(entry.fact, f.RunEnded)
        return self.settled or over or not held

    def _ended_by_the_old_rules(self) -> bool:
        run = _of_old(self._run.path)
        self.settled = any(record.task_id == self._actor for record in run.records)
        return self.settled or run.state != "running"


# --- runs of Pitboss 0.9 --------------------------------------------------------------------------------------------


def _of_old(path: Path) -> Run:
    """A run that is known by its public files alone."""
    folder = RunDir(path)
    found = (entry.state for entry in discover(path.parent) if entry.path == path)
    state: State = next(found, "unverifiable")
    legacy = read_legacy(folder)
    view = _old_view(folder, legacy, running=state == "running")
    return Run(path=path, state=state, view=view, records=legacy.records, damaged=legacy.damaged)


def _old_view(folder: RunDir, legacy: Legacy, *, running: bool) -> RunView:
    latest, resolved = legacy.latest, legacy.resolved or Resolved()
    manifest_path = legacy.meta.manifest_path if legacy.meta else ""
    specs = {spec.id: spec for spec in [*([resolved.lead] if resolved.lead else []), *resolved.tasks]}
    begun = sorted(item.name for item in folder.tasks.iterdir()) if folder.tasks.is_dir() else []
    names = list(dict.fromkeys([*specs, *latest, *begun]))
    lead = resolved.lead.id if resolved.lead else None
    actors = [
        _old_actor(folder, name, latest.get(ActorId(name)), specs.get(name), lead=lead, begun=name in begun)
        for name in names
    ]
    return RunView(
        run_id=folder.run_id,
        name=display_name(resolved.name, manifest_path),
        manifest_path=manifest_path,
        run_dir=str(folder.path),
        rehearsal=False,
        claude_version=legacy.meta.claude_version if legacy.meta else None,
        started_at=legacy.started_at,
        ended_at=legacy.ended_at,
        exit_code=None,
        was_interrupted=legacy.was_interrupted,
        draining="",
        stopping=False,
        throttle="",
        throttled_until=0.0,
        starts_limit=0,
        max_parallel=resolved.cap,
        budget_usd=resolved.budget_usd,
        spent_usd=sum(record.cost_usd or 0.0 for record in latest.values()),
        usage=sum((record.usage for record in latest.values()), Usage()),
        guarded=running,
        actors=in_tree_order(actors),
    )


def _old_actor(
    folder: RunDir,
    name: str,
    record: TaskRecord | None,
    spec: ResolvedActor | None,
    *,
    lead: str | None,
    begun: bool,
) -> ActorView:
    waiting = Phase.WORKING if begun else Phase.QUEUED
    return ActorView(
        id=ActorId(name),
        role=_old_role(name, lead),
        parent=(record.parent_task_id if record else None) or (ActorId(lead) if lead and name != lead else None),
        phase=Phase.SETTLED if record else waiting,
        status=record.status if record else None,
        attempt=1 if record or begun else 0,
        model=(record.model if record else None) or (spec.model if spec else ""),
        prompt=next(iter(spec.prompt.strip().splitlines()), "") if spec else "",
        started_at=record.started_at if record else 0.0,
        ended_at=record.ended_at if record else 0.0,
        usage=record.usage if record else Usage(),
        cost_usd=record.cost_usd if record else None,
        exit_code=record.exit_code if record else None,
        doing="",
        tool_calls=0,
        retries=0,
        silent_secs=0.0,
        background=(),
        branch=_old_branch(folder, name, record, spec),
        worktree=record.worktree_path if record and _is_there(record.worktree_path) else None,
        set_aside=record.set_aside if record else None,
        session_id=(record.session_id if record else None) or "",
        failure=record.failure if record else None,
        note=record.note if record else "",
        final_message=record.final_message if record else None,
        log=str(folder.path / "tasks" / name / "stdout.log"),
    )


def _old_role(name: str, lead: str | None) -> Role:
    if lead is None:
        return "task"
    return "lead" if name == lead else "sublead" if name.startswith("sublead-") else "worker"


def _is_there(worktree: str | None) -> bool:
    """The records of 0.9 name a worktree whether or not it was removed."""
    return worktree is not None and Path(worktree).is_dir()


def _old_branch(folder: RunDir, name: str, record: TaskRecord | None, spec: ResolvedActor | None) -> str | None:
    if spec is not None and spec.branch:
        return spec.branch
    return branch_of(name, folder.run_id, record.worktree_path) if record and record.worktree_path else None
