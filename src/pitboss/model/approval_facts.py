"""What we write down about approvals: who asked for what, and how it was answered.

Listed with all other kinds in ``model.facts``, whose rules of evolution hold here too.
"""

from __future__ import annotations

from pitboss.model.approvals import Approval, Decision, Pending
from pitboss.model.fact import ActorFact


class ApprovalRequested(ActorFact, frozen=True, kw_only=True):
    """Something is to be allowed before it is done."""

    approval: Approval
    pending: Pending


class ApprovalTakenUp(ActorFact, frozen=True, kw_only=True):
    """Whoever asked was cut off, and has asked again."""

    request_id: str
    pending: Pending
    heard: bool
    """It was answered meanwhile, and hears that now."""


class ApprovalDecided(ActorFact, frozen=True, kw_only=True):
    """A request was answered."""

    request_id: str
    ruling: Decision
    heard: bool
    """Whoever asked is there to hear it."""


ApprovalFact = ApprovalRequested | ApprovalTakenUp | ApprovalDecided
"""Facts about approvals."""
