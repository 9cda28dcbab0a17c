"""Going on with a run of Pitboss 0.9: what its files tell becomes the first facts of a journal, in the same folder.

From then on it is a run like any other, under its own id, and an ordinary resume goes on with it. Everything is read
and judged before anything is written, and the journal comes into being whole: a run is adopted or it is not.
Called by ``compose`` for ``resume``; blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss import __version__
from pitboss.core import prices
from pitboss.core.state import RunState, evolve
from pitboss.drivers.claude import has_transcript
from pitboss.drivers.recount import count_again
from pitboss.drivers.strangers import find_of_run
from pitboss.engine.ids import mint_session_id
from pitboss.errors import OperatorError
from pitboss.journal.discovery import control_answers
from pitboss.journal.disk import disk_errors
from pitboss.journal.legacy import Legacy, default_name, read_legacy, sibling_worktree
from pitboss.journal.log import write_whole
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Heard, RunId, RunSpec, Status, TaskSpec, Usage
from pitboss.wire.resolved import Resolved, ResolvedActor

__all__ = ["Adoption", "survey", "write"]

_SESSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", re.ASCII)
"""What may be handed to the agent as a session's id, or looked for as a file's name."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_HEAD_BYTES = 1 << 20
_DEFAULT_PARALLEL = 4


class Adoption(NamedTuple):
    """A run of Pitboss 0.9, ready to be gone on with."""

    facts: tuple[f.AnyFact, ...]
    state: RunState
    """What the facts lead to."""
    warnings: tuple[str, ...]
    """What the operator should know, one sentence each."""


def survey(run: RunDir, binary: str) -> Adoption:
    """See what there is of a run of Pitboss 0.9; nothing is changed.

    Args:
        run: Its folder.
        binary: The agent's binary, which 0.9 did not write down.

    Raises:
        OperatorError: It cannot be gone on with; the message says why.
        WorldError: It has no records.
    """
    legacy = read_legacy(run)
    resolved = _require_resumable(run, legacy)
    _require_quiet(run)
    reader = _Reader(run, legacy, resolved)
    facts = tuple(reader.facts(binary))
    state = RunState()
    for fact in facts:
        state = evolve(state, fact)
    return Adoption(facts, state, tuple(reader.warnings))


def write(run: RunDir, adoption: Adoption) -> None:
    """Make it a run of ours; the caller holds its lock. Afterwards its journal is there, whole and durable.

    Raises:
        WorldError: Something cannot be written; then the run is what it was.
    """
    with disk_errors("create", run.path):
        for directory in (run.tasks, run.worktrees):
            run.disk.make_directory(directory, may_exist=True)
    if not run.summary_lines.exists():
        run.disk.write_atomic(run.summary_lines, b"")
    header = {"run_id": run.run_id, "pitboss_version": __version__, "adopted_from": adoption.state.pitboss_version}
    write_whole(run.journal, header, adoption.facts, by="Adoption", disk=run.disk)


# --- what cannot be gone on with ------------------------------------------------------------------------------------


def _require_resumable(run: RunDir, legacy: Legacy) -> Resolved:
    name, resolved = f"run {run.run_id} of Pitboss 0.9", legacy.resolved
    if resolved is None:
        elsewhere = "with --run-dir, 0.9 put a flat run's resolved.json below the run_dir of its manifest"
        raise OperatorError(f"{name} cannot be resumed: {legacy.resolved_problem}", hint=elsewhere)
    if resolved.lead is not None:
        raise OperatorError(f"{name} has a lead, {resolved.lead.id!r}; this version of Pitboss cannot resume leads yet")
    if legacy.meta is not None and legacy.meta.run_id != run.run_id:
        raise OperatorError(
            f"{name} calls itself {legacy.meta.run_id}: its folder is a copy or was renamed; resume the original"
        )
    for task in resolved.tasks:
        run.task(task.id)  # refuses what is no plain name
        if not Path(task.directory).is_absolute():
            raise OperatorError(
                f"{name} cannot be resumed: the directory {task.directory!r} of task {task.id!r} is relative, and to "
                "what was not written down",
                hint=f"make it absolute in {run.resolved}",
            )
    return resolved


def _require_quiet(run: RunDir) -> None:
    """Refuse a run that somebody is seen at work on; that nobody is cannot be shown."""
    if control_answers(run):
        raise OperatorError(
            f"Pitboss 0.9 is still at work on run {run.run_id}: its control socket answers; stop it first"
        )
    if found := find_of_run(run.run_id):
        pids = ", ".join(map(str, found))
        raise OperatorError(f"processes of run {run.run_id} are still there: {pids}; stop them, then resume")


# --- what its files tell --------------------------------------------------------------------------------------------


class _Init(msgspec.Struct):
    """The line in an agent's stream that names its session."""

    type: str = ""
    subtype: str = ""
    session_id: str = ""


