"""The control socket of a live run: finding it, and orders over it, one connection, one order, one answer.

Plain blocking sockets; what is said is ``wire.control``'s. Nothing here decides what to do when nobody answers.
Called by ``client`` and ``following``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pitboss import __version__
from pitboss.errors import WorldError
from pitboss.journal.rundir import RunDir
from pitboss.wire import control as wire
from pitboss.wire import control_events as events

__all__ = ["ANSWER_SECS", "CLIENT", "Event", "connect", "places", "tell"]

CLIENT = f"pitboss {__version__}"
"""What we call ourselves."""

ANSWER_SECS = 30.0
"""How long a dispatcher may take to answer: it does so at once, unless its disk fails."""

Event = dict[str, object]


def places(run: RunDir, runtime_dir: str) -> Iterator[Path]:
    """Where the socket of a run may be, likeliest first."""
    with suppress(OSError):
        said = run.control_path.read_bytes().rstrip(b"\n")
        if said.startswith(b"/"):
            yield Path(os.fsdecode(said))
    if runtime_dir.startswith("/"):
        yield Path(runtime_dir, "pitboss", f"{run.run_id}.control.sock")
    yield run.control_socket


def tell(run: RunDir, order: wire.Op) -> Event | None:
    """Give a live run an order.

    Args:
        run: The run.
        order: What is wanted. If it has an ``order_id`` and the connection breaks before the answer, it is given once
            more: under its id the run carries it out once, and answers as it did.

    Returns:
        What it answered; ``None`` if nobody is there to answer: no dispatcher lives, or it ends just now.

    Raises:
        WorldError: It is there, and says nothing that can be understood.
    """
    for _ in range(2 if order.order_id else 1):
        connection = connect(run)
        if connection is None:
            return None
        with connection:
            try:
                return _converse(connection, order)
            except TimeoutError as problem:
                raise WorldError(
                    f"the dispatcher of run {run.run_id} does not answer; look at it, then try again"
                ) from problem
            except OSError:
                continue  # the connection has broken, or the dispatcher has ended: asking again tells which
    return None


def connect(run: RunDir) -> socket.socket | None:
    """A connection to whoever answers for a run, with ``ANSWER_SECS`` for each step; ``None`` if nobody does."""
    for place in dict.fromkeys(places(run, os.environ.get("XDG_RUNTIME_DIR", ""))):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECS)
        try:
            connection.connect(str(place))
        except OSError:  # not there, dead, not ours, or too long for a socket
            connection.close()
        else:
            return connection
    return None


def _converse(connection: socket.socket, order: wire.Op) -> Event | None:
    """What is answered; ``None`` if the run says that it ends.

    Raises:
        ConnectionError: The connection has ended before the answer.
    """
    connection.sendall(
        wire.encode_op(wire.Hello(client_version=CLIENT, capabilities=(wire.SEVERAL,))) + wire.encode_op(order)
    )
    wanted = {"op_acked", "op_failed", "op_unknown", "op_unknown_state", "approvals_snapshot", "workers_snapshot"}
    with connection.makefile("rb") as lines:
        for line in lines:
            event = events.parse_event(line)
            if event is None:
                raise WorldError("what answers on the run's control socket is no Pitboss")
            if event["event"] in wanted:
                return None if event.get("code") == "unavailable" else event
    raise ConnectionError("the connection ended before the answer")
