"""One ledger over the whole tree: what each layer may spend, has spent, has promised, and has left.

A layer's money is spent by whoever leads it and by its workers. A sub-lead with an envelope of its own takes that
from its parent's layer for as long as it lives, and what it has really spent once it has ended: nothing is counted
twice, and nothing is not counted. A worker holds what was set apart for it at its spawn, or what it has spent if that
is more. Asked in the same decision that admits, so nothing can slip between.
"""

from __future__ import annotations

from typing import NamedTuple

from pitboss.core import tree
from pitboss.core.state import Actor, RunState
from pitboss.model.run import ActorId

FIRST_ESTIMATES = (("opus", 2.00), ("sonnet", 0.50))
"""Part of a model's name -> what a worker is expected to cost before one has ended, in US dollars; as in Pitboss 0.9,
whose figures are kept, but by family: a new revision is not taken to be cheap."""

OTHER_ESTIMATE = 0.10


class Account(NamedTuple):
    """The money of one layer, in US dollars."""

    budget: float | None
    """``None``: no limit."""
    spent: float
    reserved: float
    """Promised to those who live, beyond what they have spent."""

    @property
    def left(self) -> float | None:
        """What is neither spent nor promised; ``None`` without a limit."""
        return None if self.budget is None else max(0.0, self.budget - self.spent - self.reserved)

    def affords(self, usd: float) -> bool:
        """True if so much more may be promised; what fits exactly does."""
        return self.budget is None or self.spent + self.reserved + usd <= self.budget + 1e-9

    def told(self) -> dict[str, object]:
        """The account as every answer that spends has it."""
        return {
            "spent_usd": round(self.spent, 6),
            "reserved_usd": round(self.reserved, 6),
            "left_usd": None if self.left is None else round(self.left, 6),
            "budget_usd": self.budget,
        }


def account(state: RunState, layer: str, known: tree.Kin | None = None) -> Account:
    """How a layer stands; one that shares its parent's money stands as that does.

    Args:
        state: The run.
        layer: Whose account it is.
        known: ``tree.kin(state)``, if that was made already.
    """
    pool = tree.pool_of(state, layer)
    leader = state.actors.get(ActorId(pool))
    spent, reserved = (leader.all_cost_usd or 0.0) if leader else 0.0, 0.0
    for actor in tree.pool_members(state, pool, known):
        used, held = _holds(state, actor, known)
        spent += used
        reserved += max(0.0, held - used)
    return Account(_budget(state, leader), spent, reserved)


def _budget(state: RunState, leader: Actor | None) -> float | None:
    if leader is not None and leader.role == "sublead":
        return leader.envelope.budget_usd
    limits = [state.tree.budget_usd, state.spec.budget_usd]  # of the lead's layer, and of the whole run
    return min((limit for limit in limits if limit is not None), default=None)


def _holds(state: RunState, actor: Actor, known: tree.Kin | None) -> tuple[float, float]:
    """What a member has spent, and what is set apart for it as long as it lives."""
    live = actor.phase not in tree.OVER
    if actor.role == "sublead" and not actor.envelope.is_shared:
        used = account(state, actor.spec.id, known).spent
        return used, (actor.envelope.budget_usd or 0.0) if live else 0.0
    return actor.all_cost_usd or 0.0, actor.reserved_usd if live else 0.0


def estimate(state: RunState, layer: str, model: str) -> float:
    """What a worker of this model is expected to cost: the upper median of those of its family that have ended."""
    pool, family = tree.pool_of(state, layer), family_of(model)
    costs = sorted(
        actor.all_cost_usd
        for actor in tree.pool_members(state, pool)
        if actor.role == "worker"
        and actor.status is not None
        and actor.all_cost_usd
        and family_of(actor.spec.model) == family
    )
    if costs:
        return costs[len(costs) // 2]
    return next((usd for part, usd in FIRST_ESTIMATES if part in family), OTHER_ESTIMATE)


def family_of(model: str) -> str:
    """The family a model belongs to, by its name."""
    name = model.lower()
    return next((family for family in ("opus", "sonnet", "haiku") if family in name), name)


def overdrawn(state: RunState) -> list[Actor]:
    """Whoever leads a layer that has spent all of its own money, the highest first."""
    leaders = [actor for actor in state.actors.values() if actor.role in {"lead", "sublead"}]
    return [
        actor
        for actor in leaders
        if actor.phase not in tree.OVER
        and tree.pool_of(state, actor.spec.id) == actor.spec.id
        and (limit := _budget(state, actor)) is not None
        and account(state, actor.spec.id).spent >= limit
    ]