class _Reader:
    """Turns the files of one run into facts."""

    def __init__(self, run: RunDir, legacy: Legacy, resolved: Resolved) -> None:
        self.run = run
        self.legacy = legacy
        self.resolved = resolved
        self.version = legacy.meta.pitboss_version if legacy.meta else "0.9"
        unproven = "whose processes carry no mark: that none of them lives cannot be shown"
        self.warnings = [
            f"run {run.run_id} was begun by Pitboss {self.version}, {unproven}; make sure that its dispatcher is gone"
        ]
        if legacy.damaged:
            self.warnings.append(
                f"{legacy.damaged} of the records in {run.summary_lines} cannot be read; those tasks are started again"
            )

    def facts(self, binary: str) -> Iterator[f.AnyFact]:
        began = self.legacy.started_at or self.run.path.stat().st_mtime
        spec = self._spec(binary)
        yield f.RunOpened(at=began, run=spec, pid=0, pitboss_version=self.version)
        tasks = {task.id: task for task in self.resolved.tasks}
        records = self.legacy.latest
        yield from (fact for task in tasks.values() if task.id not in records for fact in self._unsettled(task, began))
        for name, record in records.items():
            if name in tasks:
                yield self._settled(tasks[name], record)
            else:
                self.warnings.append(f"the record of {name!r} is of no task in {self.run.resolved}; it is left out")
        if self.legacy.ended_at:
            good = len(records) == len(tasks) and all(one.status is Status.SUCCESS for one in records.values())
            code = 130 if self.legacy.was_interrupted else 0 if good else 1
            yield f.RunEnded(at=self.legacy.ended_at, exit_code=code, was_interrupted=self.legacy.was_interrupted)

    def _spec(self, binary: str) -> RunSpec:
        resolved = self.resolved
        return RunSpec(
            run_id=RunId(self.run.run_id),
            run_dir=str(self.run.path),
            manifest_path=self.legacy.meta.manifest_path if self.legacy.meta else "",
            tasks=tuple(_task(task) for task in resolved.tasks),
            name=(resolved.name or "").strip() or None,
            max_parallel=resolved.cap or _DEFAULT_PARALLEL,
            max_starts=os.cpu_count() or 1,
            halt_on_failure=resolved.halt_on_failure,
            budget_usd=resolved.budget_usd,
            worktree_cleanup=resolved.worktree_cleanup,
            mcp_servers=resolved.mcp_servers,
            claude_binary=binary,
        )

    def _settled(self, task: ResolvedActor, record: TaskRecord) -> f.ActorAdopted:
        session = self._session(task, record.session_id or self._heard_session(task.id))
        known = has_transcript(session, task.env)
        if session and not known and record.status is not Status.SUCCESS:
            self._warn_of_transcript(task, session)
        place = record.worktree_path if record.worktree_path and Path(record.worktree_path).is_absolute() else None
        return f.ActorAdopted(
            at=record.ended_at,
            actor=record.task_id,
            attempt=1,
            status=record.status,
            started_at=record.started_at,
            # Without a transcript the next attempt starts it anew under its id, and for that only a UUID will do.
            session_id=session if known or _UUID.fullmatch(session) else "",
            worktree=place,
            branch=self._branch(task) if place else "",
            worktree_removed=place is not None and not Path(place).is_dir(),
            exit_code=record.exit_code,
            usage=record.usage,
            cost_usd=record.cost_usd,
            failure=record.failure,
            note=record.note,
            final_message=record.final_message,
        )

    def _unsettled(self, task: ResolvedActor, began: float) -> Iterator[f.ActorAdopted]:
        """One that was cut off, or whose turn never came; of the latter there may be nothing to tell."""
        begun = self.run.task(task.id).is_dir()
        session = self._session(task, self._heard_session(task.id) or task.resume_session_id or "")
        resume = has_transcript(session, task.env)
        if session and not resume:
            self._warn_of_transcript(task, session)
        if not begun and not resume:
            return
        place = sibling_worktree(task.id, self.run.run_id, task.directory)
        there = begun and task.use_worktree and place.is_dir()
        heard = count_again(self.run.stdout_log(task.id), 0) or Heard(usage=Usage())
        cost = heard.exact_cost_usd + prices.estimate(heard.usage - heard.exact_usage, task.model)
        yield f.ActorAdopted(
            at=began,
            actor=ActorId(task.id),
            attempt=int(begun),
            started_at=began if begun else 0.0,
            session_id=session if resume else "",
            resume=resume,
            log_offset=_size(self.run.stdout_log(task.id)),
            worktree=str(place) if there else None,
            branch=self._branch(task) if there else "",
            usage=heard.usage,
            cost_usd=cost,
        )

    def _warn_of_transcript(self, task: ResolvedActor, session: str) -> None:
        self.warnings.append(f"the transcript of {task.id!r}'s session {session} is not there; it starts afresh")

    def _branch(self, task: ResolvedActor) -> str:
        return task.branch or default_name(task.id, self.run.run_id)

    def _session(self, task: ResolvedActor, told: str) -> str:
        if not told or _SESSION.fullmatch(told):
            return told
        self.warnings.append(f"the session id of {task.id!r} is none that can be used; it starts afresh")
        return ""

    def _heard_session(self, actor: str) -> str:
        """The session's id by the agent's own stream: 0.9 kept it in a record only after a result had come."""
        try:
            with self.run.stdout_log(actor).open("rb") as log:
                lines = log.read(_HEAD_BYTES).splitlines()
        except OSError:
            return ""
        for line in lines:
            try:
                said = msgspec.json.decode(line, type=_Init)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if (said.type, said.subtype) == ("system", "init") and said.session_id:
                return said.session_id
        return ""


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _task(task: ResolvedActor) -> TaskSpec:
    """The task as asked for; a session that it was to continue is told of by ``ActorAdopted``."""
    known = msgspec.structs.asdict(task) | {"id": ActorId(task.id), "resume_session_id": None}
    model = {"model": task.model} if task.model else {}
    return msgspec.convert(known | model | {"session_id": mint_session_id()}, TaskSpec)
