"""The operators' protocol, towards the run: one JSON object a line, ``op`` says what is wanted.

The ops are those of Pitboss 0.9's control socket; what is ours is added, as ops or as keys that may be left out. What
a run says is ``wire.control_events``'s. Pure: bytes in, words out, and back. Called by ``services`` and by
``surfaces`` that give orders.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, assert_never

import msgspec

from pitboss.model import orders as o
from pitboss.model.run import ActorId, ApprovalAction, ApprovalCategory, Role, Rule
from pitboss.wire.scalars import to_json

__all__ = [
    "LONGEST_LINE",
    "SEVERAL",
    "AboutActor",
    "AboutOne",
    "Approve",
    "CancelRun",
    "CancelWorker",
    "ContinueWorker",
    "Drain",
    "GiveSeat",
    "Hello",
    "ListApprovals",
    "ListWorkers",
    "NoteWorker",
    "Op",
    "OrderOp",
    "PauseWorker",
    "RepromptWorker",
    "RuleMatch",
    "SetLimits",
    "SetModel",
    "Subscribe",
    "UpdatePolicy",
    "WireRule",
    "encode_op",
    "name_of",
    "order_of",
    "parse",
    "tag_of",
    "wire_rule",
]

LONGEST_LINE = 1 << 20
"""So many bytes a line from an operator may have."""

Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]
"""How long a client may wish to wait between two views: an hour at most."""

SEVERAL = "several"
"""The capability of a client that does not mind others: it is told everything however many come after it."""


class _Op(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", omit_defaults=True):
    """Base of all ops; keys that are not known are passed over, as ever."""

    order_id: str = ""
    """Ours: what its giver knows it by; given again under this id, it is answered again and not carried out again."""


class AboutOne(_Op, frozen=True, kw_only=True):
    """Base of all ops about one actor."""

    task_id: str


class Hello(_Op, frozen=True, kw_only=True, tag="hello"):
    """The first line of every connection."""

    client_version: str
    capabilities: tuple[str, ...] = ()
    """Ours: what the client can do; ``several``."""


class CancelWorker(AboutOne, frozen=True, kw_only=True, tag="cancel_worker"):
    """Ends an actor, whichever, and everyone below it."""

    reason: str = ""


class CancelRun(_Op, frozen=True, kw_only=True, tag="cancel_run"):
    """Ends everything."""

    reason: str = ""


class PauseWorker(AboutOne, frozen=True, kw_only=True, tag="pause_worker"):
    """Has an actor stand still."""

    mode: Literal["cancel", "freeze"] = "cancel"


class ContinueWorker(AboutOne, frozen=True, kw_only=True, tag="continue_worker"):
    """Lets an actor go on."""

    prompt: str = "continue"


class RepromptWorker(AboutOne, frozen=True, kw_only=True, tag="reprompt_worker"):
    """Gives an actor another direction."""

    prompt: str


class Approve(_Op, frozen=True, kw_only=True, tag="approve"):
    """Answers a request for approval."""

    request_id: str
    approved: bool
    comment: str | None = None
    edited_summary: str | None = None
    reason: str | None = None


class ListWorkers(_Op, frozen=True, kw_only=True, tag="list_workers"):
    """Asks for all actors."""


class RuleMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule is about; a name that is not known is refused: it would make the rule match more than was meant."""

    actor: str | None = None
    category: ApprovalCategory | None = None
    tool_name: str | None = None
    cost_over: float | None = None
    tool: str | None = None
    args: dict[str, str] = {}
    role: Role | None = None


class WireRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule of the policy."""

    action: ApprovalAction
    match: RuleMatch = RuleMatch()
    reason: str = ""


class UpdatePolicy(_Op, frozen=True, kw_only=True, tag="update_policy"):
    """Has other rules hold."""

    rules: tuple[WireRule, ...]
    default_action: ApprovalAction | None = None
    """Ours: what holds for requests that no rule is about; left as it is if not given."""
    version: int | None = None
    """Ours: which rules are thought to be in force; if others are, nothing is changed."""


class ListApprovals(_Op, frozen=True, kw_only=True, tag="list_approvals"):
    """Ours: asks for the requests that wait for an answer."""


class GiveSeat(_Op, frozen=True, kw_only=True, tag="give_seat"):
    """Ours: asks for a seat, from which any MCP client can call an actor's tools in its name."""

    actor_id: str


class NoteWorker(AboutOne, frozen=True, kw_only=True, tag="note_worker"):
    """Ours: tells an actor something without interrupting it."""

    text: str


