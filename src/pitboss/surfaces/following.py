"""A run as it changes: shown by its dispatcher through the socket, or read from its journal where that cannot be.

Blocking, for one thread; what is said on the socket is ``wire.views``'. A view is given out only if it differs from the
last one, and what has not changed in it is the same object. Called by ``client``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Protocol

from pitboss.errors import WorldError
from pitboss.journal.lock import is_held
from pitboss.journal.rundir import RunDir
from pitboss.model.views import RunView
from pitboss.surfaces import operator
from pitboss.surfaces.found import Journal, Run
from pitboss.wire import views as wire
from pitboss.wire.control_events import parse_event
from pitboss.wire.lines import LineSplitter

__all__ = ["Closing", "Following", "follow_old"]

LOOK_SECS = 0.2
"""How often a journal is looked at where nobody tells of changes: a ``stat``, and what is new."""

OLD_LOOK_SECS = 1.0
"""How often the files of a run of Pitboss 0.9 are: they are read as a whole each time."""

_CHUNK = 1 << 16

LOOKS_BEFORE_ANOTHER_TRY = 25
"""After so many looks at the journal, five seconds, the socket is tried once more."""


class Closing(Protocol):
    """Whether what is shown is still wanted: a ``threading.Event``."""

    def is_set(self) -> bool:
        """True once it is not."""

    def wait(self, timeout: float) -> bool:
        """Let time pass; true as soon as it is not wanted any more."""


class Following:
    """One run under somebody's eyes."""

    def __init__(self, run: RunDir, closed: Closing, *, every_ms: int, patience_secs: float) -> None:
        self._run = run
        self._closed = closed
        self._every_ms = every_ms
        self._patience = round(patience_secs / LOOK_SECS)
        """So many looks for another dispatcher."""
        self._journal = Journal(run)
        self._view: RunView | None = None
        """What was shown last."""
        self._epoch = ""
        """Whose cursor that has; empty if no dispatcher's."""
        self._deaf: int | None = None
        """The pid of a dispatcher that is known to show nothing."""
        self._pen = threading.Lock()
        self._connection: socket.socket | None = None
        """Over which news is waited for."""

    def views(self) -> Iterator[RunView]:
        """The run, until it has ended or nobody is at work on it for longer than there is patience."""
        seen_live, looks = False, self._patience
        while not self._closed.is_set():
            if (pid := is_held(self._run.lock)) is not None:
                seen_live, looks = True, self._patience
                heard = 0
                if pid != self._deaf:
                    heard = yield from self._by_socket(pid)
                yield from self._by_journal(1 if heard else LOOKS_BEFORE_ANOTHER_TRY)
                if self._has_ended:
                    return
                continue
            # Asked before reading: a dispatcher that has ended in between has written its last fact by then.
            yield from self._look()
            if self._has_ended or not seen_live or not looks:
                return
            looks -= 1
            self._closed.wait(LOOK_SECS)

    def hang_up(self) -> None:
        """Have the one who waits for news wait no longer; to be called once ``closed`` is set, from any thread."""
        with self._pen:
            if self._connection is not None:
                with suppress(OSError):  # it has ended by itself
                    self._connection.shutdown(socket.SHUT_RDWR)

    @property
    def _has_ended(self) -> bool:
        return bool(self._journal.is_open and self._journal.state.ended_at)

    # from the journal

    def _by_journal(self, looks: int) -> Iterator[RunView]:
        """Look at the journal so many times, or until there is nothing more to come."""
        for _ in range(looks):
            held = is_held(self._run.lock) is not None
            yield from self._look()
            if self._has_ended or not held or self._closed.wait(LOOK_SECS):
                return

    def _look(self) -> Iterator[RunView]:
        self._journal.read_on()
        if self._journal.is_open and (self._view is None or self._journal.cursor > self._view.cursor):
            yield from self._show(self._journal.view())

    def _show(self, view: RunView) -> Iterator[RunView]:
        is_new = view != self._view
        self._view = view
        if is_new:
            yield view

    # from the socket

    def _by_socket(self, pid: int) -> Generator[RunView, None, int]:
        """What the dispatcher shows, until it says no more; returns how often it has shown something."""
        heard = 0
        connection = operator.connect(self._run)
        if connection is None:
            return heard
        with connection:
            try:
                connection.sendall(wire.subscription(operator.CLIENT, self._view, self._epoch, self._every_ms))
                for line in self._lines(connection):
                    event = parse_event(line) or {"event": "nonsense"}
                    if _is_refusal(event):
                        self._deaf = None if event.get("op") == "hello" else pid  # who is full may have room later
                        break
                    if event["event"] in {"snapshot", "delta"}:
                        view = wire.apply(self._view, event)
                        self._epoch = str(event.get("epoch") or self._epoch)
                        heard += 1
                        yield from self._show(view)
            except WorldError:  # what it tells does not fit what we have: the next subscription begins anew
                self._epoch, heard = "", 0
            except OSError:
                pass  # it is gone, or does not answer: what there is to see is in the journal
            finally:
                self._hold(None)
        return heard

    def _lines(self, connection: socket.socket) -> Iterator[bytes]:
        """What is said, line by line, for as long as somebody wants to hear it.

        Raises:
            TimeoutError: Nothing at all is said within the time that an answer may take.
        """
        splitter = LineSplitter()
        self._hold(connection)
        while not self._closed.is_set() and (chunk := connection.recv(_CHUNK)):
            connection.settimeout(None)  # it speaks: from now on it may be silent for as long as nothing happens
            yield from splitter.feed(chunk)

    def _hold(self, connection: socket.socket | None) -> None:
        with self._pen:
            self._connection = connection


def _is_refusal(event: operator.Event) -> bool:
    if event["event"] == "nonsense":
        return True
    return event["event"] in {"op_failed", "op_unknown"} and event.get("op") in {"hello", "subscribe", "parse_error"}


def follow_old(look: Callable[[], Run], closed: Closing) -> Iterator[RunView]:
    """A run of Pitboss 0.9, until nobody seems to be at work on it.

    Args:
        look: Reads what there is of it.
        closed: Whether it is still wanted.
    """
    last: RunView | None = None
    while not closed.is_set():
        run = look()
        if run.view != last:
            last = run.view
            yield last
        if run.state != "running":
            return
        closed.wait(OLD_LOOK_SECS)
