"""What surfaces and public files may know: frozen pictures of the state, and the story of one actor.

A live run and one that ended last month are looked at through the same functions; only where the state comes
from differs (the loop, or a replay of the journal).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from msgspec.structs import replace

from pitboss.core import layers, tree, words
from pitboss.core.state import Actor, RunState
from pitboss.model import facts as f
from pitboss.model import tree_facts as t
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, Phase, Status, Usage
from pitboss.model.views import ActorView, RunView

__all__ = [
    "OUR_TOOLS",
    "ActorView",
    "RunView",
    "display_name",
    "doing",
    "in_tree_order",
    "run_record",
    "run_view",
    "story",
    "task_record",
]

OUR_TOOLS = "mcp__pitboss__"
"""How the real names of our own tools begin; left out where what an actor does is told in a phrase."""


def run_view(state: RunState) -> RunView:
    """The run as it stands."""
    run = state.spec
    return RunView(
        run_id=run.run_id,
        name=display_name(run.name, run.manifest_path),
        manifest_path=run.manifest_path,
        run_dir=run.run_dir,
        rehearsal=run.rehearsal,
        claude_version=state.claude_version,
        started_at=state.opened_at,
        ended_at=state.ended_at,
        exit_code=state.exit_code,
        was_interrupted=state.was_interrupted,
        draining=state.draining.by if state.draining else "",
        stopping=state.stop_ordered,
        throttle=state.throttle_reason if state.throttled_until else "",
        throttled_until=state.throttled_until,
        starts_limit=state.starts_limit,
        max_parallel=run.max_parallel,
        budget_usd=run.budget_usd,
        spent_usd=state.spent_usd,
        usage=sum((actor.all_usage for actor in state.actors.values()), Usage()),
        guarded=state.guardian_pid is not None,
        actors=_actor_views(state),
        layers=layers.layer_views(state),
        run_leases=layers.run_leases(state),
        max_total_workers=run.tree.max_total_workers if run.tree else None,
    )


def _actor_views(state: RunState) -> tuple[ActorView, ...]:
    waits, names = _waiting_for(state), layers.names({name: actor.label for name, actor in state.actors.items()})
    return in_tree_order([_actor_view(state, actor, waits, names) for actor in state.actors.values()])


def in_tree_order(actors: Iterable[ActorView]) -> tuple[ActorView, ...]:
    """Actors as a tree lists them, each with its depth and the names that set it apart from the others."""
    rows = layers.in_tree_order(list(actors))
    names, short = layers.names({row.id: row.label for row, _ in rows}), layers.short_ids(row.id for row, _ in rows)
    return tuple(replace(row, depth=depth, name=names[row.id], short_id=short[row.id]) for row, depth in rows)


def _actor_view(state: RunState, actor: Actor, waits: str, names: Mapping[ActorId, str]) -> ActorView:
    """One actor as it stands; ``waits`` says what a queued one waits for."""
    tree = actor.worktree
    return ActorView(
        id=actor.spec.id,
        role=actor.role,
        parent=actor.parent,
        label=actor.label,
        phase=actor.phase,
        status=actor.status,
        attempt=actor.attempt,
        model=actor.spec.model,
        prompt=next(iter(actor.spec.prompt.strip().splitlines()), ""),
        started_at=actor.admitted_at,
        ended_at=actor.ended_at,
        usage=actor.all_usage,
        cost_usd=actor.all_cost_usd,
        exit_code=actor.certificate.exit_code if actor.certificate else None,
        doing=_doing(actor, waits, state, names),
        tool_calls=actor.tool_calls,
        retries=actor.retries,
        silent_secs=actor.silent_secs,
        background=actor.background,
        branch=_branch(actor),
        worktree=tree.path if tree and not tree.removed else None,
        set_aside=actor.set_aside,
        session_id=actor.session_id,
        failure=actor.failure,
        note=actor.note,
        final_message=actor.final_message,
        log=_log_path(state, actor.spec.id),
    )


def _branch(actor: Actor) -> str | None:
    """The branch its commits are on, if there is one."""
    if actor.worktree is None:
        return actor.spec.branch
    return None if actor.worktree.branch_deleted else actor.worktree.branch


def doing(state: RunState, actor: Actor) -> str:
    """What an actor does, or waits for, in one phrase."""
    return _doing(actor, _waiting_for(state), state)


def _doing(actor: Actor, waits: str, state: RunState, names: Mapping[ActorId, str] = words.NO_NAMES) -> str:
    match actor.phase:
        case Phase.QUEUED:
            return waits
        case Phase.PREPARING:
            return "making its worktree"
        case Phase.STARTING:
            return "starting claude"
        case Phase.WORKING:
            if actor.silent_secs:
                return f"silent for {actor.silent_secs:.0f} s"
            if actor.turn is not None and actor.background:
                return f"waiting for {', '.join(actor.background)}"
            if awaited := [wait.awaited for wait in state.waits.values() if wait.actor == actor.spec.id]:
                return f"waits for {' and '.join(words.awaited(each, names) for each in awaited)}"
            return actor.last_tool.removeprefix(OUR_TOOLS) or "thinking"
        case Phase.FROZEN:
            return "frozen"
        case Phase.PAUSED:
            return "paused"
        case Phase.FINISHING:
            return "leaving"
        case Phase.STOPPING:
            stopping = actor.stopping
            return f"stopping ({stopping.reason}: {stopping.rung or 'soon'})" if stopping else "stopping"
        case Phase.TIDYING:
            return "putting its worktree away"
        case Phase.SETTLED:
            return actor.failure.message if actor.failure else actor.note


def _waiting_for(state: RunState) -> str:
    if state.draining:
        return f"never started: {state.draining.by}"
    if state.guardian_pid is None:
        return "waits for the guardian"
    if state.spec.tree is None and len(state.live) >= state.spec.max_parallel:
        return "waits for a slot"
    if state.throttled_until and state.starts_limit < state.spec.max_starts:
        return f"waits: {state.throttle_reason}"
    if state.starting >= state.starts_limit:
        return "waits for others to start"
    # In a tree the money was asked for at the spawn; whoever waits there waits for nothing but the start.
    is_poor = state.spec.tree is None and state.spec.budget_usd is not None
    return "waits for money that others hold" if is_poor else "starts next"


def display_name(name: str | None, manifest_path: str) -> str | None:
    """``[run].name``, else the manifest's file name without its ending, else ``None``."""
    stem = manifest_path.rpartition("/")[2]
    return (name or "").strip() or stem.rpartition(".")[0] or stem or None


