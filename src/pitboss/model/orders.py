"""What an operator can order of a run: plain data, the same from the socket, a command or another program.

What each comes to is decided in ``core.orders``; how it looks on the wire is ``wire.control``'s.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pitboss.model.run import ActorId, ApprovalAction, Rule


class Order(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="order"):
    """Base of all orders."""


class CancelActor(Order, frozen=True, kw_only=True):
    """End an actor and everyone below it; a resume does not take it back."""

    actor: ActorId
    reason: str = ""


class PauseActor(Order, frozen=True, kw_only=True):
    """Have an actor stand still."""

    actor: ActorId
    mode: Literal["cancel", "freeze"] = "cancel"
    """``freeze`` stops its processes where they are; ``cancel`` ends them and keeps place and session."""


class ContinueActor(Order, frozen=True, kw_only=True):
    """Let a paused or frozen actor go on."""

    actor: ActorId
    prompt: str = ""
    """What one that was paused with ``cancel`` is told; empty for a word that says no more than that."""


class RedirectActor(Order, frozen=True, kw_only=True):
    """Interrupt an actor and give it another direction."""

    actor: ActorId
    prompt: str


class NoteActor(Order, frozen=True, kw_only=True):
    """Tell an actor something without interrupting it: it hears that after the tool that runs."""

    actor: ActorId
    text: str


class SetModel(Order, frozen=True, kw_only=True):
    """Have an actor's next requests, and its next attempts, go to another model."""

    actor: ActorId
    model: str


class AnswerApproval(Order, frozen=True, kw_only=True):
    """Answer a request for approval."""

    request_id: str
    approved: bool
    comment: str | None = None
    reason: str | None = None
    edited_summary: str | None = None


class ReplacePolicy(Order, frozen=True, kw_only=True):
    """Have other rules hold from now on; what already waits for a person goes on waiting."""

    rules: tuple[Rule, ...]
    default_action: ApprovalAction | None = None
    """``None`` leaves it as it is."""
    version: int | None = None
    """The rules are changed only if these are in force; ``None``: whichever are."""


class ChangeLimits(Order, frozen=True, kw_only=True):
    """Raise or lower what may be used; what is ``None`` stays as it is."""

    actor: ActorId | None = None
    """A sub-lead, whose layer is meant, or anyone whose time-out is; ``None`` for the run."""
    budget_usd: float | None = None
    max_workers: int | None = None
    """Actors at once: of a flat run, of the lead's layer, or of a sub-lead's."""
    timeout_secs: int | None = None


class DrainRun(Order, frozen=True, kw_only=True):
    """Start nothing more, and let what runs end."""

    reason: str = ""


class StopRun(Order, frozen=True, kw_only=True):
    """End everything now, in order; a resume can take it up again."""

    reason: str = ""


ActorOrder = CancelActor | PauseActor | ContinueActor | RedirectActor | NoteActor | SetModel
"""Orders about one actor."""

AnyOrder = ActorOrder | AnswerApproval | ReplacePolicy | ChangeLimits | DrainRun | StopRun
"""Every kind of order; ``match`` over it ends in ``assert_never``."""
