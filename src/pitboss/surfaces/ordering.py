"""Orders to a run: through its dispatcher if one lives, else into its journal, for when it is resumed.

Every order has an id of its own, so that one whose answer was lost can be given again and is carried out once. What
came of it is put into words by ``outcomes``. Called by ``commands``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from pitboss.errors import RunBusy
from pitboss.model.answers import Answer, Refused
from pitboss.surfaces.client import Run, RunClient
from pitboss.wire.control import LONGEST_LINE, OrderOp, encode_op, name_of

__all__ = ["Leave", "Outcome", "give", "shape", "with_id"]

Leave: TypeAlias = Callable[[Path, OrderOp], Answer | Refused]
"""Writes an order into the journal of a run, given by its folder, that nobody is at work on."""

PATIENCE_SECS = 5.0
"""So long a dispatcher may take to open its socket: one that takes a run over looks first at what is left of it."""

_LOOK_SECS = 0.1

_OF_THE_TALK = frozenset({"event", "op", "error", "code", "current_state"})
"""Keys of an answer on the socket that are told in another way, or, ``current_state``, say less than ``state``."""


class Outcome(NamedTuple):
    """What came of an order: it was taken, or it was refused and has changed nothing."""

    op: OrderOp
    """With its id."""
    told: Mapping[str, object]
    """What the run said about it, by the keys of the socket."""
    error: str = ""
    """Why it was refused, in a sentence; empty if it was taken."""
    code: str = ""
    """The same as a word a program may match on."""
    hint: str = ""
    """What to do about it."""
    in_journal: bool = False
    """Nobody was there: it holds when the run is resumed."""

    @property
    def changed(self) -> bool:
        """False if everything was as ordered already, or if it was refused."""
        return not self.error and self.told.get("changed") is not False


def with_id(op: OrderOp) -> OrderOp:
    """The order with an id of its own, unless it has one."""
    return op if op.order_id else replace(op, order_id=str(uuid.uuid4()))


def give(run: Run, op: OrderOp, leave: Leave) -> Outcome:
    """Give a run an order and hear what comes of it.

    Args:
        run: The run.
        op: The order; it is given an id if it has none.
        leave: Writes it down for a run that nobody is at work on.

    Raises:
        OperatorError: It is an agent that orders.
        WorldError: The dispatcher does not answer, or the journal cannot be written.
    """
    named = with_id(op)
    # Looked at here: the run hangs up on a longer line, which looks as if nobody could be reached.
    if (size := len(encode_op(named))) > LONGEST_LINE:
        return Outcome(
            named,
            {},
            error=f"an order has at most {LONGEST_LINE:,} bytes, and this one has {size:,}",
            code="invalid_arg",
            hint="put the text into a file that the actor can read, and tell it where that is",
        )
    client, patient_until = RunClient(run.path), time.monotonic() + PATIENCE_SECS
    while (event := client.order(named)) is None:
        try:
            came = leave(run.path, named)
        except RunBusy:
            if client.snapshot().ended_at:
                why = "the run has ended; its dispatcher only tells what is still to be told, and takes no orders"
                return Outcome(named, {}, error=why, code="unavailable")
            if time.monotonic() < patient_until:
                time.sleep(_LOOK_SECS)
                continue
            return Outcome(
                named,
                {},
                error=f"the dispatcher of run {run.path.name} is at work, but cannot be reached through a socket",
                code="unavailable",
                hint="stop it with Ctrl-C or `kill`, give the order again, then resume the run",
            )
        if isinstance(came, Refused):
            return Outcome(named, dict(came.extra), error=came.message, code=came.code, in_journal=True)
        return Outcome(named, came.content, in_journal=True)
    return _heard(named, event)


def _heard(op: OrderOp, event: Mapping[str, object]) -> Outcome:
    told = {key: value for key, value in event.items() if key not in _OF_THE_TALK}
    if event["event"] == "op_acked":
        return Outcome(op, told)
    error = str(event.get("error") or "the run does not know how to be given this order")
    return Outcome(op, told, error=error, code=str(event.get("code") or "unavailable"))


def shape(outcome: Outcome, run: Run, more: Mapping[str, object]) -> dict[str, object]:
    """What came of an order as one object for programs: the keys of the socket, then ours.

    Args:
        outcome: What came of it.
        run: The run it was given to.
        more: How things stand now.
    """
    said = {key: value for key, value in outcome.told.items() if key != "ok"}
    about = {
        "version": 1,
        "ok": not outcome.error,
        "op": name_of(outcome.op),
        "run_id": run.view.run_id,
        "order_id": outcome.op.order_id,
    }
    about |= {"task_id": getattr(outcome.op, "task_id", None), "in_journal": outcome.in_journal and not outcome.error}
    return {**about, **said, "changed": outcome.changed, **more}
