"""A text stream whose reader may leave: ``| head``, a closed terminal, a full disk behind a redirect.

A run is worth more than its progress lines, and the exit code belongs to the run: so a stream that can no longer
be written goes quiet instead of raising. Nothing else may be decided here. Called by ``cli``, ``commands`` and
``progress``.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO

__all__ = ["Outlet", "occupy_standard_descriptors", "stderr", "stdout"]


class Outlet(io.TextIOBase):
    """Writes to ``stream`` until that fails, and nowhere afterwards.

    Bytes go to the descriptor directly: a write that waits for a slow reader then holds no lock of Python's own
    streams, which would make the interpreter abort at exit.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream if stream is not None else io.StringIO()
        self._fd = _descriptor(self._stream)
        self._terminal = self._fd is not None and os.isatty(self._fd)
        self.gone = stream is None
        """True once a write has failed, or if there never was a stream (``>&-``)."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stubs
        """The stream's encoding."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """True if a person may be looking."""
        return self._terminal

    def writable(self) -> bool:
        """Always: what cannot be written is dropped."""
        return True

    def fileno(self) -> int:
        """The descriptor; ``OSError`` if the stream has none."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if nobody can read it any more."""
        if not self.gone:
            try:
                self._put(text)
            except OSError:
                self._give_up()
        return len(text)

    def line(self, text: str = "") -> None:
        """Write ``text`` and a newline, in one go."""
        self.write(text + "\n")

    def flush(self) -> None:
        """Nothing is kept back."""

    def _put(self, text: str) -> None:
        if self._fd is None:
            self._stream.write(text)
            self._stream.flush()
            return
        left = memoryview(text.encode(self.encoding, "replace"))
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # someone shares the descriptor and made it non-blocking
                select.select([], [self._fd], [])

    def _give_up(self) -> None:
        """Go quiet. Python flushes its own streams at exit and must not fail there: it would change the exit code."""
        self.gone = True
        if self._fd is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._fd)
            os.close(nowhere)


def stdout() -> Outlet:
    """The standard output as it is now."""
    return Outlet(sys.stdout)


def stderr() -> Outlet:
    """The standard error as it is now."""
    return Outlet(sys.stderr)


def occupy_standard_descriptors() -> None:
    """Put the null device where a standard stream was closed (``>&-``).

    Otherwise the next file opened - a journal, say - gets its number, and whoever prints writes into it. Python has no
    object for a closed standard input; whoever reads it is to find nothing there, as with ``</dev/null``.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - till the end


def _descriptor(stream: TextIO) -> int | None:
    """The stream's file descriptor, emptied into; ``None`` for a stream in memory or none at all."""
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
