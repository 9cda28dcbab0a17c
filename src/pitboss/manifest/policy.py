"""Rules about the rules: what an ``[[approval_policy]]`` cannot mean, and what it probably does not mean.

What can never match is an error, since a rule that is never asked protects nobody. Called by ``load``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import ApprovalMatch, ApprovalPolicy, Manifest
from pitboss.model.run import Role

__all__ = ["check_policy"]

_ARROW = "→"
_NAME = re.compile(r"\*\*|(?!.*\*\*)[A-Za-z0-9_*?-]+")
"""A name of an actor's path, as a glob; ``**`` stands alone."""
_ABOUT_CALLS = ("tool", "args")
_ABOUT_REQUESTS = ("category", "tool_name", "cost_over")


def check_policy(manifest: Manifest, findings: Findings) -> None:
    """Each rule by itself, the rules against each other, and against who can be in the run."""
    for index, rule in enumerate(manifest.approval_policy):
        subject: Path = ("approval_policy", index)
        _check_kind(rule.match, (*subject, "match"), findings)
        _check_actor(rule.match.actor, (*subject, "match", "actor"), findings)
        _check_tool(rule.match, (*subject, "match"), findings)
        _check_args(rule.match, (*subject, "match", "args"), findings)
        _doubt_who(rule.match, manifest, (*subject, "match"), findings)
        if rule.reason is not None and rule.action == "auto_approve":
            name = findings.name(subject)
            findings.warn(f"{name}: reason has no effect on action auto_approve", (*subject, "reason"))
    _doubt_order(manifest.approval_policy, findings)
    _doubt_tool_names(manifest.approval_policy, findings)
    _doubt_plan_gate(manifest, findings)


def _sees_calls(match: ApprovalMatch) -> bool:
    """True for a rule about tool calls."""
    return match.tool is not None or bool(match.args)


def _check_kind(match: ApprovalMatch, subject: Path, findings: Findings) -> None:
    """A rule is about tool calls or about requests; nothing is both."""
    both = [[name for name in names if name in match.model_fields_set] for names in (_ABOUT_CALLS, _ABOUT_REQUESTS)]
    if all(both):
        calls, requests = both
        findings.error(
            f"{findings.name(subject)} can never match: {calls[0]} is about tool calls, {requests[0]} about requests; "
            "make two rules of it",
            (*subject, requests[0]),
            (*subject, calls[0]),
        )
    elif findings.document.value((*subject, "args")) == {} and match.tool is None:
        findings.error(f"{findings.name(subject)}.args is empty; name an argument", (*subject, "args"))


def _check_actor(actor: str | None, subject: Path, findings: Findings) -> None:
    if actor is None or all(map(_NAME.fullmatch, actor.split(_ARROW))):
        return
    name = findings.name(subject)
    if not actor:
        findings.error(f"{name} is empty; leave it out for any actor", subject)
    elif "->" in actor or ">" in actor or "/" in actor:
        findings.error(f"{name} {shown(actor)} can never match; write → (U+2192) between names", subject)
    elif " " in actor:
        findings.error(f"{name} {shown(actor)} can never match; write it without spaces", subject)
    else:
        findings.error(
            f"{name} {shown(actor)} can never match; between arrows stands a name, with * and ? for any text and any "
            "character, or ** for any number of names",
            subject,
        )


def _check_tool(match: ApprovalMatch, subject: Path, findings: Findings) -> None:
    for key, value in (("tool", match.tool), ("tool_name", match.tool_name)):
        if value is not None and not value.strip():
            findings.error(f"{findings.name((*subject, key))} is empty; leave it out for any", (*subject, key))
    if match.tool is not None and "(" in match.tool:
        tool, _, pattern = match.tool.partition("(")
        findings.error(
            f"{findings.name((*subject, 'tool'))} {shown(match.tool)} can never match: it is a pattern of the agent's "
            f"settings; write tool = {_quoted(tool)} and the pattern {shown(pattern.rstrip(')'))} as a glob in args",
            (*subject, "tool"),
        )


def _quoted(text: str) -> str:
    return f'"{text}"'


def _check_args(match: ApprovalMatch, subject: Path, findings: Findings) -> None:
    for name in match.args:
        if not all(part.strip() for part in name.split(".")):
            findings.error(
                f"{findings.name(subject)} has the name {shown(name)}; name an argument, or several with dots between",
                (*subject, name),
            )


