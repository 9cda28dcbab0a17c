"""What we write down about a tree: who was spawned, paused, told what; who waits for what; what the store holds.

Listed with all other kinds in ``model.facts``, whose rules of evolution hold here too.
"""

from __future__ import annotations

from typing import Literal

from pitboss.model.fact import ActorFact, Fact
from pitboss.model.run import ActorId, Certificate, Role, TaskSpec, Usage
from pitboss.model.store import Entry, Lease, LeaseEnded, Removed
from pitboss.model.tree import Awaited, CallId, Envelope, Message


class ActorSpawned(ActorFact, frozen=True, kw_only=True):
    """An actor was brought into being by another; it waits to be started."""

    spec: TaskSpec
    role: Role
    parent: ActorId
    label: str = ""
    reserved_usd: float = 0.0
    """What is set apart for it as long as it lives; a sub-lead's is in its envelope."""
    envelope: Envelope = Envelope()
    idempotency_key: str = ""


class ActorPaused(ActorFact, frozen=True, kw_only=True):
    """Its processes are gone for now, with the evidence; its place and its session are kept."""

    certificate: Certificate
    usage: Usage = Usage()
    cost_usd: float | None = None
    log_offset: int = 0
    """Where in ``stdout.log`` the next attempt's stream begins, in bytes."""
    resume: bool = True
    """Its session can be gone on with."""
    goes_on: bool = False
    """Nobody has paused it: its share of the money was spent, and with more it goes on by itself."""


class ActorFrozen(ActorFact, frozen=True, kw_only=True):
    """Its processes stand still, and so does the clock of its time-out."""

    by: str


class ActorThawed(ActorFact, frozen=True, kw_only=True):
    """Its processes go on."""


class ActorContinued(ActorFact, frozen=True, kw_only=True):
    """A paused actor waits to be started again, in its own place and session."""

    prompt: str
    by: str
    redirects: bool = False
    """It was given another direction, not only let go on."""


class MessageSent(ActorFact, frozen=True, kw_only=True):
    """Something is to be told to the actor."""

    message: Message


class MessagesDelivered(ActorFact, frozen=True, kw_only=True):
    """Everything that was to be told to the actor is in its session, or on the way there."""


class InterruptAsked(ActorFact, frozen=True, kw_only=True):
    """The actor's turn is being ended, so that it hears what it is to be told."""


class WaitBegan(ActorFact, frozen=True, kw_only=True):
    """A tool call of the actor waits."""

    call_id: CallId
    awaited: Awaited
    deadline: float | None
    """When it is answered in any case; ``None`` for never."""


class WaitEnded(ActorFact, frozen=True, kw_only=True):
    """A tool call of the actor waits no longer."""

    call_id: CallId
    how: Literal["answered", "timeout", "message", "dropped"]


class StoreWritten(Fact, frozen=True, kw_only=True):
    """A key of a layer's store was written."""

    layer: str
    entry: Entry


class StoreRemoved(Fact, frozen=True, kw_only=True):
    """A key of a layer's store was removed."""

    layer: str
    removed: Removed


class SeatOpened(ActorFact, frozen=True, kw_only=True):
    """A program of an operator may call the actor's tools in its name from now on."""

    taken_by: str
    """Who it was, as far as is known."""


class LeaseTaken(Fact, frozen=True, kw_only=True):
    """Somebody has a lease, or has it for longer."""

    lease: Lease


class LeaseOver(Fact, frozen=True, kw_only=True):
    """Nobody has a lease any more."""

    ended: LeaseEnded


SharedFact = StoreWritten | StoreRemoved | LeaseTaken | LeaseOver
"""Facts about what actors share."""

TreeFact = (
    ActorSpawned
    | ActorPaused
    | ActorFrozen
    | ActorThawed
    | ActorContinued
    | MessageSent
    | MessagesDelivered
    | InterruptAsked
    | WaitBegan
    | WaitEnded
    | SeatOpened
)
"""Facts about one actor that another, or the operator, has brought about."""
