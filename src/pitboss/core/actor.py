"""One actor of a run: what is known of it. How a fact changes that is ``steps``'.

Called by ``state``, by which the nouns are to be had too.
"""

from __future__ import annotations

from pitboss.model.approvals import Decision
from pitboss.model.effects import Rung
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

__all__ = ["FLAT", "OUR_TOOLS", "Actor", "Stopping", "Worktree", "layer_of"]

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
    """When it got its slot, or the first one since which it was only paused."""
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
    opening: int = 0
    """How many of those stand in the opening message of the process that is being started."""
    said: int = 0
    """How many messages were said to its present process, the opening one included."""
    interrupting: bool = False
    """Its turn is being ended so that it hears its inbox."""
    told: str = ""
    """The last direction it was given: when it was redirected, or was to go on after a pause; empty if it never was."""
    has_more: bool = False
    """Its last process had spent its share of the money, and the next one has another."""
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
    def comes_back(self) -> bool:
        """Its processes are being ended, and it is not: it was paused, or goes on with more money."""
        ends = self.stopping.reason if self.phase is Phase.STOPPING and self.stopping else ""
        return ends in {"pause", "share"}

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
