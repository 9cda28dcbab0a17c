"""The bridge from an MCP client to a seat: what comes on our standard input goes to the run's socket, and back.

Bytes are passed on as they are; the token is the only thing that is ours. Called by ``commands``; blocks.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from pitboss.errors import OperatorError, WorldError

__all__ = ["bridge"]

DRAIN_SECS = 6.0
"""How long answers are still passed on when nothing more comes in: a little longer than the run still gives them."""

HELLO_SECS = 15.0
"""How long the run may take to let us in."""

_CHUNK = 1 << 16


class _Out(Protocol):
    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class _Welcome(msgspec.Struct, frozen=True):
    error: str = ""


def bridge(place: Path, token_file: Path, source: int, out: _Out) -> None:
    """Carry messages both ways until either side has enough.

    Args:
        place: The socket of the run's seats.
        token_file: Holds the token of one seat.
        source: The descriptor that the client's messages come from.
        out: Where the answers go.

    Raises:
        OperatorError: The token cannot be read, or gives no seat.
        WorldError: Nobody serves there.
    """
    try:
        token = token_file.read_text().strip()
    except (OSError, ValueError) as problem:
        raise OperatorError(
            f"the token of the seat cannot be read from {token_file}: {problem}", hint="ask for one: `pitboss seat`"
        ) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(place))
        except OSError as problem:
            raise WorldError(f"nobody serves seats at {place}: {problem.strerror or problem}") from None
        early = _enter(connection, token)
        pump = threading.Thread(target=_pump, args=(source, connection), daemon=True)
        pump.start()
        _copy(connection, early, out)


def _enter(connection: socket.socket, token: str) -> bytes:
    """Take the seat; returns what was said after the welcome already."""
    connection.settimeout(HELLO_SECS)
    heard = b""
    try:
        connection.sendall(json.dumps({"token": token}).encode() + b"\n")
        while b"\n" not in heard:
            chunk = connection.recv(_CHUNK)
            if not chunk:
                raise WorldError("the run has closed the door; it may just have ended")
            heard += chunk
        line, _, early = heard.partition(b"\n")
        welcome = msgspec.json.decode(line, type=_Welcome)
    except (OSError, msgspec.DecodeError) as problem:
        raise WorldError(f"the run did not answer as a run does: {problem}") from None
    if welcome.error:
        raise OperatorError(f"no seat: {welcome.error}")
    connection.settimeout(None)
    return early


def _pump(source: int, connection: socket.socket) -> None:
    """Everything from the client to the run, in a thread of its own: either side may be silent for hours."""
    with suppress(OSError):
        while chunk := os.read(source, _CHUNK):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
    late = threading.Timer(DRAIN_SECS, _hang_up, [connection])
    late.daemon = True
    late.start()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _copy(connection: socket.socket, early: bytes, out: _Out) -> None:
    """Everything from the run to the client, until the run has said all or the client has left."""
    with suppress(BrokenPipeError, ConnectionError):
        chunk = early or connection.recv(_CHUNK)
        while chunk:
            out.write(chunk)
            out.flush()
            chunk = connection.recv(_CHUNK)