class SetModel(AboutOne, frozen=True, kw_only=True, tag="set_model"):
    """Ours: has an actor go on with another model."""

    model: str


class SetLimits(_Op, frozen=True, kw_only=True, tag="set_limits"):
    """Ours: changes a budget, a cap or a time-out; without ``task_id`` those of the run."""

    task_id: str | None = None
    budget_usd: float | None = None
    max_workers: int | None = None
    timeout_secs: int | None = None


class Drain(_Op, frozen=True, kw_only=True, tag="drain"):
    """Ours: starts nothing more, and lets what runs end."""

    reason: str = ""


class Subscribe(_Op, frozen=True, kw_only=True, tag="subscribe"):
    """Ours: asks to be shown the run, and from then on what changes; see ``wire.views``."""

    cursor: int | None = None
    """Up to where the client knows it already."""
    epoch: str = ""
    """What was said beside that cursor."""
    every_ms: Millis = 100
    """Changes are told at most this often."""


AboutActor: TypeAlias = CancelWorker | PauseWorker | ContinueWorker | RepromptWorker | NoteWorker | SetModel
"""Ops about one actor, which their answers name."""

OrderOp: TypeAlias = AboutActor | CancelRun | Drain | Approve | UpdatePolicy | SetLimits
"""Ops that are orders to the run; the others only ask."""

Op: TypeAlias = OrderOp | Hello | ListWorkers | ListApprovals | GiveSeat | Subscribe

_ops: msgspec.json.Decoder[Op] = msgspec.json.Decoder(Op)


class _Tag(msgspec.Struct, frozen=True):
    op: str


def parse(line: bytes) -> Op | str:
    """What an operator wants, or why that cannot be told."""
    try:
        return _ops.decode(line)
    except (ValueError, RecursionError) as problem:  # msgspec's errors and bad UTF-8 are ValueErrors
        return f"parse error: {problem}"


def name_of(op: Op) -> str:
    """An op's name, as it stands on the wire."""
    return str(op.__struct_config__.tag)


def tag_of(line: bytes) -> str:
    """What a line that cannot be understood calls itself; ``parse_error`` if it has no name for itself."""
    try:
        return msgspec.json.decode(line, type=_Tag).op
    except (ValueError, RecursionError):
        return "parse_error"


def encode_op(op: Op) -> bytes:
    """An op as a line, newline included."""
    return to_json(op) + b"\n"


# --- orders -----------------------------------------------------------------------------------------------------------


def order_of(op: OrderOp) -> o.AnyOrder:
    """What an op orders."""
    match op:
        case CancelWorker(task_id=name, reason=reason):
            return o.CancelActor(actor=ActorId(name), reason=reason)
        case PauseWorker(task_id=name, mode=mode):
            return o.PauseActor(actor=ActorId(name), mode=mode)
        case ContinueWorker(task_id=name, prompt=prompt):
            return o.ContinueActor(actor=ActorId(name), prompt=prompt)
        case RepromptWorker(task_id=name, prompt=prompt):
            return o.RedirectActor(actor=ActorId(name), prompt=prompt)
        case NoteWorker(task_id=name, text=text):
            return o.NoteActor(actor=ActorId(name), text=text)
        case SetModel(task_id=name, model=model):
            return o.SetModel(actor=ActorId(name), model=model)
        case Approve():
            return o.AnswerApproval(
                request_id=op.request_id,
                approved=op.approved,
                comment=op.comment,
                reason=op.reason,
                edited_summary=op.edited_summary,
            )
        case UpdatePolicy(rules=rules, default_action=default, version=version):
            return o.ReplacePolicy(rules=tuple(map(_rule, rules)), default_action=default, version=version)
        case SetLimits():
            return o.ChangeLimits(
                actor=None if op.task_id is None else ActorId(op.task_id),
                budget_usd=op.budget_usd,
                max_workers=op.max_workers,
                timeout_secs=op.timeout_secs,
            )
        case Drain(reason=reason):
            return o.DrainRun(reason=reason)
        case CancelRun(reason=reason):
            return o.StopRun(reason=reason)
        case _:
            assert_never(op)


def _rule(rule: WireRule) -> Rule:
    return Rule(action=rule.action, reason=rule.reason, **msgspec.structs.asdict(rule.match))


def wire_rule(rule: Rule) -> WireRule:
    """A rule as clients send it."""
    match = {name: getattr(rule, name) for name in RuleMatch.__struct_fields__}
    return WireRule(action=rule.action, reason=rule.reason, match=RuleMatch(**match))
