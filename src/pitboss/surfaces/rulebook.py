"""The rules of a run as a person reads and edits them: the tables of a manifest, and which version of them holds.

Called by ``commands`` for ``policy``.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import tomlkit

from pitboss.errors import OperatorError
from pitboss.journal.rundir import RunDir
from pitboss.model.run import Policy, Rule
from pitboss.surfaces.client import Run
from pitboss.surfaces.found import Journal
from pitboss.wire.control import wire_rule

__all__ = ["InForce", "as_json", "as_toml", "in_force"]

_OF_THE_MATCH = ("actor", "role", "category", "tool_name", "cost_over", "tool", "args")


class InForce(NamedTuple):
    """The rules that hold."""

    run_id: str
    policy: Policy
    version: int
    """How often they were replaced."""


def in_force(run: Run) -> InForce:
    """Which rules hold in a run, or would if it were resumed.

    Raises:
        OperatorError: It was written by a Pitboss that kept no journal, or was cut off before it began.
        WorldError: The journal is damaged.
    """
    folder = RunDir(run.path)
    journal = Journal(folder)
    journal.read_on()
    if not journal.is_open and folder.journal.exists():
        raise OperatorError(f"run {folder.run_id} was cut off before it began anything; dispatch it again")
    if not journal.is_open:
        raise OperatorError(f"run {folder.run_id} has no journal, so its rules are not known: Pitboss 0.9 kept none")
    return InForce(folder.run_id, journal.state.spec.policy, journal.state.policy_version)


def as_toml(held: InForce) -> str:
    """The rules as they would stand in a manifest, the version above them."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Rules of run {held.run_id}, version {held.version}; the first that matches decides"))
    run = tomlkit.table()
    run.add("default_approval_policy", held.policy.default_action)
    document.add("run", run)
    rules = tomlkit.aot()
    for rule in held.policy.rules:
        rules.append(_table(rule))
    if held.policy.rules:
        document.add("approval_policy", rules)
    return tomlkit.dumps(document)


def _table(rule: Rule) -> tomlkit.items.Table:
    table, match = tomlkit.table(), tomlkit.table()
    table.add("action", rule.action)
    if rule.reason:
        table.add("reason", rule.reason)
    for key in _OF_THE_MATCH:
        value = getattr(rule, key)
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            value = inline if value else None
        if value is not None:
            match.add(key, value)
    if match:
        table.add("match", match)
    return table


def as_json(held: InForce) -> str:
    """The rules as one object, in the shape of the socket's ``update_policy``."""
    shape = {
        "version": held.version,
        "run_id": held.run_id,
        "default_action": held.policy.default_action,
        "rules": [wire_rule(rule) for rule in held.policy.rules],
    }
    return msgspec.json.encode(shape).decode()
