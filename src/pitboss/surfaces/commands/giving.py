"""Giving an order from a command: give it, wait for it if that was wanted, say what came of it.

A run that nobody is at work on is told through ``upkeep``, which is imported when it is needed. Called by the modules
of commands that steer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from pitboss.errors import OperatorError, OurFault
from pitboss.surfaces.faults import is_quiet
from pitboss.surfaces.outlet import stderr, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from pitboss.model.answers import Answer, Refused
    from pitboss.model.views import RunView
    from pitboss.surfaces.client import Run
    from pitboss.surfaces.ordering import Outcome
    from pitboss.surfaces.outcomes import Report
    from pitboss.wire.control import OrderOp

__all__ = ["carry_out", "in_journal", "refuse"]

REFUSED = 1
"""Exit code of an order that was refused, or did not come true."""


def carry_out(found: Run, op: OrderOp, *, runs_dir: str | None, as_json: bool, wait: bool = False) -> None:
    """Give a run an order and tell the operator what came of it.

    Args:
        found: The run.
        op: The order.
        runs_dir: The runs base as it was given.
        as_json: Tell it as one JSON object.
        wait: Come back only when the order has come true, or cannot any more.

    Raises:
        OperatorError: It was refused, or did not come true; ends the command with 1. As JSON that is told already.
        WorldError: The dispatcher does not answer, or the journal cannot be written.
    """
    from pitboss.surfaces import client, ordering, outcomes

    outcome = ordering.give(found, op, in_journal)
    wait = wait and not outcome.error and outcomes.is_so(outcome.op) is not None
    after = _wait(found, outcome) if wait else client.RunClient(found.path).snapshot()
    _conclude(found, outcome, after, runs_dir=runs_dir, as_json=as_json, waited=wait)


def refuse(found: Run, op: OrderOp, why: str, *, runs_dir: str | None, as_json: bool) -> NoReturn:
    """Tell the operator that an order is not given, as if the run had refused it.

    Raises:
        OperatorError: Ends the command with 1; as JSON that is told already.
    """
    from pitboss.surfaces.ordering import Outcome, with_id

    outcome = Outcome(with_id(op), {}, error=why, code="conflict")
    _conclude(found, outcome, found.view, runs_dir=runs_dir, as_json=as_json, waited=False)
    raise OurFault("a refusal was told as a success")


def _conclude(
    found: Run, outcome: Outcome, after: RunView, *, runs_dir: str | None, as_json: bool, waited: bool
) -> None:
    """Say what came of an order, and end the command if it came to nothing."""
    from pitboss.surfaces import outcomes

    told = outcomes.report(outcome, found.view, after, runs_dir, waited=waited)
    if as_json:
        _print_json(found, outcome, after, told)
        if not told.ok:
            sys.exit(REFUSED)
    elif not told.ok:
        raise OperatorError(told.line, hint=told.hint, exit_code=REFUSED)
    elif not is_quiet():
        stdout().line(told.line)


def in_journal(path: Path, op: OrderOp) -> Answer | Refused:
    """Leave an order for a run that nobody is at work on."""
    from pitboss import upkeep
    from pitboss.wire.control import order_of

    return upkeep.leave_order(path, order_of(op), op.order_id)


def _wait(found: Run, outcome: Outcome) -> RunView:
    from pitboss.surfaces import awaiting, outcomes

    goal = outcomes.is_so(outcome.op)
    err = stderr()
    try:
        return awaiting.until(
            found.path,
            goal or (lambda _: True),
            lambda view: outcomes.still_to_come(outcome.op, view),
            None if is_quiet() else err,
        )
    except KeyboardInterrupt:
        err.line("pitboss: the order was given and holds; only the waiting has ended")
        raise


def _print_json(found: Run, outcome: Outcome, after: RunView, told: Report) -> None:
    import msgspec

    from pitboss.surfaces import ordering, outcomes

    said = {"message": told.line} if told.ok else {"error": told.line, "hint": told.hint or None, "code": told.code}
    shape = ordering.shape(outcome, found, {**outcomes.facts(outcome, after), **said, "ok": told.ok})
    stdout().line(msgspec.json.encode(shape).decode())