def _doubt_who(match: ApprovalMatch, manifest: Manifest, subject: Path, findings: Findings) -> None:
    """Actors that this run cannot have."""
    if bool(manifest.task) == (manifest.lead is not None):
        return  # neither or both: said already
    roles = _roles(manifest)
    if match.role is not None and match.role not in roles:
        message = f"{findings.name((*subject, 'role'))} never matches: this run has no {match.role}"
        findings.warn(message, (*subject, "role"))
    if match.actor is None:
        return
    first, *more = match.actor.split(_ARROW)
    if re.search(r"[*?]", first):
        return
    name = findings.name((*subject, "actor"))
    if manifest.lead is None and (more or first not in {task.id for task in manifest.task}):
        findings.warn(f"{name} never matches: the path of a task is its id alone", (*subject, "actor"))
    elif manifest.lead is not None and first not in ("root", manifest.lead.id):
        findings.warn(
            f"{name} never matches: the path of every actor begins with root, or {shown(manifest.lead.id)}",
            (*subject, "actor"),
        )


def _roles(manifest: Manifest) -> tuple[Role, ...]:
    """What actors of this run can be."""
    if manifest.lead is None:
        return ("task",)
    return ("lead", "sublead", "worker") if manifest.lead.allow_subleads else ("lead", "worker")


def _doubt_order(rules: list[ApprovalPolicy], findings: Findings) -> None:
    """A rule after one that matches the same and more is never asked."""
    for index, rule in enumerate(rules):
        for earlier in range(index):
            if not _covers(rules[earlier].match, rule.match):
                continue
            subject: Path = ("approval_policy", index)
            first = findings.name(("approval_policy", earlier))
            findings.warn(f"{findings.name(subject)} is never asked: {first} matches all that it matches", subject)
            break


def _covers(first: ApprovalMatch, second: ApprovalMatch) -> bool:
    """True if ``first`` asks for nothing that ``second`` does not ask for word by word."""
    if _sees_calls(first) != _sees_calls(second):
        return False
    wanted, given = dict(_conditions(first)), dict(_conditions(second))
    return all(given.get(key) == value for key, value in wanted.items())


def _conditions(match: ApprovalMatch) -> Iterator[tuple[str, object]]:
    """What must hold, without what always does."""
    for key in ("actor", "role", *_ABOUT_REQUESTS, "tool"):
        value = getattr(match, key)
        if value is not None and not (key == "tool" and value == "*") and not (key == "actor" and value == "**"):
            yield key, value
    for name, value in match.args.items():
        yield f"args.{name}", value


def _doubt_tool_names(rules: list[ApprovalPolicy], findings: Findings) -> None:
    """``tool_name`` is what an agent says when it asks; it stops nobody who does not ask."""
    if any(_sees_calls(rule.match) for rule in rules):
        return  # who has written one of the new kind knows the difference
    for index, rule in enumerate(rules):
        if rule.match.tool_name is not None and rule.action != "auto_approve":
            subject: Path = ("approval_policy", index, "match", "tool_name")
            findings.warn(
                f"{findings.name(subject)} is about what an agent asks approval for, in its own words; "
                "to look at the tool calls themselves, write tool",
                subject,
            )


def _doubt_plan_gate(manifest: Manifest, findings: Findings) -> None:
    """A gate that opens by itself, or never."""
    run = manifest.run
    if manifest.lead is None or not run.require_plan_approval:
        return
    about_plans = [
        rule
        for rule in manifest.approval_policy
        if not _sees_calls(rule.match) and rule.match.category in (None, "plan") and rule.match.tool_name is None
    ]
    subject: Path = ("run", "default_approval_policy")
    if run.default_approval_policy == "auto_approve" and all(rule.action == "auto_approve" for rule in about_plans):
        findings.warn(
            "[run].require_plan_approval has no effect: default_approval_policy = auto_approve approves every plan; "
            'add an [[approval_policy]] with match = { category = "plan" } and action = "block"',
            ("run", "require_plan_approval"),
            subject,
        )
    if run.default_approval_policy == "auto_reject" and all(rule.action == "auto_reject" for rule in about_plans):
        findings.warn(
            "[run].require_plan_approval with default_approval_policy = auto_reject: no plan can be approved, so "
            "nothing can be spawned",
            ("run", "require_plan_approval"),
            subject,
        )
