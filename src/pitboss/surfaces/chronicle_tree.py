"""Sentences about what only a tree and its store bring about; the other half of ``chronicle``, which calls it."""

from __future__ import annotations

from typing import assert_never

from pitboss.core.words import awaited
from pitboss.model import approval_facts as a
from pitboss.model import tree_facts as t
from pitboss.model.store import RUN_WIDE
from pitboss.surfaces import words

_PROMPT_CHARS = 80


def about_the_tree(fact: t.TreeFact) -> str:
    """What happened to an actor by another's doing."""
    match fact:
        case t.ActorSpawned():
            return _spawned(fact)
        case t.ActorPaused(goes_on=True):
            return "there is more: it goes on in its own place and session, with a new share"
        case t.ActorPaused():
            return "it is paused: its processes are gone, its place and its session are kept"
        case t.ActorFrozen(by=by):
            return f"{by} froze it: its processes stand still, and so does its clock"
        case t.ActorThawed():
            return "it goes on"
        case t.ActorContinued(by=by, prompt=prompt):
            return f"{by} lets it go on: {_short(prompt)}"
        case t.MessageSent(message=message):
            how = "interrupts it to say" if message.interrupts else "tells it"
            return f"{message.by} {how}: {_short(message.text)}"
        case t.MessagesDelivered():
            return "it was told"
        case t.InterruptAsked():
            return "its turn is being ended, so that it hears"
        case t.WaitBegan(awaited=what):
            return f"it waits for {awaited(what)}"
        case t.WaitEnded(how=how):
            ends = {"answered": "is answered", "timeout": "ran out of time", "message": "ends early, for a message"}
            return f"its wait {ends.get(how, 'was given up')}"
        case t.SeatOpened(taken_by=via):
            return f"{via} took a seat: a program may call its tools in its name"
        case _:
            assert_never(fact)


def _spawned(fact: t.ActorSpawned) -> str:
    label = f" ({fact.label})" if fact.label else ""
    if fact.role == "sublead":
        money = fact.envelope.budget_usd
        means = "sharing its money and caps" if fact.envelope.is_shared else f"with {words.money(money)} of its own"
        return f"{fact.parent} made it its sub-lead{label}, {means}: {_short(fact.spec.prompt)}"
    return f"{fact.parent} spawned it{label}, {words.money(fact.reserved_usd)} set apart: {_short(fact.spec.prompt)}"


def about_an_approval(fact: a.ApprovalFact) -> str:
    """What was asked for, and how it was answered."""
    match fact:
        case a.ApprovalRequested(approval=asked):
            return f"it asks for approval ({asked.request_id}): {_short(asked.summary)}"
        case a.ApprovalTakenUp(request_id=name):
            return f"it asks for {name} again, having been cut off"
        case a.ApprovalDecided(ruling=ruling, request_id=name):
            said = f": {_short(ruling.reason or ruling.comment or '')}" if ruling.reason or ruling.comment else ""
            return f"{name} was {'approved' if ruling.approved else 'refused'} by {ruling.by}{said}"
        case _:
            assert_never(fact)


def about_shared(fact: t.SharedFact) -> str:
    """What happened to the store or to a lease."""
    match fact:
        case t.StoreWritten(entry=entry):
            return f"{entry.written_by} wrote {entry.path}, version {entry.version} ({entry.size_bytes} bytes)"
        case t.StoreRemoved(removed=removed):
            return f"{removed.removed_by} removed {removed.path}"
        case t.LeaseTaken(lease=lease):
            wide = "run-wide " if lease.scope == RUN_WIDE else ""
            return f"{lease.holder} has the {wide}lease {lease.name}"
        case t.LeaseOver(ended=ended):
            return f"the lease {ended.name} is free: {ended.reason.replace('_', ' ')}"
        case _:
            assert_never(fact)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _PROMPT_CHARS else line[: _PROMPT_CHARS - 1] + "…"
