"""A parsed document against the schema: a ``Manifest``, with every unknown key and wrong value reported.

A document with mistakes is mended - wrong keys dropped, missing ones filled in and marked broken - so that the
rules after this can look at all the rest in the same go. What may not come in: rules about meaning. Called by ``load``.
"""

from __future__ import annotations

import copy
import datetime as dt

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pitboss.manifest import hints
from pitboss.manifest.fields import field_at
from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Manifest

__all__ = ["conform"]

_ROUNDS = 4  # one to find, one to read what was mended; mending can only uncover what a wrong table hid

_WANTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
}


def conform(findings: Findings) -> Manifest | None:
    """Read the document behind ``findings`` as a manifest.

    Returns:
        The manifest, with placeholders where something was reported; ``None`` if nothing can be made of it.
    """
    raw = copy.deepcopy(findings.document.raw)
    _refuse_nul(raw, (), findings)
    for _ in range(_ROUNDS):
        try:
            return Manifest.model_validate(raw)
        except ValidationError as error:
            for details in _worst_first(error):
                _report(details, findings)
                _mend(raw, details)
    return None


def _worst_first(error: ValidationError) -> list[ErrorDetails]:
    """Unknown keys before missing ones: a misspelt key explains a missing one."""
    details = error.errors(include_url=False)
    return sorted(details, key=lambda item: item["type"] != "extra_forbidden")


def _report(details: ErrorDetails, findings: Findings) -> None:
    path: Path = details["loc"]
    if details["type"] == "extra_forbidden":
        _report_unknown(path, findings)
    elif details["type"] == "missing":
        message = f"{findings.name(path[:-1])} needs {path[-1]}"
        findings.error(message + hints.swallowed(path, findings), path)
    else:
        findings.error(f"{findings.name(path)} {_complaint(details, findings)}", path)
    findings.mark_broken(path)


def _report_unknown(path: Path, findings: Findings) -> None:
    hint = hints.unknown_key(path, findings)
    table = findings.name(path[:-1]) if len(path) > 1 else "the manifest"
    findings.error(f"unknown key {shown(path[-1])} in {table}{hint.text}", path)
    if hint.meant is not None:
        findings.mark_broken(hint.meant)


def _complaint(details: ErrorDetails, findings: Findings) -> str:
    """The end of the sentence that begins with the key's name."""
    kind, value = details["type"], details["input"]
    if (wanted := _WANTED.get(kind)) is not None:
        if wanted == "a number" and isinstance(value, int) and not isinstance(value, bool):
            return "must be a number that a float can hold; it is too large"
        return f"must be {wanted}; it is {_kind_of(value)}{hints.wrong_type(details['loc'], value, findings)}"
    if kind == "literal_error":
        return _not_one_of(details)
    return f"{_bound(details)}; it is {shown(value)}"


def _not_one_of(details: ErrorDetails) -> str:
    shape = field_at(details["loc"])
    noun = (shape.key.noun or shape.name) if shape else "value"
    value = details["input"]
    if not isinstance(value, str):
        return f"must be a string; it is {_kind_of(value)}"
    choices = shape.choices if shape else ("something else",)
    return f"is an unknown {noun}: {shown(value)}; expected {_either(choices)}{hints.nearest_value(value, choices)}"


def _either(choices: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))


def _bound(details: ErrorDetails) -> str:
    """What the range is, in words."""
    shape = field_at(details["loc"])
    limits = details.get("ctx", {})
    if details["type"] == "finite_number":
        return "must be a finite number"
    if "le" in limits and not (shape and shape.key.bounds):
        return f"must be at most {limits['le']}"
    return f"must be {shape.bounds}" if shape and shape.bounds else details["msg"]


def _kind_of(value: object) -> str:
    """What TOML calls a value's type."""
    match value:
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a float"
        case list():
            return "an array"
        case dict():
            return "a table"
        case dt.date() | dt.time():
            return "a date or time"
        case _:
            return type(value).__name__


def _mend(raw: dict[str, object], details: ErrorDetails) -> None:
    """Take out what was reported, or put something in its place if it cannot be missing."""
    *parents, last = details["loc"]
    holder: object = raw
    for part in parents:
        if isinstance(holder, dict):
            holder = holder.get(str(part))
        elif isinstance(holder, list) and isinstance(part, int):
            holder = holder[part]
    if isinstance(holder, list) and isinstance(last, int):
        holder[last] = _placeholder(details["loc"])
    elif isinstance(holder, dict):
        holder.pop(last, None)
        if details["type"] != "extra_forbidden" and _is_required(details["loc"]):
            holder[last] = _placeholder(details["loc"])


def _is_required(path: Path) -> bool:
    shape = field_at(path)
    return shape is not None and shape.required


def _placeholder(path: Path) -> object:
    """A value that reads well enough: the first choice of an enumeration, an empty text, or an empty table."""
    shape = field_at(path)
    if shape is None or shape.section is not None:
        return {}
    return shape.choices[0] if shape.choices else ""


def _refuse_nul(value: object, path: Path, findings: Findings) -> None:
    """Report every text with a NUL: no file name, argument or environment variable can carry one."""
    if isinstance(value, str) and "\0" in value:
        findings.error(f"{findings.name(path)} has a NUL character; remove it", path)
        findings.mark_broken(path)
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                findings.error(
                    f"{findings.name(path) if path else 'the manifest'} has a key with a NUL; remove it", path
                )
            _refuse_nul(item, (*path, key), findings)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, (*path, index), findings)
