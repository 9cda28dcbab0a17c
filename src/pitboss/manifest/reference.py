"""The schema told to others: every section and key as plain data, and as JSON Schema.

Everything here is read off ``schema``; nothing is written twice. Called by the reference pages, by the ``schema``
and ``init`` commands, and by forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pitboss.manifest.fields import Shape, default_of, fields_of
from pitboss.manifest.schema import Manifest, Mode, Section

__all__ = ["KeyEntry", "SectionEntry", "json_schema", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One key of a section."""

    name: str
    label: str
    """The name for a form."""
    help: str
    type: str
    """``text long_text integer float boolean path enum_select string_list`` or ``key_value_map``."""
    required: bool
    default: str
    """The default as it would be written, or in words where it depends on other things; empty if required."""
    choices: tuple[str, ...]
    bounds: str
    """The range in words, such as ``> 0``; empty if every value of the type will do."""
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionEntry:
    """One section of the manifest, by the header it is written with."""

    header: str
    help: str
    mode: Mode
    keys: tuple[KeyEntry, ...]


def json_schema() -> dict[str, object]:
    """The JSON Schema of a manifest, for editors and forms; ``x-mode`` marks keys of one kind of run."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def reference() -> list[SectionEntry]:
    """Every section and key, in the order of the reference pages."""
    return [entry for shape in fields_of(Manifest).values() for entry in _sections(shape.name, shape)]


def _sections(name: str, shape: Shape) -> Iterator[SectionEntry]:
    """A section and the sections inside it, outermost first."""
    if shape.section is None:
        return
    keys = fields_of(shape.section).values()
    entries = [_entry(shape.section, key) for key in keys if key.section is None]
    yield SectionEntry(
        header=f"[[{name}]]" if shape.is_array else f"[{name}]",
        help=(shape.section.__doc__ or "").strip(),
        mode=shape.key.mode,
        keys=tuple(sorted(entries, key=lambda entry: not entry.required)),
    )
    for key in keys:
        yield from _sections(f"{name}.{key.name}", key)


def _entry(section: type[Section], shape: Shape) -> KeyEntry:
    return KeyEntry(
        name=shape.name,
        label=shape.name.replace("_", " ").capitalize(),
        help=shape.key.help,
        type=_form(shape),
        required=shape.required,
        default=shape.key.default or ("" if shape.required else _written(default_of(section, shape.name))),
        choices=shape.choices,
        bounds=shape.bounds,
        mode=shape.key.mode,
    )


def _form(shape: Shape) -> str:
    """The form field for a key."""
    if shape.is_array:
        return "string_list"
    if shape.choices:
        return "enum_select"
    plain = {str: "text", int: "integer", float: "float", bool: "boolean", dict: "key_value_map"}
    return shape.key.form or plain[shape.scalar]


def _written(value: object) -> str:
    """A value as a manifest has it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(map(_written, value)) + "]"
        case dict():
            return "{}"
        case _:
            return str(value)
