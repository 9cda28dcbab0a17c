"""What is said at the start of a run that will need a person, where nobody may be looking.

Called by ``commands`` for what begins a run without a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from pitboss.model.run import RunSpec
from pitboss.surfaces import words

__all__ = ["warnings"]


def warnings(run: RunSpec, command: str) -> Iterator[str]:
    """One line for each way in which the run may come to wait for a person, and one that says how to answer.

    Args:
        run: What was asked for.
        command: Lists what waits.
    """
    reasons = list(_reasons(run))
    yield from (f"warning: {reason}" for reason in reasons)
    if reasons:
        yield f"warning: nobody may be looking; see what waits, and answer it, with: {command}"


def _reasons(run: RunSpec) -> Iterator[str]:
    asks = run.policy.default_action == "block"
    blocking = sum(rule.action == "block" for rule in run.policy.rules)
    if blocking:
        which = f'{words.plural(blocking, "rule")} with action = "block"'
        yield f"[[approval_policy]] has {which}: what matches waits for a person"
    if run.tree is None:
        return  # a task cannot ask by itself
    if run.tree.require_plan_approval and asks:
        yield "[run].require_plan_approval is set: nothing is spawned before a person has approved a plan"
    if run.tree.permission_routing == "path_b" and asks:
        yield '[lead].permission_routing = "path_b": the permission questions of Claude Code go to a person'
