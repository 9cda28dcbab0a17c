"""The public ``resolved.json``: what a run was asked to do, key by key, in the order readers know.

URLs of receivers are kept as they were written, so a secret in a variable never reaches the disk.
Called by ``load``.
"""

from __future__ import annotations

from pydantic import BaseModel

from pitboss.manifest.schema import ApprovalPolicy, Lead, Lifecycle, Manifest, Notification
from pitboss.model.run import RunSpec, TaskSpec

__all__ = ["SCHEMA_VERSION", "resolved_record"]

SCHEMA_VERSION = 1

_NEW = frozenset({"role", "tool", "args"})
"""Keys of a match that readers of 0.9 do not know: written only where they are used."""

_NEW_OF_SINKS = frozenset({"headers", "secret", "template", "allow_private"})
"""The same of a notification."""


def resolved_record(manifest: Manifest, spec: RunSpec) -> dict[str, object]:
    """The run as JSON-ready data; ``spec`` is what ``manifest`` was resolved to."""
    run, lead = manifest.run, manifest.lead
    return {
        "manifest_schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "max_parallel_tasks": spec.max_parallel,
        "halt_on_failure": run.halt_on_failure,
        "run_dir": spec.run_dir,
        "worktree_cleanup": run.worktree_cleanup,
        "emit_event_stream": run.emit_event_stream,
        "tasks": [_actor(task) for task in spec.tasks],
        "lead": None if lead is None or spec.tree is None else _lead(lead, spec.tree.lead, manifest),
        "max_workers": lead.max_workers if lead else None,
        "budget_usd": lead.budget_usd if lead else run.budget_usd,
        "lead_timeout_secs": lead.lead_timeout_secs if lead else None,
        "default_approval_policy": run.default_approval_policy,
        "notifications": [_sink(item) for item in manifest.notification],
        "dump_shared_store": run.dump_shared_store,
        "require_plan_approval": run.require_plan_approval,
        "approval_rules": [_rule(rule, lead) for rule in manifest.approval_policy],
        "container": _plain(manifest.container),
        "mcp_servers": [_plain(server) for server in manifest.mcp_server],
        "lifecycle": _lifecycle(manifest.lifecycle),
    }


def _actor(spec: TaskSpec) -> dict[str, object]:
    return {
        "id": spec.id,
        "directory": spec.directory,
        "prompt": spec.prompt,
        "branch": spec.branch,
        "model": spec.model,
        "effort": spec.effort,
        "tools": list(spec.tools),
        "timeout_secs": spec.timeout_secs,
        "use_worktree": spec.use_worktree,
        "env": dict(spec.env),
        "resume_session_id": spec.resume_session_id,
    }


def _lead(lead: Lead, spec: TaskSpec, manifest: Manifest) -> dict[str, object]:
    return _actor(spec) | {
        "permission_routing": lead.permission_routing,
        "allow_subleads": lead.allow_subleads,
        "max_subleads": lead.max_subleads,
        "max_sublead_budget_usd": lead.max_sublead_budget_usd,
        "max_total_workers": lead.max_total_workers,
        "sublead_defaults": _plain(manifest.sublead_defaults),
    }


def _rule(rule: ApprovalPolicy, lead: Lead | None) -> dict[str, object]:
    """An approval rule; an actor path that starts with ``root`` is written with the lead's own id."""
    match = rule.match.model_dump(exclude=set(_NEW - rule.match.model_fields_set))
    head, *rest = (rule.match.actor or "").split("→")
    if head == "root" and lead is not None:
        match["actor"] = "→".join([lead.id, *rest])
    return {"match": match, "action": rule.action} | ({"reason": rule.reason} if rule.reason else {})


def _sink(table: Notification) -> dict[str, object]:
    return table.model_dump(mode="json", exclude=set(_NEW_OF_SINKS - table.model_fields_set))


def _lifecycle(table: Lifecycle | None) -> dict[str, object] | None:
    if table is None:
        return None
    notify = None if table.notify is None else _sink(table.notify)
    return {"survive_parent": table.survive_parent, "notify": notify}


def _plain(table: BaseModel | None) -> dict[str, object] | None:
    return None if table is None else table.model_dump(mode="json", by_alias=True)
