"""How views travel: a whole one as a ``snapshot``, then what has changed as ``delta`` events.

A client says ``{"op":"subscribe","cursor":N?,"epoch":"..."?,"every_ms":100}`` after its hello. It is told::

    {"event":"snapshot","cursor":N,"epoch":"...","view":{...}}
    {"event":"delta","from":N,"cursor":M,"run":{...},"actors":[...],"gone":[...],"order":[...]}

``run`` has the fields of the run that have changed, the actors not among them; ``actors`` those that have changed or
are new, whole. ``gone`` names those that are no longer there. What follows is the order: those that stayed as they
stood, then the new ones as they are listed; ``order`` is there only if it is another one. A later snapshot replaces
everything. Keys that are not known are passed over, so that either side may be the newer one.

Pure: views to bytes, and back. Called by ``services.control`` and by ``surfaces.follow``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from pitboss.errors import WorldError
from pitboss.model.run import ActorId
from pitboss.model.views import ActorView, RunView
from pitboss.wire.scalars import to_json

__all__ = ["apply", "encode_delta", "encode_snapshot", "subscription"]

_APART = frozenset({"actors", "cursor"})
"""Fields of a run that a delta tells in a way of their own."""

_FIELDS = {field.name: field.type for field in msgspec.structs.fields(RunView) if field.name not in _APART}

_T = TypeVar("_T")


def subscription(client: str, view: RunView | None, epoch: str, every_ms: int) -> bytes:
    """What a client says to be shown a run: its hello and its order, a line each.

    Args:
        client: What it calls itself.
        view: What it was shown last, if it was shown something.
        epoch: Of the dispatcher that has shown it; empty if none has.
        every_ms: Least time between two events that it wants, in milliseconds.
    """
    order: dict[str, object] = {"op": "subscribe", "every_ms": every_ms}
    if view is not None and epoch:
        order |= {"cursor": view.cursor, "epoch": epoch}
    hello = {"op": "hello", "client_version": client, "capabilities": ["several"]}
    return to_json(hello) + b"\n" + to_json(order) + b"\n"


def encode_snapshot(view: RunView, epoch: str) -> bytes:
    """A whole view as a line, newline included.

    Args:
        view: The run; where it stands is its own ``cursor``.
        epoch: Names this start of the dispatcher: cursors of another one may stand for other facts.
    """
    return to_json({"event": "snapshot", "cursor": view.cursor, "epoch": epoch, "view": view}) + b"\n"


def encode_delta(old: RunView, new: RunView) -> bytes | None:
    """What makes ``new`` of ``old`` as a line, newline included; ``None`` if they are equal.

    Costs little where they share most of their actors. That only the cursor has moved is news too, a short one.
    """
    if old is new:
        return None
    event: dict[str, object] = {"event": "delta", "from": old.cursor, "cursor": new.cursor}
    run = {name: getattr(new, name) for name in _FIELDS if getattr(new, name) != getattr(old, name)}
    actors = _changes(old.actors, new.actors)
    if not run and not actors and old.cursor == new.cursor:
        return None
    return to_json(event | {"run": run, "actors": [], "gone": []} | actors) + b"\n"


def apply(view: RunView | None, event: Mapping[str, object]) -> RunView:
    """The view after a ``snapshot`` or a ``delta``.

    Args:
        view: The view so far; ``None`` if there is none yet.
        event: What was said, decoded.

    Raises:
        WorldError: It makes no sense, or is not about this view: subscribe again.
    """
    if event.get("event") == "snapshot":
        whole = _understood(event.get("view"), RunView)
        return replace(whole, cursor=_understood(event.get("cursor"), int))
    if view is None or event.get("from") != view.cursor:
        raise WorldError("the run told of a change of what it had not shown")
    told = _understood(event.get("run", {}), dict[str, object])
    run = {name: _understood(value, _FIELDS[name]) for name, value in told.items() if name in _FIELDS}
    return msgspec.structs.replace(
        view, cursor=_understood(event.get("cursor"), int), actors=_actors(view.actors, event), **run
    )


def _changes(old: tuple[ActorView, ...], new: tuple[ActorView, ...]) -> dict[str, object]:
    """What of the actors has changed, as keys of a delta; empty if nothing has."""
    if old is new:
        return {}
    before = {actor.id: actor for actor in old}
    changed = [actor for actor in new if not _same(before.get(actor.id), actor)]
    after = [actor.id for actor in new]
    gone = sorted(before.keys() - after)
    found: dict[str, object] = {"actors": changed, "gone": gone} if changed or gone else {}
    return found if _order(before, gone, changed) == after else found | {"order": after}


def _same(old: ActorView | None, new: ActorView) -> bool:
    return old is new or old == new


def _order(before: Iterable[ActorId], gone: Iterable[ActorId], changed: Iterable[ActorView]) -> list[ActorId]:
    """How a client lists the actors if it is told no order."""
    left = set(gone)
    stayed = {name: None for name in before if name not in left}
    return list(stayed | dict.fromkeys(actor.id for actor in changed))


def _actors(old: tuple[ActorView, ...], event: Mapping[str, object]) -> tuple[ActorView, ...]:
    changed = _understood(event.get("actors", []), list[ActorView])
    gone = _understood(event.get("gone", []), list[ActorId])
    known = {actor.id: actor for actor in (*old, *changed)}
    default = _order((actor.id for actor in old), gone, changed)
    order = _understood(event.get("order", default), list[ActorId])
    if not known.keys() >= set(order):
        raise WorldError("the run told of actors that it had not shown")
    return tuple(known[name] for name in order)


def _understood(value: object, shape: type[_T]) -> _T:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as problem:
        raise WorldError(f"what the run shows of itself is not understood: {problem}") from problem
