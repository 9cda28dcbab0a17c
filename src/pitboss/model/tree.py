"""The words of a hierarchical run: who has which part, what they tell each other, what they wait for.

Floor 1: frozen data only. What a tree may do is ``model.run.TreeSpec``; what it does is decided in ``core``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pitboss.model.run import ActorId, Frozen

CallId: TypeAlias = int | str
"""What a caller names its tool call by; unique within one attempt of one actor."""


class Envelope(Frozen, frozen=True, kw_only=True):
    """What a sub-lead gets of its own; ``None`` where it shares what its parent has."""

    budget_usd: float | None = None
    max_workers: int | None = None
    read_down: bool = False
    """Its parent may read its store."""

    @property
    def is_shared(self) -> bool:
        """It has no money and no cap of its own: its workers count with its parent's."""
        return self.budget_usd is None and self.max_workers is None


class Message(Frozen, frozen=True, kw_only=True):
    """Something an actor is told while it works."""

    text: str
    by: str
    """Who says it: an actor's id, or ``operator``."""
    interrupts: bool = False
    """What the actor does is interrupted, so that it hears at once."""


class ForActors(Frozen, frozen=True, kw_only=True, tag="actors"):
    """A caller waits until one of these has ended."""

    ids: tuple[ActorId, ...]
    shape: Literal["record", "tagged", "any"]
    """What the answer looks like: that of wait_for_worker, wait_actor or wait_for_any."""


class ForKey(Frozen, frozen=True, kw_only=True, tag="key"):
    """A caller waits for a key of a store."""

    layer: str
    path: str
    """As the caller wrote it; may be a pattern."""
    min_version: int | None = None
    form: str | None = None
    timeout_secs: int = 0


class ForLease(Frozen, frozen=True, kw_only=True, tag="lease"):
    """A caller waits for a lease that somebody else has."""

    scope: str
    name: str
    ttl_secs: int
    lease_id: str
    """Of the lease it will get."""


class ForApproval(Frozen, frozen=True, kw_only=True, tag="approval"):
    """A caller waits for somebody's decision."""

    request_id: str


Awaited: TypeAlias = ForActors | ForKey | ForLease | ForApproval
"""What a tool call can wait for."""
