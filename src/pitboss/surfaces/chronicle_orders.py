"""Sentences about what operators have ordered, and what that has changed; a part of ``chronicle``, which calls it."""

from __future__ import annotations

from typing import assert_never

from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.surfaces import words

_CHARS = 80


def about_an_order(fact: of.OrderFact) -> str:
    """What an operator ordered, or what came of it."""
    match fact:
        case of.OrderTaken():
            who = fact.given_by or "an operator"
            came = f"; refused: {fact.message}" if fact.code else ""
            return f"{who} ordered: {in_words(fact.order)}{came}"
        case of.PolicyReplaced(rules=rules, default_action=default):
            count = f"{len(rules)} rule{'' if len(rules) == 1 else 's'}"
            return f"other rules hold now: {count}, and {default} for what none is about"
        case of.LimitsChanged():
            return f"other limits hold for {fact.actor or 'the run'} now: {_limits(fact)}"
        case _:
            assert_never(fact)


def in_words(order: o.AnyOrder) -> str:
    """An order as a phrase."""
    match order:
        case o.CancelActor(actor=who, reason=reason):
            return f"cancel {who}{_because(reason)}"
        case o.PauseActor(actor=who, mode="freeze"):
            return f"freeze {who}"
        case o.PauseActor(actor=who):
            return f"pause {who}"
        case o.ContinueActor(actor=who, prompt=prompt):
            return f"let {who} go on{_saying(prompt)}"
        case o.RedirectActor(actor=who, prompt=prompt):
            return f"redirect {who}{_saying(prompt)}"
        case o.NoteActor(actor=who, text=text):
            return f"tell {who}{_saying(text)}"
        case o.SetModel(actor=who, model=model):
            return f"let {who} go on with {model}"
        case o.AnswerApproval(request_id=name, approved=approved):
            return f"{'approve' if approved else 'reject'} {name}"
        case o.ReplacePolicy(rules=rules):
            return f"replace the rules by {len(rules)}"
        case o.ChangeLimits():
            return f"change the limits of {order.actor or 'the run'}: {_limits(order)}"
        case o.DrainRun(reason=reason):
            return f"drain{_because(reason)}"
        case o.StopRun(reason=reason):
            return f"stop{_because(reason)}"
        case _:
            assert_never(order)


def _because(reason: str) -> str:
    return f" ({_short(reason)})" if reason else ""


def _saying(text: str) -> str:
    return f": {_short(text)}" if text else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CHARS else f"{line[:_CHARS]}…"


def _limits(what: of.LimitsChanged | o.ChangeLimits) -> str:
    parts = [
        None if what.budget_usd is None else f"a budget of {words.money(what.budget_usd)}",
        None if what.max_workers is None else f"{what.max_workers} at once",
        None if what.timeout_secs is None else f"a time-out of {what.timeout_secs} s",
    ]
    return ", ".join(filter(None, parts))
