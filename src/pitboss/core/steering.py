"""Orders about an actor that lives: stop it, pause it, let it go on, tell it something.

Whoever gives them - an actor through a tool, the operator, the rules - they mean the same and are the same facts. A
message interrupts nothing but a wait, unless it is a redirection: then the turn is ended, and the message is what the
session hears next; nothing that was done is lost.
"""

from __future__ import annotations

from typing import Literal

from pitboss.core import tree, waiting
from pitboss.core.decision import Decision
from pitboss.core.state import Actor
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.calls import CancelWorker, ContinueWorker, PauseWorker, RepromptWorker
from pitboss.model.run import ActorId, Phase
from pitboss.model.tree import Message

CONTINUE = "continue"
"""What a paused worker is told if nothing else is said, as in Pitboss 0.9."""

SteeringCall = CancelWorker | PauseWorker | ContinueWorker | RepromptWorker


def handle(d: Decision, signal: s.CallMade, call: SteeringCall) -> None:
    """Carry out an actor's order about another, or refuse it."""
    caller, target = d.actor(signal.actor), target_of(call)
    refusal = tree.refuse_steering(d.state, caller, target) or _refuse_unknown(d, target)
    if refusal is None:
        match call:
            case CancelWorker(reason=reason):
                refusal = cancel(d, ActorId(target), by=caller.spec.id, reason=reason or "")
            case PauseWorker(mode=mode):
                refusal = pause(d, ActorId(target), mode, by=caller.spec.id)
            case ContinueWorker(prompt=prompt):
                refusal = go_on(d, ActorId(target), prompt or CONTINUE, by=caller.spec.id)
            case RepromptWorker(prompt=prompt):
                refusal = redirect(d, ActorId(target), prompt, by=caller.spec.id)
    d.answer(signal, refusal or Answer({"ok": True}))


def target_of(call: SteeringCall) -> str:
    """Whom an order is about."""
    return (call.target or call.task_id or "") if isinstance(call, CancelWorker) else call.task_id


def _refuse_unknown(d: Decision, target: str) -> Refused | None:
    found = d.state.actors.get(ActorId(target))
    if found is None:
        return refused("not_found", f"unknown task_id {target!r}; list_workers tells whom there is")
    if found.role == "lead":
        return refused("not_found", f"{target!r} is the lead, whom only the operator steers")
    return None


# --- stop -------------------------------------------------------------------------------------------------------------


def cancel(d: Decision, target: ActorId, *, by: str, reason: str = "") -> Refused | None:
    """Stop an actor and everyone below it; whoever leads it hears the reason. What has ended stays as it is."""
    actor = d.actor(target)
    if actor.phase in tree.OVER:
        return None
    note = f"cancelled by {by}" + (f": {reason}" if reason else "")
    stopped = [stop(d, one.spec.id, note) for one in [actor, *tree.below(d.state, target)]]
    if reason and any(stopped) and actor.parent and actor.parent != by:
        text = (
            f"[SYSTEM] Actor {target} was killed by {by}.\nReason: {reason}\n"
            "Adjust your plan to that; its work so far is kept."
        )
        tell(d, actor.parent, Message(text=text, by=by))
    return None


def stop(d: Decision, target: ActorId, note: str, reason: str = "cancel") -> bool:
    """End an actor, whatever it is doing; one that has no process is settled at once. False if it was ending anyway.

    ``reason`` is a key of ``supervision.LADDERS``, and says what becomes of it: only ``stop`` can be taken back, by a
    resume.
    """
    actor = d.actor(target)
    match actor.phase:
        case Phase.QUEUED | Phase.PAUSED:
            d.begin_end(target, reason, note)
            d.tidy(target)
        case Phase.PREPARING | Phase.STARTING | Phase.WORKING | Phase.FROZEN if actor.stopping is None:
            d.begin_end(target, reason, note)
        case Phase.STOPPING if actor.comes_back:
            d.begin_end(target, reason, note)
        case _:
            return False
    return True


def drain(d: Decision, by: str) -> bool:
    """Start nothing more, by order; false if that was ordered before."""
    if d.state.draining is not None and d.state.draining.ordered:
        return False
    d.note(f.DrainBegan(at=d.at, by=by, ordered=True))
    return True


def stop_all(d: Decision, by: str) -> None:
    """End everything now, in order; whoever is ending gently is pressed harder."""
    if not d.state.stop_ordered:
        d.note(f.StopOrdered(at=d.at, by=by))
    for actor in list(d.state.actors.values()):
        if actor.phase is Phase.QUEUED and actor.parent is None and not actor.attempt:
            continue  # nobody has asked for it but the manifest: it is told as not started
        stopped = stop(d, actor.spec.id, f"stopped by {by}", "stop")
        if stopped or actor.stopping is None or actor.phase not in {Phase.FINISHING, Phase.STOPPING}:
            continue
        if actor.stopping.rung in {e.Rung.CLOSE_STDIN, e.Rung.INTERRUPT}:
            d.climb(actor.spec.id)


