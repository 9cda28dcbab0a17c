"""What surfaces and public files may know: frozen pictures of the state, and the public records.

A live run and one that ended last month are looked at through the same functions; only where the state comes
from differs (the loop, or a replay of the journal). Pure. What a picture has is told in ``model.views``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from pitboss.core import layers, tree, words
from pitboss.core.actor import OUR_TOOLS
from pitboss.core.state import Actor, Asked, RunState, Wait
from pitboss.core.supervision import end_of
from pitboss.model.approvals import End
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, Phase, Role, Status, Usage
from pitboss.model.tree import ForActors
from pitboss.model.views import ActorView, ApprovalView, RunView

__all__ = [
    "ActorView",
    "RunView",
    "Views",
    "display_name",
    "doing",
    "in_tree_order",
    "run_record",
    "run_view",
    "task_record",
]

LONGEST_LINE = 200
"""So many characters of a prompt, or of what a request is about, are in a view: more than a row has room for."""

LONGEST_WORDS = 1000
"""So many characters of a final message are in a view; all of it is in the actor's log."""


def run_view(state: RunState, cursor: int = 0) -> RunView:
    """The run as it stands; ``cursor`` is the number of the last fact in it, if that is known."""
    return Views().see(state, cursor)


class _Place(NamedTuple):
    """Where an actor stands among the others, and what sets it apart from them; changes only when one joins."""

    depth: int
    name: str
    short_id: str


class _Row(NamedTuple):
    """How an actor was shown last, and of what that was made besides the actor itself."""

    actor: Actor
    place: _Place
    doing: str
    waits_for: tuple[ActorId, ...]
    view: ActorView


class Views:
    """Pictures of one run, one after another: what has not changed is the same object as in the last one.

    Kept by whoever keeps showing a run, so that a change costs what it changes; another state gives the same picture
    with or without. Who is whose is asked anew only when somebody has joined: an actor's parent, role and label are for
    life.
    """

    def __init__(self) -> None:
        self._names: dict[ActorId, str] = {}
        self._places: dict[ActorId, _Place] = {}
        """In the order of the rows."""
        self._rows: dict[ActorId, _Row] = {}
        self._actors: tuple[ActorView, ...] = ()
        self._asked: Mapping[str, Asked] = {}
        self._waiting: tuple[Asked, ...] = ()
        self._ends: tuple[End | None, ...] = ()
        """Of those that wait: another one when the clock of whoever asks was stopped, or its time was changed."""
        self._approvals: tuple[ApprovalView, ...] = ()

    def see(self, state: RunState, cursor: int = 0) -> RunView:
        """The run as it stands; ``cursor`` is the number of the last fact in it, if that is known."""
        run = state.spec
        self._see_actors(state)
        self._see_approvals(state)
        return RunView(
            cursor=cursor,
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
            draining_since=state.draining.at if state.draining else 0.0,
            stopping=state.stop_ordered,
            throttle=state.throttle_reason if state.throttled_until else "",
            throttled_at=state.throttled_at if state.throttled_until else 0.0,
            throttled_until=state.throttled_until,
            starts_limit=state.starts_limit,
            max_parallel=run.max_parallel,
            budget_usd=run.budget_usd,
            spent_usd=sum(self._rows[name].view.cost_usd or 0.0 for name in state.actors),
            usage=_sum(view.usage for view in self._actors),
            guarded=state.guardian_pid is not None,
            actors=self._actors,
            layers=layers.layer_views(state),
            run_leases=layers.run_leases(state),
            max_total_workers=run.tree.max_total_workers if run.tree else None,
            approvals=self._approvals,
            artifacts_lost=state.artifacts_lost,
            unreached=state.outbox.unreached,
        )

    def _see_approvals(self, state: RunState) -> None:
        is_new = state.approvals is not self._asked
        if is_new:
            self._asked = state.approvals
            self._waiting = tuple(one for one in state.approvals.values() if one.ruling is None)
        ends = tuple(end_of(one.approval, state.actors[one.approval.actor]) for one in self._waiting)
        if is_new or ends != self._ends:
            self._ends = ends
            self._approvals = tuple(map(_approval_view, self._waiting, ends))

    def _see_actors(self, state: RunState) -> None:
        if self._places.keys() != state.actors.keys():
            self._see_kinship(state)
        queued = _waiting_for(state)
        waits: dict[ActorId, list[Wait]] = {}
        for wait in state.waits.values():
            waits.setdefault(wait.actor, []).append(wait)
        for actor in state.actors.values():
            self._see_actor(state, actor, queued, waits.get(actor.spec.id, ()))
        actors = tuple(self._rows[name].view for name in self._places)
        if len(actors) != len(self._actors) or any(a is not b for a, b in zip(actors, self._actors, strict=True)):
            self._actors = actors

    def _see_actor(self, state: RunState, actor: Actor, queued: str, waits: Sequence[Wait]) -> None:
        name = actor.spec.id
        place, last = self._places[name], self._rows.get(name)
        doing = _doing(actor, queued, waits, self._names)
        ids = (wait.awaited.ids for wait in waits if isinstance(wait.awaited, ForActors))
        waits_for = tuple(dict.fromkeys(each for some in ids for each in some)) if waits else ()
        if last is None or last.actor is not actor or (place, doing, waits_for) != last[1:4]:
            view = _actor_view(state, actor, place, doing, waits_for)
            self._rows[name] = _Row(actor, place, doing, waits_for, view)

    def _see_kinship(self, state: RunState) -> None:
        members = [_Member(actor.spec.id, actor.parent, actor.role) for actor in state.actors.values()]
        short = layers.short_ids(state.actors)
        self._names = layers.names({name: actor.label for name, actor in state.actors.items()}, short)
        self._places = {
            member.id: _Place(depth, self._names[member.id], short[member.id])
            for member, depth in layers.in_tree_order(members)
        }


