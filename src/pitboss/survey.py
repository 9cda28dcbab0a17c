"""What is left of a run that is to be gone on with: whether that makes sense, who still lives, what there is.

A restart is a replay followed by a survey of what really exists; this is the survey. Called by ``compose``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pitboss import __version__
from pitboss.core.admission import is_spent
from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.core.reopening import without_beginning, worth_resuming
from pitboss.core.state import RunState
from pitboss.drivers.claude import has_transcript
from pitboss.drivers.cookies import stop_all
from pitboss.drivers.recount import count_again
from pitboss.engine.ids import mint_session_id
from pitboss.errors import OperatorError, WorldError
from pitboss.journal.rundir import RunDir
from pitboss.model.run import ActorId, Heard, ResumeScope, RunSpec, Status
from pitboss.model.signals import Reopened

__all__ = ["look", "require_sense"]


def require_sense(rundir: RunDir, state: RunState, scope: ResumeScope | None, fresh: Sequence[ActorId]) -> None:
    """Make sure that something of the run can go on.

    Raises:
        OperatorError: Nothing can, or not from the start.
    """
    # Killed between its end and its summary, a run is reopened for nothing but that.
    if rundir.summary.exists() and not worth_resuming(state, scope, fresh):
        why, hint = "everything it began has ended well", ""
        if any(actor.status is not Status.SUCCESS for actor in state.actors.values()):
            why = "its lead has ended well, and how a worker ended is its lead's to answer for"
            hint = "with --all, the lead begins once more, in a new session"
        raise OperatorError(f"nothing to resume in run {rundir.run_id}: {why}", hint=hint)
    if rundir.summary.exists() and state.exit_code is not None and is_spent(state):
        raise OperatorError(
            f"nobody in run {rundir.run_id} could go on: the money it may spend is spent",
            hint=f"raise its budget first: `{rundir.typed('budget', 'USD')}`",
        )
    if lost := without_beginning(state, fresh):
        raise OperatorError(
            f"{', '.join(lost)} in run {rundir.run_id} cannot begin again from the start: Pitboss 0.9 began there, "
            "and did not write down at which commit, or with which prompt",
            hint="resume without --fresh, or dispatch the task in a run of its own",
        )


async def look(
    rundir: RunDir,
    state: RunState,
    clock: Callable[[], float],
    *,
    epoch: int,
    scope: ResumeScope | None,
    fresh: Sequence[ActorId],
) -> Reopened:
    """Stop what is left of the old dispatcher, and say what there is to go on with.

    Args:
        rundir: The run, whose lock is ours.
        state: As its journal has it.
        clock: What time it is.
        epoch: Of this dispatcher.
        scope: What the operator wants to be taken up, if they have said.
        fresh: Whom they want to begin again.

    Raises:
        WorldError: Something of the old dispatcher cannot be stopped, or it cannot be shown that nothing is left.
    """
    stopped = await _stop_the_old(state.spec)
    return Reopened(
        at=clock(),
        pid=os.getpid(),
        pitboss_version=__version__,
        epoch=epoch,
        scope=scope,
        stopped=stopped,
        transcripts=tuple(
            name for name, actor in state.actors.items() if has_transcript(actor.session_id, actor.spec.env)
        ),
        fresh_ids={name: mint_session_id() for name in state.actors},
        fresh=tuple(fresh),
        heard=await asyncio.to_thread(_count_again, rundir, state),
        log_sizes={name: _size(rundir.stdout_log(name)) for name in state.actors},
    )


async def _stop_the_old(spec: RunSpec) -> tuple[int, ...]:
    """Stop everything of the old dispatcher; the pids of what was still there."""
    sweep = await asyncio.to_thread(stop_all, f"{spec.run_id}/")
    if sweep.left:
        left = ", ".join(str(found.pid) for found in sweep.left)
        raise WorldError(f"processes of the old dispatcher cannot be stopped: {left}; stop them, then resume")
    if not sweep.sure:
        raise WorldError("it cannot be shown that nothing of the old dispatcher still runs; try again in a moment")
    return tuple(sweep.stopped)


def _count_again(rundir: RunDir, state: RunState) -> dict[ActorId, Heard]:
    """What the attempts that were cut off had used, by their logs."""
    cut_off = [actor for actor in state.actors.values() if actor.phase in HAS_PROCESS]
    heard = {actor.spec.id: count_again(rundir.stdout_log(actor.spec.id), actor.log_offset) for actor in cut_off}
    return {name: account for name, account in heard.items() if account is not None}


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
