"""Who may start: slots, starts in flight, money, and the pace the API allows.

A cap is a cap: the question is asked and answered in the same decision that admits, so nothing can slip between.
"""

from __future__ import annotations

from typing import NamedTuple

from pitboss.core import ledger, lifecycle, tree
from pitboss.core.state import Actor, RunState
from pitboss.model.run import ActorId

SMALLEST_ALLOTMENT_USD = 0.01
"""With less than this a session could not even read its prompt; it is not started."""

LEAST_EXTENSION_USD = 0.05
"""With less than this, or than a tenth of what it had, a session whose share is spent is not worth another process."""

RECOVERY_STEP_SECS = 10.0
"""Between two steps of recovery after the API pushed back."""

RATE_LIMIT_PAUSE_SECS = 300.0
"""How long nothing starts after a rate limit whose end is not known, as in Pitboss 0.9."""

AUTH_PAUSE_SECS = 600.0
"""How long nothing starts after a refused login, as in Pitboss 0.9."""

LONGEST_PAUSE_SECS = 6 * 3600.0
"""No reset time that the API names holds us longer than this."""


class Admission(NamedTuple):
    """An actor that may start now, with its share of the money."""

    actor: ActorId
    allotment_usd: float | None


def next_admission(state: RunState) -> Admission | None:
    """The next actor to start, or ``None`` if nobody may start now."""
    if state.draining or state.guardian_pid is None:
        return None
    if state.spec.tree is not None:
        return _next_of_tree(state)
    free = state.spec.max_parallel - len(state.live)
    if not state.waiting or free <= 0 or state.starting >= state.starts_limit:
        return None
    if state.spec.budget_usd is None:
        return Admission(state.waiting[0], None)
    left = unreserved_usd(state)
    even = left / min(free, len(state.waiting))
    shares = ((name, max(even, _least_usd(state.actors[name]))) for name in state.waiting)
    return next((Admission(name, share) for name, share in shares if share <= left), None)


def _least_usd(actor: Actor) -> float:
    """With less than this it is not started."""
    return LEAST_EXTENSION_USD if actor.has_more else SMALLEST_ALLOTMENT_USD


def _next_of_tree(state: RunState) -> Admission | None:
    """In a tree the caps were asked at the spawn; here only starting is paced, so that no lead waits for a slot.

    What a worker may spend is what its layer has left, and what was set apart for it; whoever leads a layer, what
    that has not spent: the promises to others end with them, and it is there to see them out.
    """
    if not state.waiting or state.starting >= state.starts_limit:
        return None
    actor = state.actors[state.waiting[0]]
    share = _share_in_tree(state, actor)
    return Admission(actor.spec.id, None if share is None else max(share, SMALLEST_ALLOTMENT_USD))


def _share_in_tree(state: RunState, actor: Actor) -> float | None:
    money = ledger.account(state, tree.layer_of(actor))
    if money.budget is None or money.left is None:
        return None
    own = money.left + max(0.0, actor.reserved_usd - (actor.all_cost_usd or 0.0))
    return own if actor.role == "worker" else money.budget - money.spent


def affords_more(state: RunState, actor: Actor) -> bool:
    """True if an actor that has spent its share may go on: others need less of theirs, or the budget was raised.

    In a flat run what others have not spent yet may come back: it waits for that. In a tree nobody waits for money.
    """
    if state.draining or actor.allotment_usd is None:
        return False
    left = _unspent_usd(state) if state.spec.tree is None else _share_in_tree(state, actor)
    return left is not None and left >= max(LEAST_EXTENSION_USD, actor.allotment_usd / 10)


def _unspent_usd(state: RunState) -> float | None:
    spent = sum(actor.all_cost_usd or 0.0 for actor in state.actors.values())
    return None if state.spec.budget_usd is None else state.spec.budget_usd - spent


def unreserved_usd(state: RunState) -> float:
    """Money of the run's budget that is neither spent nor set apart for a live actor.

    A live actor holds its allotment, or what it has spent if that is more; what it did not need comes back when
    its processes are gone. The CLI stops a session after the call that crossed its limit, so each live session
    can pass its share by one call: that is counted here as soon as it is known.
    """
    if state.spec.budget_usd is None:
        return float("inf")
    held = 0.0
    for actor in state.actors.values():
        spent = actor.cost_usd or 0.0
        holds = actor.phase in lifecycle.HOLDS_SLOT
        held += actor.past_cost_usd + (max(actor.allotment_usd or 0.0, spent) if holds else spent)
    return max(0.0, state.spec.budget_usd - held)


def out_of_money(state: RunState) -> bool:
    """True if somebody waits, nobody runs who could give money back, and what is left starts no one."""
    return (
        state.spec.tree is None
        and state.spec.budget_usd is not None
        and bool(state.waiting)
        and not state.live
        and unreserved_usd(state) < min(_least_usd(state.actors[name]) for name in state.waiting)
    )


def is_spent(state: RunState) -> bool:
    """True if the run's money, or the lead's, is spent: whoever of it was taken up would be stopped at once."""
    leader = tree.root(state)
    if leader is None:
        return unreserved_usd(state) < SMALLEST_ALLOTMENT_USD
    money = ledger.account(state, leader.spec.id)
    return money.budget is not None and money.spent >= money.budget


def after_push_back(state: RunState, at: float, delay_secs: float) -> tuple[int, float]:
    """The new limit of starts in flight after the API refused a call, and when recovery may begin.

    The limit is halved at most once in a recovery step, not once for each of many sessions that hear the same refusal.
    """
    until = max(state.throttled_until, at + max(RECOVERY_STEP_SECS, min(delay_secs, LONGEST_PAUSE_SECS)))
    fresh = state.throttled_at == 0.0 or at - state.throttled_at >= RECOVERY_STEP_SECS
    return (state.starts_limit // 2 if fresh else state.starts_limit), until


def after_recovery_step(state: RunState, at: float) -> tuple[int, float]:
    """One more start in flight, and when the next step is due (0: recovered)."""
    limit = min(state.starts_limit + 1, state.spec.max_starts)
    return limit, (0.0 if limit >= state.spec.max_starts else at + RECOVERY_STEP_SECS)
