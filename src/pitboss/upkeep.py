"""What is done to runs at rest: work brought back, worktrees put away, orders left for a resume, messages sent.

Beside ``compose``, which names the parts of a run at work, this file names those of one at rest. Called by
``surfaces.commands``; blocks.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Sequence
from pathlib import Path

from pitboss import __version__
from pitboss.core.decide import decide
from pitboss.core.state import rebuilt
from pitboss.drivers.cookies import COOKIE, stop_all
from pitboss.drivers.git import GitWorktrees
from pitboss.drivers.git_restore import Saved, find_saved, restore_branch, restore_worktree
from pitboss.engine.clock import SystemClock
from pitboss.engine.ids import mint_session_id
from pitboss.errors import OperatorError, WorldError
from pitboss.journal.lock import RunLock
from pitboss.journal.log import Journal, replay
from pitboss.journal.rundir import RunDir
from pitboss.model import effects as e
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.notices import Sink
from pitboss.model.orders import AnyOrder
from pitboss.model.signals import OrderGiven, Signal, WorktreeTidied
from pitboss.services.leftover import LeftOver, LeftOvers
from pitboss.services.owed import send_owed, test_sinks

__all__ = [
    "LeftOver",
    "LeftOvers",
    "leave_order",
    "prune",
    "restore",
    "send_owed",
    "sinks_of_manifest",
    "test_sinks",
]


def restore(directory: str, ref: str, owner: str, *, into: str | None = None, branch: str | None = None) -> list[Saved]:
    """Find what was set aside for an actor and, if told how, bring the last of it back.

    Args:
        directory: The task's directory: the repository, or a folder inside it.
        ref: The actor's private ref.
        owner: ``<run>/<actor>``.
        into: Where to make a worktree with it.
        branch: The new branch to put there.

    Returns:
        All that was set aside, oldest first; if it is empty, nothing was done.

    Raises:
        PitbossError: The place or the branch is taken, the repository is gone, or git refuses.
    """

    async def work() -> list[Saved]:
        found = await find_saved(directory, ref, owner)
        if found and into is not None:
            await restore_worktree(directory, found[-1], into)
        if found and branch is not None:
            await restore_branch(directory, found[-1], branch)
        return found

    return asyncio.run(work())


def prune(run_id: str, worktrees: Sequence[e.TidyWorktree]) -> list[WorktreeTidied]:
    """Clear away what a run has left outside of its folder; the caller holds the run's lock.

    Args:
        run_id: Whose processes are stopped first, should any be left.
        worktrees: What is set aside and then removed.

    Returns:
        What became of each worktree, in the same order.

    Raises:
        WorldError: Something of the run still runs, or may: no worktree was touched.
    """
    sweep = stop_all(f"{run_id}/")
    if sweep.left or not sweep.sure:
        left = ", ".join(str(found.pid) for found in sweep.left) or "some, perhaps, that cannot be looked at"
        raise WorldError(f"processes of the run are still there: {left}; stop them, then prune again")

    async def work() -> list[Signal]:
        hands, answers = GitWorktrees(SystemClock().now), list[Signal]()
        for worktree in worktrees:
            await hands.tidy(worktree, answers.append)
        return answers

    return [answer for answer in asyncio.run(work()) if isinstance(answer, WorktreeTidied)]


def leave_order(run_dir: Path, order: AnyOrder, order_id: str = "") -> Answer | Refused:
    """Give an order to a run that nobody is at work on; what it says holds when the run is resumed.

    The same rules decide that decide in a live run; what they say is written where the run's dispatcher would have
    written it.

    Args:
        run_dir: The run's folder.
        order: What is ordered.
        order_id: What it is known by: given again under this id, it is not carried out again.

    Returns:
        What came of it: on disk, if it was taken.

    Raises:
        RunBusy: A dispatcher is at work on it: tell that one.
        OperatorError: It is an agent that orders.
        WorldError: The journal is damaged, or cannot be written.
    """
    run = RunDir(run_dir)
    if COOKIE in os.environ:
        raise OperatorError("an agent cannot give orders to a run; an operator does, from a shell of their own")
    never = f"run {run.run_id} was cut off before it began anything; dispatch it again"
    if not run.journal.exists():
        if run.lock.exists():
            return refused("not_found", never)
        return refused(
            "unavailable",
            f"run {run.run_id} has no journal to leave an order in: Pitboss 0.9 kept none; `{run.typed('resume')}` "
            "makes one",
        )
    with RunLock.acquire(run.lock):
        past = replay(run.journal)
        state = rebuilt(entry.fact for entry in past)
        if state.run is None:  # nothing may stand in a journal before the fact that opens the run
            return refused("not_found", never)
        clock = SystemClock()
        via, name = f"{_user()} with pitboss {__version__}", mint_session_id()
        signal = OrderGiven(at=clock.now(), order=order, via=via, order_id=order_id, reply_to=name, absent=True)
        outcome = decide(state, signal)
        if outcome.facts:
            journal = Journal.reopen(run.journal, past, disk=run.disk)
            try:
                for fact in outcome.facts:
                    journal.append(fact, cause=0, by=type(signal).__name__)
                asyncio.run(journal.sync())
            finally:
                journal.close()
    return next(effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder))


def sinks_of_manifest(path: str) -> tuple[Sink, ...]:
    """Who would be told about a run of a manifest.

    Raises:
        OperatorError: It cannot be read, or is not valid.
    """
    from pitboss.intake import load  # reading manifests takes a while to import, and only this needs it

    return load(path).run.sinks


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
