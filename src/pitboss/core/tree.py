"""Who is whose: the lead, its sub-leads, and the workers of either; who may steer whom, and where a call leads to.

A layer is named by the id of the actor that leads it. A worker belongs to the layer of whoever spawned it, a sub-lead
leads a layer of its own and is a member of its parent's. A flat run has one layer without a lead, `FLAT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from pitboss.core.actor import FLAT as FLAT
from pitboss.core.actor import layer_of as layer_of
from pitboss.core.bounds import last_words
from pitboss.core.state import Actor, RunState
from pitboss.model.answers import Instant, Refused, refused
from pitboss.model.run import ActorId, Phase, Status

ARROW = "\N{RIGHTWARDS ARROW}"
"""Between the parts of an actor's path."""

Kin: TypeAlias = Mapping[str | None, Sequence[Actor]]
"""Actors by whoever has spawned them: made once by who asks for many layers, because a state does not have it."""

OVER = frozenset({Phase.TIDYING, Phase.SETTLED})
"""Its processes are gone for good."""


def root(state: RunState) -> Actor | None:
    """The lead of a hierarchical run."""
    return next((actor for actor in state.actors.values() if actor.role == "lead"), None)


def path_of(state: RunState, actor: Actor) -> tuple[ActorId, ...]:
    """From the lead down to the actor."""
    parent = state.actors.get(actor.parent) if actor.parent else None
    return (*(path_of(state, parent) if parent else ()), actor.spec.id)


def kin(state: RunState) -> Kin:
    """Everybody by whoever has spawned them."""
    found: dict[str | None, list[Actor]] = {}
    for actor in state.actors.values():
        found.setdefault(actor.parent, []).append(actor)
    return found


def members(state: RunState, layer: str, known: Kin | None = None) -> Iterator[Actor]:
    """The actors that whoever leads a layer has spawned; ``known`` is ``kin(state)``, if that was made already."""
    if known is not None:
        return iter(known.get(layer, ()))
    return (actor for actor in state.actors.values() if actor.parent == layer)


def below(state: RunState, actor_id: ActorId) -> Iterator[Actor]:
    """Everyone below an actor, the nearest first."""
    for actor in members(state, actor_id):
        yield actor
        yield from below(state, actor.spec.id)


def pool_of(state: RunState, layer: str) -> str:
    """The layer whose money and caps count for this one: itself, unless it shares its parent's."""
    leader = state.actors.get(ActorId(layer))
    if leader is not None and leader.role == "sublead" and leader.parent and leader.envelope.is_shared:
        return pool_of(state, leader.parent)
    return layer


def pool_members(state: RunState, pool: str, known: Kin | None = None) -> Iterator[Actor]:
    """Everyone who draws on a layer's money, but for whoever leads it: those that share it included."""
    for actor in members(state, pool, known):
        yield actor
        if actor.role == "sublead" and actor.envelope.is_shared:
            yield from pool_members(state, actor.spec.id, known)


def live_workers(state: RunState, pool: str, known: Kin | None = None) -> int:
    """How many workers count against a layer's cap."""
    return sum(actor.role == "worker" and actor.phase not in OVER for actor in pool_members(state, pool, known))


def worker_cap(state: RunState, pool: str) -> int | None:
    """How many workers a layer may have at once; ``None`` for any number."""
    leader = state.actors.get(ActorId(pool))
    if leader is not None and leader.role == "sublead":
        return leader.envelope.max_workers
    return state.tree.max_workers


def refuse_steering(state: RunState, caller: Actor, target: str) -> Refused | None:
    """Why ``caller`` may not cancel, pause, continue or redirect ``target``; ``None`` if it may.

    The lead may steer anyone, a sub-lead its own workers, everyone itself.
    """
    found = state.actors.get(ActorId(target))
    if caller.role == "lead" or caller.spec.id == target:
        return None
    if caller.role == "sublead":
        if found is not None and found.parent == caller.spec.id:
            return None
        own = f"authz: sublead {caller.spec.id} may steer its own workers only"
        return refused("forbidden", f"{own}, and {target} is not one of them")
    return refused("forbidden", f"authz: worker {caller.spec.id} may steer itself only, not {target}")


def worktree_name(actor: Actor, run_id: str) -> str:
    """What an actor's worktree is called, and its branch unless it has a name of its own."""
    role = f"{actor.role}-" if actor.role in {"lead", "worker"} else ""
    return f"pitboss-{role}{actor.spec.id}-{run_id}"


def sublead_ending(state: RunState, actor: Actor) -> dict[str, object]:
    """How a sub-lead ended, in the words of wait_actor."""
    spent = spent_below(state, actor)
    return {
        "sublead_id": actor.spec.id,
        "outcome": _OUTCOMES.get(actor.status, "error") if actor.status else "error",
        "spent_usd": round(spent, 6),
        "unspent_usd": round(max(0.0, (actor.envelope.budget_usd or 0.0) - spent), 6),
        "terminated_at": Instant(actor.settled_at),
        "final_message": last_words(actor.final_message),
        "session_id": actor.session_id,
    }


def sublead_sessions(state: RunState) -> dict[ActorId, str]:
    """The session of every sub-lead that has ended."""
    over = (actor for actor in state.actors.values() if actor.role == "sublead" and actor.phase is Phase.SETTLED)
    return {actor.spec.id: actor.session_id for actor in over if actor.process_at or actor.resume}


def spent_below(state: RunState, actor: Actor) -> float:
    """What an actor and everyone below it have spent."""
    return sum(one.all_cost_usd or 0.0 for one in [actor, *below(state, actor.spec.id)])


def failed(state: RunState) -> int:
    """How many actors count as failed: whom the lead's own end has cancelled does not, if that was a success."""
    leader = root(state)
    forgiven = leader is not None and leader.status is Status.SUCCESS
    return sum(
        actor.status not in {None, Status.SUCCESS} and not (forgiven and actor.status is Status.CANCELLED)
        for actor in state.actors.values()
    )


_OUTCOMES = {
    Status.SUCCESS: "success",
    Status.CANCELLED: "cancel",
    Status.TIMED_OUT: "timeout",
    Status.APPROVAL_REJECTED: "approval_rejected",
    Status.APPROVAL_TIMED_OUT: "approval_timed_out",
}


Stage = Literal["pending", "spawning", "running", "paused", "frozen", "ending", "done"]
"""Where an actor stands, in the words of the operators' socket."""


def stage_of(actor: Actor) -> Stage:
    """Where an actor stands, for operators."""
    match actor.phase:
        case Phase.QUEUED | Phase.PREPARING:
            return "pending"
        case Phase.STARTING:
            return "spawning"
        case Phase.WORKING:
            return "running"
        case Phase.FROZEN:
            return "frozen"
        case Phase.PAUSED:
            return "paused"
        case Phase.STOPPING if actor.is_pausing:
            return "paused"
        case Phase.STOPPING:
            return "pending" if actor.comes_back else "ending"
        case Phase.FINISHING:
            return "ending"
        case _:
            return "done"


def state_word(actor: Actor) -> str:
    """Where an actor stands, in the words of the tools."""
    if actor.status is not None:
        return "Completed" if actor.status is Status.SUCCESS else str(actor.status)
    match actor.phase:
        case Phase.QUEUED | Phase.PREPARING | Phase.STARTING:
            return "Pending"
        case Phase.PAUSED:
            return "Paused"
        case Phase.FROZEN:
            return "Frozen"
        case _:
            return "Running"