def _log_path(state: RunState, actor: ActorId) -> str:
    return f"{state.spec.run_dir}/tasks/{actor}/stdout.log"


def task_record(state: RunState, actor_id: ActorId) -> TaskRecord:
    """The public record of a settled actor."""
    actor = state.actors[actor_id]
    return TaskRecord(
        task_id=actor_id,
        status=actor.status or Status.FAILED,
        exit_code=actor.certificate.exit_code if actor.certificate else None,
        started_at=actor.first_at or actor.spawned_at or actor.ended_at,
        ended_at=actor.ended_at,
        worktree_path=actor.worktree.path if actor.worktree else None,
        log_path=_log_path(state, actor_id),
        usage=actor.all_usage,
        session_id=(actor.session_id or None) if actor.process_at or actor.resume or actor.adopted else None,
        final_message=actor.final_message,
        model=actor.spec.model or None,
        failure=actor.failure,
        cost_usd=actor.all_cost_usd,
        set_aside=actor.set_aside,
        note=actor.note,
        parent_task_id=actor.parent,
        pause_count=actor.pauses,
        reprompt_count=actor.reprompts,
        approvals_requested=actor.asked,
        approvals_approved=actor.approved,
        approvals_rejected=actor.rejected,
        branch=_branch(actor),
        label=actor.label,
    )


def run_record(state: RunState) -> RunRecord:
    """The public record of an ended run: its actors in the order they settled."""
    run = state.spec
    return RunRecord(
        run_id=run.run_id,
        manifest_path=run.manifest_path,
        manifest_name=display_name(run.name, run.manifest_path),
        pitboss_version=state.pitboss_version,
        claude_version=state.claude_version,
        started_at=state.opened_at,
        ended_at=state.ended_at,
        was_interrupted=state.was_interrupted,
        tasks=tuple(task_record(state, actor) for actor in state.order),
        failed=tree.failed(state),
        not_started=state.waiting,
        rehearsal=run.rehearsal,
    )


class Recorded(Protocol):
    """An entry of the journal, as ``journal.log`` reads it."""

    @property
    def seq(self) -> int:
        """Its number, from 1."""

    @property
    def cause(self) -> int:
        """The number of the fact it follows from, 0 if none."""

    @property
    def fact(self) -> f.AnyFact:
        """What happened."""


Entry = TypeVar("Entry", bound=Recorded)

SHARED = (
    f.RunOpened,
    f.RunReopened,
    f.StartsThrottled,
    f.StartsRecovered,
    f.DrainBegan,
    f.StopOrdered,
    f.GuardianLost,
    f.RunEnded,
)
"""Facts about the whole run that explain what happens to each actor."""


def story(entries: Iterable[Entry], actor: ActorId) -> list[Entry]:
    """Everything that happened to ``actor``, and what of the run as a whole bears on it, oldest first.

    What it wrote to a store and which leases it had is its own too. Causes are followed back: a fact that led to one of
    the actor's is part of its story. What led to a fact about the whole run is not, or every story would tell how the
    last actor ended.
    """
    all_entries = list(entries)
    by_seq = {entry.seq: entry for entry in all_entries}
    leases = {
        entry.fact.lease.lease_id
        for entry in all_entries
        if isinstance(entry.fact, t.LeaseTaken) and entry.fact.lease.holder == actor
    }
    wanted: set[int] = set()
    for entry in all_entries:
        if isinstance(entry.fact, SHARED):
            wanted.add(entry.seq)
            continue
        link = entry if _is_about(entry.fact, actor, leases) else None
        while link is not None and link.seq not in wanted:
            wanted.add(link.seq)
            link = by_seq.get(link.cause)
    return [entry for entry in all_entries if entry.seq in wanted]


def _is_about(fact: f.AnyFact, actor: ActorId, leases: set[str]) -> bool:
    match fact:
        case t.StoreWritten(entry=entry):
            return entry.written_by == actor
        case t.StoreRemoved(removed=removed):
            return removed.removed_by == actor
        case t.LeaseTaken(lease=lease):
            return lease.lease_id in leases
        case t.LeaseOver(ended=ended):
            return ended.lease_id in leases
        case _:
            return getattr(fact, "actor", None) == actor
