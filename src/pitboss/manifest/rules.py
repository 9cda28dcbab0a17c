"""The rules of a run by themselves, as they stand in a manifest: for changing them while the run is at work.

The same text, the same rules and the same complaints as ``load``; what else a manifest has may not be in it. Called by
the ``policy`` command.
"""

from __future__ import annotations

from typing import NamedTuple

from pitboss.errors import OurFault, Problem
from pitboss.manifest.conform import conform
from pitboss.manifest.document import read
from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.policy import check_policy
from pitboss.manifest.resolve import rule_of
from pitboss.model.run import ApprovalAction, Rule

__all__ = ["Rulebook", "load_rules"]

_DEFAULT = "default_approval_policy"


class Rulebook(NamedTuple):
    """Rules that a run can be given."""

    rules: tuple[Rule, ...]
    default_action: ApprovalAction | None
    """``[run].default_approval_policy``; ``None`` if nothing is written, which leaves it as it is."""
    warnings: list[Problem]
    """What is legal but probably not meant, in the order of the text."""


def load_rules(text: str | bytes, path: str) -> Rulebook:
    """Read the ``[[approval_policy]]`` tables of a text, and its ``[run].default_approval_policy``.

    Args:
        text: The text.
        path: What it is called in messages.

    Raises:
        ManifestError: Something is wrong with it; every problem is in the error, with its line.
    """
    findings = Findings(read(text, path))
    _refuse_the_rest(findings)
    manifest = conform(findings)
    if manifest is None:
        findings.raise_errors(path)
        raise OurFault("rules were refused without a reason")
    check_policy(manifest, findings)
    findings.raise_errors(path)
    rules = tuple(rule_of(rule) for rule in manifest.approval_policy)
    return Rulebook(rules, manifest.run.default_approval_policy, findings.warnings)


def _refuse_the_rest(findings: Findings) -> None:
    """Keys of a manifest that cannot be changed while a run is at work."""
    raw = findings.document.raw
    run = raw.get("run")
    inside = [("run", key) for key in run if key != _DEFAULT] if isinstance(run, dict) else []
    for subject in [*((key,) for key in raw if key not in {"run", "approval_policy"}), *inside]:
        findings.error(
            f"{shown(subject[-1])} cannot be changed here: only [[approval_policy]] and [run].{_DEFAULT} can", subject
        )
        findings.mark_broken(subject)
