"""Who tells the sinks of a run: the hand, with the rules of this machine's environment.

The one place where the secrets of sinks are read: when something is sent, from the environment, and only then. Called
by ``compose`` for a run at work, and by ``upkeep`` for one at rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pitboss.core.state import RunState
from pitboss.drivers.notify import Notifier, Rules
from pitboss.errors import WorldError
from pitboss.journal.notice_lines import mark, unmark
from pitboss.journal.rundir import RunDir
from pitboss.manifest.receivers import filled, may_reach
from pitboss.model.run import RunSpec

__all__ = ["mark_due", "name_the_untold", "notifier"]


def notifier(clock: Callable[[], float], say: Callable[[str], None]) -> Notifier:
    """A hand for ``Notify`` and ``FinishNotices``; ``say`` tells the operator what a ``log`` sink is told."""
    return Notifier(clock, Rules(fill=lambda sink: filled(sink, os.environ), allowed=may_reach, say=say))


def mark_due(run: RunDir, spec: RunSpec, warn: Callable[[str], None]) -> None:
    """A run that tells somebody begins: from now on something may be owed."""
    if spec.sinks:
        try:
            mark(run)
        except WorldError as problem:  # what cannot be delivered at the end is then for the operator to send
            warn(str(problem))


def name_the_untold(run: RunDir, state: RunState, warn: Callable[[str], None]) -> None:
    """A run is over: say whom something did not reach, or that nothing is owed any more."""
    if not state.outbox.due:
        unmark(run)
    for sink in dict.fromkeys(sink for _, sink in state.outbox.due):
        what = ", ".join(key.partition(":")[2] for key, other in state.outbox.due if other == sink)
        warn(f"not delivered to {sink}: {what}; see `{run.typed('notify')}`")
