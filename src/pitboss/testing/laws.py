"""The laws of a run, as assertions: what every state must hold, and what no decision may do.

Called by ``doubles.Story`` after every signal, and by tests that come to a state in some other way.
"""

from __future__ import annotations

import msgspec

from pitboss.core import coordination, ledger, lifecycle, store, tree
from pitboss.core.decide import Outcome
from pitboss.core.state import Actor, RunState, Wait, evolve
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Phase
from pitboss.model.tree import ForActors, ForKey, ForLease
from pitboss.testing.told import check_told

__all__ = ["check_laws", "check_rebuild", "check_step"]


def check_laws(state: RunState) -> None:
    """Assert every law that the state alone can show."""
    if state.run is None:
        return
    actors = state.actors.values()
    live = [actor for actor in actors if actor.phase in lifecycle.HOLDS_SLOT]
    starting = [actor for actor in actors if actor.phase in lifecycle.IN_FLIGHT]
    assert {actor.spec.id for actor in live} == set(state.live), "the index of live actors is wrong"
    assert [actor.spec.id for actor in actors if actor.phase is Phase.QUEUED] == list(state.waiting)
    assert {actor.spec.id for actor in actors if actor.phase is Phase.SETTLED} == set(state.order)
    assert len(starting) <= state.run.max_starts, "law 7: more starts in flight than the limit"
    worktrees = [actor.worktree.path for actor in state.actors.values() if actor.worktree and actor in live]
    assert len(worktrees) == len(set(worktrees)), "law 1: two live actors in one worktree"
    for actor in state.actors.values():
        _check_actor(actor)
    check_told(state)
    if state.run.tree is not None:
        _check_tree(state)


def check_step(before: RunState, after: RunState) -> None:
    """Assert what no decision may do: admit beyond a cap or the money; an operator may lower either below what is."""
    if after.run is None:
        return
    if after.run.tree is None:
        room = max(after.run.max_parallel, len(before.live))
        assert len(after.live) <= room, "law 7: more live actors than the cap"
        started = [name for name in after.live if name not in before.live]
        if started and after.run.budget_usd is not None:
            assert _promised(after) <= after.run.budget_usd + 1e-9, "law 6: more promised than there is"
        return
    for layer in [actor for actor in after.actors.values() if actor.role in {"lead", "sublead"}]:
        pool = tree.pool_of(after, layer.spec.id)
        cap = tree.worker_cap(after, pool)
        had = tree.live_workers(before, pool) if before.run else 0
        assert cap is None or tree.live_workers(after, pool) <= max(cap, had), "law 7: more workers than the cap"


def _promised(state: RunState) -> float:
    """Money of a flat run that is spent or set apart; each attempt may pass its share by one call, which is not in it.

    Of past attempts only the sum is known, which is not in it either.
    """
    live = set(state.live)
    return sum(
        (actor.allotment_usd or 0.0) - max(0.0, (actor.cost_usd or 0.0) - (actor.allotment_usd or 0.0))
        if name in live
        else min(actor.cost_usd or 0.0, actor.allotment_usd or 0.0)
        for name, actor in state.actors.items()
    )


def _check_tree(state: RunState) -> None:
    """The laws of a tree: caps, the ledger, nobody orphaned, nobody left waiting for what has come about."""
    live = [actor for actor in state.actors.values() if actor.phase not in tree.OVER]
    for role, most in (("worker", state.tree.max_total_workers), ("sublead", state.tree.max_subleads)):
        assert most is None or sum(actor.role == role for actor in live) <= most, f"law 7: too many {role}s"
    for layer in [actor for actor in state.actors.values() if actor.role in {"lead", "sublead"}]:
        money = ledger.account(state, tree.pool_of(state, layer.spec.id))
        assert money.spent >= 0, "law 6: a layer has earned money"
    total = sum(actor.all_cost_usd or 0.0 for actor in state.actors.values())
    leader = tree.root(state)
    assert leader is not None
    assert abs(ledger.account(state, leader.spec.id).spent - total) < 1e-9, "law 6: money counted twice or not at all"
    for actor in state.actors.values():
        parent = state.actors.get(actor.parent) if actor.parent else None
        orphan = parent is not None and parent.phase in tree.OVER and actor.phase not in tree.OVER
        assert not orphan or actor.stopping is not None, f"law 3: {actor.spec.id} has lost its lead and goes on"
        _check_steered(state, actor)
    for wait in state.waits.values():
        _check_wait(state, wait)
    holders = [(lease.scope, lease.name) for lease in state.leases.held.values()]
    assert len(holders) == len(set(holders)), "two hold one lease"
    for lease in state.leases.held.values():
        assert state.actors[ActorId(lease.holder)].phase is not Phase.SETTLED, "a ghost holds a lease"


def _check_steered(state: RunState, actor: Actor) -> None:
    """What an actor is told reaches it, and an order to end holds for whoever has no process too."""
    name, waits = actor.spec.id, any(wait.actor == actor.spec.id for wait in state.waits.values())
    if actor.phase is Phase.WORKING and actor.inbox:
        assert actor.interrupting, f"{name} is not told what it could hear"
        assert not waits, f"{name} waits while a message waits for it"
    if state.draining is not None:
        assert actor.phase is not Phase.QUEUED or actor.parent is None, f"{name} waits for a start that never comes"
    if state.stop_ordered:
        assert actor.phase is not Phase.PAUSED, f"{name} is paused in a run that was stopped"


def _check_wait(state: RunState, wait: Wait) -> None:
    """Nobody waits who is gone, and nobody for what has come about."""
    caller = state.actors[wait.actor]
    assert caller.phase in lifecycle.HAS_PROCESS, "a wait has outlived its caller"
    assert caller.attempt == wait.attempt, "a wait is one of an older attempt"
    match wait.awaited:
        case ForActors(ids=ids):
            over = [name for name in ids if state.actors[name].phase is Phase.SETTLED]
            assert not over, f"{wait.actor} waits for what has ended: {over}"
        case ForKey(layer=layer, path=path):
            call = coordination.wait_call(wait.awaited)
            found = store.waited(state.store(layer), coordination.caller_of(state, wait.actor, layer), call)
            assert found is None, f"{wait.actor} waits for a key that is there: {path}"
        case ForLease(scope=scope, name=lease):
            held = (scope, lease) in {(one.scope, one.name) for one in state.leases.held.values()}
            assert held or caller.stopping is not None, f"{wait.actor} waits for a lease that nobody holds: {lease}"
        case _:
            pass


def _check_actor(actor: Actor) -> None:
    name = actor.spec.id
    settled = actor.phase is Phase.SETTLED
    assert settled == (actor.status is not None), f"{name}: a status exactly when settled"
    if settled and actor.process_at:
        assert actor.certificate is not None, f"law 2: {name} settled without evidence"
        if not actor.certificate.complete:
            assert "unverifiable" in actor.note, f"law 2: {name} hides that its end is unproven"
    unstarted = actor.phase is Phase.QUEUED or actor.stopping is not None
    assert actor.attempt > 0 or unstarted, f"{name}: only who waits, or was stopped in that, has had no attempt"


def check_rebuild(before: RunState, outcome: Outcome) -> None:
    """Assert that facts, written down and read back, lead to the same state (law 4)."""
    state = before
    for fact in outcome.facts:
        again: f.AnyFact = msgspec.json.decode(msgspec.json.encode(fact), type=f.AnyFact)
        state = evolve(state, again)
    assert state == outcome.state, "law 4: the journal alone does not rebuild the state"
