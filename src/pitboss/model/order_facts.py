"""What we write down about an operator's orders: that each was given, what came of it, and what it has changed.

Listed with all other kinds in ``model.facts``, whose rules of evolution hold here too.
"""

from __future__ import annotations

import msgspec

from pitboss.model.fact import ActorFact, Fact
from pitboss.model.orders import AnyOrder
from pitboss.model.run import ActorId, ApprovalAction, Rule

Scalar = str | int | float | bool | None
"""What an answer to an order is made of."""


class OrderTaken(Fact, frozen=True, kw_only=True):
    """An operator has ordered something; what that has led to stands before it."""

    order: AnyOrder
    given_by: str = ""
    """Who it was on this machine, and with what program."""
    order_id: str = ""
    """What the one who gave it knows it by."""
    answer: dict[str, Scalar] = msgspec.field(default_factory=dict)
    """What was answered, if it was carried out."""
    code: str = ""
    """Why it was not carried out, as a word a program may match on; empty if it was."""
    message: str = ""
    """The same in a sentence."""
    extra: dict[str, Scalar] = msgspec.field(default_factory=dict)
    """More about why not."""


class PolicyReplaced(Fact, frozen=True, kw_only=True):
    """Other rules hold from now on."""

    rules: tuple[Rule, ...]
    default_action: ApprovalAction
    version: int
    """How often they were replaced, this time included."""


class LimitsChanged(Fact, frozen=True, kw_only=True):
    """More or less may be used from now on; what is ``None`` stays as it is."""

    actor: ActorId | None = None
    """Whose; ``None`` for the run's."""
    budget_usd: float | None = None
    max_workers: int | None = None
    timeout_secs: int | None = None


class ModelSet(ActorFact, frozen=True, kw_only=True):
    """The actor goes on with another model."""

    model: str


OrderFact = OrderTaken | PolicyReplaced | LimitsChanged
"""Facts about orders that are not about one attempt of one actor."""
