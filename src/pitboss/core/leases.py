"""Leases: one holder a name, in a layer or in the whole run, until it is given back or its time is over.

Pure rules over frozen data. A lease whose time is over is nobody's from that instant, whether or not its end was noted
down already. Who waits for a name, and who of them is next, is decided elsewhere. The rules of a layer's leases and of
the run's differ, as they did in Pitboss 0.9: the docstrings say how.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
from immutables import Map
from msgspec.structs import replace

from pitboss.core.bounds import first_that_fit
from pitboss.core.paths import Caller, encodable, shown
from pitboss.model import calls
from pitboss.model.answers import Answer, Instant, Refused, refused
from pitboss.model.run import Frozen
from pitboss.model.store import RUN_WIDE, Lease, LeaseEnded

MOST = 2000
"""So many leases there may be at once in a run; looking through all of them stays cheap."""

NEVER = float("inf")


class Key(NamedTuple):
    """What a lease is of: the layer lead's id, or `RUN_WIDE`, and a name."""

    scope: str
    name: str


class Leases(Frozen, frozen=True, kw_only=True):
    """Every lease of a run."""

    held: Map[Key, Lease] = msgspec.field(default_factory=Map)
    """Those whose end was not noted down yet; some may be over."""
    keys: Map[str, Key] = msgspec.field(default_factory=Map)
    """By lease id."""
    last_fence: int = 0
    """One counter for the whole run, so that it grows for each name without remembering names."""
    soonest: float = NEVER
    """When the first of ``held`` is over."""


class Granted(NamedTuple):
    """A lease taken or renewed: the lease to note down, and the answer to give after that."""

    lease: Lease
    answer: Answer


class Released(NamedTuple):
    """A lease given back: the end to note down, and the answer to give after that."""

    ended: LeaseEnded
    answer: Answer


def acquire(
    leases: Leases, caller: Caller, call: calls.LeaseAcquire, at: float, lease_id: str
) -> Granted | Answer | Refused:
    """Take a lease of the caller's layer; ``lease_id`` is a new one.

    While it is held the answer is ``acquired`` false and the holder, for the holder itself too: not re-entrant.
    """
    key = Key(caller.lead, call.name)
    if refusal := _impossible(leases, caller, key, at):
        return refusal
    current = current_lease(leases, key, at)
    if current is not None:
        return Answer(_held(current, caller))
    lease = _new(leases, key, caller, at, call.ttl_secs, lease_id)
    told: dict[str, object] = {
        "acquired": True,
        "lease_id": lease_id,
        "expires_at": Instant(lease.expires_at),
        "holder": lease.holder,
        "fence": lease.fence,
    }
    return Granted(lease, Answer(told))


def acquire_run_wide(
    leases: Leases, caller: Caller, call: calls.RunLeaseAcquire, at: float, lease_id: str
) -> Granted | Refused:
    """Take a lease of the whole run; its holder renews it so, which never brings its end nearer.

    While another holds it this is refused as a conflict that names the holder.
    """
    key = Key(RUN_WIDE, call.key)
    if refusal := _impossible(leases, caller, key, at):
        return refusal
    current = current_lease(leases, key, at)
    if current is None:
        lease = _new(leases, key, caller, at, call.ttl_secs, lease_id)
    elif current.holder == caller.actor:
        lease = replace(current, expires_at=max(current.expires_at, at + call.ttl_secs))
    else:
        message = f"{shown(call.key)} is currently held by {current.holder}: try again later, or give wait_secs."
        return refused("conflict", message, holder=current.holder, expires_at=Instant(current.expires_at))
    told: dict[str, object] = {
        "acquired": True,
        "key": call.key,
        "holder": lease.holder,
        "expires_at": Instant(lease.expires_at),
        "fence": lease.fence,
    }
    return Granted(lease, Answer(told))


def release(leases: Leases, caller: Caller, call: calls.LeaseRelease, at: float) -> Released | Refused:
    """Give back a lease of the caller's layer; refused unless it is the caller's and not over yet."""
    key = leases.keys.get(call.lease_id)
    lease = None if key is None else current_lease(leases, key, at)
    if lease is not None and lease.scope == RUN_WIDE and caller.actor and lease.holder == caller.actor:
        return refused("forbidden", f"{shown(lease.name)} is a lease of the whole run: use run_lease_release.")
    if lease is None or lease.scope != caller.lead:
        message = f"{shown(call.lease_id)} is not held or already released; lease_list shows what you hold."
        return refused("forbidden", message)
    if not caller.actor or lease.holder != caller.actor:
        message = (
            f"only the holder can release {shown(lease.name)}, and that is {lease.holder}: wait for it, or its end."
        )
        return refused("forbidden", message)
    return Released(end_of(lease, "released"), Answer({"ok": True}))


def release_run_wide(leases: Leases, caller: Caller, call: calls.RunLeaseRelease, at: float) -> Released | Answer:
    """Give back a lease of the whole run; ``released`` is false if the caller does not hold it (any more)."""
    lease = current_lease(leases, Key(RUN_WIDE, call.key), at)
    if lease is None or not caller.actor or lease.holder != caller.actor:
        return Answer({"released": False})
    return Released(end_of(lease, "released"), Answer({"released": True}))


def listing(leases: Leases, caller: Caller, call: calls.LeaseList, at: float) -> Answer:
    """The leases of the caller's layer and of the run that are not over; ``lease_id`` only of its own."""
    shared = (
        lease for lease in leases.held.values() if lease.scope in {caller.lead, RUN_WIDE} and lease.expires_at > at
    )
    found = [_told(lease, caller) for lease in sorted(shared, key=_order)]
    page = first_that_fit(found[call.offset :])
    end = call.offset + len(page)
    return Answer({"leases": page} | ({"truncated": True, "next_offset": end} if end < len(found) else {}))


