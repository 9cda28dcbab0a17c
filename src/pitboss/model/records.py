"""The public records of a run as data; ``wire.artifacts`` turns them into bytes and back."""

from __future__ import annotations

from pitboss.model.run import ActorId, Failure, Frozen, RunId, SetAside, Status, Usage


class TaskRecord(Frozen, frozen=True, kw_only=True):
    """How one actor ended: a line of ``summary.jsonl``."""

    task_id: ActorId
    status: Status
    exit_code: int | None
    started_at: float
    ended_at: float
    worktree_path: str | None
    log_path: str
    usage: Usage
    session_id: str | None
    final_message: str | None
    model: str | None
    failure: Failure | None
    cost_usd: float | None
    set_aside: SetAside | None = None
    note: str = ""
    """One sentence where the status alone would mislead."""
    parent_task_id: ActorId | None = None
    """Who spawned it."""
    pause_count: int = 0
    reprompt_count: int = 0
    approvals_requested: int = 0
    approvals_approved: int = 0
    approvals_rejected: int = 0
    branch: str | None = None
    """Where its commits are; ``None`` if there is no such branch."""
    label: str = ""


class RunRecord(Frozen, frozen=True, kw_only=True):
    """How a run ended: ``summary.json``."""

    run_id: RunId
    manifest_path: str
    manifest_name: str | None
    pitboss_version: str
    claude_version: str | None
    started_at: float
    ended_at: float
    was_interrupted: bool
    tasks: tuple[TaskRecord, ...]
    failed: int | None = None
    """How many of them count as failed; ``None``: all that did not succeed."""
    not_started: tuple[ActorId, ...] = ()
    rehearsal: bool = False
