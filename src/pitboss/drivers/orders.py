"""The operating system's signals as orders: what each means is the core's opinion, not this file's."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from pitboss.model.effects import Emit
from pitboss.model.signals import Interrupted, Stop


class Orders:
    """Hears the signals of the process it is in, as a context manager around the loop."""

    STOP = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    """Each of them means: stop now, in order."""

    def __init__(self, post: Emit, clock: Callable[[], float]) -> None:
        self._post = post
        self._clock = clock

    def __enter__(self) -> None:
        events = asyncio.get_running_loop()
        events.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in self.STOP:
            events.add_signal_handler(number, self._stop, signal.Signals(number).name)

    def __exit__(self, *_: object) -> None:
        events = asyncio.get_running_loop()
        for number in (signal.SIGINT, *self.STOP):
            events.remove_signal_handler(number)

    def _interrupted(self) -> None:
        self._post(Interrupted(at=self._clock(), by="SIGINT"))

    def _stop(self, name: str) -> None:
        self._post(Stop(at=self._clock(), by=name))
