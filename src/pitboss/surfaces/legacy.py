"""A run of Pitboss 0.9, or one that was cut off before its first fact: its public files as a view.

Called by ``client``.
"""

from __future__ import annotations

from pathlib import Path

from pitboss.core.views import display_name, in_tree_order
from pitboss.journal.discovery import State, discover
from pitboss.journal.legacy import Legacy, branch_of, read_legacy
from pitboss.journal.rundir import RunDir
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Phase, Role, Usage
from pitboss.model.views import ActorView, RunView
from pitboss.surfaces.found import Run
from pitboss.wire.resolved import Resolved, ResolvedActor

__all__ = ["old_run"]


def old_run(path: Path) -> Run:
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
