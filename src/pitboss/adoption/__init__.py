"""Going on with a run of Pitboss 0.9: what its files tell becomes the first facts of a journal, in the same folder.

From then on it is a run like any other, under its own id, and an ordinary resume goes on with it. Everything is read
and judged before anything is written, and the journal comes into being whole: a run is adopted or it is not.
Called by ``compose`` for ``resume``; blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from pitboss import __version__
from pitboss.adoption.asked import run_spec
from pitboss.adoption.members import Members
from pitboss.adoption.traces import Traces
from pitboss.core import ledger, tree
from pitboss.core.state import RunState, rebuilt
from pitboss.drivers.strangers import find_of_run
from pitboss.errors import OperatorError
from pitboss.journal.discovery import control_answers
from pitboss.journal.disk import disk_errors
from pitboss.journal.legacy import Legacy, read_legacy
from pitboss.journal.log import write_whole
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.money import dollars
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Status
from pitboss.wire.resolved import Resolved, ResolvedLead

__all__ = ["Adoption", "survey", "write"]


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
    traces = Traces(run)
    traces.warnings += _warnings(run, legacy)
    facts = list(_facts(traces, legacy, resolved, binary))
    state = rebuilt(facts)
    _require_money(run, state)
    if legacy.ended_at:
        code = 130 if legacy.was_interrupted else _exit_code(state)
        facts.append(f.RunEnded(at=legacy.ended_at, exit_code=code, was_interrupted=legacy.was_interrupted))
    return Adoption(tuple(facts), rebuilt(facts), tuple(traces.warnings))


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
    if legacy.meta is not None and legacy.meta.run_id != run.run_id:
        raise OperatorError(
            f"{name} calls itself {legacy.meta.run_id}: its folder is a copy or was renamed; resume the original"
        )
    for asked in resolved.tasks if resolved.lead is None else [resolved.lead]:
        run.task(asked.id)  # refuses what is no plain name
        if not Path(asked.directory).is_absolute():
            word = "task" if resolved.lead is None else "lead"
            raise OperatorError(
                f"{name} cannot be resumed: the directory {asked.directory!r} of {word} {asked.id!r} is relative, and "
                "to what was not written down",
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


def _require_money(run: RunDir, state: RunState) -> None:
    """Refuse a tree whose lead would be stopped as soon as it began; once adopted, its budget could not be changed."""
    lead = tree.root(state)
    if lead is None or lead.status is Status.SUCCESS:
        return
    money = ledger.account(state, lead.spec.id)
    if money.budget is not None and money.spent >= money.budget:
        raise OperatorError(
            f"run {run.run_id} cannot be resumed: it has spent {dollars(money.spent)} of its budget of "
            f"{dollars(money.budget)}; Pitboss 0.9 did not count what the lead itself spends",
            hint=f"raise budget_usd in {run.resolved}",
        )


# --- what its files tell --------------------------------------------------------------------------------------------


def _facts(traces: Traces, legacy: Legacy, resolved: Resolved, binary: str) -> Iterator[f.AnyFact]:
    """Everything but that it ended."""
    run = traces.run
    began = legacy.started_at or run.path.stat().st_mtime
    spec = run_spec(run, legacy, resolved, binary)
    yield f.RunOpened(at=began, run=spec, pid=0, pitboss_version=_version(legacy))
    records = legacy.latest
    if resolved.lead is not None:
        members = Members(traces, resolved.lead, records)
        yield from members.facts()
        lead = _lead(traces, resolved.lead, records, began)
        if lead is not None:
            briefing = members.briefing(plan_required=resolved.require_plan_approval)
            yield replace(lead, briefing=briefing if lead.attempt else "")
        return
    tasks = {task.id: task for task in resolved.tasks}
    for task in tasks.values():
        if task.id not in records and (fact := traces.unsettled(task, began)) is not None:
            yield fact
    for name, record in records.items():
        if name in tasks:
            yield traces.settled(tasks[name], record)
        else:
            traces.warnings.append(f"the record of {name!r} is of no task in {run.resolved}; it is left out")


def _lead(
    traces: Traces, lead: ResolvedLead, records: dict[ActorId, TaskRecord], began: float
) -> f.ActorAdopted | None:
    record = records.get(ActorId(lead.id))
    return traces.unsettled(lead, began) if record is None else traces.settled(lead, record)


def _warnings(run: RunDir, legacy: Legacy) -> Iterator[str]:
    unproven = "whose processes carry no mark: that none of them lives cannot be shown"
    yield f"run {run.run_id} was begun by Pitboss {_version(legacy)}, {unproven}; make sure that its dispatcher is gone"
    if legacy.damaged:
        led = legacy.resolved is not None and legacy.resolved.lead is not None
        then = "those actors count as cut off" if led else "those tasks are started again"
        yield f"{legacy.damaged} of the records in {run.summary_lines} cannot be read; {then}"


def _version(legacy: Legacy) -> str:
    return legacy.meta.pitboss_version if legacy.meta else "0.9"


def _exit_code(state: RunState) -> int:
    return int(bool(state.waiting) or tree.failed(state) > 0)
