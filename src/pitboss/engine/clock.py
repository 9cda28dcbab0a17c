"""The two clocks of a dispatcher: one to sleep by, one to write down.

``now`` is wall time that never runs backwards within one process: the wall clock is read once, then the
monotonic clock carries it on, so that no duration in a record can be negative.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the loop asks for the time."""

    def now(self) -> float:
        """Seconds since the epoch; never less than before."""


class SystemClock:
    """The machine's own time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch; never less than before."""
        return round(self._offset + time.monotonic(), 6)
