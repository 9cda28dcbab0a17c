"""What has happened between two views of a run, one line per change; and how it stands, in one line.

Pure: views and times in, frozen changes and text out. Lines are safe to print, whatever agents wrote. Called by
``commands.watch``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pitboss.core.attention import Need, NeedKind
from pitboss.model.run import ActorId, Frozen, Phase
from pitboss.model.views import ActorView, RunView
from pitboss.surfaces import notice, words

__all__ = ["Change", "change_line", "changes", "cut_off", "newly_needed", "summary_line", "tune_in"]

RUN = "run"
"""Stands where a change is one of the whole run."""

_NAME_CELLS = 16


class Change(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    """Something that has happened."""

    at: float
    """Seconds since the epoch."""
    kind: str
    """``run``, ``spawned``, ``started``, ``frozen``, ``thawed``, ``paused``, ``continued``, ``stopping``, ``settled``,
    ``requeued``, ``ended``; of a need its kind, and ``answered``, ``revived`` or ``eased`` when it is none any more."""
    actor: ActorId | None = None
    """Whom it is about; ``None`` for the run as a whole."""
    name: str = RUN
    """What it is called for short."""
    text: str
    status: str | None = None
    """How an actor ended."""
    cost_usd: float | None = None
    """What that has cost."""
    about: str = ""
    """The id of a request for approval."""
    command: str = ""
    """What helps."""


def change_line(change: Change) -> str:
    """One change as a line: when, in UTC; who; what."""
    name = words.fit(words.clean(change.name), _NAME_CELLS)
    return f"{words.clock(change.at)}  {name}  {words.clean(change.text)}"


def tune_in(view: RunView, needs: Sequence[Need], now: float, runs_dir: str | None = None) -> Iterator[Change]:
    """What one who begins to watch is told: how the run stands, and what of it needs a person; see ``changes``."""
    cut_off = any(need.kind == "cut_off" for need in needs)
    yield Change(at=now, kind=RUN, text=_one_line(_standing(view, now, cut_off=cut_off)))
    yield from (_need(need, view, now, runs_dir) for need in needs)


def changes(
    old: RunView,
    new: RunView,
    needs_before: Sequence[Need],
    needs_now: Sequence[Need],
    now: float,
    runs_dir: str | None = None,
) -> list[Change]:
    """What has happened between two views of a run, in the order in which it did as far as that is known.

    Args:
        old: The run as it was.
        new: The run as it is.
        needs_before: What needed a person then.
        needs_now: What does now.
        now: The time.
        runs_dir: The runs base to name in commands; ``None`` for the usual one.
    """
    before = {actor.id: actor for actor in old.actors}
    found = [step for actor in new.actors for step in _steps(before.get(actor.id), actor, new, now)]
    # A failure has its line already, and an end that is wanted is told by those who end.
    fresh = [need for need in newly_needed(needs_before, needs_now) if need.kind != "failed"]
    found += [_need(need, new, now, runs_dir) for need in fresh]
    if not new.ended_at:
        known = {need.key for need in needs_now}
        found += [change for need in needs_before if need.key not in known for change in _eased(need, new, now)]
    found.sort(key=lambda change: change.at)
    if new.ended_at and not old.ended_at:
        found.append(_ended(new))
    return found


def newly_needed(before: Sequence[Need], now: Sequence[Need]) -> list[Need]:
    """The needs that were not there before, but for those a person has just brought about."""
    known = {need.key for need in before}
    return [need for need in now if need.key not in known and need.kind != "paused"]


def cut_off(view: RunView, now: float, runs_dir: str | None = None) -> Change:
    """The dispatcher of a run that was being watched is gone."""
    text = "the dispatcher is gone and did not finish the run"
    command = notice.typed(view, runs_dir, "resume")
    if not view.cursor:  # not one fact was written
        text = "the dispatcher is gone before it began anything"
        command = f"{words.again(view)}{words.at(runs_dir)}"
    return Change(at=now, kind="cut_off", text=f"{text}: {command}", command=command)


# --- actors -----------------------------------------------------------------------------------------------------------


def _steps(before: ActorView | None, actor: ActorView, view: RunView, now: float) -> Iterator[Change]:
    if before is actor:
        return
    if before is None:
        parent = view.names.get(actor.parent, actor.parent) if actor.parent else ""
        yield _of(actor, now, "spawned", f"spawned by {parent}" if parent else "joined")
    was = before.phase if before else Phase.QUEUED
    if actor.attempt > (before.attempt if before else 0):
        is_new = actor.started_at and actor.started_at != (before.started_at if before else 0.0)
        at = actor.started_at if is_new else actor.ended_at or now  # it was paused: when it went on is not known
        yield _of(actor, at, "started", _beginning(actor))
    if was is actor.phase:
        return
    if actor.phase is Phase.SETTLED:
        yield _settled(actor)
    elif actor.phase is Phase.QUEUED:
        kind, text = ("continued", "goes on") if was is Phase.PAUSED else ("requeued", "is taken up again")
        yield _of(actor, now, kind, text)
    elif actor.phase in _PHASES:
        yield _of(actor, now, *_PHASES[actor.phase])
    elif was is Phase.FROZEN and actor.phase is Phase.WORKING:
        yield _of(actor, now, "thawed", "goes on")


_PHASES = {
    Phase.FROZEN: ("frozen", "frozen"),
    Phase.PAUSED: ("paused", "paused"),
    Phase.STOPPING: ("stopping", "is being stopped"),
}


def _beginning(actor: ActorView) -> str:
    return "started" if actor.attempt <= 1 else f"started again (attempt {actor.attempt})"


def _settled(actor: ActorView) -> Change:
    took = words.duration(words.elapsed(actor.started_at, actor.ended_at, actor.ended_at))
    parts = [words.label(actor), took, words.money(actor.cost_usd)]
    if actor.failure and (said := actor.failure.message or actor.failure.kind):
        parts.append(said)
    text = ", ".join(part for part in parts if part != words.NOTHING)
    settled = _of(actor, actor.ended_at, "settled", text)
    return Change(
        at=settled.at,
        kind=settled.kind,
        actor=actor.id,
        name=settled.name,
        text=settled.text,
        status=str(actor.status) if actor.status else None,
        cost_usd=actor.cost_usd,
    )


def _of(actor: ActorView, at: float, kind: str, text: str) -> Change:
    return Change(at=at, kind=kind, actor=actor.id, name=actor.name or actor.id, text=text)


# --- needs ------------------------------------------------------------------------------------------------------------

_EASED: dict[NeedKind, tuple[str, str]] = {
    "approval": ("answered", "its request was answered"),
    "stalled": ("revived", "is heard of again"),
    "guardian": ("eased", "a guardian watches"),
    "api": ("eased", "starting is not slowed any more"),
    "disk": ("eased", "there is room on the disk again"),
    "budget": ("eased", "there is money again"),
    "draining": ("eased", "actors are started again"),
}
"""What it means that a need is none any more."""


def _need(need: Need, view: RunView, now: float, runs_dir: str | None) -> Change:
    return Change(
        at=now,
        kind=need.kind,
        actor=need.actor,
        name=view.names.get(need.actor, need.actor) if need.actor else RUN,
        text="! " + notice.need_line(need, view, now=now),
        about=need.about if need.kind == "approval" else "",
        command=notice.helps(need, view, runs_dir),
    )


def _eased(need: Need, view: RunView, now: float) -> Iterator[Change]:
    """An agent that has ended is not heard of again, and its end has a line of its own."""
    over = {actor.id for actor in view.actors if actor.phase in {Phase.TIDYING, Phase.SETTLED}}
    if need.kind not in _EASED or (need.actor in over and need.kind != "approval"):
        return
    kind, text = _EASED[need.kind]
    if need.actor in over:
        text = "has ended, and nobody waits for an answer to its request any more"
    name = view.names.get(need.actor, need.actor) if need.actor else RUN
    yield Change(at=now, kind=kind, actor=need.actor, name=name, text=text, about=need.about * (kind == "answered"))


# --- the run ----------------------------------------------------------------------------------------------------------


def _ended(view: RunView) -> Change:
    done = f"{view.succeeded} of {words.plural(len(view.actors), 'actor' if view.layers else 'task')} successful"
    text = f"ended: {done}, {words.duration(view.ended_at - view.started_at)}, {words.spent(view)}"
    return Change(at=view.ended_at, kind="ended", text=text, cost_usd=view.spent_usd)


_SHORT: dict[NeedKind, str] = {
    "approval": "approval",
    "stalled": "silent",
    "cut_off": "cut off",
    "disk": "disk low",
    "guardian": "no guardian",
    "budget": "budget near",
    "api": "API refuses",
    "unwritten": "file unwritten",
    "unreached": "receiver unreached",
    "paused": "paused",
    "draining": "draining",
}
"""A need in a word or two, for a status bar. Failures are counted there anyway."""


def summary_line(view: RunView, needs: Sequence[Need], now: float) -> str:
    """How a run stands, in one line that is safe to print: for a status bar."""
    counts = Counter(need.kind for need in needs if need.kind in _SHORT)
    urgent = [
        words.plural(number, _SHORT[kind]) if kind == "approval" else f"{number} " * (number > 1) + _SHORT[kind]
        for kind, number in counts.items()
    ]
    parts = [*_standing(view, now, cut_off="cut_off" in counts), f"! {', '.join(urgent)}" if urgent else ""]
    return _one_line(parts)


def _standing(view: RunView, now: float, *, cut_off: bool) -> Iterator[str]:
    """Its name, time, counts and money; in a run that was cut off nobody is at work, and no time passes."""
    yield words.name_of(view)
    if not cut_off:
        yield words.duration(words.elapsed(view.started_at, view.ended_at, now))
    for _, text in words.counts(view):
        if cut_off and text.endswith(" running"):
            text = "" if text.startswith("0 ") else text.replace("running", "interrupted")
        yield text
    yield words.spent(view)


def _one_line(parts: Iterable[str]) -> str:
    return words.clean(" · ".join(part for part in parts if part and part != words.NOTHING))
