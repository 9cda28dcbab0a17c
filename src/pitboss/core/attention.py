"""What of a run needs a person, most urgent first: read off a view, so that every face says the same.

Pure. Called by ``surfaces`` for ``status`` and ``watch``, and by whatever else tells people. What agents wrote is in
the texts as they wrote it: whoever prints one cleans it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pitboss.model.approvals import EndedBy, Kind
from pitboss.model.money import dollars
from pitboss.model.run import ActorId, Frozen, Phase, Status
from pitboss.model.views import ActorView, ApprovalView, LayerView, RunView

__all__ = ["BUDGET_NEAR", "DISK_LOW_BYTES", "GUARDIAN_SECS", "Need", "NeedKind", "attention"]

BUDGET_NEAR = 0.9
"""Of a budget, so much spent is nearly all: a turn that costs a tenth of it is no rarity, and at the limit turns are
stopped in the middle."""

DISK_LOW_BYTES = 1 << 30
"""With less room a person should look: a noisy agent's log grows by hundreds of megabytes, a worktree has as much; a
run that cannot write its journal drains."""

GUARDIAN_SECS = 10.0
"""So long a run may take to have its guardian: a busy machine starts a Python process in one or two seconds."""

NeedKind: TypeAlias = Literal[
    "cut_off",
    "disk",
    "guardian",
    "approval",
    "stalled",
    "paused",
    "budget",
    "api",
    "unwritten",
    "unreached",
    "draining",
    "failed",
]

URGENCY: tuple[NeedKind, ...] = (
    "cut_off",  # nothing goes on at all
    "disk",  # soon nothing will
    "guardian",  # nothing new is started
    "approval",  # somebody stands still, and maybe others behind
    "stalled",  # somebody seems to
    "paused",  # somebody does, and goes on when a person says so
    "budget",
    "api",  # it recovers by itself, unless the key or the account is the trouble
    "unwritten",
    "unreached",
    "draining",
    "failed",  # over: nothing gets worse by waiting
)
"""The kinds, most urgent first."""

_ASKS: dict[Kind, str] = {
    "action": "asks for approval",
    "plan": "has a plan to approve",
    "permission": "needs permission",
    "deed": "wants to call a tool",
}


class Need(Frozen, frozen=True, kw_only=True):
    """One thing that a person should see to."""

    kind: NeedKind
    about: str = ""
    """What tells it from others of its kind: a request's id, an actor, a layer's lead, a path."""
    actor: ActorId | None = None
    """Whom it is about, if about one."""
    since: float = 0.0
    """When it began; 0 if that is not known."""
    until: float | None = None
    """When it is decided without a person; ``None`` for never."""
    until_by: EndedBy | None = None
    """What decides it then: its ``expiry``, or the ``timeout`` of the actor it is about."""
    text: str
    """One sentence without its full stop; for how long is not in it, because that changes."""
    behind: tuple[ActorId, ...] = ()
    """Who stands still because of it, the nearest first."""
    command: tuple[str, ...] = ()
    """What helps: the words behind ``pitboss``, the run by its whole id; empty if no command does."""

    @property
    def key(self) -> tuple[str, str]:
        """The same as long as it is the same need."""
        return self.kind, self.about


def attention(view: RunView, now: float, free_bytes: int | None = None, *, live: bool = True) -> tuple[Need, ...]:
    """What needs a person, most urgent first; of a kind, what ends soonest and began first.

    Args:
        view: The run.
        now: The time.
        free_bytes: Room on the disk that has the run; ``None`` if that is not known.
        live: A dispatcher is at work on it.
    """
    found = [*_kept(view, live=live), *_failures(view), *_unreached(view)]
    if live and not view.ended_at:
        found += [*_stalled(view), *_paused(view), *_budget(view), *_run_wide(view, now), *_disk(view, free_bytes)]
    return tuple(sorted(found, key=_urgency))


def _urgency(need: Need) -> tuple[int, float, float]:
    return URGENCY.index(need.kind), need.until if need.until is not None else float("inf"), need.since


def _of(
    view: RunView,
    actor: ActorView,
    kind: NeedKind,
    text: str,
    command: str,
    *,
    since: float = 0.0,
    behind: tuple[ActorId, ...] = (),
) -> Need:
    """A need of one actor, whose name the text follows and whose id the command."""
    return Need(
        kind=kind,
        about=actor.id,
        actor=actor.id,
        since=since,
        text=f"{actor.name or actor.id} {text}",
        behind=behind,
        command=(command, view.run_id, actor.id),
    )


# --- also where no dispatcher is at work ------------------------------------------------------------------------------


def _kept(view: RunView, *, live: bool) -> Iterator[Need]:
    if view.ended_at:
        return
    if not live and not view.rehearsal:
        yield Need(
            kind="cut_off",
            text="The run was cut off: its dispatcher is gone, and did not finish it",
            command=("resume", view.run_id),
        )
    names = view.names
    for asked in view.approvals:
        yield _approval(view, asked, names.get(asked.actor, asked.actor), live=live)


def _approval(view: RunView, asked: ApprovalView, name: str, *, live: bool) -> Need:
    end = asked.end(live=live)
    tool = asked.tool_name or "" if asked.kind in {"deed", "permission"} else ""
    what = asked.summary if asked.summary.startswith(tool) else f"{tool}: {asked.summary}"
    return Need(
        kind="approval",
        about=asked.request_id,
        actor=asked.actor,
        since=asked.asked_at,
        until=end.at if end else None,
        until_by=end.by if end else None,
        text=f"{name} {_ASKS[asked.kind]}: {what}",
        behind=_behind(view, asked.actor),
        command=("approve", view.run_id, asked.request_id),
    )


def _behind(view: RunView, actor: ActorId) -> tuple[ActorId, ...]:
    """An actor that stands still, whoever waits for its end, and whoever waits for those."""
    still = [actor]
    for held in still:
        still += [one.id for one in view.actors if held in one.waits_for and one.id not in still]
    return tuple(still)


def _failures(view: RunView) -> Iterator[Need]:
    for actor in view.actors:
        if not _is_failure(actor, view):
            continue
        said = actor.failure.message or actor.failure.kind if actor.failure else actor.note
        text = f"ended with {actor.status}" + (f": {said}" if said else "")
        yield _of(view, actor, "failed", text, "why", since=actor.ended_at)


def _unreached(view: RunView) -> Iterator[Need]:
    for sink in view.unreached:
        text = f"Not everything that was to be told reached {sink}"
        yield Need(kind="unreached", about=sink, text=text, command=("notify", view.run_id))


def _is_failure(actor: ActorView, view: RunView) -> bool:
    """Whom an operator or a lead has cancelled is no news to them, unless the lead has failed over it."""
    if actor.status in {None, Status.SUCCESS}:
        return False
    return actor.status is not Status.CANCELLED or (actor.role == "lead" and not view.was_interrupted)


# --- where one is -----------------------------------------------------------------------------------------------------


def _stalled(view: RunView) -> Iterator[Need]:
    for actor in view.actors:
        if actor.silent_secs and actor.phase is Phase.WORKING:
            behind = _behind(view, actor.id)
            yield _of(view, actor, "stalled", "has gone silent", "attach", since=actor.silent_since, behind=behind)


def _paused(view: RunView) -> Iterator[Need]:
    """Whom nobody but an operator can have paused: the others are their leads' to let go on."""
    for actor in view.actors:
        if actor.role in {"task", "lead"} and actor.phase in {Phase.FROZEN, Phase.PAUSED}:
            text = f"is {actor.phase} and goes on when it is told to"
            yield _of(view, actor, "paused", text, "continue", behind=_behind(view, actor.id))


