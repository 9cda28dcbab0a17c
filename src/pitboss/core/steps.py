"""How each fact changes the actor it is about: flat, one step a kind, the larger ones below.

What a fact changes of the run as a whole is ``state``'s, which calls this.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from pitboss.core.actor import OUR_TOOLS, Actor, Stopping, Worktree
from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.model import approval_facts as a
from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.approval_facts import ApprovalDecided, ApprovalFact, ApprovalRequested, ApprovalTakenUp
from pitboss.model.approvals import Decision
from pitboss.model.order_facts import LimitsChanged
from pitboss.model.run import Certificate, Failure, Phase, TaskSpec

__all__ = ["evolve_actor", "found", "limited", "ruled", "spawned"]


def evolve_actor(actor: Actor, fact: f.AnyActorFact) -> Actor:  # noqa: C901 - a flat match
    """The actor after a fact about it."""
    match fact:
        case f.ActorAdmitted():
            return replace(
                actor,
                phase=Phase.PREPARING if actor.spec.use_worktree else Phase.STARTING,
                attempt=fact.attempt,
                session_id=fact.session_id,
                allotment_usd=fact.allotment_usd,
                opening=len(actor.inbox),
                fresh=actor.fresh and actor.spec.use_worktree,
                admitted_at=actor.admitted_at or fact.at,
                first_at=actor.first_at or fact.at,
            )
        case f.AttemptLost() | f.ActorRequeued():
            return requeued(actor, fact)
        case f.ActorAdopted():
            return adopted(actor, fact)
        case f.WorktreeMade():
            worktree = Worktree(
                path=fact.path,
                branch=fact.branch,
                base=fact.base,
                created_branch=fact.created_branch,
                cwd=fact.cwd,
                attempt=fact.attempt,
                message=fact.message,
            )
            # Asked to stop meanwhile: no process is ever started for it.
            phase, aside = Phase.TIDYING if actor.stopping else Phase.STARTING, fact.set_aside or actor.set_aside
            opening = len(actor.inbox)
            return replace(actor, worktree=worktree, phase=phase, set_aside=aside, fresh=False, opening=opening)
        case f.WorktreeFailed() | f.SpawnFailed():
            failure = Failure(kind="unknown", message=fact.message)
            return replace(actor, phase=Phase.TIDYING, failure=failure, ended_at=fact.at)
        case f.ProcessStarted():
            return replace(actor, pid=fact.pid, process_at=fact.at)
        case f.SessionOpened():
            phase = Phase.WORKING if actor.phase is Phase.STARTING else actor.phase
            return replace(told(actor, actor.opening), phase=phase, waited_for=(), opening=0, said=1, has_more=False)
        case f.ToolUsed():
            return used(actor, fact)
        case f.UsageCounted():
            return replace(actor, usage=fact.usage, cost_usd=fact.cost_usd)
        case f.ApiPushedBack():
            return replace(actor, retries=actor.retries + 1)
        case f.BackgroundNoted():
            return replace(actor, background=fact.tasks)
        case f.TurnFinished():
            return replace(
                actor,
                # One that has yet to read what it was told goes on to another turn.
                turn=None if fact.heard is not None and fact.heard < actor.said else fact.result,
                turn_at=fact.at,
                usage=fact.usage,
                cost_usd=fact.cost_usd,
                settled_usage=fact.usage,
                settled_cost_usd=fact.cost_usd or 0.0,
                final_message=fact.final_message,
            )
        case f.ActorStalled():
            return replace(actor, silent_secs=fact.secs, stalled_at=fact.at)
        case f.ActorRevived():
            return replace(actor, silent_secs=0.0)
        case f.StopBegan():
            return stopped(actor, fact)
        case t.ActorPaused():
            return paused(actor, fact)
        case t.ActorFrozen():
            return replace(actor, phase=Phase.FROZEN, frozen_at=fact.at, pauses=actor.pauses + 1)
        case t.ActorThawed():
            return thawed(actor, fact.at)
        case t.ActorContinued():
            reprompts = actor.reprompts + fact.redirects
            return replace(actor, phase=Phase.QUEUED, told=fact.prompt, waited_for=(), reprompts=reprompts)
        case t.MessageSent(message=message):
            return replace(actor, inbox=(*actor.inbox, message), reprompts=actor.reprompts + message.interrupts)
        case of.ModelSet(model=model):
            return replace(actor, spec=replace(actor.spec, model=model))
        case t.InterruptAsked():
            return replace(actor, interrupting=True)
        case t.MessagesDelivered():
            return told(actor, len(actor.inbox))
        case (
            t.ActorSpawned()
            | t.WaitBegan()
            | t.WaitEnded()
            | t.SeatOpened()
            | a.ApprovalRequested()
            | a.ApprovalTakenUp()
            | a.ApprovalDecided()
        ):
            return actor  # what they change is the run's: see ``evolve``
        case f.RungReached():
            stopping = replace(
                actor.stopping or Stopping(reason="failed"),
                step=fact.step,
                rung=fact.rung,
                patience_until=fact.at + fact.patience_secs,
            )
            return replace(actor, stopping=stopping)
        case f.ProcessEnded():
            return replace(
                actor,
                phase=Phase.TIDYING,
                ended_at=fact.at,
                certificate=fact.certificate,
                usage=fact.usage,
                cost_usd=fact.cost_usd,
                failure=fact.failure,
                final_message=fact.final_message,
                background=(),
                silent_secs=0.0,
            )
        case f.WorktreeLeft():
            left = None
            if actor.worktree:
                left = replace(actor.worktree, removed=fact.removed, branch_deleted=fact.branch_deleted)
            # What an earlier attempt had set aside stays where it is, so it stays named.
            aside = fact.set_aside or actor.set_aside
            return replace(actor, worktree=left, set_aside=aside, note=fact.message or actor.note)
        case f.ActorSettled():
            return replace(
                actor,
                phase=Phase.SETTLED,
                status=fact.status,
                failure=fact.failure,
                note=fact.note,
                settled_at=fact.at,
                ended_at=actor.ended_at or fact.at,
            )
        case _:
            assert_never(fact)


def spawned(fact: t.ActorSpawned) -> Actor:
    """An actor that another has brought into being."""
    return Actor(
        spec=fact.spec,
        role=fact.role,
        parent=fact.parent,
        label=fact.label,
        spawned_at=fact.at,
        reserved_usd=fact.reserved_usd,
        envelope=fact.envelope,
        idempotency_key=fact.idempotency_key,
    )


def requeued(actor: Actor, fact: f.AttemptLost | f.ActorRequeued) -> Actor:
    """An actor that waits for its next attempt."""
    kept = _between_attempts(actor)
    return replace(
        kept,
        session_id=fact.session_id,
        resume=fact.resume,
        fresh=fact.fresh,
        log_offset=fact.log_offset,
        cut_off=not fact.fresh,
        told="" if fact.fresh else kept.told,
        briefing="" if fact.fresh else kept.briefing,
    )


def paused(actor: Actor, fact: t.ActorPaused) -> Actor:
    """An actor whose processes are gone for now."""
    counted = replace(actor, usage=fact.usage, cost_usd=fact.cost_usd)
    kept = _between_attempts(counted)
    worked = actor.worked_secs + max(0.0, _stood_still_at(actor, fact.at) - actor.process_at - actor.held_secs)
    pauses = actor.pauses + (actor.phase is not Phase.FROZEN and not fact.goes_on)
    return replace(
        kept,
        phase=Phase.QUEUED if fact.goes_on else Phase.PAUSED,
        has_more=fact.goes_on,
        resume=fact.resume,
        log_offset=fact.log_offset,
        admitted_at=actor.admitted_at,
        pauses=pauses,
        worked_secs=worked,
    )


def _stood_still_at(actor: Actor, at: float) -> float:
    """When a paused actor last worked: not later than its dispatcher, which may have been gone for days by ``at``."""
    if actor.phase is Phase.FROZEN:
        return actor.frozen_at
    return min(at, actor.stopping.patience_until) if actor.stopping else at


def _between_attempts(actor: Actor) -> Actor:
    """What an actor keeps for its next attempt: who it is, its place, its session, its account."""
    return Actor(
        spec=actor.spec,
        role=actor.role,
        parent=actor.parent,
        label=actor.label,
        spawned_at=actor.spawned_at,
        reserved_usd=actor.reserved_usd,
        envelope=actor.envelope,
        idempotency_key=actor.idempotency_key,
        attempt=actor.attempt,
        session_id=actor.session_id,
        beginning_unknown=actor.beginning_unknown,
        fresh=actor.fresh,
        first_at=actor.first_at,
        past_usage=actor.all_usage,
        past_cost_usd=actor.all_cost_usd or 0.0,
        worktree=actor.worktree,
        set_aside=actor.set_aside,
        tool_calls=actor.tool_calls,
        store_calls=actor.store_calls,
        lease_calls=actor.lease_calls,
        retries=actor.retries,
        final_message=actor.final_message,
        inbox=actor.inbox,
        told=actor.told,
        briefing=actor.briefing,
        waited_for=actor.waited_for,
        worked_secs=actor.worked_secs,
        pauses=actor.pauses,
        reprompts=actor.reprompts,
        asked=actor.asked,
        approved=actor.approved,
        rejected=actor.rejected,
        refused=actor.refused,
    )


def ruled(actor: Actor, fact: ApprovalFact, earlier: Decision | None) -> Actor:
    """An actor that has asked, or was answered; ``earlier`` is what was decided before it asked again."""
    match fact:
        case ApprovalRequested():
            return replace(actor, asked=actor.asked + 1)
        case ApprovalDecided(ruling=ruling, heard=heard):
            counted = replace(
                actor, approved=actor.approved + ruling.approved, rejected=actor.rejected + (not ruling.approved)
            )
            return replace(counted, refused=None if ruling.approved else ruling) if heard else counted
        case ApprovalTakenUp(heard=heard):
            refused = earlier if heard and earlier and not earlier.approved else None
            return replace(actor, refused=refused) if heard else actor


def thawed(actor: Actor, at: float) -> Actor:
    """A frozen actor that goes on; its clock does too."""
    held = actor.held_secs + max(0.0, at - actor.frozen_at)
    return replace(actor, phase=Phase.WORKING, frozen_at=0.0, held_secs=held)


def told(actor: Actor, count: int) -> Actor:
    """An actor that was told its first ``count`` messages; where it was redirected to outlives its process."""
    directions = [message.text for message in actor.inbox[:count] if message.interrupts]
    last = directions[-1] if directions else actor.told
    left, said = actor.inbox[count:], actor.said + 1
    return replace(actor, inbox=left, said=said, interrupting=False, turn=None, turn_at=0.0, told=last)


def found(fact: f.ActorAdopted, spec: TaskSpec) -> Actor:
    """An actor that another had spawned under Pitboss 0.9, before it is settled as that has left it."""
    return Actor(spec=spec, role=fact.role, parent=fact.parent, spawned_at=fact.started_at)


def adopted(actor: Actor, fact: f.ActorAdopted) -> Actor:
    """An actor as Pitboss 0.9 has left it: settled, or waiting for its next attempt."""
    worktree = None
    if fact.worktree is not None:
        worktree = Worktree(
            path=fact.worktree,
            branch=fact.branch,
            base="",  # not told, so the branch is never ours to delete
            created_branch=False,
            cwd=fact.worktree,
            removed=fact.worktree_removed,
            attempt=fact.attempt,
            foreign=True,
        )
    known = replace(
        actor,
        attempt=fact.attempt,
        session_id=fact.session_id,
        beginning_unknown=fact.spec is not None or (fact.attempt > 0 and actor.spec.use_worktree),
        first_at=fact.started_at,
        worktree=worktree,
        briefing=fact.briefing,
        pauses=fact.pauses,
        reprompts=fact.reprompts,
        asked=fact.asked,
        approved=fact.approved,
        rejected=fact.rejected,
    )
    if fact.status is None:
        past = fact.cost_usd or 0.0
        return replace(known, resume=fact.resume, log_offset=fact.log_offset, past_usage=fact.usage, past_cost_usd=past)
    return replace(
        known,
        phase=Phase.SETTLED,
        adopted=True,
        admitted_at=fact.started_at,
        ended_at=fact.at,
        settled_at=fact.at,
        usage=fact.usage,
        cost_usd=fact.cost_usd,
        certificate=Certificate(exit_code=fact.exit_code, group_empty=False, cookie_empty=False),
        failure=fact.failure,
        note=fact.note,
        final_message=fact.final_message,
        status=fact.status,
    )


def used(actor: Actor, fact: f.ToolUsed) -> Actor:
    """After a tool call."""
    refused = None if fact.verdict == "allow" else actor.refused
    last = f"{fact.tool} {fact.summary}".strip()
    ours = fact.tool.removeprefix(OUR_TOOLS) if fact.tool.startswith(OUR_TOOLS) else ""
    return replace(
        actor,
        tool_calls=actor.tool_calls + 1,
        last_tool=last,
        refused=refused,
        store_calls=actor.store_calls + ours.startswith("kv_"),
        lease_calls=actor.lease_calls + ours.startswith(("lease_", "run_lease_")),
    )


def limited(actor: Actor, fact: LimitsChanged) -> Actor:
    """With another time-out, or as a sub-lead with other limits of its layer."""
    spec = replace(actor.spec, timeout_secs=fact.timeout_secs or actor.spec.timeout_secs)
    budget = fact.budget_usd or actor.envelope.budget_usd
    cap = fact.max_workers or actor.envelope.max_workers
    return replace(actor, spec=spec, envelope=replace(actor.envelope, budget_usd=budget, max_workers=cap))


def stopped(actor: Actor, fact: f.StopBegan) -> Actor:
    """An actor whose end has begun."""
    stopping = Stopping(reason=fact.reason, note=fact.note)
    if actor.phase is Phase.PREPARING:  # git cannot be cut short; what it makes is tidied up at once
        return replace(actor, stopping=stopping)
    if actor.phase not in HAS_PROCESS:
        return replace(actor, stopping=stopping, phase=Phase.TIDYING, ended_at=fact.at)
    phase = Phase.FINISHING if fact.reason in {"finished", "background"} else Phase.STOPPING
    return replace(actor, stopping=stopping, phase=phase)
