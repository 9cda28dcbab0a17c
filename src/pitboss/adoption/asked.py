"""What a run of Pitboss 0.9 was asked to do, in our words. Called by ``adoption`` alone."""

from __future__ import annotations

import os

import msgspec

from pitboss.engine.ids import mint_session_id
from pitboss.journal.legacy import Legacy
from pitboss.journal.rundir import RunDir
from pitboss.model.run import ActorId, Policy, Rule, RunId, RunSpec, SubleadDefaults, TaskSpec, TreeSpec
from pitboss.wire.resolved import Resolved, ResolvedActor, ResolvedLead, ResolvedRule

__all__ = ["run_spec"]

_DEFAULT_PARALLEL = 4


def run_spec(run: RunDir, legacy: Legacy, resolved: Resolved, binary: str) -> RunSpec:
    """The whole run as asked for.

    Args:
        run: Its folder.
        legacy: Its files.
        resolved: Of those, the one that matters most.
        binary: The agent's binary, which 0.9 did not write down.
    """
    lead = resolved.lead
    return RunSpec(
        run_id=RunId(run.run_id),
        run_dir=str(run.path),
        manifest_path=legacy.meta.manifest_path if legacy.meta else "",
        tasks=() if lead else tuple(_actor(task) for task in resolved.tasks),
        name=(resolved.name or "").strip() or None,
        max_parallel=resolved.cap or _DEFAULT_PARALLEL,
        max_starts=os.cpu_count() or 1,
        halt_on_failure=resolved.halt_on_failure,
        budget_usd=None if lead else resolved.budget_usd,  # of a tree, this is the lead's
        worktree_cleanup=resolved.worktree_cleanup,
        mcp_servers=resolved.mcp_servers,
        claude_binary=binary,
        tree=_tree(resolved, lead) if lead else None,
        policy=Policy(
            rules=tuple(_rule(rule) for rule in resolved.approval_rules),
            default_action=resolved.default_approval_policy or resolved.approval_policy or "block",
        ),
        dump_shared_store=resolved.dump_shared_store,
    )


def _tree(resolved: Resolved, lead: ResolvedLead) -> TreeSpec:
    return TreeSpec(
        lead=_actor(lead),
        max_workers=resolved.max_workers,
        budget_usd=resolved.budget_usd,
        lead_timeout_secs=resolved.lead_timeout_secs,
        permission_routing=lead.permission_routing,
        allow_subleads=lead.allow_subleads,
        max_subleads=lead.max_subleads,
        max_sublead_budget_usd=lead.max_sublead_budget_usd,
        max_total_workers=lead.max_total_workers or lead.max_workers_across_tree,
        sublead_defaults=lead.sublead_defaults or SubleadDefaults(),
        require_plan_approval=resolved.require_plan_approval,
    )


def _rule(written: ResolvedRule) -> Rule:
    match = msgspec.structs.asdict(written.match)
    return Rule(action=written.action, reason=(written.reason or "").strip(), **match)


def _actor(asked: ResolvedActor) -> TaskSpec:
    """The actor as asked for; a session that it was to continue is told of by ``ActorAdopted``."""
    known = {name: getattr(asked, name) for name in ResolvedActor.__struct_fields__}
    known |= {"id": ActorId(asked.id), "resume_session_id": None}
    model = {"model": asked.model} if asked.model else {}
    return msgspec.convert(known | model | {"session_id": mint_session_id()}, TaskSpec)
