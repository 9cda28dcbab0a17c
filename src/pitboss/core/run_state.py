"""Everything a decision may look at: the run, its actors, who waits for what, what they share.

Frozen data, and a few ways to look at it; how a fact changes it is ``core.state``'s, by which all of it is to be had.
"""

from __future__ import annotations

import msgspec

from pitboss.core import lifecycle
from pitboss.core.actor import Actor
from pitboss.core.leases import Leases
from pitboss.core.outbox import Outbox
from pitboss.core.store import Store
from pitboss.errors import OurFault
from pitboss.model.approvals import Approval, Decision, Pending
from pitboss.model.order_facts import OrderTaken
from pitboss.model.run import ActorId, Frozen, RunSpec, TreeSpec
from pitboss.model.tree import Awaited, CallId

__all__ = ["Asked", "Draining", "RunState", "Wait"]


class Draining(Frozen, frozen=True, kw_only=True):
    """Nothing more is started."""

    by: str
    at: float
    ordered: bool


class Wait(Frozen, frozen=True, kw_only=True):
    """A tool call that has not been answered yet."""

    actor: ActorId
    attempt: int
    call_id: CallId
    awaited: Awaited
    deadline: float | None
    """When it is answered in any case; ``None`` for never."""


class Asked(Frozen, frozen=True, kw_only=True):
    """A request for approval, and what has come of it."""

    approval: Approval
    pending: Pending
    ruling: Decision | None = None
    heard: bool = False
    """Whoever asked has the answer."""


class RunState(Frozen, frozen=True, kw_only=True):
    """Everything a decision may look at."""

    run: RunSpec | None = None
    pitboss_version: str = ""
    claude_version: str | None = None
    opened_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    was_interrupted: bool = False
    actors: dict[ActorId, Actor] = msgspec.field(default_factory=dict)
    """In manifest order, which is the order of starting."""
    order: tuple[ActorId, ...] = ()
    """Settled actors, in the order they settled."""
    waiting: tuple[ActorId, ...] = ()
    """Queued actors, in manifest order."""
    live: tuple[ActorId, ...] = ()
    """Actors that hold a slot, in the order they got it."""
    guardian_pid: int | None = None
    guardian_losses: int = 0
    starts_limit: int = 0
    throttled_until: float = 0.0
    """When the next step of recovery is due; 0 while starting is not throttled."""
    throttled_at: float = 0.0
    """When the limit was last lowered."""
    throttle_reason: str = ""
    draining: Draining | None = None
    interrupted: bool = False
    """An operator ordered an end."""
    stop_ordered: bool = False
    artifacts_lost: tuple[str, ...] = ()
    """What could not be written, ``<path>: <reason>`` each."""

    waits: dict[tuple[ActorId, CallId], Wait] = msgspec.field(default_factory=dict)
    """The one that has waited longest first."""
    stores: dict[str, Store] = msgspec.field(default_factory=dict)
    """By layer; one that nobody has written to is not there."""
    leases: Leases = Leases()
    approvals: dict[str, Asked] = msgspec.field(default_factory=dict)
    """By request id, in the order they were asked."""
    orders: dict[str, OrderTaken] = msgspec.field(default_factory=dict)
    """Orders that their givers have named, by that name."""
    policy_version: int = 0
    """How often the rules were replaced."""
    plans_approved: frozenset[str] = frozenset()
    """Layers that may spawn although the run wants plans approved."""
    outbox: Outbox = Outbox()
    """What was to be told to whom, and how that went."""

    @property
    def tree(self) -> TreeSpec:
        """What may grow in this run; only a flat one has none."""
        if self.spec.tree is None:
            raise OurFault("a flat run was asked about its tree")
        return self.spec.tree

    def store(self, layer: str) -> Store:
        """A layer's store."""
        return self.stores.get(layer) or Store()

    @property
    def spec(self) -> RunSpec:
        """What was asked for; only before the first fact there is none."""
        if self.run is None:
            raise OurFault("the run was looked at before it was opened")
        return self.run

    @property
    def live_actors(self) -> list[Actor]:
        """The actors that hold a slot."""
        return [self.actors[name] for name in self.live]

    @property
    def starting(self) -> int:
        """How many actors have a slot but no ready session yet."""
        return sum(actor.phase in lifecycle.IN_FLIGHT for actor in self.live_actors)

    @property
    def spent_usd(self) -> float:
        """Money spent by every actor so far, as well as it is known."""
        return sum(actor.all_cost_usd or 0.0 for actor in self.actors.values())
