"""The hands that make and tidy git worktrees: through the git binary only, never in the operator's checkout.

What may not come in: opinions on when a worktree is wanted or removed. `compose` gives the methods of
`GitWorktrees` to `engine.perform`, and asks `preflight` before a run opens. How it is done is told in
`git_prepare`, `git_tidy` and `git_set_aside`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pitboss.drivers.git_command import Locks
from pitboss.drivers.git_preflight import Refusal, Want, preflight
from pitboss.drivers.git_prepare import make
from pitboss.drivers.git_tidy import Cleared, clear, start_over
from pitboss.errors import PitbossError
from pitboss.model.effects import Emit, PrepareWorktree, TidyWorktree
from pitboss.model.run import SetAside
from pitboss.model.signals import WorktreePrepared, WorktreeRefused, WorktreeTidied

__all__ = ["GitWorktrees", "Refusal", "Want", "preflight"]


class GitWorktrees:
    """Makes worktrees, and keeps them or removes them after setting their state aside.

    Args:
        clock: Says the time that goes into the signals.
        locks_dir: Where the locks of repositories lie; ``None`` puts each into its common git directory, where
            all dispatchers find it.
    """

    def __init__(self, clock: Callable[[], float], *, locks_dir: Path | None = None) -> None:
        self._clock = clock
        self._locks = Locks(locks_dir)

    async def prepare(self, effect: PrepareWorktree, emit: Emit) -> None:
        """Make a worktree, or finish one that was begun; a ready one is left exactly as it is.

        If a fresh one is wanted, everything that is there is put away first.

        Args:
            effect: What is wanted.
            emit: Gets `WorktreePrepared`, or `WorktreeRefused` after everything half-made was removed.
        """
        kept: SetAside | None = None
        try:
            if effect.fresh:
                kept = await start_over(self._locks, effect, self._clock())
            made = await make(self._locks, effect, self._clock(), kept)
        except (PitbossError, OSError) as error:
            message = f"{error} What it had done is kept as {kept.ref}." if kept else str(error)
            emit(WorktreeRefused(at=self._clock(), actor=effect.actor, attempt=effect.attempt, message=message))
            return
        asked = effect.earlier.set_aside if effect.earlier else None
        emit(
            WorktreePrepared(
                at=self._clock(),
                actor=effect.actor,
                attempt=effect.attempt,
                path=str(made.path),
                branch=made.note.branch,
                base=made.note.base,
                created_branch=made.note.created_branch,
                cwd=str(made.cwd),
                # A later attempt finds it there, but not because it was brought back for it.
                brought_back=made.note.brought_back if made.note.brought_back == asked else None,
                set_aside=made.note.set_aside,
                message=made.note.message,
            )
        )

    async def tidy(self, effect: TidyWorktree, emit: Emit) -> None:
        """Keep a worktree, or set its state aside and remove it.

        Args:
            effect: Which worktree, and what is wanted.
            emit: Gets `WorktreeTidied`. What cannot be saved is kept, and the message says why.
        """
        cleared = await self._cleared(effect) if effect.remove else Cleared(removed=False)
        emit(
            WorktreeTidied(
                at=self._clock(),
                actor=effect.actor,
                attempt=effect.attempt,
                removed=cleared.removed,
                set_aside=cleared.saved,
                branch_deleted=cleared.branch_deleted,
                message=cleared.message,
            )
        )

    async def _cleared(self, effect: TidyWorktree) -> Cleared:
        try:
            return await clear(self._locks, effect, self._clock())
        except (PitbossError, OSError) as error:
            return Cleared(removed=False, message=f"The worktree {effect.path} was kept: {error}")
