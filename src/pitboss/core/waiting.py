"""A tool call that waits is data with a deadline: it holds nothing, blocks nobody, and ends with its caller.

Whatever it waits for wakes it in the same decision in which that comes about; the clock wakes it at its deadline, and
a message for its caller wakes it early, because the caller hears nothing else while it waits.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from pitboss.core import coordination, leases, store, tree
from pitboss.core.bounds import last_words
from pitboss.core.decision import INTERRUPTED, Decision
from pitboss.core.state import RunState, Wait
from pitboss.core.views import task_record
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import SPREAD, Answer, Refused, refused
from pitboss.model.calls import WaitActor, WaitForAny, WaitForWorker
from pitboss.model.run import ActorId, Phase
from pitboss.model.store import Entry
from pitboss.model.tree import ForActors, ForApproval, ForKey, ForLease

DEFAULT_SECS = 3600
"""How long a wait for an actor lasts that does not say, as in Pitboss 0.9."""


def end(d: Decision, wait: Wait, how: str, answer: Answer | Refused) -> None:
    """Answer a call that waits."""
    about = d.about(wait.actor)
    d.note(t.WaitEnded(**about, call_id=wait.call_id, how=how))  # type: ignore[arg-type]  # one of its four words
    d.answer(wait, answer)


def drop(d: Decision, signal: s.CallDropped) -> None:
    """The caller wants no answer any more."""
    if (signal.actor, signal.call_id) in d.state.waits:
        d.note(t.WaitEnded(**d.about(signal.actor), call_id=signal.call_id, how="dropped"))


def of(state: RunState, actor: ActorId) -> list[Wait]:
    """What an actor waits for."""
    return [wait for wait in state.waits.values() if wait.actor == actor]


def interrupt(d: Decision, waits: list[Wait]) -> None:
    """Answer calls that wait, so that their caller hears its messages."""
    for wait in waits:
        end(d, wait, "message", INTERRUPTED)


# --- other actors -----------------------------------------------------------------------------------------------------


def wait_for_actors(d: Decision, signal: s.CallMade, call: WaitForWorker | WaitActor | WaitForAny) -> None:
    """Answer at once if one of them has ended, else wait for the first that does."""
    match call:
        case WaitForWorker(task_id=name):
            ids, shape = [name], "record"
        case WaitActor(actor_id=name):
            ids, shape = [name], "tagged"
        case WaitForAny(task_ids=names):
            ids, shape = names, "any"
        case _:
            assert_never(call)
    known = [ActorId(name) for name in ids if ActorId(name) in d.state.actors]
    if not known:
        what = f"unknown actor_id {ids[0]}" if len(ids) == 1 else "none of the requested task_ids are known: "
        listed = "" if len(ids) == 1 else ", ".join(ids)
        d.answer(signal, refused("not_found", f"{what}{listed}; list_workers tells whom there is"))
        return
    if signal.actor in known and len(known) == 1:
        d.answer(signal, refused("invalid_arg", "an actor cannot wait for its own end"))
        return
    awaited = ForActors(ids=tuple(known), shape=shape)  # type: ignore[arg-type]  # one of its three words
    over = next((name for name in known if d.actor(name).phase is Phase.SETTLED), None)
    if over is not None:
        d.answer(signal, _ended(d, awaited, over))
    else:
        d.wait(signal, awaited, DEFAULT_SECS if call.timeout_secs is None else call.timeout_secs)


def actor_ended(d: Decision, actor: ActorId) -> None:
    """Wake everyone who waits for an actor's end."""
    for wait in list(d.state.waits.values()):
        if isinstance(wait.awaited, ForActors) and actor in wait.awaited.ids:
            end(d, wait, "answered", _ended(d, wait.awaited, actor))


def _ended(d: Decision, awaited: ForActors, name: ActorId) -> Answer:
    actor, record = d.actor(name), task_record(d.state, name)
    record = replace(record, final_message=last_words(record.final_message))
    match awaited.shape:
        case "any":
            return Answer({"task_id": name, "record": record})
        case "tagged" if actor.role == "sublead":
            ending = tree.sublead_ending(d.state, actor)
            return Answer({"actor_type": "sublead", **ending, "record": record})
        case "tagged":
            return Answer({"actor_type": "worker", SPREAD: record})
        case _:
            return Answer({SPREAD: record})


# --- store and leases -------------------------------------------------------------------------------------------------


def key_written(d: Decision, layer: str, entry: Entry) -> None:
    """Wake those who wait for a key that is there now."""
    for wait in list(d.state.waits.values()):
        if isinstance(wait.awaited, ForKey) and wait.awaited.layer == layer:
            caller = coordination.caller_of(d.state, wait.actor, layer)
            found = store.woken(caller, coordination.wait_call(wait.awaited), entry)
            if found is not None:
                end(d, wait, "answered", found)


def lease_freed(d: Decision, scope: str, name: str) -> None:
    """Give a lease that is free to the one that has waited for it longest, unless that one is being ended."""
    for wait in list(d.state.waits.values()):
        wanted = wait.awaited
        if isinstance(wanted, ForLease) and (wanted.scope, wanted.name) == (scope, name):
            ending = d.actor(wait.actor).stopping is not None
            taken = None if ending else coordination.take_lease(d, wait.actor, wanted)
            if isinstance(taken, leases.Granted):
                end(d, wait, "answered", taken.answer)


# --- the clock --------------------------------------------------------------------------------------------------------


def expire(d: Decision) -> None:
    """End the leases whose time is over, and answer every call whose time is."""
    free_expired(d)
    for wait in list(d.state.waits.values()):
        if wait.deadline is not None and wait.deadline <= d.at:
            end(d, wait, "timeout", _too_late(d, wait))


def free_expired(d: Decision) -> None:
    """End the leases whose time is over: whoever waits for one comes before whoever asks for it now."""
    for lease in leases.expired(d.state.leases, d.at):
        d.note(t.LeaseOver(at=d.at, ended=leases.end_of(lease, "expired")))
        lease_freed(d, lease.scope, lease.name)


def _too_late(d: Decision, wait: Wait) -> Answer | Refused:
    match wait.awaited:
        case ForActors(ids=ids, shape="any"):
            listed = ", ".join(ids)
            return refused("timeout", f"wait_for_any timed out; none of {listed} has ended: wait again")
        case ForActors(ids=ids):
            return refused("timeout", f"wait_for_actor timed out for {ids[0]}, which has not ended: wait again")
        case ForKey() as awaited:
            return store.timed_out(coordination.wait_call(awaited))
        case ForLease():
            return coordination.lease_timed_out(d, wait.actor, wait.awaited)
        case ForApproval():
            return refused("timeout", "approval request timed out")
        case _:
            assert_never(wait.awaited)


def released_by(d: Decision, actor: ActorId) -> None:
    """Whoever has ended has no lease any more."""
    for lease in leases.held_by(d.state.leases, actor):
        d.note(t.LeaseOver(at=d.at, ended=leases.end_of(lease, "holder_ended")))
