"""Who may do what without a person: the rules of the run against what actors ask for and what they do.

A *request* is what an actor asks approval for, in its own words; a *deed* is a tool call that is about to run, with
its real name and arguments. Each rule is about one of the two; the first that matches decides. A request that no rule
matches gets the run's default; a deed that no rule matches runs. ``block`` always asks the operator.

Pure and total: any JSON an agent sends gets a verdict. What may not come in: waiting, expiry, the record of an answer.
Called before an approval is asked for, and before every tool call.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from pitboss.model.run import ActorId, ApprovalAction, ApprovalCategory, Frozen, Policy, Role, Rule

__all__ = ["ARROW", "Deed", "Request", "Verdict", "actor_path", "judge_deed", "judge_request", "rule_text"]

ARROW = "→"
"""Between the names of an actor's path, without spaces."""

_NAME = re.compile(r"\*\*|(?!.*\*\*)[A-Za-z0-9_*?-]+")
"""A name of an actor's path in a rule, as in the manifest."""

Answer = Literal["allow", "deny", "ask", "none"]

_ANSWERS: Mapping[ApprovalAction, Answer] = {"auto_approve": "allow", "auto_reject": "deny", "block": "ask"}
_COMMENTS: Mapping[Answer, str] = {"allow": "auto-approved by policy", "deny": "auto-rejected by policy"}
"""What the answer to a request says; the words are those of Pitboss 0.9."""
_REFUSED_DEED = (
    "The operator's rules for this run do not allow this call, so it did not run. Do not do the same in another way; "
    "if you cannot go on without it, say so."
)


class Request(Frozen, frozen=True, kw_only=True):
    """What an actor asks approval for. All but who it is are its own claims."""

    path: tuple[ActorId, ...]
    """From the lead, or a task, down to the actor itself."""
    role: Role
    category: ApprovalCategory
    tool_name: str | None = None
    cost_usd: float | None = None


class Deed(Frozen, frozen=True, kw_only=True):
    """A tool call that is about to run."""

    path: tuple[ActorId, ...]
    role: Role
    tool: str
    input: Mapping[str, object]
    """Its arguments, as the agent's JSON has them."""


class Verdict(Frozen, frozen=True, kw_only=True):
    """What the policy says."""

    answer: Answer
    """``ask`` is for the operator; ``none`` only for a deed that no rule is about: it runs."""
    decided_by: Literal["rule", "default", "nobody"]
    rule: int | None = None
    """Which rule decided, counted from 0."""
    rule_text: str = ""
    """That rule in words, for the record and for people."""
    comment: str = ""
    """For a request that was answered here: the public answer's comment."""
    reason: str = ""
    """Of a refusal, for the actor; of a question, the rule's own words for the operator."""


def judge_request(policy: Policy, request: Request) -> Verdict:
    """Decide a request, or say that the operator must; never ``none``."""
    for index, rule in enumerate(policy.rules):
        if not rule.sees_deeds and _is_about(rule, request.path, request.role) and _fits_request(rule, request):
            comment = _COMMENTS.get(_ANSWERS[rule.action], "")
            return _by_rule(index, rule, comment=comment, reason=rule.reason)
    answer = _ANSWERS[policy.default_action]
    comment = "auto-rejected by default_approval_policy" if answer == "deny" else ""
    return Verdict(answer=answer, decided_by="default", comment=comment)


def judge_deed(policy: Policy, deed: Deed) -> Verdict:
    """Decide a tool call; ``none`` if no rule is about it."""
    for index, rule in enumerate(policy.rules):
        if rule.sees_deeds and _is_about(rule, deed.path, deed.role) and _fits_deed(rule, deed):
            reason = rule.reason or (_REFUSED_DEED if rule.action == "auto_reject" else "")
            return _by_rule(index, rule, comment="", reason=reason)
    return Verdict(answer="none", decided_by="nobody")


def _by_rule(index: int, rule: Rule, *, comment: str, reason: str) -> Verdict:
    return Verdict(
        answer=_ANSWERS[rule.action],
        decided_by="rule",
        rule=index,
        rule_text=rule_text(index, rule),
        comment=comment,
        reason="" if rule.action == "auto_approve" else reason,
    )


def rule_text(index: int, rule: Rule) -> str:
    """A rule as a person would say it: ``[[approval_policy]] #2: auto_reject if tool = "Bash"``."""
    parts = {
        "tool": rule.tool,
        **{f"args.{name}": pattern for name, pattern in rule.args.items()},
        "actor": rule.actor,
        "role": rule.role,
        "category": rule.category,
        "tool_name": rule.tool_name,
        "cost_over": rule.cost_over,
    }
    given = [f"{key} = {_as_json(value)}" for key, value in parts.items() if value is not None]
    return f"[[approval_policy]] #{index + 1}: {rule.action}" + (f" if {', '.join(given)}" if given else "")


