"""Who tells the sinks of a run: the hand, with the rules of this machine's environment.

The one place where the secrets of sinks are read: when something is sent, from the environment, and only then. Called
by ``compose`` for a run at work, and by ``upkeep`` for one at rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pitboss.drivers.notify import Notifier, Rules
from pitboss.manifest.receivers import filled, may_reach

__all__ = ["notifier"]


def notifier(clock: Callable[[], float], say: Callable[[str], None]) -> Notifier:
    """A hand for ``Notify`` and ``FinishNotices``; ``say`` tells the operator what a ``log`` sink is told."""
    return Notifier(clock, Rules(fill=lambda sink: filled(sink, os.environ), allowed=may_reach, say=say))
