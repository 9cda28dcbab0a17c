"""From what was written to what is meant: defaults merged, templates rendered, paths made absolute.

The outcome is a ``RunSpec`` for the engine and the public ``resolved.json``. Something that cannot be resolved is
reported and left empty, so that the rest is still looked at. What may not come in: rules about whether the outcome
is a good idea. Called by ``load``.
"""

from __future__ import annotations

import re

from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.hints import nearest, swallowed
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import ApprovalPolicy, Defaults, Lead, Manifest, Task
from pitboss.manifest.sinks import sinks
from pitboss.manifest.surroundings import PathError, Surroundings, expand
from pitboss.manifest.templates import TemplateError, names_in, render
from pitboss.model.run import (
    ActorId,
    McpServer,
    Policy,
    Rule,
    RunId,
    RunSpec,
    SubleadDefaults,
    TaskSpec,
    TreeSpec,
)

__all__ = ["resolve", "rule_of"]

_CONCURRENCY = "ANTHROPIC_MAX_CONCURRENT"
_DEFAULT_PARALLEL = 4
_U32 = 2**32 - 1


def resolve(manifest: Manifest, path: str, surroundings: Surroundings, findings: Findings) -> RunSpec:
    """Settle every value of ``manifest``.

    Args:
        manifest: What was written.
        path: The manifest's path as the operator gave it.
        surroundings: The machine it is resolved for.
        findings: Receives what cannot be settled.
    """
    resolver = _Resolver(manifest, surroundings, findings)
    run = manifest.run
    return RunSpec(
        run_id=RunId(""),  # minted by the caller, like the session ids
        run_dir=resolver.runs_base(),
        manifest_path=path,
        tasks=tuple(resolver.task(task, ("task", index)) for index, task in enumerate(manifest.task)),
        name=(run.name or "").strip() or None,
        max_parallel=resolver.max_parallel(),
        max_starts=run.max_starts or max(1, surroundings.cores),
        halt_on_failure=run.halt_on_failure,
        budget_usd=run.budget_usd,
        worktree_cleanup=run.worktree_cleanup,
        worktree_root=None if run.worktree_root is None else resolver.path(run.worktree_root, ("run", "worktree_root")),
        mcp_servers=tuple(
            McpServer(id=server.id, command=server.command, args=tuple(server.args), env=server.env)
            for server in manifest.mcp_server
        ),
        stall_secs=run.stall_secs,
        background_grace_secs=run.background_grace_secs,
        tree=None if manifest.lead is None else resolver.tree(manifest.lead),
        policy=Policy(
            rules=tuple(rule_of(rule) for rule in manifest.approval_policy),
            default_action=run.default_approval_policy or "block",
        ),
        dump_shared_store=run.dump_shared_store,
        sinks=sinks(manifest, surroundings, findings),
        survive_parent=manifest.lifecycle is not None and manifest.lifecycle.survive_parent,
        parent_run_id=surroundings.environ.get("PITBOSS_RUN_ID", "").strip() or None,
    )


def rule_of(written: ApprovalPolicy) -> Rule:
    """A rule as the core reads it. The lead stays ``root`` where it is called so."""
    match = written.match
    return Rule(
        action=written.action,
        actor=match.actor,
        role=match.role,
        category=match.category,
        tool_name=match.tool_name,
        cost_over=match.cost_over,
        tool=match.tool,
        args=match.args,
        reason=(written.reason or "").strip(),
    )


