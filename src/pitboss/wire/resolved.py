"""``resolved.json``, read: what a run was asked to do, as Pitboss 0.9 wrote it and as we still do.

The manifest's own room writes the file; this one only reads it, leniently: keys of older and later versions may be
missing or too many. Called by ``journal.legacy``.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pitboss.errors import WorldError
from pitboss.model.run import (
    ApprovalAction,
    ApprovalCategory,
    CleanupMode,
    Effort,
    McpServer,
    PermissionRouting,
    Role,
    SubleadDefaults,
)

__all__ = ["SCHEMA_VERSION", "Resolved", "ResolvedActor", "ResolvedLead", "ResolvedRule", "decode_resolved"]

SCHEMA_VERSION = 1
"""The newest schema that this version understands well enough to act on."""

_DEFAULT_TOOLS = ("Read", "Write", "Edit", "Bash", "Glob", "Grep")


class ResolvedActor(msgspec.Struct, frozen=True, kw_only=True):
    """A task, or a lead, with every default applied."""

    id: str
    directory: str = ""
    prompt: str = ""
    branch: str | None = None
    model: str = ""
    effort: Effort = "high"
    tools: tuple[str, ...] = _DEFAULT_TOOLS
    timeout_secs: int = 3600
    use_worktree: bool = True
    env: dict[str, str] = {}
    resume_session_id: str | None = None


class ResolvedLead(ResolvedActor, frozen=True, kw_only=True):
    """The lead, and the caps that stand beside it."""

    permission_routing: PermissionRouting = "path_a"
    allow_subleads: bool = False
    max_subleads: int | None = None
    max_sublead_budget_usd: float | None = None
    max_total_workers: int | None = None
    max_workers_across_tree: int | None = None
    """The same, as older versions called it."""
    sublead_defaults: SubleadDefaults | None = None


class ResolvedMatch(msgspec.Struct, frozen=True, kw_only=True):
    """What an approval rule is about; ``role``, ``tool`` and ``args`` are ours."""

    actor: str | None = None
    role: Role | None = None
    category: ApprovalCategory | None = None
    tool_name: str | None = None
    cost_over: float | None = None
    tool: str | None = None
    args: dict[str, str] = {}


class ResolvedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One approval rule."""

    match: ResolvedMatch = ResolvedMatch()
    action: ApprovalAction
    reason: str | None = None


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file, as far as it is acted on."""

    manifest_schema_version: int = 0
    name: str | None = None
    max_parallel_tasks: int | None = None
    max_parallel: int | None = None
    """The same, as older versions called it."""
    halt_on_failure: bool = False
    worktree_cleanup: CleanupMode = "on_success"
    budget_usd: float | None = None
    tasks: tuple[ResolvedActor, ...] = ()
    lead: ResolvedLead | None = None
    max_workers: int | None = None
    lead_timeout_secs: int | None = None
    default_approval_policy: ApprovalAction | None = None
    approval_policy: ApprovalAction | None = None
    """The same, as older versions called it."""
    approval_rules: tuple[ResolvedRule, ...] = ()
    require_plan_approval: bool = False
    dump_shared_store: bool = False
    mcp_servers: tuple[McpServer, ...] = ()

    @property
    def cap(self) -> int:
        """How many actors may be live at once; 0 if the file does not say."""
        return self.max_parallel_tasks or self.max_parallel or 0


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    manifest_schema_version: int = 0


_DECODER = msgspec.json.Decoder(Resolved)
_VERSIONS = msgspec.json.Decoder(_Versioned)
_T = TypeVar("_T")


def decode_resolved(data: bytes) -> Resolved:
    """The content of a ``resolved.json``.

    Raises:
        WorldError: If the bytes are no such file, or one of a schema that only a later Pitboss knows.
    """
    version = _decoded(_VERSIONS, data).manifest_schema_version
    if version > SCHEMA_VERSION:
        raise WorldError(f"it has schema version {version}, and this Pitboss knows {SCHEMA_VERSION}; use a newer one")
    return _decoded(_DECODER, data)


def _decoded(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WorldError(f"this is not a resolved manifest: {error}") from error