# --- pause and continue -----------------------------------------------------------------------------------------------


def pause(d: Decision, target: ActorId, mode: Literal["cancel", "freeze"], *, by: str) -> Refused | None:
    """Have a worker stand still, or end its processes and keep its session."""
    actor = d.actor(target)
    match actor.phase:
        case Phase.WORKING if mode == "freeze":
            d.note(t.ActorFrozen(**d.about(target), by=by))
            d.ask(e.Freeze(actor=target, attempt=actor.attempt))
            return None
        case Phase.WORKING | Phase.FROZEN if mode == "cancel" and d.state.draining is not None:
            return refused("draining", f"the run is draining: {target} could never go on; freeze it, or cancel it")
        case Phase.WORKING | Phase.FROZEN if mode == "cancel":
            d.begin_end(target, "pause", f"paused by {by}")
            return None
        case Phase.PAUSED:
            return _conflict(f"{target} is already paused")
        case Phase.STOPPING if actor.is_pausing:
            return _conflict(f"{target} is already paused")
        case Phase.FROZEN:
            return _conflict(f"{target} is already frozen")
        case Phase.STARTING:
            return _conflict(f"{target} is not yet initialized: its session has not answered; try again in a moment")
        case Phase.FINISHING:
            return _conflict(f"{target} has done its work and is about to end: not in a pausable state")
        case _:
            return _conflict(f"{target} is {tree.state_word(actor)}: not in a pausable state")


def go_on(d: Decision, target: ActorId, prompt: str, *, by: str, redirects: bool = False) -> Refused | None:
    """Let a paused worker go on, in its own place and session."""
    actor = d.actor(target)
    if actor.phase is Phase.FROZEN:
        thaw(d, actor)
        return None
    if actor.is_pausing:
        return _conflict(f"{target} is still being paused; try again in a moment")
    if actor.phase is not Phase.PAUSED:
        return _conflict(f"worker not paused: {target} is {tree.state_word(actor)}")
    d.note(t.ActorContinued(**d.about(target), prompt=prompt, by=by, redirects=redirects))
    return None


def thaw(d: Decision, actor: Actor) -> None:
    """Have frozen processes go on; what came while they stood still counts now."""
    d.note(t.ActorThawed(**d.about(actor.spec.id)))
    d.ask(e.Thaw(actor=actor.spec.id, attempt=actor.attempt))


# --- messages ---------------------------------------------------------------------------------------------------------


def redirect(d: Decision, target: ActorId, prompt: str, *, by: str) -> Refused | None:
    """Interrupt an actor and give it another direction."""
    actor = d.actor(target)
    match actor.phase:
        case Phase.WORKING:
            tell(d, target, Message(text=prompt, by=by, interrupts=True))
            return None
        case Phase.PAUSED:
            return go_on(d, target, prompt, by=by, redirects=True)
        case Phase.FROZEN:
            return _conflict(f"worker is frozen: continue {target} first, then redirect it")
        case Phase.STOPPING if actor.is_pausing:
            return _conflict(f"{target} is still being paused; try again in a moment")
        case Phase.STARTING:
            return _conflict(f"{target} is not yet initialized: its session has not answered; try again in a moment")
        case Phase.QUEUED | Phase.PREPARING:
            return _conflict(f"{target} is still pending; cancel it and spawn another, or wait until it runs")
        case Phase.SETTLED | Phase.TIDYING | Phase.FINISHING:
            return _conflict(f"{target} has already completed")
        case _:
            return _conflict(f"{target} is being stopped")


def tell(d: Decision, target: ActorId, message: Message) -> None:
    """Send an actor a message; one that is ending does not hear it any more, one that is paused hears it later."""
    actor = d.actor(target)
    if actor.phase in tree.OVER or (actor.stopping is not None and not actor.comes_back):
        return
    d.note(t.MessageSent(**d.about(target), message=message))
    deliver(d, target)


def deliver(d: Decision, target: ActorId) -> None:
    """Bring an actor what it is to be told, as soon as it can hear."""
    actor = d.actor(target)
    if not actor.inbox or actor.phase is not Phase.WORKING or actor.stopping is not None:
        return
    resting, waits = actor.turn is not None, waiting.of(d.state, target)
    if any(message.interrupts for message in actor.inbox) and not waits and not resting:
        if not actor.interrupting:
            d.note(t.InterruptAsked(**d.about(target)))
            d.ask(e.Interrupt(actor=target, attempt=actor.attempt))
        return  # what is to be told follows the end of the turn
    d.say_inbox(target)
    waiting.interrupt(d, waits)  # only now: an answer first, and it might wait for something else before it hears


def _conflict(message: str) -> Refused:
    return refused("conflict", message)
