"""How actors are watched and how they end: deadlines, the stop ladder, the verdict.

The ladder is data. A rung is tried, given its patience, and followed by the next; the last one is repeated, and
when even that does not end the process we say so instead of waiting for ever. The hands know how to press a
rung (``drivers.claude``), not when.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple

from pitboss.core import leases
from pitboss.core.state import Actor, RunState
from pitboss.model.approvals import Approval, End
from pitboss.model.approvals import Decision as Ruling
from pitboss.model.effects import Rung
from pitboss.model.run import Failure, Phase, Status

INTERRUPT_WINDOW_SECS = 5.0
"""A second Ctrl-C within this time stops the run; a later one starts a new window."""

TERM_GRACE_SECS = 10.0
"""Between SIGTERM and SIGKILL, as in Pitboss 0.9."""

KILL_PATIENCE_SECS = 5.0
KILL_TRIES = 3
"""After so many SIGKILLs without a death the attempt is declared unverifiable."""


NEVER_CONTINUED = "never continued: the run is draining"
"""Of one that was paused or cut off: a resume takes it up again. The drain need not be an operator's order."""


class Step(NamedTuple):
    """One rung and how long it is given."""

    rung: Rung
    patience_secs: float


_FORCE = (Step(Rung.TERM, TERM_GRACE_SECS), *(Step(Rung.KILL, KILL_PATIENCE_SECS) for _ in range(KILL_TRIES)))

LADDERS = MappingProxyType(
    {
        "finished": (Step(Rung.CLOSE_STDIN, 20.0), *_FORCE),
        "background": (Step(Rung.CLOSE_STDIN, 3.0), *_FORCE),
        "timeout": (Step(Rung.INTERRUPT, 3.0), Step(Rung.CLOSE_STDIN, 3.0), *_FORCE),
        "cancel": (Step(Rung.INTERRUPT, 1.0), Step(Rung.CLOSE_STDIN, 1.0), *_FORCE),
        "pause": (Step(Rung.INTERRUPT, 3.0), Step(Rung.CLOSE_STDIN, 5.0), *_FORCE),
        "share": (Step(Rung.CLOSE_STDIN, 20.0), *_FORCE),
        "budget": (Step(Rung.INTERRUPT, 3.0), Step(Rung.CLOSE_STDIN, 3.0), *_FORCE),
        "stop": (Step(Rung.INTERRUPT, 1.0), Step(Rung.CLOSE_STDIN, 1.0), *_FORCE),
        "failed": _FORCE,
    }
)
"""Reason for an end -> its ladder.

``finished``: the work has ended. ``background``: it has, but shells it left behind go on. ``share``: it has not, but
its share of the money is spent, and there is more for another process. ``timeout``, ``pause``, ``budget`` and ``stop``
interrupt first, so that the last turn's account is exact. ``failed``: nobody answers, so only force helps.
"""

QUIET_AFTER_BACKGROUND_SECS = 10.0
"""How long a session may stay quiet after its last background task ended before we take its work as done."""


class Deadline(NamedTuple):
    """Something that falls due for an actor."""

    at: float
    kind: str
    """``rung``, ``timeout``, ``background`` or ``quiet``."""
    actor: Actor


def deadlines(state: RunState) -> Iterator[Deadline]:
    """Every deadline of every actor that has a process."""
    for actor in state.live_actors:
        if actor.phase in {Phase.FINISHING, Phase.STOPPING} and actor.stopping and actor.stopping.rung:
            yield Deadline(actor.stopping.patience_until, "rung", actor)
        if (times_out_at := timeout_at(actor)) is not None:
            yield Deadline(times_out_at, "timeout", actor)
        if actor.phase is Phase.WORKING and actor.turn is not None:
            yield from _after_turn(state, actor)


def timeout_at(actor: Actor) -> float | None:
    """When an actor runs out of its time; ``None`` while its clock stands still."""
    if actor.phase not in {Phase.STARTING, Phase.WORKING} or not actor.process_at:
        return None
    return actor.process_at + actor.held_secs - actor.worked_secs + actor.spec.timeout_secs


def end_of(asked: Approval, actor: Actor) -> End | None:
    """When a request is over if nobody answers it, and by what; ``None`` for never.

    Args:
        asked: What is asked.
        actor: Who asks; its request ends with it.
    """
    times_out_at = timeout_at(actor)
    if times_out_at is not None and (asked.expires_at is None or times_out_at < asked.expires_at):
        return End(at=times_out_at, by="timeout")
    return None if asked.expires_at is None else End(at=asked.expires_at, by="expiry")