def _budget(view: RunView) -> Iterator[Need]:
    over = {actor.id for actor in view.actors if actor.phase in {Phase.TIDYING, Phase.SETTLED}}
    if not view.layers and _is_near(view.spent_usd, view.budget_usd):
        text = f"The run has spent {_share(view.spent_usd, view.budget_usd)}"
        yield Need(kind="budget", text=text, command=("budget", view.run_id, "USD"))
    for layer in view.layers:
        if layer.lead not in over and not layer.is_shared and _is_near(layer.spent_usd, layer.budget_usd):
            yield _layer_budget(view, layer)


def _layer_budget(view: RunView, layer: LayerView) -> Need:
    name = view.names.get(layer.lead, layer.lead)
    text = f"{name} and those below have spent {_share(layer.spent_usd, layer.budget_usd)}"
    command = ("budget", view.run_id, layer.lead, "USD")
    return Need(kind="budget", about=layer.lead, actor=layer.lead, text=text, command=command)


def _is_near(spent: float, budget: float | None) -> bool:
    return bool(budget) and spent >= BUDGET_NEAR * (budget or 0.0)


def _share(spent: float, budget: float | None) -> str:
    return f"{dollars(spent)} of {dollars(budget or 0.0)}"


def _run_wide(view: RunView, now: float) -> Iterator[Need]:
    unsettled = view.count(Phase.SETTLED) < len(view.actors)
    if not view.guarded and unsettled and now - view.started_at > GUARDIAN_SECS:
        yield Need(kind="guardian", text="No guardian watches the run: nothing is started before one does")
    if view.throttle:
        limit = f"{view.starts_limit} at once" if view.starts_limit else "a halt"
        yield Need(kind="api", since=view.throttled_at, text=f"Starting is slowed to {limit}: {view.throttle}")
    if view.stopping or view.draining:
        yield _draining(view)
    for lost in view.artifacts_lost:
        path = lost.partition(": ")[0]
        yield Need(kind="unwritten", about=path, text=f"A file of the run could not be written: {lost}")


def _draining(view: RunView) -> Need:
    if view.stopping:
        return Need(kind="draining", since=view.draining_since, text="Everything is being stopped")
    queued = view.count(Phase.QUEUED)
    left = f", {queued} will not be" if queued else ""
    return Need(
        kind="draining",
        since=view.draining_since,
        text=f"The run drains ({view.draining}): nothing more is started{left}",
    )


def _disk(view: RunView, free_bytes: int | None) -> Iterator[Need]:
    if free_bytes is not None and free_bytes < DISK_LOW_BYTES:
        text = f"Only {free_bytes // 2**20} MiB are free on the disk of {view.run_dir}"
        yield Need(kind="disk", about=view.run_dir, text=text, command=("prune",))
