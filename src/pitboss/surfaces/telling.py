"""Who was told what of a run, as an operator sees it on a terminal or reads it as JSON.

Called by ``commands``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from pitboss.core.outbox import Outbox
from pitboss.core.state import RunState, rebuilt
from pitboss.errors import OperatorError
from pitboss.journal.reader import replay
from pitboss.journal.rundir import RunDir
from pitboss.model.notices import Settled, Sink
from pitboss.surfaces import words
from pitboss.wire.scalars import to_timestamp

__all__ = [
    "again_line",
    "left_lines",
    "outbox_json",
    "outbox_lines",
    "settled_json",
    "settled_lines",
    "state_of",
    "trouble_line",
]

_LABELS = {
    "delivered": "delivered",
    "refused": "refused",
    "undelivered": "not delivered",
    "on the way": "not sent yet",
}


def state_of(path: Path) -> RunState:
    """A run as its journal leaves it.

    Raises:
        OperatorError: It has none, or it was cut off before its first fact.
        WorldError: The journal is damaged.
    """
    run = RunDir(path)
    state = rebuilt(entry.fact for entry in (replay(run.journal) if run.journal.exists() else ()))
    if state.run is None:
        raise OperatorError(f"run {run.run_id} has no journal, so it is not known who was told what")
    return state


def outbox_lines(state: RunState, runs_dir: str | None = None) -> Iterator[str]:
    """Every message and sink, a line each, with how telling it went last."""
    sinks = state.spec.sinks
    if not sinks:
        yield f"Run {state.spec.run_id} tells nobody: its manifest has no [[notification]]."
        return
    yield f"Run {state.spec.run_id} tells {', '.join(map(_sink, sinks))}"
    last = _last(state.outbox)
    for notice in state.outbox.notices.values():
        for sink in sinks:
            if (notice.key, sink.id) in last or (notice.key, sink.id) in state.outbox.due:
                settled = last.get((notice.key, sink.id))
                subject = notice.key.partition(":")[2]
                yield _line(words.clock(notice.at), settled, subject, sink.id)
    if owed := len(state.outbox.owed):
        yield f"{words.plural(owed, 'message')} still to be delivered: {_command(state.spec.run_id, runs_dir)}"


def _command(run_id: str, runs_dir: str | None) -> str:
    return f"{words.program()} notify {words.short_id(run_id)} --send{words.at(runs_dir)}"


def _sink(sink: Sink) -> str:
    filters = [f"from {sink.severity_min}"] if sink.severity_min != "info" else []
    filters += [f"only {', '.join(sink.events) or 'nothing'}"] if sink.events is not None else []
    return f"{sink.id} ({'; '.join([sink.kind, *filters])})"


def _line(at: str, settled: Settled | None, subject: str, sink: str) -> str:
    label = _LABELS[settled.outcome if settled else "on the way"]
    after = f" after {words.plural(settled.tries, 'try').replace('trys', 'tries')}" if settled else ""
    why = f": {words.clean(settled.error)}" if settled and settled.error else ""
    return f"  {at}  {label:<13}  {sink:<14} {words.clean(subject)}{after}{why}"


def _last(outbox: Outbox) -> dict[tuple[str, str], Settled]:
    return {(settled.key, settled.sink): settled for settled in outbox.settled}


def outbox_json(state: RunState) -> str:
    """The same as JSON. Of a sink, only what is not secret: its address is not there, not even unfilled."""
    last = _last(state.outbox)
    told = [
        {
            "dedup_key": notice.key,
            "event_kind": notice.kind,
            "severity": notice.severity,
            "ts": to_timestamp(notice.at),
            "sink_id": sink.id,
            "outcome": last[pair].outcome if (pair := (notice.key, sink.id)) in last else "pending",
            "tries": last[pair].tries if pair in last else 0,
            "error": last[pair].error if pair in last else "",
        }
        for notice in state.outbox.notices.values()
        for sink in state.spec.sinks
        if (notice.key, sink.id) in last or (notice.key, sink.id) in state.outbox.due
    ]
    sinks = [
        {"id": sink.id, "kind": sink.kind, "events": sink.events, "severity_min": sink.severity_min}
        for sink in state.spec.sinks
    ]
    shape = {"version": 1, "run_id": state.spec.run_id, "sinks": sinks, "messages": told}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def settled_lines(settled: Iterable[Settled]) -> Iterator[str]:
    """How sending went just now."""
    for one in settled:
        yield _line(words.clock(one.at), one, one.key.partition(":")[2], one.sink)


def again_line(run_id: str, settled: Iterable[Settled], runs_dir: str | None = None) -> str:
    """How to send again what did not arrive just now; empty if all of it did."""
    left = sum(one.outcome != "delivered" for one in settled)
    return f"{words.plural(left, 'message')} still owed; send again with: {_command(run_id, runs_dir)}" if left else ""


def settled_json(settled: Iterable[Settled]) -> str:
    """The same as JSON."""
    shape = [
        {
            "dedup_key": one.key,
            "event_kind": one.kind,
            "sink_id": one.sink,
            "outcome": one.outcome,
            "tries": one.tries,
            "error": one.error,
        }
        for one in settled
    ]
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


class Left(Protocol):
    """What became of what an ended run owed."""

    @property
    def run_id(self) -> str:
        """Which."""

    @property
    def settled(self) -> list[Settled]:
        """How each message went."""

    @property
    def trouble(self) -> str:
        """Why its journal could not be read or written; empty if it could."""

    @property
    def again_at(self) -> float:
        """Until when no command tries again."""


def left_lines(lefts: Sequence[Left], runs_dir: str | None = None) -> Iterator[str]:
    """What another command has sent, of runs that ended before: a line for what arrived, and one for what did not."""
    told = [(left, one) for left in lefts for one in left.settled]
    if delivered := [left.run_id for left, one in told if one.outcome == "delivered"]:
        yield f"pitboss: {_messages(delivered)} {'was' if len(delivered) == 1 else 'were'} delivered now"
    if failed := [(left, one) for left, one in told if one.outcome != "delivered"]:
        sinks = ", ".join(dict.fromkeys(one.sink for _, one in failed))
        again = min((left.again_at for left, _ in failed if left.again_at), default=0.0)
        when = f"tried again by commands after {words.clock(again)} UTC, or by" if again else "sent again by"
        command = _command(failed[0][0].run_id, runs_dir)
        yield (
            f"pitboss: {_messages([left.run_id for left, _ in failed])} did not reach {sinks}: "
            f"{words.clean(failed[0][1].error)}; {when}: {command}"
        )


def trouble_line(lefts: Sequence[Left]) -> str:
    """Why what some runs still have to tell could not be looked at; empty if it could."""
    troubled = [left for left in lefts if left.trouble]
    if not troubled:
        return ""
    more = f" (and {words.plural(len(troubled) - 1, 'more run')})" if troubled[1:] else ""
    whose = f"what run {troubled[0].run_id}{more} still has to tell" if troubled[0].run_id else "what is still owed"
    return f"pitboss: {whose} could not be sent: {troubled[0].trouble}"


def _messages(run_ids: Sequence[str]) -> str:
    """``2 notifications of run 01a2...``, of one run or several."""
    runs = list(dict.fromkeys(run_ids))
    whose = f"run {words.short_id(runs[0])}" if len(runs) == 1 else f"{len(runs)} earlier runs"
    return f"{words.plural(len(run_ids), 'notification')} of {whose}"
