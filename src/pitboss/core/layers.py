"""What surfaces may know of a tree: its layers with their money and means, the order of its rows, and its names.

Flat runs have no layers. Pure. Called by ``views``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from pitboss.core import ledger, tree
from pitboss.core.state import Actor, RunState
from pitboss.model.run import ActorId, Role
from pitboss.model.store import RUN_WIDE, Lease
from pitboss.model.views import LayerView, LeaseView

SHORTEST_ID = 4
"""Of a minted id, so many characters behind its role are shown at least."""


def layer_views(state: RunState) -> tuple[LayerView, ...]:
    """Every layer, the lead's first, then its sub-leads' in the order they were spawned."""
    if state.spec.tree is None:
        return ()
    leaders = [actor for actor in state.actors.values() if actor.role in {"lead", "sublead"}]
    known = tree.kin(state)
    held: dict[str, list[Lease]] = {}
    for lease in state.leases.held.values():
        held.setdefault(lease.scope, []).append(lease)
    return tuple(_layer_view(state, leader, known, held.get(leader.spec.id, ())) for leader in leaders)


def _layer_view(state: RunState, leader: Actor, known: tree.Kin, held: Iterable[Lease]) -> LayerView:
    layer = leader.spec.id
    pool = tree.pool_of(state, layer)
    account = ledger.account(state, layer, known)
    return LayerView(
        lead=layer,
        pool=ActorId(pool),
        budget_usd=account.budget,
        spent_usd=account.spent,
        reserved_usd=account.reserved,
        left_usd=account.left,
        live_workers=tree.live_workers(state, pool, known),
        max_workers=tree.worker_cap(state, pool),
        plan_required=state.tree.require_plan_approval,
        plan_approved=layer in state.plans_approved,
        keys=len(state.store(layer).entries),
        leases=_lease_views(held),
    )


def run_leases(state: RunState) -> tuple[LeaseView, ...]:
    """The leases that are one for the whole run."""
    return _lease_views(lease for lease in state.leases.held.values() if lease.scope == RUN_WIDE)


def _lease_views(leases: Iterable[Lease]) -> tuple[LeaseView, ...]:
    return tuple(
        LeaseView(
            name=lease.name,
            run_wide=lease.scope == RUN_WIDE,
            holder=ActorId(lease.holder),
            acquired_at=lease.acquired_at,
            expires_at=lease.expires_at,
        )
        for lease in sorted(leases, key=lambda lease: (lease.acquired_at, lease.name))
    )


# --- rows -------------------------------------------------------------------------------------------------------------


class Member(Protocol):
    """Somebody who has, or may have, others below."""

    @property
    def id(self) -> ActorId:
        """Its id."""

    @property
    def parent(self) -> ActorId | None:
        """Who spawned it."""

    @property
    def role(self) -> Role:
        """What it is."""


AnyMember = TypeVar("AnyMember", bound=Member)


def in_tree_order(members: Sequence[AnyMember]) -> list[tuple[AnyMember, int]]:
    """Everybody with their depth: a lead, its workers, then each sub-lead followed by its own."""
    known = {member.id for member in members}
    below: dict[ActorId | None, list[AnyMember]] = {}
    for member in members:
        below.setdefault(member.parent if member.parent in known else None, []).append(member)

    def rows(parent: ActorId | None, depth: int) -> Iterable[tuple[AnyMember, int]]:
        for member in sorted(below.pop(parent, []), key=lambda member: member.role == "sublead"):
            yield member, depth
            yield from rows(member.id, depth + 1)

    listed = list(rows(None, 0))
    # What a damaged record calls its own parent is below nobody; it is listed all the same.
    return listed + [(member, 0) for lost in below.values() for member in lost]


# --- names ------------------------------------------------------------------------------------------------------------


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """The shortest beginning of each minted id that no other begins with; other ids as they are."""
    ordered = sorted(ids)
    short: dict[str, str] = {}
    for before, name, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        role, dash, rest = name.partition("-")
        if role not in {"worker", "sublead"} or len(rest) < SHORTEST_ID:
            short[name] = name
            continue
        needed = max(_shared(before, name), _shared(name, after)) + 1
        short[name] = name[: max(len(role) + len(dash) + SHORTEST_ID, needed)]
    return short


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    low, high = 0, shorter  # ids of one moment have long beginnings in common: halving beats counting
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low


def names(labels: Mapping[ActorId, str], short: Mapping[str, str] | None = None) -> dict[ActorId, str]:
    """What each actor is called for short: by its label if nobody else goes by that, else by its short id.

    Args:
        labels: By actor; empty for one that has none.
        short: Their short ids, if those are known already.
    """
    taken = Counter(label for label in labels.values() if label)
    short = short_ids(labels) if short is None else short
    return {
        actor: label if taken[label] == 1 and label not in labels else short[actor] for actor, label in labels.items()
    }
