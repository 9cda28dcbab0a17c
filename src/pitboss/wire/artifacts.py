"""The public files of a run, byte for byte: ``summary.jsonl``, ``summary.json`` and ``meta.json``.

Records of ``model.records`` become the JSON that tools of Pitboss 0.9 already read, and come back from it.
Keys keep their order and are always there; what is ours comes after what was there before, so that an older
reader ignores it. Reading is lenient: files of 0.9 lack newer keys, later ones may have more.
Files, paths and clocks do not come in here. Called by ``journal`` and by the surfaces that print records.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from pitboss.errors import WorldError
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, Failure, RunId, SetAside, Status, Usage
from pitboss.wire.scalars import decoded, duration_ms, from_timestamp, to_json, to_timestamp

__all__ = [
    "PREVIEW_CHARS",
    "PublicFailure",
    "PublicRun",
    "PublicTask",
    "RunMeta",
    "TaskLines",
    "decode_meta",
    "decode_run",
    "decode_task",
    "decode_tasks",
    "display_name",
    "encode_meta",
    "encode_run",
    "encode_task",
    "encode_tasks",
    "public_failure",
]

PREVIEW_CHARS = 200
"""How many code points of the final message ``final_message_preview`` shows."""

_PUBLIC_KINDS = {
    "rate_limit": "rate_limit",
    "overloaded": "rate_limit",  # to a caller both mean: the same again, later
    "auth_failure": "auth_failure",
    "context_exceeded": "context_exceeded",
    "network_error": "network_error",
    "invalid_argument": "invalid_argument",
    "budget_exceeded": "unknown",
    "no_result": "unknown",
    "process_died": "unknown",
    "unknown": "unknown",
}
"""Our kinds of failure in the words that readers of 0.9 know; ours stands beside it as ``pitboss_kind``."""


def _pretty(value: object) -> bytes:
    return msgspec.json.format(to_json(value), indent=2)


# --- the public shapes ----------------------------------------------------------------------------------------------


class PublicFailure(msgspec.Struct, frozen=True, kw_only=True):
    """``failure_reason``: keys that do not belong to the kind are absent."""

    kind: str
    resets_at: str | UnsetType | None = UNSET
    message: str | UnsetType = UNSET
    pitboss_kind: str | UnsetType = UNSET
    """The precise kind, ours; absent in files of 0.9."""


class PublicTask(msgspec.Struct, frozen=True, kw_only=True):
    """One record as it stands in ``summary.jsonl``; keys in their public order."""

    task_id: str
    status: Status
    exit_code: int | None = None
    started_at: str
    ended_at: str
    duration_ms: int = 0
    worktree_path: str | None = None
    log_path: str
    token_usage: Usage
    claude_session_id: str | None = None
    final_message_preview: str | None = None
    final_message: str | None = None
    parent_task_id: str | None = None
    pause_count: int = 0
    reprompt_count: int = 0
    approvals_requested: int = 0
    approvals_approved: int = 0
    approvals_rejected: int = 0
    model: str | None = None
    failure_reason: PublicFailure | None = None
    cost_usd: float | None = None
    set_aside: SetAside | None = None
    """Ours: work that was saved before its worktree was removed."""
    note: str | UnsetType | None = UNSET
    """Ours: one sentence where the status alone would mislead; absent in files of 0.9."""
    branch: str | UnsetType | None = UNSET
    """Ours: where its commits are."""
    label: str | UnsetType = UNSET
    """Ours: the name its lead gave it."""


class PublicRun(msgspec.Struct, frozen=True, kw_only=True):
    """``summary.json``; keys in their public order."""

    run_id: str
    manifest_path: str
    manifest_name: str | None = None
    pitboss_version: str
    claude_version: str | None = None
    started_at: str
    ended_at: str
    total_duration_ms: int = 0
    tasks_total: int = 0
    tasks_failed: int = 0
    was_interrupted: bool = False
    tasks: tuple[PublicTask, ...]
    tasks_not_started: tuple[str, ...] = ()
    """Ours: actors that never got their turn, and so have no record."""
    total_cost_usd: float | None = None
    """Ours: the sum of the known costs; null when tasks ran and no cost is known."""
    rehearsal: bool = False
    """Ours: true when a scripted model answered."""


class RunMeta(msgspec.Struct, frozen=True, kw_only=True):
    """``meta.json``: what is known of a run when it begins."""

    run_id: str
    manifest_path: str
    pitboss_version: str
    claude_version: str | None = None
    started_at: str
    """RFC 3339; see ``wire.scalars.to_timestamp``."""
    env: dict[str, str] = {}


class TaskLines(NamedTuple):
    """What a ``summary.jsonl`` holds."""

    records: list[TaskRecord]
    damaged: int
    """Lines that could not be read: a torn last line, for instance."""


_TASK_DECODER = msgspec.json.Decoder(PublicTask)
_RUN_DECODER = msgspec.json.Decoder(PublicRun)
_META_DECODER = msgspec.json.Decoder(RunMeta)


# --- one task -------------------------------------------------------------------------------------------------------


def encode_task(record: TaskRecord) -> bytes:
    """One line of ``summary.jsonl``, without its newline."""
    return to_json(_public_task(record))


def encode_tasks(records: Sequence[TaskRecord]) -> bytes:
    """Records as one indented array: what ``status --json`` prints."""
    return _pretty([_public_task(record) for record in records])


def decode_task(line: bytes) -> TaskRecord:
    """The record on one line.

    Raises:
        WorldError: If the line is no task record.
    """
    return _task_record(decoded(_TASK_DECODER, line, "a task record"))


def decode_tasks(data: bytes) -> TaskLines:
    """All records of a ``summary.jsonl`` that can be read; blank lines are skipped, damaged ones counted."""
    records: list[TaskRecord] = []
    damaged = 0
    # Two writers of 0.9 could put their records on one line. A quote inside a string is escaped,
    # so these bytes never occur within a record and it is safe to cut there.
    for line in data.replace(b'}{"task_id"', b'}\n{"task_id"').split(b"\n"):
        if not line.strip():
            continue
        try:
            records.append(decode_task(line))
        except WorldError:
            damaged += 1
    return TaskLines(records, damaged)


def _public_task(record: TaskRecord) -> PublicTask:
    return PublicTask(
        task_id=record.task_id,
        status=record.status,
        exit_code=record.exit_code,
        started_at=to_timestamp(record.started_at),
        ended_at=to_timestamp(record.ended_at),
        duration_ms=duration_ms(record.started_at, record.ended_at),
        worktree_path=record.worktree_path,
        log_path=record.log_path,
        token_usage=record.usage,
        claude_session_id=record.session_id,
        final_message_preview=_preview(_headline(record)),
        final_message=record.final_message,
        parent_task_id=record.parent_task_id,
        pause_count=record.pause_count,
        reprompt_count=record.reprompt_count,
        approvals_requested=record.approvals_requested,
        approvals_approved=record.approvals_approved,
        approvals_rejected=record.approvals_rejected,
        model=record.model,
        failure_reason=None if record.failure is None else public_failure(record.failure),
        cost_usd=record.cost_usd,
        set_aside=record.set_aside,
        note=record.note or None,
        branch=record.branch or UNSET,
        label=record.label or UNSET,
    )


def _task_record(public: PublicTask) -> TaskRecord:
    return TaskRecord(
        task_id=ActorId(public.task_id),
        status=public.status,
        exit_code=public.exit_code,
        started_at=from_timestamp(public.started_at),
        ended_at=from_timestamp(public.ended_at),
        worktree_path=public.worktree_path,
        log_path=public.log_path,
        usage=public.token_usage,
        session_id=public.claude_session_id,
        final_message=public.final_message,
        model=public.model,
        failure=None if public.failure_reason is None else _failure(public.failure_reason),
        cost_usd=public.cost_usd,
        set_aside=public.set_aside,
        note=_note(public),
        parent_task_id=ActorId(public.parent_task_id) if public.parent_task_id else None,
        pause_count=public.pause_count,
        reprompt_count=public.reprompt_count,
        approvals_requested=public.approvals_requested,
        approvals_approved=public.approvals_approved,
        approvals_rejected=public.approvals_rejected,
        branch=public.branch if isinstance(public.branch, str) else None,
        label=public.label if isinstance(public.label, str) else "",
    )


def _headline(record: TaskRecord) -> str | None:
    """What a reader should see first: the last word of the agent, or why there is none."""
    if record.final_message is not None:
        return record.final_message
    if not record.note and record.status is Status.SPAWN_FAILED and record.failure is not None:
        return record.failure.message or None
    return record.note or None


def _preview(text: str | None) -> str | None:
    return text if text is None or len(text) <= PREVIEW_CHARS else text[:PREVIEW_CHARS] + "…"


def _note(public: PublicTask) -> str:
    """The note; files of 0.9 have none and tell such things (``worktree error: ...``) in the preview."""
    if isinstance(public.note, UnsetType):
        return "" if public.final_message is not None else public.final_message_preview or ""
    return public.note or ""


def public_failure(failure: Failure) -> PublicFailure:
    """A failure in the words of the public record."""
    kind = _PUBLIC_KINDS[failure.kind]
    resets_at = None if failure.resets_at is None else to_timestamp(failure.resets_at)
    return PublicFailure(
        kind=kind,
        resets_at=resets_at if kind == "rate_limit" else UNSET,
        message=failure.message,
        pitboss_kind=failure.kind,
    )


def _failure(public: PublicFailure) -> Failure:
    known = (kind for kind in (public.pitboss_kind, public.kind) if kind in _PUBLIC_KINDS)
    resets_at = from_timestamp(public.resets_at) if isinstance(public.resets_at, str) else None
    # A kind that only a later version knows is, to us, unknown.
    said = {"kind": next(known, "unknown"), "message": public.message or "", "resets_at": resets_at}
    return msgspec.convert(said, Failure)


# --- a whole run ----------------------------------------------------------------------------------------------------


def encode_run(record: RunRecord) -> bytes:
    """The bytes of ``summary.json``."""
    costs = [task.cost_usd for task in record.tasks if task.cost_usd is not None]
    return _pretty(
        PublicRun(
            run_id=record.run_id,
            manifest_path=record.manifest_path,
            manifest_name=display_name(record.manifest_name, record.manifest_path),
            pitboss_version=record.pitboss_version,
            claude_version=record.claude_version,
            started_at=to_timestamp(record.started_at),
            ended_at=to_timestamp(record.ended_at),
            total_duration_ms=duration_ms(record.started_at, record.ended_at),
            tasks_total=len(record.tasks),
            tasks_failed=sum(task.status is not Status.SUCCESS for task in record.tasks)
            if record.failed is None
            else record.failed,
            was_interrupted=record.was_interrupted,
            tasks=tuple(_public_task(task) for task in record.tasks),
            tasks_not_started=record.not_started,
            # Nobody wants to read 0.30000000000000004 dollars.
            total_cost_usd=round(math.fsum(costs), 10) if costs or not record.tasks else None,
            rehearsal=record.rehearsal,
        )
    )


def decode_run(data: bytes) -> RunRecord:
    """The record in a ``summary.json``.

    Raises:
        WorldError: If the bytes are no run summary.
    """
    public = decoded(_RUN_DECODER, data, "a run summary")
    return RunRecord(
        run_id=RunId(public.run_id),
        manifest_path=public.manifest_path,
        manifest_name=public.manifest_name,
        pitboss_version=public.pitboss_version,
        claude_version=public.claude_version,
        started_at=from_timestamp(public.started_at),
        ended_at=from_timestamp(public.ended_at),
        was_interrupted=public.was_interrupted,
        tasks=tuple(_task_record(task) for task in public.tasks),
        failed=None if public.tasks_failed == _unsuccessful(public.tasks) else public.tasks_failed,
        not_started=tuple(ActorId(name) for name in public.tasks_not_started),
        rehearsal=public.rehearsal,
    )


def _unsuccessful(tasks: Sequence[PublicTask]) -> int:
    return sum(task.status is not Status.SUCCESS for task in tasks)


def display_name(name: str | None, manifest_path: str) -> str | None:
    """What a run is called: its own name, else its manifest's without the suffix, else nothing."""
    return name or posixpath.splitext(posixpath.basename(manifest_path.rstrip("/")))[0] or None


def encode_meta(meta: RunMeta) -> bytes:
    """The bytes of ``meta.json``."""
    return _pretty(meta)


def decode_meta(data: bytes) -> RunMeta:
    """The content of a ``meta.json``.

    Raises:
        WorldError: If the bytes are no such file.
    """
    return decoded(_META_DECODER, data, "the meta data of a run")
