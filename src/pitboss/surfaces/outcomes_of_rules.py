"""What came of orders about rules, limits and models, in a line; a part of ``outcomes``, which calls it."""

from __future__ import annotations

from pitboss.surfaces import words
from pitboss.surfaces.ordering import Outcome

__all__ = ["limits_line", "model_line", "policy_line"]


def model_line(outcome: Outcome, who: str, model: str) -> str:
    """An actor has another model."""
    if not outcome.changed:
        return f"{who} has the model {words.clean(model)} already; nothing was changed"
    when = "when the run is resumed" if outcome.in_journal else "from its next request on"
    return f"{who} goes on with {words.clean(model)} {when}"


def limits_line(outcome: Outcome, whose: str) -> str:
    """How the limits stand now."""
    op, told = outcome.op, outcome.told
    parts = []
    if getattr(op, "budget_usd", None) is not None:
        left = told.get("left_usd")
        rest = f", {_money(left)} left" if left is not None else ""
        parts.append(f"a budget of {_money(told.get('budget_usd'))} ({_money(told.get('spent_usd'))} spent{rest})")
    if getattr(op, "max_workers", None) is not None:
        parts.append(f"at most {told.get('max_workers')} at once")
    if getattr(op, "timeout_secs", None) is not None:
        parts.append(f"a time-out of {told.get('timeout_secs')} s")
    already = "" if outcome.changed else " already; nothing was changed"
    later = "; it holds when the run is resumed" if outcome.in_journal and outcome.changed else ""
    return f"{whose} has {' and '.join(parts)}{already}{later}"


def policy_line(outcome: Outcome, run: str) -> str:
    """Which rules hold now."""
    count, version = outcome.told.get("rules"), outcome.told.get("version")
    if not outcome.changed:
        return f"{run} has these rules already, version {version}; nothing was changed"
    noun = "rule" if count == 1 else "rules"
    later = "when it is resumed" if outcome.in_journal else "now"
    return f"{run} has {count} {noun} {later}, version {version}; what already waits for you goes on waiting"


def _money(usd: object) -> str:
    return words.money(usd if isinstance(usd, int | float) else None)
