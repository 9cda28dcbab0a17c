"""What is done to runs that nobody works on: set-aside work brought back, worktrees put away before a run is removed.

Beside ``compose``, which names the parts of a run at work, this file names those of one at rest. Called by
``surfaces.commands``; blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pitboss.drivers.cookies import stop_all
from pitboss.drivers.git import GitWorktrees
from pitboss.drivers.git_restore import Saved, find_saved, restore_branch, restore_worktree
from pitboss.engine.clock import SystemClock
from pitboss.errors import WorldError
from pitboss.model import effects as e
from pitboss.model.signals import Signal, WorktreeTidied


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
