"""One actor of a run: what is known of it, and the larger steps that a fact makes it take.

Which fact leads to which step is ``state``'s, by which the nouns are to be had too. Called by ``state``.
"""

from __future__ import annotations

from msgspec.structs import replace

from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.model import facts as f
from pitboss.model import tree_facts as t
from pitboss.model.approval_facts import ApprovalDecided, ApprovalFact, ApprovalRequested, ApprovalTakenUp
from pitboss.model.approvals import Decision
from pitboss.model.effects import Rung
from pitboss.model.order_facts import LimitsChanged
from pitboss.model.run import (
    ActorId,
    Certificate,
    Failure,
    Frozen,
    Phase,
    Role,
    SetAside,
    Status,
    TaskSpec,
    TurnResult,
    Usage,
)
from pitboss.model.tree import Envelope, Message

__all__ = [
    "FLAT",
    "Actor",
    "Stopping",
    "Worktree",
    "adopted",
    "found",
    "layer_of",
    "limited",
    "paused",
    "requeued",
    "ruled",
    "spawned",
    "stopped",
    "thawed",
    "used",
]

OUR_TOOLS = "mcp__pitboss__"
"""How the real names of our own tools begin."""

FLAT = "*"
"""The one layer of a flat run; no actor can be called so."""


class Worktree(Frozen, frozen=True, kw_only=True):
    """An actor's place to work."""

    path: str
    branch: str
    base: str
    created_branch: bool
    cwd: str
    removed: bool = False
    branch_deleted: bool = False
    """Nothing was ever committed to the branch we made, so it went with the worktree."""
    attempt: int = 0
    """The attempt it was made for last."""
    message: str = ""
    """What became of earlier work, if it does not simply lie in it."""
    foreign: bool = False
    """Pitboss 0.9 made it, and no attempt of ours has taken it over yet: it is left alone."""


class Stopping(Frozen, frozen=True, kw_only=True):
    """An end that has begun: why, and how far up the ladder it is."""

    reason: str
    note: str = ""
    step: int = -1
    rung: Rung | None = None
    patience_until: float = 0.0


class Actor(Frozen, frozen=True, kw_only=True):
    """One actor of the run."""

    spec: TaskSpec
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    session_id: str = ""
    resume: bool = False
    """The next attempt, or the present one, continues a session that an earlier one began."""
    fresh: bool = False
    """Its next worktree is to begin where the first one did; until that is made, whoever takes over asks again."""
    beginning_unknown: bool = False
    """Pitboss 0.9 began it, and did not write down where its branch began, or what it was asked: it cannot begin there
    again."""
    first_at: float = 0.0
    """When it first got a slot."""
    past_usage: Usage = Usage()
    """Tokens of earlier attempts."""
    past_cost_usd: float = 0.0
    """Money of earlier attempts."""
    allotment_usd: float | None = None
    admitted_at: float = 0.0
    process_at: float = 0.0
    """When its process came up: its time-out counts from here."""
    ended_at: float = 0.0
    settled_at: float = 0.0
    worktree: Worktree | None = None
    pid: int | None = None
    log_offset: int = 0
    """Where in its log the stream of the present attempt begins, or of the next one while it waits."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    settled_usage: Usage = Usage()
    """Tokens at the last turn's end, where money was exact."""
    settled_cost_usd: float = 0.0
    """Money at the last turn's end."""
    turn: TurnResult | None = None
    turn_at: float = 0.0
    background: tuple[str, ...] = ()
    tool_calls: int = 0
    store_calls: int = 0
    lease_calls: int = 0
    last_tool: str = ""
    retries: int = 0
    silent_secs: float = 0.0
    """Above 0 while the agent is stalled."""
    stalled_at: float = 0.0
    """When it was last noticed that it is."""
    stopping: Stopping | None = None
    certificate: Certificate | None = None
    failure: Failure | None = None
    final_message: str | None = None
    set_aside: SetAside | None = None
    status: Status | None = None
    note: str = ""
    adopted: bool = False
    """How it ended is the word of Pitboss 0.9; the evidence is not ours."""
    role: Role = "task"
    parent: ActorId | None = None
    """Who spawned it, and so leads it."""
    label: str = ""
    spawned_at: float = 0.0
    reserved_usd: float = 0.0
    """Set apart for it in the ledger as long as it lives."""
    envelope: Envelope = Envelope()
    """A sub-lead's own money and caps."""
    idempotency_key: str = ""
    inbox: tuple[Message, ...] = ()
    """What it is to be told, and has not been yet."""
    interrupting: bool = False
    """Its turn is being ended so that it hears its inbox."""
    told: str = ""
    """The last direction it was given: when it was redirected, or was to go on after a pause; empty if it never was."""
    briefing: str = ""
    """What it is to know about the time under Pitboss 0.9, whenever an attempt begins."""
    cut_off: bool = False
    """Its attempt, or the one before the next, was cut off with its dispatcher."""
    waited_for: tuple[str, ...] = ()
    """What it waited for when its attempt was cut off, in words."""
    frozen_at: float = 0.0
    held_secs: float = 0.0
    """How long the present attempt stood still: its time-out does not count that."""
    worked_secs: float = 0.0
    """How long it worked before it was paused: its time-out counts that too."""
    pauses: int = 0
    reprompts: int = 0
    asked: int = 0
    """Requests for approval; how they were answered is counted in the next two."""
    approved: int = 0
    rejected: int = 0
    refused: Decision | None = None
    """The last answer, if it was a no and nothing was done since."""

    @property
    def is_pausing(self) -> bool:
        """Its processes are being ended, and will be started again when it is to go on."""
        return self.phase is Phase.STOPPING and self.stopping is not None and self.stopping.reason == "pause"

    @property
    def all_usage(self) -> Usage:
        """Tokens of all its attempts."""
        return self.past_usage + self.usage

    @property
    def all_cost_usd(self) -> float | None:
        """Money of all its attempts; ``None`` while nothing is known."""
        return None if self.cost_usd is None and not self.past_cost_usd else self.past_cost_usd + (self.cost_usd or 0)


def layer_of(actor: Actor) -> str:
    """The layer that an actor's calls reach: its own if it leads one, else that of whoever spawned it."""
    if actor.role in {"lead", "sublead"}:
        return actor.spec.id
    return actor.parent or FLAT


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
    pauses = actor.pauses + (actor.phase is not Phase.FROZEN)
    return replace(
        kept, phase=Phase.PAUSED, resume=fact.resume, log_offset=fact.log_offset, pauses=pauses, worked_secs=worked
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


def told(actor: Actor) -> Actor:
    """An actor that has heard its messages; where it was redirected to outlives its process."""
    directions = [message.text for message in actor.inbox if message.interrupts]
    last = directions[-1] if directions else actor.told
    return replace(actor, inbox=(), interrupting=False, turn=None, turn_at=0.0, told=last)


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