def timed_out(leases: Leases, caller: Caller, call: calls.LeaseAcquire, at: float) -> Answer:
    """The answer to a waiting acquire of a layer's lease whose time is over; a run-wide one is refused as ever."""
    current = current_lease(leases, Key(caller.lead, call.name), at)
    return Answer(_nothing() if current is None else _held(current, caller))


def current_lease(leases: Leases, key: Key, at: float) -> Lease | None:
    """The lease of a name that is not over at a time."""
    lease = leases.held.get(key)
    return lease if lease is not None and lease.expires_at > at else None


def is_free(leases: Leases, key: Key, at: float) -> bool:
    """True if nobody holds a name at a time: the next who waits for it can have it."""
    return current_lease(leases, key, at) is None


def expired(leases: Leases, at: float) -> tuple[Lease, ...]:
    """The leases that are over and whose end is not noted down yet, in the order they ended."""
    if leases.soonest > at:
        return ()
    over = (lease for lease in leases.held.values() if lease.expires_at <= at)
    return tuple(sorted(over, key=lambda lease: (lease.expires_at, *_order(lease))))


def next_expiry(leases: Leases) -> float | None:
    """When to look at ``expired`` next; ``None`` while there is no lease."""
    return None if leases.soonest == NEVER else leases.soonest


def held_by(leases: Leases, actor: str) -> tuple[Lease, ...]:
    """Every lease of an actor, in its layer and in the run: they end with it."""
    return tuple(sorted((lease for lease in leases.held.values() if lease.holder == actor), key=_order))


def of_layer(leases: Leases, lead: str) -> tuple[Lease, ...]:
    """Every lease of a layer: they end with it."""
    return tuple(sorted((lease for lease in leases.held.values() if lease.scope == lead), key=_order))


def end_of(lease: Lease, reason: Literal["released", "expired", "holder_ended", "layer_ended"]) -> LeaseEnded:
    """The end of a lease, to note down."""
    return LeaseEnded(scope=lease.scope, name=lease.name, lease_id=lease.lease_id, reason=reason)


def evolved(leases: Leases, change: Lease | LeaseEnded) -> Leases:
    """The leases after one was taken or renewed, or is over; the end of one that was overtaken changes nothing."""
    key = Key(change.scope, change.name)
    before = leases.held.get(key)
    match change:
        case Lease():
            held = leases.held.set(key, change)
            keys = leases.keys if before is None else _without(leases.keys, before.lease_id)
            return replace(
                leases,
                held=held,
                keys=keys.set(change.lease_id, key),
                last_fence=max(leases.last_fence, change.fence),
                soonest=_soonest(leases, held, before, change.expires_at),
            )
        case LeaseEnded():
            if before is None or before.lease_id != change.lease_id:
                return leases
            held = leases.held.delete(key)
            keys = _without(leases.keys, change.lease_id)
            return replace(leases, held=held, keys=keys, soonest=_soonest(leases, held, before, NEVER))


def _without(keys: Map[str, Key], lease_id: str) -> Map[str, Key]:
    return keys.delete(lease_id) if lease_id in keys else keys


def _soonest(leases: Leases, held: Map[Key, Lease], gone: Lease | None, coming: float) -> float:
    """When the first lease of ``held`` is over; looks through all only when the first one went."""
    if gone is not None and gone.expires_at <= leases.soonest:
        return min((lease.expires_at for lease in held.values()), default=NEVER)
    return min(leases.soonest, coming)


def _impossible(leases: Leases, caller: Caller, key: Key, at: float) -> Refused | None:
    if not caller.actor or caller.overseer:
        return refused("forbidden", f"only members of the layer of {caller.lead} take its leases.")
    if not encodable(key.name):
        return refused("invalid_arg", f"the name of a lease must be valid Unicode: {shown(key.name)} is not.")
    full = len(leases.held) >= MOST and len(leases.held) - len(expired(leases, at)) >= MOST
    if full and key not in leases.held:
        message = f"store limit exceeded: there are {MOST} leases already; release some."
        return refused("store_limit_exceeded", message, which="count")
    return None


def _new(leases: Leases, key: Key, caller: Caller, at: float, ttl_secs: int, lease_id: str) -> Lease:
    return Lease(
        scope=key.scope,
        name=key.name,
        lease_id=lease_id,
        holder=caller.actor,
        acquired_at=at,
        expires_at=at + ttl_secs,
        fence=leases.last_fence + 1,
    )


def _nothing() -> dict[str, object]:
    return {"acquired": False, "lease_id": None, "expires_at": None}


def _held(lease: Lease, caller: Caller) -> dict[str, object]:
    """``lease_id`` and ``expires_at`` are those of a granted lease and stay empty, as in Pitboss 0.9."""
    told = _nothing() | {"holder": lease.holder, "held_until": Instant(lease.expires_at)}
    if lease.holder == caller.actor:  # its reply may have been lost, and with it the id
        told["note"] = f"you hold it already, with lease_id {lease.lease_id}"
    return told


def _told(lease: Lease, caller: Caller) -> dict[str, object]:
    told: dict[str, object] = {
        "name": lease.name,
        "run_wide": lease.scope == RUN_WIDE,
        "holder": lease.holder,
        "acquired_at": Instant(lease.acquired_at),
        "expires_at": Instant(lease.expires_at),
        "fence": lease.fence,
    }
    return told | {"lease_id": lease.lease_id} if lease.holder == caller.actor else told


def _order(lease: Lease) -> tuple[str, str]:
    return lease.scope, lease.name