class _Resolver:
    """The values of one manifest, one by one."""

    def __init__(self, manifest: Manifest, surroundings: Surroundings, findings: Findings) -> None:
        self.manifest = manifest
        self.surroundings = surroundings
        self.findings = findings
        self.templates = {template.id: template.prompt for template in manifest.template}

    def path(self, text: str, subject: Path) -> str:
        """An absolute path; empty if it was reported."""
        try:
            return expand(text, self.surroundings)
        except PathError as error:
            self.findings.error(f"expanding path {shown(text)} of {self.findings.name(subject)}: {error}", subject)
            return ""

    def runs_base(self) -> str:
        """The directory that runs go into."""
        if self.manifest.run.run_dir is not None:
            return self.path(self.manifest.run.run_dir, ("run", "run_dir"))
        if self.surroundings.home:
            return expand("~/.local/share/pitboss/runs", self.surroundings)
        return expand("pitboss-runs", self.surroundings)

    def max_parallel(self) -> int:
        """``[run].max_parallel_tasks``, else the environment, else 4."""
        if self.manifest.run.max_parallel_tasks is not None:
            return self.manifest.run.max_parallel_tasks
        text = self.surroundings.environ.get(_CONCURRENCY, "").strip()
        if not text:
            return _DEFAULT_PARALLEL
        if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _U32:
            self.findings.warn(
                f"{_CONCURRENCY}={shown(text)} is not a number and was ignored; unset it or give a number"
            )
            return _DEFAULT_PARALLEL
        if int(text) == 0 and self.manifest.lead is None:
            self.findings.error(f"{_CONCURRENCY}=0 in the environment: max_parallel_tasks must be > 0; unset it")
        return max(1, int(text))

    def task(self, task: Task, subject: Path) -> TaskSpec:
        return self._actor(task, subject, self._prompt(task, subject), task.timeout_secs)

    def tree(self, lead: Lead) -> TreeSpec:
        """The lead's own session, and what may grow below it."""
        defaults = self.manifest.sublead_defaults
        return TreeSpec(
            lead=self._actor(lead, ("lead",), lead.prompt, lead.timeout_secs or lead.lead_timeout_secs),
            max_workers=lead.max_workers,
            budget_usd=lead.budget_usd,
            lead_timeout_secs=lead.lead_timeout_secs,
            permission_routing=lead.permission_routing,
            allow_subleads=lead.allow_subleads,
            max_subleads=lead.max_subleads,
            max_sublead_budget_usd=lead.max_sublead_budget_usd,
            max_total_workers=lead.max_total_workers,
            sublead_defaults=SubleadDefaults(**defaults.model_dump()) if defaults is not None else SubleadDefaults(),
            require_plan_approval=self.manifest.run.require_plan_approval,
        )

    def _actor(self, actor: Task | Lead, subject: Path, prompt: str, timeout_secs: int | None) -> TaskSpec:
        """One session, with the defaults where it says nothing."""
        defaults: Defaults = self.manifest.defaults
        return TaskSpec(
            id=ActorId(actor.id),
            directory=self.path(actor.directory, (*subject, "directory")),
            prompt=prompt,
            branch=actor.branch,
            model=defaults.model if actor.model is None else actor.model,
            effort=actor.effort or defaults.effort,
            tools=tuple(defaults.tools if actor.tools is None else actor.tools),
            timeout_secs=timeout_secs or defaults.timeout_secs,
            use_worktree=defaults.use_worktree if actor.use_worktree is None else actor.use_worktree,
            env={**defaults.env, **actor.env},
        )

    def _prompt(self, task: Task, subject: Path) -> str:
        """The task's prompt, rendered; empty if it was reported."""
        own, template = (*subject, "prompt"), (*subject, "template")
        name = self.findings.name(subject)
        if task.prompt is not None and task.template is not None:
            self.findings.error(f"{name} sets both prompt and template; keep one of them", template, own)
        elif task.prompt is not None:
            return self._not_blank(task.prompt, f"{name} has a prompt that is empty; say what is to be done", own)
        elif task.template is not None:
            return self._rendered(task, task.template, subject)
        else:
            trap = swallowed(own, self.findings) or "; give it one of them"
            self.findings.error(f"{name} has no prompt and no template{trap}", own, template)
        return ""

    def _rendered(self, task: Task, template: str, subject: Path) -> str:
        name = self.findings.name(subject)
        text = self.templates.get(template)
        if text is None:
            close = nearest(template, list(self.templates))
            hint = f"did you mean {close!r}?" if close else "declare it as a [[template]]"
            self.findings.error(f"{name} uses an unknown template {shown(template)}; {hint}", (*subject, "template"))
            return ""
        try:
            names_in(text)
        except TemplateError:
            return ""  # said once, about the template itself
        try:
            prompt = render(text, task.vars)
        except TemplateError as error:
            self.findings.error(
                f"{name} cannot use template {shown(template)}: {error}", (*subject, "template"), (*subject, "vars")
            )
            return ""
        return self._not_blank(
            prompt, f"{name} gets an empty prompt from template {shown(template)}", (*subject, "template")
        )

    def _not_blank(self, prompt: str, message: str, subject: Path) -> str:
        if not prompt.strip():
            self.findings.error(message, subject)
        return prompt