def actor_path(path: tuple[ActorId, ...]) -> str:
    """The path as people read it and rules match it: ``boss→sublead-1→worker-2``."""
    return ARROW.join(path)


def contradiction(rule: Rule) -> str | None:
    """Why a rule can never match, as the rest of a sentence about it; ``None`` if it can."""
    requests = {"category": rule.category, "tool_name": rule.tool_name, "cost_over": rule.cost_over}
    asked = next((name for name, value in requests.items() if value is not None), None)
    if rule.sees_deeds and asked is not None:
        return f"{'tool' if rule.tool is not None else 'args'} is about tool calls, {asked} about requests; make it two"
    if rule.actor is not None and not all(map(_NAME.fullmatch, rule.actor.split(ARROW))):
        return f"{_as_json(rule.actor)} is no path; write names with {ARROW} between, without spaces"
    if rule.tool is not None and "(" in rule.tool:
        return f"{_as_json(rule.tool)} is a pattern of the agent's settings; write the tool alone, and the rest in args"
    return None


# --- who ------------------------------------------------------------------------------------------------------------


def _is_about(rule: Rule, path: tuple[ActorId, ...], role: Role) -> bool:
    if rule.role is not None and rule.role != role:
        return False
    if rule.actor is None:
        return True
    names = tuple(rule.actor.split(ARROW))
    # The lead is called root in rules whatever its id; a task's path has no lead in it.
    if names[0] == "root" and role != "task" and path:
        return _fits_path(names[1:], path[1:])
    return _fits_path(names, path)


def _fits_path(names: tuple[str, ...], path: tuple[ActorId, ...]) -> bool:
    """Name by name, so that ``*`` never reaches over an arrow.

    ``**`` is any number of names, none too; at the end it is at least one: ``root→**`` is all below the lead.
    """
    if not names:
        return not path
    if names[0] == "**":
        if len(names) == 1:
            return bool(path)
        return any(_fits_path(names[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and _matches(names[0], path[0]) and _fits_path(names[1:], path[1:])


# --- what -----------------------------------------------------------------------------------------------------------


def _fits_request(rule: Rule, request: Request) -> bool:
    if rule.category is not None and rule.category != request.category:
        return False
    if rule.tool_name is not None and rule.tool_name != request.tool_name:
        return False
    return rule.cost_over is None or (request.cost_usd is not None and request.cost_usd > rule.cost_over)


def _fits_deed(rule: Rule, deed: Deed) -> bool:
    if rule.tool is not None and not _matches(rule.tool, deed.tool):
        return False
    # Where an argument is a list, one bad item is enough to refuse, and one unknown is enough not to approve.
    holds = all if rule.action == "auto_approve" else any
    for name, pattern in rule.args.items():
        texts = list(_texts(deed.input, name))
        if not texts or not holds(text is not None and _matches(pattern, text) for text in texts):
            return False
    return True


def _texts(arguments: Mapping[str, object], name: str) -> Iterator[str | None]:
    """What stands under a name, as text; ``None`` for each place that has none.

    A dot leads into an object, and is also a dot in a key. Lists are gone through. Without recursion: how deep an
    agent nests is its own choice.
    """
    todo: list[tuple[object, tuple[str, ...]]] = [(arguments, tuple(name.split(".")))]
    while todo:
        value, names = todo.pop()
        if isinstance(value, (list, tuple)):
            todo.extend((item, names) for item in value)
        elif not names:
            yield _text(value)
        elif isinstance(value, Mapping):
            cuts = [cut for cut in range(1, len(names) + 1) if ".".join(names[:cut]) in value]
            todo.extend((value[".".join(names[:cut])], names[cut:]) for cut in cuts)
            if not cuts:
                yield None
        else:
            yield None


def _text(value: object) -> str | None:
    """A plain value as a pattern sees it: a text as it is, a number or boolean as JSON has it."""
    if isinstance(value, str):
        return value
    return _as_json(value) if isinstance(value, (bool, int, float)) else None


def _as_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except ValueError:  # Python writes no integer of more than some thousands of digits but in base 16
        return f"{value:#x}" if isinstance(value, int) else ""


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).match(text) is not None


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A glob over the whole text: ``*`` any characters, line ends too; ``?`` one; all else is itself, case counts.

    Between two stars the leftmost place is as good as any, and atomic groups never look for another: an agent cannot
    choose an argument that takes for ever to compare.
    """
    first, *rest = [_literal(piece) for piece in re.split(r"\*+", pattern)]
    if not rest:
        return re.compile(rf"(?s:{first})\Z")
    *middle, last = rest
    found = "".join(f"(?>.*?{piece})" for piece in middle)
    # The end is looked at from the end: `.*` takes all and gives back only as much as the last piece needs.
    return re.compile(rf"(?s:{first}{found}.*{last})\Z")


def _literal(piece: str) -> str:
    return "".join("." if char == "?" else re.escape(char) for char in piece)
