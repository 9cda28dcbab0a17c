"""The live floor: one picture of a run, as large as the terminal and no larger.

A pure function from a view, a size and a time to styled text, so that the picture is tested without a terminal.
``progress`` draws it; nothing here knows that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text

from pitboss.core.attention import attention
from pitboss.journal.rundir import typed
from pitboss.model.run import ActorId, Phase, Status
from pitboss.model.views import ActorView, LayerView, RunView
from pitboss.surfaces import notice, words

__all__ = ["floor"]

_STATUS_STYLES = {Status.SUCCESS: "green", Status.CANCELLED: "yellow", Status.TIMED_OUT: "yellow"}
_PHASE_STYLES = {
    Phase.QUEUED: "dim",
    Phase.WORKING: "cyan",
    Phase.STOPPING: "yellow",
    Phase.FROZEN: "magenta",
    Phase.PAUSED: "magenta",
}
_MOST_NEEDS = 3
"""So many needs have a line of their own: the floor is for the actors."""

_LEAST_DOING = 16
"""Below so many cells the phrase about what an actor does is left out, or another column for its sake."""


def floor(view: RunView, *, width: int, height: int, now: float) -> Text:
    """The picture: what the run as a whole does, then one row per actor.

    Args:
        view: The run.
        width: Cells of the terminal's lines; none will be longer.
        height: Lines there is room for; never more.
        now: The time, for what still runs.
    """
    lines = [_header(view, width, now), *_means(view, width), *_notices(view, width, now)][: max(1, height)]
    room = height - len(lines)
    shown, rest = _chosen(view.actors, room)
    layout = _Layout(shown, width, view.names)
    lines += [layout.row(actor, now) for actor in shown]
    if rest and room > 0:
        lines.append(Text(words.fit(_summed_up(rest), width).rstrip(), "dim"))
    return Text("\n").join(lines)


# --- the run as a whole ---------------------------------------------------------------------------------------------


def _header(view: RunView, width: int, now: float) -> Text:
    """Name, id, time, counts, money; what does not fit is left out, the least important first."""
    ran = words.elapsed(view.started_at, view.ended_at, now)
    parts = [
        (2, words.name_of(view)),
        (5, words.short_id(view.run_id) if view.name else ""),
        (2, words.duration(ran) if ran >= 1 else "0s"),
        *words.counts(view),
        (4, words.spent(view)),
    ]
    if view.rehearsal:
        parts.insert(0, (0, "REHEARSAL"))
    kept = [part for part in parts if part[1]]
    while len(kept) > 1 and cell_len(" · ".join(text for _, text in kept)) > width:
        kept.remove(max(kept))
    return Text(words.fit(" · ".join(text for _, text in kept), width).rstrip(), "bold")


def _means(view: RunView, width: int) -> Iterator[Text]:
    """What each layer of a tree that is at work may still use, in one line."""
    if view.ended_at or not view.layers:
        return
    names = view.names
    over = {actor.id for actor in view.actors if actor.phase in {Phase.TIDYING, Phase.SETTLED}}
    said = [_means_of(layer, names[layer.lead]) for layer in view.layers if layer.lead not in over]
    if said:
        yield Text(words.fit(words.clean(" │ ".join(said)), width).rstrip(), "dim")


def _means_of(layer: LayerView, name: str) -> str:
    if layer.is_shared:
        return f"{name} shares"
    parts = [f"{name} {words.workers(layer)}"]
    if layer.left_usd is not None:
        parts.append(f"{words.money(layer.left_usd)} left")
    if layer.plan_required and not layer.plan_approved:
        parts.append("no plan approved")
    parts += [f"{lease.name} leased" for lease in layer.leases]
    return ", ".join(parts)


def _notices(view: RunView, width: int, now: float) -> Iterator[Text]:
    if view.ended_at:
        return
    for text in (*_spoken_notices(view), *_needs(view, now)):
        yield Text(words.fit(words.clean(text), width).rstrip(), "yellow")


def _spoken_notices(view: RunView) -> Iterator[str]:
    if view.stopping:
        yield "! stopping everything"
    elif view.draining:
        yield f"! draining ({view.draining}): nothing more is started; Ctrl-C twice within 5 s stops everything"
    if view.throttle and view.count(Phase.QUEUED):
        yield f"! starting is slowed to {view.starts_limit} at once: {view.throttle}"
    if not view.guarded and view.count(Phase.SETTLED) < len(view.actors):
        yield "! no guardian yet: nothing is started before one watches"


def _needs(view: RunView, now: float) -> Iterator[str]:
    """What needs a person and has no other place in the picture: rows tell of those who failed or fell silent."""
    needs = [need for need in attention(view, now) if need.kind in {"approval", "budget", "unwritten"}]
    yield from (f"! {notice.need_line(need, view, now=now)}" for need in needs[:_MOST_NEEDS])
    if len(needs) > _MOST_NEEDS:
        yield f"! and {len(needs) - _MOST_NEEDS} more need you: see `{_status(view)}`"


def _status(view: RunView) -> str:
    folder = Path(view.run_dir).parent
    return typed(folder, "status", words.short_id(view.run_id), program=words.program())


# --- the actors -----------------------------------------------------------------------------------------------------


def _chosen(actors: Sequence[ActorView], room: int) -> tuple[list[ActorView], list[ActorView]]:
    """The actors that get a row, in their order, and those that are summed up in the last line."""
    if len(actors) <= room:
        return list(actors), []
    first = sorted(actors, key=_urgency)[: max(0, room - 1)]
    names = {actor.id for actor in first}
    return [a for a in actors if a.id in names], [a for a in actors if a.id not in names]


def _urgency(actor: ActorView) -> int:
    if actor.phase is Phase.SETTLED:
        return 3 if actor.status is Status.SUCCESS else 0
    return 2 if actor.phase is Phase.QUEUED else 1


def _summed_up(rest: Iterable[ActorView]) -> str:
    count: dict[str, int] = {}
    for actor in rest:
        word = {0: "failed", 1: "running", 2: "queued", 3: "done"}[_urgency(actor)]
        count[word] = count.get(word, 0) + 1
    return f"… and {sum(count.values())} more: " + ", ".join(f"{number} {word}" for word, number in count.items())


class _Layout:
    """How wide each column is: fixed for one picture, so that the rows stand below each other."""

    def __init__(self, actors: Sequence[ActorView], width: int, names: Mapping[ActorId, str]) -> None:
        self.width = width
        self.names = names
        self.label = 13 if width >= 60 else 1
        longest = max((cell_len(_indented(actor)) for actor in actors), default=0)
        self.time, self.cost = 7, 7 if width >= 26 else 0
        fixed = self.label + 1 + self.time + 1 + (self.cost + 1 if self.cost else 0)
        self.id = max(4, min(longest, 24 if width >= 100 else 16, width - fixed))
        left = width - fixed - self.id - 1
        self.tokens = 15 if left - 16 >= _LEAST_DOING else 0
        left -= self.tokens + 1 if self.tokens else 0
        self.doing = left if left >= _LEAST_DOING else 0

    def row(self, actor: ActorView, now: float) -> Text:
        """One actor."""
        row = Text(no_wrap=True)
        name = words.label(actor)
        row.append(words.fit(name if self.label > 1 else name[0], self.label) + " ", _style(actor))
        row.append(words.fit(_indented(actor), self.id) + " ")
        if self.doing:
            row.append(words.fit(words.clean(words.renamed(actor.doing, self.names)), self.doing) + " ", "dim")
        ran = words.duration(words.elapsed(actor.started_at, actor.ended_at, now))
        row.append(words.fit(ran, self.time, right=True))
        if self.tokens:
            row.append(" " + words.fit(words.tokens(actor.usage, short=True), self.tokens, right=True), "dim")
        if self.cost:
            row.append(" " + words.fit(words.money(actor.cost_usd), self.cost, right=True))
        return row


def _indented(actor: ActorView) -> str:
    return "  " * actor.depth + words.name(actor)


def _style(actor: ActorView) -> str:
    if actor.status is not None:
        return _STATUS_STYLES.get(actor.status, "bold red")
    return _PHASE_STYLES.get(actor.phase, "blue")
