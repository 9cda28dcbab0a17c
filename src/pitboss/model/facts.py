"""What we write down: small, past tense, with the time it happened. The journal holds nothing else.

Evolution rules: a field once written is never renamed or given another meaning; a new field has a default;
a new kind is a new class. A reader that meets an unknown kind stops with a clear message.
The journal's envelope adds the sequence number and the cause; see ``journal.log``.
``model.tree_facts`` has those that only a tree and its store bring about, ``model.approval_facts`` and
``model.order_facts`` those of approvals and of orders; here is the list of all.
"""

from __future__ import annotations

import msgspec

from pitboss.model import approval_facts as approvals
from pitboss.model import notice_facts as notices
from pitboss.model import order_facts as orders
from pitboss.model import tree_facts as tree
from pitboss.model.effects import Rung
from pitboss.model.fact import ActorFact as ActorFact
from pitboss.model.fact import Fact as Fact
from pitboss.model.run import (
    ActorId,
    Certificate,
    Failure,
    ResumeScope,
    Role,
    RunSpec,
    SetAside,
    Status,
    TaskSpec,
    TurnResult,
    Usage,
)


class RunOpened(Fact, frozen=True, kw_only=True):
    """A run began; this is all that was asked for."""

    run: RunSpec
    pid: int
    pitboss_version: str


class RunReopened(Fact, frozen=True, kw_only=True):
    """Another dispatcher took the run over; whatever the old one still had running is stopped."""

    pid: int
    pitboss_version: str
    epoch: int
    scope: ResumeScope
    stopped: tuple[int, ...] = ()


class GuardianStarted(Fact, frozen=True, kw_only=True):
    """The guardian watches."""

    pid: int


class GuardianLost(Fact, frozen=True, kw_only=True):
    """The guardian died or never came up; starting waits until there is one again."""

    message: str


class ClaudeIdentified(Fact, frozen=True, kw_only=True):
    """The agent's version became known."""

    version: str | None


class ActorAdmitted(ActorFact, frozen=True, kw_only=True):
    """An actor got a slot, and its share of the money."""

    session_id: str
    allotment_usd: float | None = None


class AttemptLost(ActorFact, frozen=True, kw_only=True):
    """An attempt was cut off with its dispatcher; its processes are gone and the actor waits for its next attempt."""

    certificate: Certificate
    session_id: str
    """Of the next attempt."""
    resume: bool
    """True if the next attempt continues its session, False if it starts afresh."""
    fresh: bool = False
    """Its next worktree begins where the first one did; what it has done so far is set aside before."""
    log_offset: int = 0
    """Where in ``stdout.log`` the next attempt's stream begins, in bytes."""


class ActorRequeued(ActorFact, frozen=True, kw_only=True):
    """An actor is taken up again, on an operator's order: it had settled, or waits to begin again from the start."""

    session_id: str
    resume: bool
    fresh: bool = False
    """Its next worktree begins where the first one did; what it has done so far is set aside before."""
    log_offset: int = 0


class ActorAdopted(ActorFact, frozen=True, kw_only=True):
    """What the files of Pitboss 0.9 tell of an actor, noted when a run of it is taken over; ``at`` is when it ended."""

    status: Status | None = None
    """``None`` for one that was cut off, or that never began: it waits for its next attempt."""
    started_at: float = 0.0
    session_id: str = ""
    resume: bool = False
    """True if the next attempt of one that waits continues its session."""
    log_offset: int = 0
    """Where in ``stdout.log`` that attempt's stream will begin, in bytes."""
    worktree: str | None = None
    branch: str = ""
    """What its worktree is on."""
    worktree_removed: bool = False
    exit_code: int | None = None
    usage: Usage = Usage()
    cost_usd: float | None = None
    failure: Failure | None = None
    note: str = ""
    final_message: str | None = None
    unrecorded: bool = False
    """No record tells how it ended: that its dispatcher did is all there is to go by."""
    spec: TaskSpec | None = None
    """Of one that another had spawned: who it is, as far as the files tell. What it was asked they do not."""
    role: Role = "task"
    """Of such a one, as ``parent`` is."""
    parent: ActorId | None = None
    briefing: str = ""
    """What it is to know about the change, whenever an attempt of its begins."""
    pauses: int = 0
    reprompts: int = 0
    asked: int = 0
    approved: int = 0
    rejected: int = 0


class WorktreeMade(ActorFact, frozen=True, kw_only=True):
    """A worktree stands ready."""

    path: str
    branch: str
    base: str
    created_branch: bool
    cwd: str
    brought_back: SetAside | None = None
    """What had been set aside and lies in it again, uncommitted."""
    set_aside: SetAside | None = None
    """What was found in its place and set aside before it was made."""
    message: str = ""
    """What became of earlier work, if it does not simply lie in it."""


class WorktreeFailed(ActorFact, frozen=True, kw_only=True):
    """No worktree could be made."""

    message: str


class ProcessStarted(ActorFact, frozen=True, kw_only=True):
    """The agent's process exists."""

    pid: int


class SpawnFailed(ActorFact, frozen=True, kw_only=True):
    """The agent's process could not be started."""

    message: str


class SessionOpened(ActorFact, frozen=True, kw_only=True):
    """The session answered and has its prompt."""


