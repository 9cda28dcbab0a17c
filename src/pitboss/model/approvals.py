"""The words of approvals: what somebody asks for before it is done, and what was decided, by whom.

Floor 1: frozen data only. What the rules of a run say is ``core.policy``'s, what follows is ``core.approvals``'.
"""

from __future__ import annotations

from typing import Literal

from pitboss.model.run import ActorId, ApprovalAction, ApprovalCategory, Frozen, Role
from pitboss.model.tree import CallId

Kind = Literal["action", "plan", "permission", "deed"]
"""``action`` and ``plan``: an actor asks with a tool of ours. ``permission``: the agent's own settings ask. ``deed``:
a rule of the run wants a person to look at a tool call before it runs."""

EndedBy = Literal["expiry", "timeout"]
"""What ends a request that nobody answers: its fallback decides, or whoever asked runs out of its own time."""

CALLER_ENDED = "caller ended"
"""Who has answered a request whose actor has ended."""


class Proposal(Frozen, frozen=True, kw_only=True):
    """A plan, as an operator is shown it."""

    summary: str
    rationale: str | None = None
    resources: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    rollback: str | None = None


class Approval(Frozen, frozen=True, kw_only=True):
    """A request that a person can answer, once."""

    request_id: str
    kind: Kind
    actor: ActorId
    path: tuple[ActorId, ...]
    """From the lead, or a task, down to the actor."""
    role: Role
    category: ApprovalCategory
    summary: str
    """What it is about, in one line."""
    plan: Proposal | None = None
    tool_name: str | None = None
    """The tool it is about: by the caller's word for an ``action``, the real one otherwise."""
    tool_input: str = ""
    """Its arguments as JSON, if they are known; shortened where they are very long."""
    cost_usd: float | None = None
    asked_at: float
    expires_at: float | None
    """When ``fallback`` decides; ``None`` for never."""
    fallback: ApprovalAction = "auto_reject"
    why: str = ""
    """Which rule wants a person to decide, if one does."""


class End(Frozen, frozen=True, kw_only=True):
    """When a request is over if nobody answers it, as things stand."""

    at: float
    by: EndedBy


class Decision(Frozen, frozen=True, kw_only=True):
    """How a request was answered."""

    approved: bool
    by: str
    """``operator``, ``rule N``, ``default``, ``expiry``, or ``caller ended``."""
    comment: str | None = None
    reason: str | None = None
    edited_summary: str | None = None
    via: str = ""
    """Of a person: who it was on this machine, and with what program."""


class Pending(Frozen, frozen=True, kw_only=True):
    """Who waits for a decision: one call of one attempt."""

    attempt: int
    call_id: CallId | None = None
    """A tool call of ours."""
    hook_id: str | None = None
    """A tool call of the agent's that waits at the hook, or a permission question of its."""