class _Member(NamedTuple):
    """What is asked of an actor to know its place in the tree."""

    id: ActorId
    parent: ActorId | None
    role: Role


def _sum(usages: Iterable[Usage]) -> Usage:
    """All tokens; field by field in plain numbers, because views are made often."""
    read = written = cache_read = cache_creation = 0
    for usage in usages:
        read += usage.input
        written += usage.output
        cache_read += usage.cache_read
        cache_creation += usage.cache_creation
    return Usage(input=read, output=written, cache_read=cache_read, cache_creation=cache_creation)


def in_tree_order(actors: Iterable[ActorView]) -> tuple[ActorView, ...]:
    """Actors as a tree lists them, each with its depth and the names that set it apart from the others."""
    rows = layers.in_tree_order(list(actors))
    short = layers.short_ids(row.id for row, _ in rows)
    names = layers.names({row.id: row.label for row, _ in rows}, short)
    return tuple(replace(row, depth=depth, name=names[row.id], short_id=short[row.id]) for row, depth in rows)


def _approval_view(asked: Asked, end: End | None) -> ApprovalView:
    request = asked.approval
    return ApprovalView(
        request_id=request.request_id,
        actor=request.actor,
        kind=request.kind,
        summary=_beginning(request.summary, LONGEST_LINE),
        tool_name=request.tool_name,
        asked_at=request.asked_at,
        expires_at=request.expires_at,
        fallback=request.fallback,
        why=request.why,
        ends_at=end.at if end else None,
        ends_by=end.by if end else None,
    )


def _beginning(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _actor_view(state: RunState, actor: Actor, place: _Place, doing: str, waits_for: tuple[ActorId, ...]) -> ActorView:
    """One actor as it stands."""
    tree = actor.worktree
    return ActorView(
        id=actor.spec.id,
        role=actor.role,
        parent=actor.parent,
        label=actor.label,
        name=place.name,
        short_id=place.short_id,
        depth=place.depth,
        phase=actor.phase,
        status=actor.status,
        attempt=actor.attempt,
        model=actor.spec.model,
        prompt=_beginning(actor.spec.prompt.strip().partition("\n")[0].rstrip(), LONGEST_LINE),
        started_at=actor.admitted_at,
        ended_at=actor.ended_at,
        usage=actor.all_usage,
        cost_usd=actor.all_cost_usd,
        exit_code=actor.certificate.exit_code if actor.certificate else None,
        doing=doing,
        waits_for=waits_for,
        tool_calls=actor.tool_calls,
        retries=actor.retries,
        silent_secs=actor.silent_secs,
        silent_since=actor.stalled_at - actor.silent_secs if actor.silent_secs else 0.0,
        background=actor.background,
        branch=_branch(actor),
        worktree=tree.path if tree and not tree.removed else None,
        set_aside=actor.set_aside,
        session_id=actor.session_id,
        failure=actor.failure,
        note=actor.note,
        final_message=actor.final_message and _beginning(actor.final_message, LONGEST_WORDS),
        log=_log_path(state, actor.spec.id),
        log_from=actor.log_offset,
    )


def _branch(actor: Actor) -> str | None:
    """The branch its commits are on, if there is one."""
    if actor.worktree is None:
        return actor.spec.branch
    return None if actor.worktree.branch_deleted else actor.worktree.branch


def doing(state: RunState, actor: Actor) -> str:
    """What an actor does, or waits for, in one phrase."""
    waits = [wait for wait in state.waits.values() if wait.actor == actor.spec.id]
    return _doing(actor, _waiting_for(state), waits)


def _doing(actor: Actor, queued: str, waits: Sequence[Wait], names: Mapping[ActorId, str] = words.NO_NAMES) -> str:
    """One phrase; ``queued`` says what those without a slot wait for, ``waits`` what its own calls do."""
    match actor.phase:
        case Phase.QUEUED:
            return queued
        case Phase.PREPARING:
            return "making its worktree"
        case Phase.STARTING:
            return "starting claude"
        case Phase.WORKING:
            if actor.silent_secs:
                return f"silent for {actor.silent_secs:.0f} s"
            if actor.turn is not None and actor.background:
                return f"waiting for {', '.join(actor.background)}"
            if waits:
                return f"waits for {' and '.join(words.awaited(wait.awaited, names) for wait in waits)}"
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
