"""Runs as Pitboss 0.9 left them on disk, written by hand from its contract: no lock and no journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

Json = dict[str, object]

OLD = "0197d000-aaaa-7bbb-8ccc-ddddeeeeffff"


def a_record(task: str, status: str = "Success", **more: object) -> Json:
    """One record with every key that 0.9 wrote; ``more`` are keys of it."""
    plain: Json = {
        "task_id": task,
        "status": status,
        "exit_code": 0 if status == "Success" else 1,
        "started_at": "2025-11-24T16:00:00Z",
        "ended_at": "2025-11-24T16:01:00Z",
        "duration_ms": 60000,
        "worktree_path": None,
        "log_path": "/x/stdout.log",
        "token_usage": {"input": 100, "output": 20, "cache_read": 5000, "cache_creation": 10},
        "claude_session_id": None,
        "final_message_preview": "done",
        "final_message": "done",
        "parent_task_id": None,
        "pause_count": 0,
        "reprompt_count": 0,
        "approvals_requested": 0,
        "approvals_approved": 0,
        "approvals_rejected": 0,
        "model": "claude-haiku-4-5",
        "failure_reason": None,
        "cost_usd": 0.25,
    }
    return plain | more


def a_resolved_task(task: str, directory: Path | str = "/repo", **more: object) -> Json:
    """One task of ``resolved.json``; ``more`` are keys of it."""
    plain: Json = {
        "id": task,
        "directory": str(directory),
        "prompt": f"do {task}",
        "branch": None,
        "model": "claude-haiku-4-5",
        "effort": "high",
        "tools": ["Read", "Write", "Edit", "Bash", "Glob", "Grep"],
        "timeout_secs": 3600,
        "use_worktree": True,
        "env": {},
        "resume_session_id": None,
    }
    return plain | more


def write_legacy(
    base: Path,
    tasks: Sequence[Json],
    records: Sequence[Json | str],
    *,
    run_id: str = OLD,
    ended: bool = True,
    interrupted: bool = False,
    manifest: str = "old.toml",
    begun: Sequence[str] = (),
    **resolved: object,
) -> Path:
    """A run's folder.

    Args:
        base: The folder of all runs.
        tasks: What ``resolved.json`` says of tasks.
        records: The lines of ``summary.jsonl``; a string stands there as it is.
        run_id: Its id.
        ended: With a ``summary.json``.
        interrupted: What that says.
        manifest: Its path, and the text of its snapshot.
        begun: Tasks with a folder, beside those with a record.
        resolved: Further keys of ``resolved.json``.
    """
    folder = base / run_id
    whole = [record for record in records if not isinstance(record, str)]
    for task in [*begun, *(str(record["task_id"]) for record in whole)]:
        (folder / "tasks" / task).mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    about: Json = {"run_id": run_id, "manifest_path": manifest, "pitboss_version": "0.9.2"}
    about |= {"claude_version": "2.0.1 (Claude Code)", "started_at": "2025-11-24T16:00:00Z"}
    (folder / "meta.json").write_text(json.dumps(about | {"env": {}}, indent=2))
    plain: Json = {"manifest_schema_version": 1, "name": None, "max_parallel_tasks": 2, "halt_on_failure": False}
    plain |= {"run_dir": str(base), "worktree_cleanup": "on_success", "tasks": list(tasks), "lead": None}
    (folder / "resolved.json").write_text(json.dumps(plain | resolved, indent=2))
    (folder / "manifest.snapshot.toml").write_text(f"# {manifest}\n")
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    (folder / "summary.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if ended:
        failed = sum(record["status"] != "Success" for record in whole)
        summary = about | {"manifest_name": "old", "ended_at": "2025-11-24T16:02:00Z", "total_duration_ms": 120000}
        summary |= {"tasks_total": len(whole), "tasks_failed": failed, "was_interrupted": interrupted, "tasks": whole}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2))
    return folder