class ToolUsed(ActorFact, frozen=True, kw_only=True):
    """A tool call was seen and allowed."""

    tool: str
    summary: str
    tool_use_id: str = ""
    verdict: str
    """``allow`` or ``deny``."""
    rule: str = ""
    """Which rule of the run, or who, decided that, if anybody did."""
    subagent: str | None = None


class UsageCounted(ActorFact, frozen=True, kw_only=True):
    """Tokens and money of the attempt so far; an estimate until a turn's end corrects it."""

    usage: Usage
    cost_usd: float | None


class ApiPushedBack(ActorFact, frozen=True, kw_only=True):
    """The API refused a call for now."""

    status: int | None
    delay_secs: float
    error: str = ""


class StartsThrottled(Fact, frozen=True, kw_only=True):
    """How many actors may be started at once from now on; 0 pauses starting until ``until``."""

    limit: int
    until: float
    """When the next step of recovery is due."""
    reason: str


class StartsRecovered(Fact, frozen=True, kw_only=True):
    """One step of recovery; ``until`` 0 means fully recovered."""

    limit: int
    until: float = 0.0


class BackgroundNoted(ActorFact, frozen=True, kw_only=True):
    """The session's background tasks changed."""

    tasks: tuple[str, ...]


class TurnFinished(ActorFact, frozen=True, kw_only=True):
    """A turn ended; its account is exact now."""

    result: TurnResult
    usage: Usage
    cost_usd: float | None
    final_message: str | None = None
    heard: int | None = None
    """How many of the messages said in this attempt the session had begun to read, if it tells. Fewer than were said,
    and another turn follows by itself."""


class ActorStalled(ActorFact, frozen=True, kw_only=True):
    """An agent has been silent for too long; a warning, nothing else."""

    secs: float


class ActorRevived(ActorFact, frozen=True, kw_only=True):
    """A silent agent spoke again."""


class StopBegan(ActorFact, frozen=True, kw_only=True):
    """An attempt is being ended; ``reason`` says why, ``rungs`` how."""

    reason: str
    """``finished``, ``background``, ``timeout``, ``stop``, ``failed`` (see ``core.supervision``)."""
    note: str = ""


class RungReached(ActorFact, frozen=True, kw_only=True):
    """The next step of the stop ladder."""

    rung: Rung
    patience_secs: float
    step: int


class ProcessEnded(ActorFact, frozen=True, kw_only=True):
    """The attempt's processes are gone, with the evidence."""

    certificate: Certificate
    usage: Usage = Usage()
    cost_usd: float | None = None
    final_message: str | None = None
    stderr_tail: str = ""
    failure: Failure | None = None
    oddities: dict[str, int] = msgspec.field(default_factory=dict)


class WorktreeLeft(ActorFact, frozen=True, kw_only=True):
    """What became of a worktree."""

    removed: bool
    set_aside: SetAside | None = None
    branch_deleted: bool = False
    message: str = ""


class ActorSettled(ActorFact, frozen=True, kw_only=True):
    """An actor has its final status."""

    status: Status
    failure: Failure | None = None
    note: str = ""


class DrainBegan(Fact, frozen=True, kw_only=True):
    """Nothing more is started; ``by`` is who or what wanted it."""

    by: str
    ordered: bool
    """True for an operator's order, False for the run's own rules."""


class StopOrdered(Fact, frozen=True, kw_only=True):
    """Everything is being stopped."""

    by: str


class ArtifactLost(Fact, frozen=True, kw_only=True):
    """A public file could not be written."""

    path: str
    message: str


class HandFailed(Fact, frozen=True, kw_only=True):
    """A hand broke while carrying out an effect."""

    effect: str
    message: str
    actor: ActorId | None = None
    attempt: int | None = None


class NewsIgnored(Fact, frozen=True, kw_only=True):
    """A late or double report that changed nothing (law 9)."""

    signal: str
    reason: str
    actor: ActorId | None = None
    attempt: int | None = None


class RunEnded(Fact, frozen=True, kw_only=True):
    """The last fact: every actor is settled or will never start."""

    exit_code: int
    was_interrupted: bool


RunFact = (
    RunOpened
    | RunReopened
    | GuardianStarted
    | GuardianLost
    | ClaudeIdentified
    | StartsThrottled
    | StartsRecovered
    | DrainBegan
    | StopOrdered
    | ArtifactLost
    | HandFailed
    | NewsIgnored
    | RunEnded
    | notices.NoticeFact
    | tree.SharedFact
    | orders.OrderFact
)
"""Facts about the run as a whole."""

AnyActorFact = (
    ActorAdmitted
    | AttemptLost
    | ActorRequeued
    | ActorAdopted
    | WorktreeMade
    | WorktreeFailed
    | ProcessStarted
    | SpawnFailed
    | SessionOpened
    | ToolUsed
    | UsageCounted
    | ApiPushedBack
    | BackgroundNoted
    | TurnFinished
    | ActorStalled
    | ActorRevived
    | StopBegan
    | RungReached
    | ProcessEnded
    | WorktreeLeft
    | ActorSettled
    | tree.TreeFact
    | approvals.ApprovalFact
    | orders.ModelSet
)
"""Facts about one attempt of one actor."""

AnyFact = RunFact | AnyActorFact
"""Every kind of fact; ``match`` over it ends in ``assert_never``."""
