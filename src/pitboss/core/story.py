"""Why something is as it is: of everything that was written down, what bears on one actor, with its causes.

Pure. Called by ``surfaces.chronicle``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.run import ActorId

__all__ = ["SHARED", "Recorded", "story"]


class Recorded(Protocol):
    """An entry of the journal, as ``journal.log`` reads it."""

    @property
    def seq(self) -> int:
        """Its number, from 1."""

    @property
    def cause(self) -> int:
        """The number of the fact it follows from, 0 if none."""

    @property
    def fact(self) -> f.AnyFact:
        """What happened."""


Entry = TypeVar("Entry", bound=Recorded)

SHARED = (
    f.RunOpened,
    f.RunReopened,
    f.StartsThrottled,
    f.StartsRecovered,
    f.DrainBegan,
    f.StopOrdered,
    f.GuardianLost,
    f.RunEnded,
)
"""Facts about the whole run that explain what happens to each actor."""


def story(entries: Iterable[Entry], actor: ActorId) -> list[Entry]:
    """Everything that happened to ``actor``, and what of the run as a whole bears on it, oldest first.

    What it wrote to a store, which leases it had and what an operator has ordered of it is its own too. Causes are
    followed back: a fact that led to one of the actor's is part of its story. What led to a fact about the whole run is
    not, or every story would tell how the last actor ended.
    """
    all_entries = list(entries)
    by_seq = {entry.seq: entry for entry in all_entries}
    leases = {
        entry.fact.lease.lease_id
        for entry in all_entries
        if isinstance(entry.fact, t.LeaseTaken) and entry.fact.lease.holder == actor
    }
    wanted: set[int] = set()
    for entry in all_entries:
        if isinstance(entry.fact, SHARED):
            wanted.add(entry.seq)
            continue
        link = entry if _is_about(entry.fact, actor, leases) else None
        while link is not None and link.seq not in wanted:
            wanted.add(link.seq)
            link = by_seq.get(link.cause)
    return [entry for entry in all_entries if entry.seq in wanted]


def _is_about(fact: f.AnyFact, actor: ActorId, leases: set[str]) -> bool:
    match fact:
        case t.StoreWritten(entry=entry):
            return entry.written_by == actor
        case t.StoreRemoved(removed=removed):
            return removed.removed_by == actor
        case t.LeaseTaken(lease=lease):
            return lease.lease_id in leases
        case t.LeaseOver(ended=ended):
            return ended.lease_id in leases
        case of.OrderTaken(order=order):
            return getattr(order, "actor", None) == actor
        case _:
            return getattr(fact, "actor", None) == actor