def _after_turn(state: RunState, actor: Actor) -> Iterator[Deadline]:
    """A turn has ended while background work went on: subagents are waited for, shells get a grace."""
    if not actor.background:
        yield Deadline(actor.turn_at + QUIET_AFTER_BACKGROUND_SECS, "quiet", actor)
    elif not any("agent" in task.partition(":")[0] for task in actor.background):
        yield Deadline(actor.turn_at + state.spec.background_grace_secs, "background", actor)


def next_deadline(state: RunState) -> float | None:
    """When the engine has to look again even if nothing reaches it; ``None`` if it may sleep for ever."""
    due = [deadline.at for deadline in deadlines(state)]
    if state.throttled_until and not state.draining:
        due.append(state.throttled_until)
    due += [
        one.approval.expires_at
        for one in state.approvals.values()
        if one.ruling is None and one.approval.expires_at is not None
    ]
    due += [wait.deadline for wait in state.waits.values() if wait.deadline is not None]
    if (expiry := leases.next_expiry(state.leases)) is not None:
        due.append(expiry)
    return min(due, default=None)


def next_step(actor: Actor) -> Step | None:
    """The rung after the present one, ``None`` at the ladder's end."""
    if actor.stopping is None:
        return None
    ladder = LADDERS[actor.stopping.reason]
    index = actor.stopping.step + 1
    return ladder[index] if index < len(ladder) else None


def verdict(actor: Actor) -> Status:
    """How the actor ended, from what is known about it. Asked once its processes are gone or never came."""
    reason = actor.stopping.reason if actor.stopping else None
    if reason == "timeout":
        return Status.TIMED_OUT
    if reason in {"stop", "cancel", "pause"}:
        return Status.CANCELLED
    if reason == "budget":
        return Status.FAILED
    if actor.process_at == 0.0:
        return Status.SPAWN_FAILED
    went_well = actor.turn is not None and not actor.turn.is_error
    # Where its turn was fine its work was done, even if its process had to be helped out.
    if not went_well or (actor.failure is not None and reason not in {"finished", "background"}):
        return Status.FAILED
    if actor.refused is not None:  # it has done nothing since: the refusal is how it ended
        return Status.APPROVAL_TIMED_OUT if actor.refused.by == "expiry" else Status.APPROVAL_REJECTED
    return Status.SUCCESS


def explain(actor: Actor, status: Status) -> tuple[Failure | None, str]:
    """The failure and the note that go into the record beside ``status``."""
    note = actor.stopping.note if actor.stopping else ""
    if actor.certificate and not actor.certificate.complete:
        note = " ".join(filter(None, [note, "unverifiable: something of it could not be shown to have ended"]))
    elif actor.certificate and actor.certificate.stopped:
        count = len(actor.certificate.stopped)
        left = f"{count} left-over process{'es' if count > 1 else ''} stopped after it"
        note = "; ".join(filter(None, [note, left]))
    earlier = actor.worktree.message if actor.worktree else ""
    note = "; ".join(filter(None, [note, earlier, actor.note]))
    match status:
        case Status.SUCCESS:
            return None, note
        case Status.TIMED_OUT:
            return Failure(kind="unknown", message=f"timed out after {actor.spec.timeout_secs} s"), note
        case Status.CANCELLED:
            return Failure(kind="unknown", message=_who_stopped(actor)), note
        case Status.FAILED if actor.stopping and actor.stopping.reason == "budget":
            return Failure(kind="budget_exceeded", message=actor.stopping.note), note
        case Status.APPROVAL_REJECTED | Status.APPROVAL_TIMED_OUT if actor.refused is not None:
            return Failure(kind="unknown", message=_how_refused(actor.refused)), note
        case _:
            if actor.failure is None and actor.turn is not None:
                return Failure(kind="unknown", message=actor.turn.text[:240]), note
            return actor.failure or Failure(kind="no_result", message="it ended without a result"), note


def _how_refused(ruling: Ruling) -> str:
    """Its own last words may say anything, so they are no reason."""
    if ruling.by == "expiry":
        return "it gave up when its request for approval was not answered in time"
    why = ruling.reason or ruling.comment
    return f"it gave up when its request for approval was rejected by {ruling.by}" + (f": {why}" if why else "")


def _who_stopped(actor: Actor) -> str:
    stopping = actor.stopping
    of_task = stopping is not None and actor.role == "task" and stopping.reason == "stop"
    if stopping is None or not stopping.note or (of_task and stopping.note != NEVER_CONTINUED):
        return "stopped by the operator"
    return stopping.note
