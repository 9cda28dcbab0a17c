"""Calls about the shared store and about leases: which layer's they reach, what is written down, who has to wait.

What is allowed, and what an answer says, is in ``core.store`` and ``core.leases``, which know nothing of a run.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import asdict

from pitboss.core import leases, store, tree
from pitboss.core.decision import Decision
from pitboss.core.paths import Caller
from pitboss.core.state import RunState
from pitboss.model import calls as c
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.run import ActorId
from pitboss.model.store import RUN_WIDE, Entry, Removed
from pitboss.model.tree import ForKey, ForLease


def caller_of(state: RunState, actor: str, layer: str) -> Caller:
    """Who calls, as the rule books of store and leases know it: in a layer that is not its own it only looks."""
    return Caller(actor, layer, overseer=tree.layer_of(state.actors[ActorId(actor)]) != layer)


def handle_store(d: Decision, signal: s.CallMade, layer: str, call: c.StoreCall) -> None:
    """Read, write, or wait for a key of a layer's store."""
    if isinstance(call, c.KvGet | c.KvList | c.KvWait) and call.sublead_id is not None:
        if (refusal := _look_down(d.state, signal.actor, call.sublead_id)) is not None:
            d.answer(signal, refusal)
            return
        layer = call.sublead_id
    caller, held = caller_of(d.state, signal.actor, layer), d.state.store(layer)
    match call:
        case c.KvGet():
            d.answer(signal, store.read(held, caller, call))
        case c.KvList():
            d.answer(signal, store.listing(held, caller, call))
        case c.KvSet() | c.KvCas() | c.KvDelete():
            _write(d, signal, layer, store.write(held, caller, call, d.at))
        case c.KvWait():
            found = store.waited(held, caller, call)
            if found is not None:
                d.answer(signal, found)
            else:
                known = asdict(call)
                del known["sublead_id"]
                d.wait(signal, ForKey(layer=layer, **known), call.timeout_secs)
        case _:
            assert_never(call)


def _look_down(state: RunState, caller: ActorId, name: str) -> Refused | None:
    """Why an actor may not look into a sub-lead's store; ``None`` if it may."""
    sublead = state.actors.get(ActorId(name))
    if sublead is None or sublead.role != "sublead" or sublead.parent != caller:
        return refused("not_found", f"you have no sub-lead {name}; list_workers tells whom you have")
    if not sublead.envelope.read_down:
        return refused("forbidden", f"{name} was spawned without read_down: its store is its own; ask it to tell you")
    return None


def wait_call(awaited: ForKey) -> c.KvWait:
    """The call that waits, as it was made."""
    known = asdict(awaited)
    del known["layer"]
    return c.KvWait(**known)


def _write(d: Decision, signal: s.CallMade, layer: str, outcome: store.Written | Answer | Refused) -> None:
    if not isinstance(outcome, store.Written):
        d.answer(signal, outcome)
        return
    match outcome.change:
        case Entry() as entry:
            d.note(t.StoreWritten(at=d.at, layer=layer, entry=entry))
        case Removed() as removed:
            d.note(t.StoreRemoved(at=d.at, layer=layer, removed=removed))
    d.answer(signal, outcome.answer)


def handle_lease(d: Decision, signal: s.CallMade, layer: str, call: c.LeaseCall) -> None:
    """Take, give back, list, or wait for a lease."""
    caller = caller_of(d.state, signal.actor, layer)
    match call:
        case c.LeaseList():
            d.answer(signal, leases.listing(d.state.leases, caller, call, d.at))
        case c.LeaseRelease():
            _give_back(d, signal, leases.release(d.state.leases, caller, call, d.at))
        case c.RunLeaseRelease():
            _give_back(d, signal, leases.release_run_wide(d.state.leases, caller, call, d.at))
        case c.LeaseAcquire(name=name, ttl_secs=ttl, wait_secs=wait):
            _acquire(d, signal, ForLease(scope=layer, name=name, ttl_secs=ttl, lease_id=signal.minted), wait)
        case c.RunLeaseAcquire(key=key, ttl_secs=ttl, wait_secs=wait):
            _acquire(d, signal, ForLease(scope=RUN_WIDE, name=key, ttl_secs=ttl, lease_id=signal.minted), wait)
        case _:
            assert_never(call)


def _give_back(d: Decision, signal: s.CallMade, outcome: leases.Released | Answer | Refused) -> None:
    if isinstance(outcome, leases.Released):
        d.note(t.LeaseOver(at=d.at, ended=outcome.ended))
        d.answer(signal, outcome.answer)
    else:
        d.answer(signal, outcome)


def _acquire(d: Decision, signal: s.CallMade, wanted: ForLease, wait_secs: int | None) -> None:
    taken = take_lease(d, signal.actor, wanted)
    if isinstance(taken, leases.Granted):
        d.answer(signal, taken.answer)
    elif wait_secs and _is_held(taken):
        d.wait(signal, wanted, wait_secs)
    else:
        d.answer(signal, taken)


def _is_held(outcome: Answer | Refused) -> bool:
    return isinstance(outcome, Answer) or outcome.code == "conflict"


def take_lease(d: Decision, actor: ActorId, wanted: ForLease) -> leases.Granted | Answer | Refused:
    """Take a lease if it is free, and write that down; else say who has it."""
    caller, at = caller_of(d.state, actor, tree.layer_of(d.actor(actor))), d.at
    taken: leases.Granted | Answer | Refused
    if wanted.scope == RUN_WIDE:
        call = c.RunLeaseAcquire(key=wanted.name, ttl_secs=wanted.ttl_secs)
        taken = leases.acquire_run_wide(d.state.leases, caller, call, at, wanted.lease_id)
    else:
        named = c.LeaseAcquire(name=wanted.name, ttl_secs=wanted.ttl_secs)
        taken = leases.acquire(d.state.leases, caller, named, at, wanted.lease_id)
    if isinstance(taken, leases.Granted):
        d.note(t.LeaseTaken(at=at, lease=taken.lease))
    return taken


def lease_timed_out(d: Decision, actor: ActorId, wanted: ForLease) -> Answer | Refused:
    """What a call is told that has waited for a lease long enough."""
    taken = take_lease(d, actor, wanted)
    return taken.answer if isinstance(taken, leases.Granted) else taken
