"""Any view at all: strategies that follow the types of the fields, so that a new field takes part by itself."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from pitboss.model.views import ActorView, RunView

S = TypeVar("S", bound=msgspec.Struct)

_NUMBERS: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=6),
    int: st.integers(0, 2**53),
    float: st.floats(0, 2e11, allow_nan=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def of(kind: type[S], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[S]:
    """Any value of a frozen struct; some of its fields may be given."""
    fields = {field.name: shape(field.type) for field in msgspec.structs.fields(kind) if field.name not in fixed}
    return st.builds(kind, **fields, **fixed)


def shape(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a field of our data can have."""
    kind = getattr(kind, "__supertype__", kind)
    if kind in _NUMBERS:
        return _NUMBERS[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(*(shape(arg) for arg in args))
    if origin is tuple:
        return st.lists(shape(args[0]), max_size=2).map(tuple)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return of(kind)


actors = of(ActorView, id=st.sampled_from([f"worker-{n}" for n in range(6)]))
"""Few ids, so that two views have some in common."""

views = of(RunView, actors=st.lists(actors, max_size=5, unique_by=lambda actor: actor.id).map(tuple))


@st.composite
def changes(draw: st.DrawFn) -> tuple[RunView, RunView]:
    """Two views of which the later one is made of the earlier: most of it is the same object."""
    old = draw(views)
    known = {actor.id: actor for actor in old.actors}
    kept = draw(st.permutations(old.actors).map(lambda order: order[: draw(st.integers(0, 5))]))
    new = [actor for actor in draw(st.lists(actors, max_size=2, unique_by=lambda a: a.id)) if actor.id not in known]
    retold = [replace(actor, doing=draw(st.text(max_size=3))) if draw(st.booleans()) else actor for actor in kept]
    return old, replace(old, actors=(*retold, *new), spent_usd=draw(_NUMBERS[float]), cursor=draw(_NUMBERS[int]))
