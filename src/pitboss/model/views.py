"""What is shown of a run: frozen pictures that every face reads, and that travel to clients in other processes.

Floor 1: frozen data only. ``core.views`` makes them of the state, ``wire.views`` sends them, ``core.attention`` says
what of them needs a person. They are small: what is long - a log, a plan, a journal - is pointed to.
"""

from __future__ import annotations

from pitboss.model.approvals import End, EndedBy, Kind
from pitboss.model.run import ActorId, ApprovalAction, Failure, Frozen, Phase, Role, SetAside, Status, Usage

VERSION = 1
"""Of the shape of views; a field that is only added does not raise it."""


class LeaseView(Frozen, frozen=True, kw_only=True):
    """A lease that somebody holds."""

    name: str
    run_wide: bool
    holder: ActorId
    acquired_at: float
    expires_at: float


class LayerView(Frozen, frozen=True, kw_only=True):
    """The lead or a sub-lead with all it may use: money, workers, store, leases."""

    lead: ActorId
    """Whoever leads it."""
    pool: ActorId
    """Whose money and cap these are: its own, or those of the layer it shares."""
    budget_usd: float | None
    """``None`` is no limit."""
    spent_usd: float
    """By whoever leads it, and by everyone below."""
    reserved_usd: float
    """Promised to those who live, beyond what they have spent."""
    left_usd: float | None
    live_workers: int
    max_workers: int | None
    plan_required: bool
    """Nothing is spawned in it before a plan is approved."""
    plan_approved: bool
    keys: int
    """In its store."""
    leases: tuple[LeaseView, ...]

    @property
    def is_shared(self) -> bool:
        """It has no money and no cap of its own."""
        return self.pool != self.lead


class ApprovalView(Frozen, frozen=True, kw_only=True):
    """A request that waits for a person; the whole of it is told by ``list_approvals`` on the control socket."""

    request_id: str
    actor: ActorId
    kind: Kind
    summary: str
    """What it is about, in one line, cut where it is long."""
    tool_name: str | None = None
    asked_at: float
    expires_at: float | None
    """When ``fallback`` decides; ``None`` for never."""
    fallback: ApprovalAction = "auto_reject"
    why: str = ""
    """Which rule wants a person to decide, if one does."""
    ends_at: float | None = None
    """When it is really over if nobody answers: whoever asks may run out of its own time before; ``None`` for never."""
    ends_by: EndedBy | None = None
    """``expiry`` or ``timeout``."""

    def end(self, *, live: bool) -> End | None:
        """When it is over if nobody answers it, and by what: without a dispatcher, nobody's clock runs."""
        if live and self.ends_at is not None and self.ends_by is not None:
            return End(at=self.ends_at, by=self.ends_by)
        return None if self.expires_at is None else End(at=self.expires_at, by="expiry")


class ActorView(Frozen, frozen=True, kw_only=True):
    """One row of the floor."""

    id: ActorId
    role: Role = "task"
    parent: ActorId | None = None
    label: str = ""
    """What whoever spawned it calls it."""
    name: str = ""
    """What it is called for short: its label, or the beginning of its id."""
    short_id: str = ""
    """The shortest beginning of its id that is nobody else's."""
    depth: int = 0
    """0 for a task or the lead, one more for each who leads it."""
    phase: Phase
    status: Status | None
    attempt: int
    model: str
    prompt: str
    """Its first line."""
    started_at: float
    """0 while it waits."""
    ended_at: float
    """0 while it runs."""
    usage: Usage
    cost_usd: float | None
    exit_code: int | None
    doing: str
    """One phrase: the last tool call, or what it waits for."""
    waits_for: tuple[ActorId, ...] = ()
    """Those whose end it waits for with a tool call."""
    tool_calls: int
    retries: int
    silent_secs: float
    """Above 0 while it is stalled: for how long it had been silent when that was noticed."""
    silent_since: float = 0.0
    """When it was last heard of, while it is stalled; 0 if not."""
    background: tuple[str, ...]
    branch: str | None
    worktree: str | None
    """Where its work is, ``None`` once removed or if it had none."""
    set_aside: SetAside | None
    session_id: str
    failure: Failure | None
    note: str
    final_message: str | None
    log: str
    """Path of its log, which is the agent's own stream."""
    log_from: int = 0
    """Bytes of the log before the present attempt, or before the next one while it waits."""


class RunView(Frozen, frozen=True, kw_only=True):
    """One run as a whole."""

    version: int = VERSION
    cursor: int = 0
    """The number of the last fact of the journal that is in it; 0 if that is not known."""
    run_id: str
    name: str | None
    manifest_path: str
    run_dir: str
    rehearsal: bool
    claude_version: str | None
    started_at: float
    ended_at: float
    exit_code: int | None
    was_interrupted: bool
    draining: str
    """Why nothing more is started, empty while it is."""
    draining_since: float = 0.0
    stopping: bool
    throttle: str
    """Why starting is slowed, empty while it is not."""
    throttled_at: float = 0.0
    """When it was last slowed further."""
    throttled_until: float
    starts_limit: int
    max_parallel: int
    budget_usd: float | None
    spent_usd: float
    usage: Usage
    guarded: bool
    actors: tuple[ActorView, ...]
    """In the order of the manifest; of a tree, each below whoever leads it."""
    layers: tuple[LayerView, ...] = ()
    """Of a tree: the lead's, then its sub-leads'."""
    run_leases: tuple[LeaseView, ...] = ()
    """Those that are one for the whole run."""
    max_total_workers: int | None = None
    approvals: tuple[ApprovalView, ...] = ()
    """Those that wait for an answer, in the order they were asked."""
    artifacts_lost: tuple[str, ...] = ()
    """Files of the run that could not be written, ``<path>: <reason>`` each."""
    unreached: tuple[str, ...] = ()
    """Receivers of notifications whom something did not reach."""

    def count(self, *phases: Phase) -> int:
        """How many actors are in any of ``phases``."""
        return sum(actor.phase in phases for actor in self.actors)

    @property
    def succeeded(self) -> int:
        """How many actors have settled with success."""
        return sum(actor.status is Status.SUCCESS for actor in self.actors)

    @property
    def failed(self) -> int:
        """How many actors count as failed: of a tree, those cancelled do not unless its lead has failed."""
        forgiven = any(actor.role == "lead" and actor.status in {None, Status.SUCCESS} for actor in self.actors)
        return sum(
            actor.status not in {None, Status.SUCCESS} and not (forgiven and actor.status is Status.CANCELLED)
            for actor in self.actors
        )

    @property
    def names(self) -> dict[ActorId, str]:
        """What everybody is called for short."""
        return {actor.id: actor.name or actor.id for actor in self.actors}
