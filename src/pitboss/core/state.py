"""The whole run in memory, and how each fact changes it.

``evolve`` is pure and total over ``AnyFact``: the journal alone rebuilds the state. Nothing here decides
anything; ``decide`` does. The state is frozen; ``evolve`` returns a new one and shares what did not change.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import assert_never

from msgspec.structs import replace

from pitboss.core import leases, lifecycle, outbox, store, words
from pitboss.core.actor import Actor, Stopping, Worktree, layer_of
from pitboss.core.run_state import Asked, Draining, RunState, Wait
from pitboss.core.steps import evolve_actor, found, limited, ruled, spawned
from pitboss.model import approval_facts as a
from pitboss.model import facts as f
from pitboss.model import notice_facts as n
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.run import (
    ActorId,
    Phase,
    Policy,
    RunSpec,
    TaskSpec,
)
from pitboss.model.tree import CallId

__all__ = ["Actor", "Asked", "Draining", "RunState", "Stopping", "Wait", "Worktree", "evolve", "rebuilt"]


def rebuilt(facts: Iterable[f.AnyFact]) -> RunState:
    """The state that facts lead to, from the first on: law 4, the journal alone rebuilds it."""
    return functools.reduce(evolve, facts, RunState())


def evolve(state: RunState, fact: f.AnyFact) -> RunState:
    """The state after ``fact``.

    Raises:
        lifecycle.IllegalStep: the fact contradicts the table of phases; the state is unchanged.
    """
    match fact:
        case t.ActorSpawned(actor=name):
            return replace(state, actors=state.actors | {name: spawned(fact)}, waiting=(*state.waiting, name))
        case f.ActorAdopted(actor=name, spec=TaskSpec() as spec) if name not in state.actors:
            joined = state.actors | {name: found(fact, spec)}
            return evolve(replace(state, actors=joined, waiting=(*state.waiting, name)), fact)
        case t.WaitBegan() | t.WaitEnded():
            return replace(state, waits=_waits(state, fact))
        case a.ApprovalRequested() | a.ApprovalTakenUp() | a.ApprovalDecided():
            known = state.approvals.get(fact.request_id) if isinstance(fact, a.ApprovalTakenUp) else None
            actor = ruled(state.actors[fact.actor], fact, known.ruling if known else None)
            return _evolve_approval(replace(state, actors=state.actors | {fact.actor: actor}), fact)
        case f.ActorFact():
            actor = state.actors[fact.actor]
            moved = evolve_actor(actor, fact)
            if moved.phase is not actor.phase:
                lifecycle.check(fact.actor, actor.phase, moved.phase)
                return _reindex(state, actor, moved)
            return replace(state, actors=state.actors | {fact.actor: moved})
        case _:
            return _evolve_run(state, fact)


def _waits(state: RunState, fact: t.WaitBegan | t.WaitEnded) -> dict[tuple[ActorId, CallId], Wait]:
    key = (fact.actor, fact.call_id)
    others = {other: wait for other, wait in state.waits.items() if other != key}
    if isinstance(fact, t.WaitEnded):
        return others
    wait = Wait(
        actor=fact.actor, attempt=fact.attempt, call_id=fact.call_id, awaited=fact.awaited, deadline=fact.deadline
    )
    return others | {key: wait}


def _reindex(state: RunState, before: Actor, after: Actor) -> RunState:
    """Take in an actor that has changed its phase: who waits, who is live, who has settled."""
    name = after.spec.id
    waiting, live, order = state.waiting, state.live, state.order
    if before.phase is Phase.QUEUED:
        waiting = tuple(other for other in waiting if other != name)
        live = (*live, name) if after.phase in lifecycle.HOLDS_SLOT else live
    elif after.phase is Phase.QUEUED:
        queued = {*waiting, name}
        waiting = tuple(each for each in state.actors if each in queued)
        live = tuple(other for other in live if other != name)
        order = tuple(other for other in order if other != name)
    elif after.phase not in lifecycle.HOLDS_SLOT and before.phase in lifecycle.HOLDS_SLOT:
        live = tuple(other for other in live if other != name)
    if after.phase is Phase.SETTLED:
        order = (*order, name)
    waits = state.waits
    if before.phase in lifecycle.HAS_PROCESS and after.phase not in lifecycle.HAS_PROCESS:
        # A call ends with its caller. One that is only cut off is told what it waited for, and asks again.
        cut = tuple(words.awaited(wait.awaited) for wait in waits.values() if wait.actor == name)
        waits = {key: wait for key, wait in waits.items() if wait.actor != name}
        after = replace(after, waited_for=cut or after.waited_for)
    return replace(state, actors=state.actors | {name: after}, waiting=waiting, live=live, order=order, waits=waits)


def _evolve_run(state: RunState, fact: f.RunFact) -> RunState:  # noqa: C901 - a flat match
    match fact:
        case f.RunOpened(run=run):
            return replace(
                state,
                run=run,
                opened_at=fact.at,
                pitboss_version=fact.pitboss_version,
                actors=_first_actors(run),
                waiting=tuple(_first_actors(run)),
                starts_limit=run.max_starts,
            )
        case f.RunReopened():
            return replace(
                state,
                pitboss_version=fact.pitboss_version,
                ended_at=0.0,
                exit_code=None,
                was_interrupted=False,
                guardian_pid=None,
                guardian_losses=0,
                starts_limit=state.spec.max_starts,
                throttled_until=0.0,
                throttled_at=0.0,
                throttle_reason="",
                draining=None,
                interrupted=False,
                stop_ordered=False,
                artifacts_lost=(),
            )
        case f.GuardianStarted(pid=pid):
            return replace(state, guardian_pid=pid)
        case f.GuardianLost():
            return replace(state, guardian_pid=None, guardian_losses=state.guardian_losses + 1)
        case f.ClaudeIdentified(version=version):
            return replace(state, claude_version=version)
        case f.StartsThrottled():
            lowered = fact.limit < state.starts_limit
            return replace(
                state,
                starts_limit=fact.limit,
                throttled_until=fact.until,
                throttled_at=fact.at if lowered else state.throttled_at,
                throttle_reason=fact.reason,
            )
        case f.StartsRecovered():
            reason = state.throttle_reason if fact.until else ""
            return replace(state, starts_limit=fact.limit, throttled_until=fact.until, throttle_reason=reason)
        case f.DrainBegan():
            draining = Draining(by=fact.by, at=fact.at, ordered=fact.ordered)
            return replace(state, draining=draining, interrupted=state.interrupted or fact.ordered)
        case f.StopOrdered():
            draining = state.draining or Draining(by=fact.by, at=fact.at, ordered=True)
            return replace(state, draining=draining, stop_ordered=True, interrupted=True)
        case f.ArtifactLost():
            return replace(state, artifacts_lost=(*state.artifacts_lost, f"{fact.path}: {fact.message}"))
        case f.RunEnded():
            return replace(state, ended_at=fact.at, exit_code=fact.exit_code, was_interrupted=fact.was_interrupted)
        case f.HandFailed() | f.NewsIgnored():
            return state
        case n.NoticeRaised() | n.NoticeSettled():
            return replace(state, outbox=outbox.evolved(state.outbox, fact))
        case t.StoreWritten() | t.StoreRemoved() | t.LeaseTaken() | t.LeaseOver():
            return _evolve_shared(state, fact)
        case of.OrderTaken() | of.PolicyReplaced() | of.LimitsChanged():
            return _evolve_by_order(state, fact)
        case _:
            assert_never(fact)


def _evolve_shared(state: RunState, fact: t.SharedFact) -> RunState:
    match fact:
        case t.StoreWritten(layer=layer, entry=entry):
            return replace(state, stores=state.stores | {layer: store.evolved(state.store(layer), entry)})
        case t.StoreRemoved(layer=layer, removed=removed):
            return replace(state, stores=state.stores | {layer: store.evolved(state.store(layer), removed)})
        case t.LeaseTaken(lease=lease):
            return replace(state, leases=leases.evolved(state.leases, lease))
        case t.LeaseOver(ended=ended):
            return replace(state, leases=leases.evolved(state.leases, ended))
        case _:
            assert_never(fact)


def _evolve_by_order(state: RunState, fact: of.OrderFact) -> RunState:
    match fact:
        case of.OrderTaken(order_id=name):
            return replace(state, orders=state.orders | {name: fact}) if name else state
        case of.PolicyReplaced(rules=rules, default_action=default, version=version):
            run = replace(state.spec, policy=Policy(rules=rules, default_action=default))
            return replace(state, run=run, policy_version=version)
        case of.LimitsChanged(actor=str() as name):
            return replace(state, actors=state.actors | {name: limited(state.actors[name], fact)})
        case of.LimitsChanged():
            return replace(state, run=_limited(state.spec, fact))
        case _:
            assert_never(fact)


def _limited(run: RunSpec, fact: of.LimitsChanged) -> RunSpec:
    """The run with other limits; of a tree they are those of its lead's layer, and the money is the whole run's."""
    budget, cap = fact.budget_usd, fact.max_workers
    if run.tree is None:
        return replace(run, budget_usd=budget or run.budget_usd, max_parallel=cap or run.max_parallel)
    grown = replace(run.tree, budget_usd=budget or run.tree.budget_usd, max_workers=cap or run.tree.max_workers)
    return replace(run, tree=grown, budget_usd=run.budget_usd and (budget or run.budget_usd))


def _evolve_approval(state: RunState, fact: a.ApprovalFact) -> RunState:
    if isinstance(fact, a.ApprovalRequested):
        asked = Asked(approval=fact.approval, pending=fact.pending)
        return replace(state, approvals=state.approvals | {fact.approval.request_id: asked})
    asked = state.approvals[fact.request_id]
    if isinstance(fact, a.ApprovalTakenUp):
        asked = replace(asked, pending=fact.pending, heard=fact.heard)
        return replace(state, approvals=state.approvals | {fact.request_id: asked})
    asked = replace(asked, ruling=fact.ruling, heard=fact.heard)
    opened = state.plans_approved
    if asked.approval.kind == "plan" and fact.ruling.approved:
        opened |= {layer_of(state.actors[fact.actor])}
    return replace(state, approvals=state.approvals | {fact.request_id: asked}, plans_approved=opened)


def _first_actors(run: RunSpec) -> dict[ActorId, Actor]:
    if run.tree is not None:
        return {run.tree.lead.id: Actor(spec=run.tree.lead, role="lead")}
    return {spec.id: Actor(spec=spec) for spec in run.tasks}
