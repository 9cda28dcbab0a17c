"""Which runs there are, what state they are in, and which one is meant.

A run of ours is judged by its lock and its journal; a run of Pitboss 0.9, which has neither, by the rules of 0.9.
The cost does not grow with what the runs hold: of a large file only both ends are read. Nothing is written here,
and no other room's opinion comes in. Free of asyncio. Used by every command that takes or shows a run.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pitboss.errors import RunNotFound, WorldError
from pitboss.journal.disk import disk_errors
from pitboss.journal.lock import is_held
from pitboss.journal.reader import last_entries
from pitboss.journal.rundir import RunDir, typed
from pitboss.model.facts import ArtifactLost, HandFailed, NewsIgnored, RunEnded
from pitboss.model.notice_facts import NoticeRaised, NoticeSettled
from pitboss.model.order_facts import LimitsChanged, OrderTaken
from pitboss.model.records import TaskRecord
from pitboss.model.run import Status
from pitboss.wire.artifacts import decode_meta, decode_tasks, display_name
from pitboss.wire.digest import RunDigest, decode_digest, digest_from_ends
from pitboss.wire.scalars import from_timestamp

__all__ = ["LATEST", "RunEntry", "State", "control_answers", "discover", "resolve"]

LATEST = "latest"
"""The name that stands for the newest run."""

State = Literal["complete", "aborted", "running", "stale", "interrupted", "unbegun", "unverifiable"]
"""As 0.9 has them, and three of ours: ``interrupted`` is a run of ours that did not end and that nobody works on any
more; ``unbegun`` is one that was cut off before its first fact, so that there is nothing to go on with;
``unverifiable`` is one that we are not allowed to look at."""

_WHOLE_BYTES = 65_536
"""A summary up to this size is read as a whole, of a larger one only both ends."""

_END_BYTES = 8_192
_RECENT_SECS = 4 * 3600
"""How long after its last record 0.9 calls a run running, not knowing better."""

_AFTERWORDS = (ArtifactLost, HandFailed, NewsIgnored, NoticeRaised, NoticeSettled, OrderTaken, LimitsChanged)
"""What may still be written down when a run has ended: how its last hands came home, and limits for its resume."""

_PROBE_SECS = 0.25
_CANDIDATES_SHOWN = 10
_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class RunEntry(NamedTuple):
    """One line of the list of runs."""

    run_id: str
    path: Path
    state: State
    started_at: float
    tasks_total: int
    tasks_failed: int
    name: str | None = None
    ended_at: float | None = None
    was_interrupted: bool = False
    """True for a run that ended, but was cut short."""
    total_cost_usd: float | None = None
    rehearsal: bool = False
    pid: int | None = None
    """The dispatcher at work on it, if any."""


class _Resolved(msgspec.Struct):
    name: str | None = None


def discover(base: Path, *, now: float | None = None, runtime_dir: str | None = None) -> list[RunEntry]:
    """All runs below ``base``, newest first; one that cannot be read does not hide the others.

    Args:
        base: The folder of all runs; see ``rundir.runs_base``.
        now: The time, for the rules of 0.9; the clock's if left out.
        runtime_dir: ``$XDG_RUNTIME_DIR``, where 0.9 puts its sockets; the environment's if left out.

    Raises:
        WorldError: If ``base`` exists but cannot be read.
    """
    clock = time.time() if now is None else now
    sockets = os.environ.get("XDG_RUNTIME_DIR", "") if runtime_dir is None else runtime_dir
    entries = [_entry(path, clock, sockets) for path in _directories(base)]
    return sorted(entries, key=lambda entry: (entry.started_at, entry.run_id), reverse=True)


def resolve(base: Path, name: str) -> Path:
    """The directory of the run that is meant by a full id, the beginning of one, or ``latest``.

    Raises:
        RunNotFound: If there is none, or more than one.
        WorldError: If ``base`` exists but cannot be read.
    """
    if not name:
        raise RunNotFound(f"the run id must not be empty; see: {typed(base, 'list')}")
    if "/" in name or "\0" in name or name in {".", ".."}:
        raise RunNotFound(f"{name!r} is not a run id but a path; name the folder of all runs with --run-dir")
    paths = _directories(base)
    exact = base / name
    if exact in paths:
        return exact
    matches = paths if name == LATEST else [path for path in paths if path.name.startswith(name)]
    if not matches:
        what = "yet" if name == LATEST else f"matching prefix {name!r}"
        raise RunNotFound(f"no run found {what} in {base}; see: {typed(base, 'list')}")
    matches.sort(key=lambda path: (_started_at(path), path.name), reverse=True)
    if len(matches) > 1 and name != LATEST:
        raise RunNotFound(_ambiguous(name, matches))
    return matches[0]


def _ambiguous(name: str, matches: list[Path]) -> str:
    shown = ", ".join(path.name for path in matches[:_CANDIDATES_SHOWN])
    more = f" and {len(matches) - _CANDIDATES_SHOWN} more" if len(matches) > _CANDIDATES_SHOWN else ""
    return f"{len(matches)} runs match prefix {name!r}, be more specific: {shown}{more}"


def _directories(base: Path) -> list[Path]:
    with disk_errors("read the runs in", base):
        try:
            with os.scandir(base) as found:
                return [base / item.name for item in found if item.is_dir()]
        except FileNotFoundError:
            return []


def _entry(path: Path, now: float, runtime_dir: str) -> RunEntry:
    run = RunDir(path)
    try:
        summary = _read_summary(run.summary)
        if isinstance(summary, RunDigest):
            return _complete(run, summary)
        if summary == "damaged":
            return _unfinished(run, "aborted")
        pid = is_held(run.lock)
        if pid is not None:
            return _unfinished(run, "running")._replace(pid=pid)
        return _unfinished(run, _dead_state(run) if _is_ours(run) else _state_by_the_old_rules(run, now, runtime_dir))
    except (WorldError, OSError):
        return RunEntry(run.run_id, path, "unverifiable", _time_in_id(run.run_id) or 0.0, 0, 0)


def _read_summary(path: Path) -> RunDigest | Literal["damaged", "missing"]:
    """The digest of a summary; judging a large one by its ends is safe, as it was put in place as a whole."""
    try:
        with path.open("rb") as file:
            head = file.read(_WHOLE_BYTES)
            size = os.fstat(file.fileno()).st_size
            if size > _WHOLE_BYTES:
                file.seek(size - _END_BYTES)
                digest = digest_from_ends(head[:_END_BYTES], file.read())
                if digest is not None:
                    return digest
                file.seek(0)
                head = file.read()
            return decode_digest(head)
    except FileNotFoundError:
        return "missing"
    except WorldError:
        return "damaged"


def _complete(run: RunDir, digest: RunDigest) -> RunEntry:
    return RunEntry(
        run.run_id,
        run.path,
        "complete",
        _time_in_id(run.run_id) or from_timestamp(digest.started_at),
        digest.tasks_total,
        digest.tasks_failed,
        name=digest.manifest_name,
        ended_at=from_timestamp(digest.ended_at),
        was_interrupted=digest.was_interrupted,
        total_cost_usd=digest.total_cost_usd,
        rehearsal=digest.rehearsal,
    )


def _unfinished(run: RunDir, state: State) -> RunEntry:
    """Counts of a run without a summary: what is settled so far, or has at least begun."""
    try:
        records, damaged = decode_tasks(run.summary_lines.read_bytes())
    except FileNotFoundError:
        records, damaged = [], 0
    total = max(len(records) + damaged, len(_directories(run.tasks)))
    return RunEntry(run.run_id, run.path, state, _started_at(run.path), total, _failed(records), name=_name(run))


def _failed(records: Sequence[TaskRecord]) -> int:
    """As a summary will count them: of a tree, those cancelled have not failed unless its lead has."""
    is_tree = any(record.parent_task_id for record in records)
    forgiven = is_tree and all(one.parent_task_id or one.status is Status.SUCCESS for one in records)
    return sum(
        record.status is not Status.SUCCESS and not (forgiven and record.status is Status.CANCELLED)
        for record in records
    )


def _is_ours(run: RunDir) -> bool:
    return run.lock.exists() or run.journal.exists()


def _dead_state(run: RunDir) -> State:
    """Nobody works on it: it was cut short, unless only its summary is missing."""
    facts = [entry.fact for entry in last_entries(run.journal)] if run.journal.exists() else []
    if not facts:
        return "unbegun"
    last = next((fact for fact in facts if not isinstance(fact, _AFTERWORDS)), None)
    return "complete" if isinstance(last, RunEnded) else "interrupted"


def _state_by_the_old_rules(run: RunDir, now: float, runtime_dir: str) -> State:
    """How 0.9 tells, which keeps no lock: a socket that answers, or else the age of the last record."""
    if control_answers(run, runtime_dir):
        return "running"
    try:
        lines = run.summary_lines.stat()
    except FileNotFoundError:
        return "aborted"
    if now - lines.st_mtime <= _RECENT_SECS:
        return "running"
    return "stale" if run.summary_lines.read_bytes().strip() else "aborted"


def control_answers(run: RunDir, runtime_dir: str | None = None) -> bool:
    """True if somebody listens where a dispatcher of 0.9 takes its orders: then it is at work for sure.

    Args:
        run: The run.
        runtime_dir: As for ``discover``.
    """
    sockets = os.environ.get("XDG_RUNTIME_DIR", "") if runtime_dir is None else runtime_dir
    elsewhere = Path(sockets, "pitboss", f"{run.run_id}.control.sock") if sockets else run.control_socket
    return any(path.is_socket() and _connects(path) for path in {elsewhere, run.control_socket})


def _connects(path: Path) -> bool:
    import socket  # only runs of 0.9 that have not ended need it

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _name(run: RunDir) -> str | None:
    """The name the manifest gives the run, or its file's name: as the summary will have it."""
    try:
        resolved = msgspec.json.decode(run.resolved.read_bytes(), type=_Resolved)
        return display_name(resolved.name, decode_meta(run.meta.read_bytes()).manifest_path)
    except (OSError, msgspec.DecodeError, WorldError):
        return None  # a name is a courtesy; a run that lost these files is listed without one


def _started_at(path: Path) -> float:
    """When a run began. Not the directory's own time: anything written later would change that."""
    at = _time_in_id(path.name)
    if at is not None:
        return at
    try:
        return from_timestamp(decode_meta(RunDir(path).meta.read_bytes()).started_at)
    except (OSError, WorldError):
        return path.stat().st_mtime


def _time_in_id(run_id: str) -> float | None:
    """A UUID of version 7 begins with the milliseconds since the epoch at which it was minted."""
    found = _UUID7.fullmatch(run_id)
    return int(found[1] + found[2], 16) / 1000 if found else None
