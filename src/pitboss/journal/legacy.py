"""A run of Pitboss 0.9, which kept no journal: what its public files tell, read as leniently as they were written.

What cannot be read is left out and named; what follows from that is the reader's affair. Nothing is written here.
Used by ``surfaces.client``, which shows such runs, and by ``adoption``, which goes on with them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from pitboss.errors import WorldError
from pitboss.journal.rundir import RunDir
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId
from pitboss.wire.artifacts import RunMeta, decode_meta, decode_run, decode_tasks
from pitboss.wire.resolved import Resolved, decode_resolved
from pitboss.wire.scalars import from_timestamp

__all__ = [
    "Legacy",
    "Subleads",
    "branch_of",
    "default_name",
    "is_legacy",
    "read_legacy",
    "read_subleads",
    "sibling_worktree",
]

_FIRST_OF_OURS = (0, 10)


class Legacy(NamedTuple):
    """The files of a run of Pitboss 0.9."""

    meta: RunMeta | None
    resolved: Resolved | None
    resolved_problem: str
    """Why ``resolved`` is missing; empty if it is there."""
    records: tuple[TaskRecord, ...]
    """In the order the actors ended. One that was sent on has a record for each time."""
    started_at: float
    ended_at: float
    """0 if it did not end: then it has no summary."""
    was_interrupted: bool
    damaged: int
    """Lines of ``summary.jsonl`` that could not be read."""

    @property
    def latest(self) -> dict[ActorId, TaskRecord]:
        """The record that counts for each actor, the last one, in the order of those.

        Tokens and money are those of all its records: each tells of one process alone.
        """
        found: dict[ActorId, TaskRecord] = {}
        for record in self.records:
            earlier = found.pop(record.task_id, None)
            found[record.task_id] = record if earlier is None else _joined(earlier, record)
        return found


def _joined(earlier: TaskRecord, later: TaskRecord) -> TaskRecord:
    again = earlier.ended_at == later.ended_at  # the same one, written twice
    costs = [record.cost_usd for record in (earlier, later) if record.cost_usd is not None]
    return replace(
        later,
        started_at=earlier.started_at,
        worktree_path=later.worktree_path or earlier.worktree_path,  # a worker that was sent on was told of none
        usage=earlier.usage if again else earlier.usage + later.usage,
        cost_usd=earlier.cost_usd if again else sum(costs) if costs else None,
    )


class Subleads(NamedTuple):
    """What ``subleads.jsonl`` says."""

    sessions: dict[str, str]
    """Sub-lead -> its session, which is only a claim; of several lines the last counts."""
    damaged: int
    """Lines that could not be read, or name nobody."""


class _SubleadLine(msgspec.Struct):
    sublead_id: str
    session_id: str


def read_subleads(path: Path, is_session: Callable[[str], object]) -> Subleads:
    """The sub-leads whose end 0.9 has noted.

    Args:
        path: The file; one that is not there has no lines.
        is_session: What a session's id must pass.
    """
    sessions: dict[str, str] = {}
    damaged = 0
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        lines = []
    for text in filter(bytes.strip, lines):
        try:
            line = msgspec.json.decode(text, type=_SubleadLine)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            damaged += 1
            continue
        if line.sublead_id and is_session(line.session_id):
            sessions[line.sublead_id] = line.session_id
        else:
            damaged += 1
    return Subleads(sessions, damaged)


def is_legacy(run: RunDir) -> bool:
    """True for a run of 0.9 that nobody has taken over yet.

    The lock alone does not make it ours: whoever takes a run over locks it before anything else.
    """
    if run.journal.exists():
        return False
    if not run.lock.exists():
        return True
    meta = _meta(run)
    return meta is not None and _version(meta.pitboss_version) < _FIRST_OF_OURS


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"([0-9]+)\.([0-9]+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else _FIRST_OF_OURS


def read_legacy(run: RunDir) -> Legacy:
    """Read the files of a run; a damaged ``summary.json`` is bypassed.

    Raises:
        WorldError: There are no records at all, so it is no run.
    """
    meta = _meta(run)
    resolved, problem = _resolved(run)
    legacy = Legacy(meta, resolved, problem, (), from_timestamp(meta.started_at) if meta else 0.0, 0.0, False, 0)
    try:
        whole = decode_run(run.summary.read_bytes())
    except FileNotFoundError:
        whole = None
    except WorldError:
        if not run.summary_lines.exists():
            raise
        whole = None
    if whole is not None:
        return legacy._replace(records=whole.tasks, ended_at=whole.ended_at, was_interrupted=whole.was_interrupted)
    try:
        records, damaged = decode_tasks(run.summary_lines.read_bytes())
    except FileNotFoundError as error:
        raise WorldError(f"no summary found in {run.path}: neither summary.json nor summary.jsonl") from error
    return legacy._replace(records=tuple(records), damaged=damaged)


def _meta(run: RunDir) -> RunMeta | None:
    try:
        meta = decode_meta(run.meta.read_bytes())
        from_timestamp(meta.started_at)
    except (OSError, WorldError):  # what it says is a comfort; the records count
        return None
    return meta


def _resolved(run: RunDir) -> tuple[Resolved | None, str]:
    try:
        return decode_resolved(run.resolved.read_bytes()), ""
    except FileNotFoundError:
        return None, "it has no resolved.json"
    except OSError as error:
        return None, f"its resolved.json cannot be read: {error.strerror}"
    except WorldError as error:
        return None, f"its resolved.json cannot be used: {error}"


# --- worktrees ------------------------------------------------------------------------------------------------------


def default_name(actor: str, run_id: str, role: str = "") -> str:
    """What 0.9 called an actor's worktree, and its branch unless it was given one; ``role`` is as in ``lead-``."""
    return f"pitboss-{role}{actor}-{run_id}"


def _names(actor: str, run_id: str) -> Iterator[str]:
    yield from (default_name(actor, run_id, role) for role in ("", "lead-", "worker-"))


def branch_of(actor: str, run_id: str, worktree: str) -> str | None:
    """The branch that 0.9 made for a worktree, told from the worktree's path; ``None`` if it is none of its making."""
    name = os.path.basename(worktree)  # noqa: PTH119 - text from a file, not a place
    return next((known for known in _names(actor, run_id) if name.endswith(f"-{known}")), None)


def sibling_worktree(actor: str, run_id: str, directory: str, role: str = "") -> Path:
    """Where 0.9 put the worktree of a task or a lead: beside the repository."""
    repository = Path(directory)
    return repository.with_name(f"{repository.name}-{default_name(actor, run_id, role)}")
