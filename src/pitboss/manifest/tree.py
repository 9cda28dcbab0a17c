"""Rules for what grows below a lead: caps and sub-leads. Called by ``load``."""

from __future__ import annotations

from pitboss.manifest.findings import Findings
from pitboss.manifest.schema import Lead, Manifest, SubleadDefaults

__all__ = ["check_tree"]


def check_tree(manifest: Manifest, findings: Findings) -> None:
    """The lead's caps against each other and against what its sub-leads get."""
    lead, defaults = manifest.lead, manifest.sublead_defaults
    if lead is None:
        return
    _check_subleads(lead, defaults, findings)
    _doubt_caps(lead, manifest.run.budget_usd, findings)
    _doubt_timeouts(lead, findings)
    if defaults is not None:
        _doubt_defaults(lead, defaults, findings)


def _check_subleads(lead: Lead, defaults: SubleadDefaults | None, findings: Findings) -> None:
    if not lead.allow_subleads:
        return
    is_complete = defaults is not None and defaults.budget_usd is not None and defaults.max_workers is not None
    if not is_complete and not (defaults is not None and defaults.read_down):
        findings.error(
            "[lead] has allow_subleads = true, so [sublead_defaults] must say what a sub-lead gets: either budget_usd "
            "and max_workers (an envelope of its own), or read_down = true (the lead's pool)",
            ("lead", "allow_subleads"),
            ("sublead_defaults", "budget_usd"),
            ("sublead_defaults", "max_workers"),
            ("sublead_defaults", "read_down"),
        )


def _doubt_caps(lead: Lead, hard_limit: float | None, findings: Findings) -> None:
    if lead.max_workers is None:
        findings.warn("[lead] has no max_workers: the number of live workers has no limit", ("lead",))
    if lead.budget_usd is None:
        findings.warn("[lead] has no budget_usd: its spending has no cap", ("lead",))
    if lead.budget_usd is not None and hard_limit is not None and lead.budget_usd > hard_limit:
        findings.warn(
            "[lead].budget_usd is above [run].budget_usd, the hard limit, which stops the run first",
            ("lead", "budget_usd"),
            ("run", "budget_usd"),
        )
    if lead.max_total_workers is not None and lead.max_total_workers < (lead.max_workers or 0):
        findings.warn(
            "[lead].max_total_workers is below max_workers, which can then never be reached",
            ("lead", "max_total_workers"),
        )
    if lead.max_sublead_budget_usd is not None and lead.max_sublead_budget_usd > (lead.budget_usd or float("inf")):
        findings.warn(
            "[lead].max_sublead_budget_usd is above budget_usd, which every sub-lead is paid from",
            ("lead", "max_sublead_budget_usd"),
        )
    if not lead.allow_subleads:
        for name in ("max_subleads", "max_sublead_budget_usd"):
            if name in lead.model_fields_set:
                findings.warn(f"[lead].{name} has no effect without allow_subleads = true", ("lead", name))


def _doubt_timeouts(lead: Lead, findings: Findings) -> None:
    if lead.timeout_secs is not None and lead.lead_timeout_secs not in (None, lead.timeout_secs):
        findings.warn(
            "[lead].lead_timeout_secs has no effect beside timeout_secs, which says how long the lead may run",
            ("lead", "lead_timeout_secs"),
        )


def _doubt_defaults(lead: Lead, defaults: SubleadDefaults, findings: Findings) -> None:
    if not lead.allow_subleads:
        findings.warn("[sublead_defaults] has no effect without [lead].allow_subleads = true", ("sublead_defaults",))
    for name, limit in (("max_sublead_budget_usd", lead.max_sublead_budget_usd), ("budget_usd", lead.budget_usd)):
        if defaults.budget_usd is not None and limit is not None and defaults.budget_usd > limit:
            findings.warn(
                f"[sublead_defaults].budget_usd is above [lead].{name}: spawns that leave it out will be refused",
                ("sublead_defaults", "budget_usd"),
            )
    if defaults.max_workers is not None and defaults.max_workers > (lead.max_total_workers or float("inf")):
        findings.warn(
            "[sublead_defaults].max_workers is above [lead].max_total_workers, so it can never be reached",
            ("sublead_defaults", "max_workers"),
        )
    lead_secs = lead.timeout_secs or lead.lead_timeout_secs
    if defaults.lead_timeout_secs is not None and defaults.lead_timeout_secs > (lead_secs or float("inf")):
        findings.warn(
            "[sublead_defaults].lead_timeout_secs is above what the lead has: its sub-leads end with it",
            ("sublead_defaults", "lead_timeout_secs"),
        )
