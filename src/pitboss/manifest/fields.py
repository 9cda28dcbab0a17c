"""What the schema's classes say about a key, read off the annotations once.

Errors, hints and reference pages ask here what a path leads to; only this module looks into annotations.
Called by ``conform``, ``hints``, ``oddities`` and ``reference``.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Key, Manifest, Section

__all__ = ["Shape", "default_of", "field_at", "fields_of", "section_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One key of a section: what may stand there, and what it is for."""

    name: str
    key: Key
    required: bool
    scalar: type
    """``str``, ``int``, ``float``, ``bool``, a ``Section``, or ``dict`` for a map of texts; of an array, its items'."""
    is_array: bool
    choices: tuple[str, ...]
    bounds: str
    """The range in words; empty if every value of the type will do."""

    @property
    def section(self) -> type[Section] | None:
        """The class of the table, or of each table of an array, that stands here."""
        return self.scalar if issubclass(self.scalar, Section) else None


@functools.cache
def fields_of(section: type[Section]) -> Mapping[str, Shape]:
    """The keys of a section by the name they are written with, inherited ones last."""
    own_first = sorted(section.model_fields.items(), key=lambda item: item[0] not in inspect.get_annotations(section))
    return {shape.name: shape for shape in (_shape(field.alias or name, field) for name, field in own_first)}


def default_of(section: type[Section], name: str) -> object:
    """The default of an optional key."""
    for own_name, field in section.model_fields.items():
        if name == (field.alias or own_name):
            return field.get_default()
    raise KeyError(name)


def field_at(path: Path) -> Shape | None:
    """The key that ``path`` ends in; an index belongs to the array it is in. ``None`` for an unknown key."""
    section: type[Section] | None = Manifest
    shape: Shape | None = None
    for part in path:
        if isinstance(part, int):
            continue
        shape = fields_of(section).get(part) if section is not None else None
        section = shape.section if shape is not None else None
    return shape


def section_at(path: Path) -> type[Section] | None:
    """The class of the table at ``path``; the manifest itself for an empty one."""
    shape = field_at(path)
    return Manifest if not path else shape.section if shape is not None else None


def _shape(name: str, field: FieldInfo) -> Shape:
    layers = list(_layers(field.annotation))
    is_array = any(get_origin(layer) is list for layer in layers)
    literal = next((layer for layer in layers if get_origin(layer) is Literal), None)
    core = layers[-1]
    key = next(item for item in field.metadata if isinstance(item, Key))
    return Shape(
        name=name,
        key=key,
        required=field.is_required(),
        scalar=str if literal is not None else core if isinstance(core, type) else dict,
        is_array=is_array,
        choices=tuple(map(str, get_args(literal))) if literal is not None else (),
        bounds=key.bounds or _bounds([*field.metadata, *(item for layer in layers for item in _metadata(layer))]),
    )


def _layers(annotation: object) -> Iterator[object]:
    """An annotation and what it wraps, outermost first: ``Optional``, ``Annotated``, ``list``."""
    yield annotation
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        yield from _layers(next(arg for arg in get_args(annotation) if arg is not types.NoneType))
    elif origin in (Annotated, list):
        yield from _layers(get_args(annotation)[0])


def _metadata(layer: object) -> list[object]:
    """What pydantic keeps beside a type: ``Annotated[int, Field(ge=1)]`` holds a field that holds the bound."""
    extras: tuple[object, ...] = getattr(layer, "__metadata__", ())
    return [item for extra in extras if isinstance(extra, FieldInfo) for item in extra.metadata]


def _bounds(metadata: list[object]) -> str:
    """The lower bound, in words; the upper ones are the sizes of integers."""
    for item in metadata:
        if (least := getattr(item, "ge", None)) is not None:
            return f"> {least - 1}"
        if (below := getattr(item, "gt", None)) is not None:
            return f"> {below}"
    return ""
