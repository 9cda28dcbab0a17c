"""The JSON Schema of a call, flat enough for a model to read, and what a wrong argument is told.

One struct of ``model.calls`` says what a tool takes. From it come three things that therefore cannot disagree: the
schema a client is shown, the words for it in an error and in the docs (`allowed`), and the check itself (msgspec).
Called by ``wire.tools``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from pitboss.wire.claude_events import JsonObject

__all__ = ["Fault", "allowed", "fault_of", "nearest", "properties_of", "schema_of", "shown"]

_NULL: Final[JsonObject] = {"type": "null"}
_PLACE: Final = re.compile(r" - at `(?:key` in `)?\$([^`]*)`$")
"""Where msgspec says that the fault is: fields as ``.name``, items as ``[3]``, values of a map as ``[...]``."""
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_SHOWN_CHARS: Final = 40


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the arguments of a call."""

    argument: str | None
    """The top-level argument it is about, if it is about one."""
    sentence: str


def schema_of(kind: type[msgspec.Struct]) -> JsonObject:
    """Return the schema of a struct's fields: no references, no titles, and an optional one has its type alone.

    A rule about two arguments (exactly one of them, say) is not in it: the Messages API refuses a tool whose schema
    has ``anyOf`` at the top. Such a rule stands in the description.
    """
    whole = msgspec.json.schema(kind)
    parts = _objects(whole.get("$defs"))
    flat = _flat(parts[kind.__name__], parts)
    flat.pop("description", None)
    return flat


def _flat(node: JsonObject, parts: dict[str, JsonObject]) -> JsonObject:
    match node:
        case {"$ref": str(reference), **outer}:
            # What a field says about itself is nearer to the point than what its type says: the outer one wins.
            return _flat(parts[reference.rpartition("/")[2]] | outer, parts)
        case {"anyOf": list(choices), **outer} if _NULL in choices:
            rest = [choice for choice in choices if choice != _NULL]
            inner: JsonObject = rest[0] if len(rest) == 1 else {"anyOf": rest}
            return _flat(inner | outer, parts)
    flat: JsonObject = {"type": "string"} if "enum" in node else {}
    for key, value in node.items():
        match key, value:
            case ("title", _) | ("default", None) | ("required", []):
                pass
            case "properties", dict():
                flat[key] = {name: _flat(each, parts) for name, each in value.items()}
            case (("items" | "additionalProperties"), dict()):
                flat[key] = _flat(value, parts)
            case "anyOf", list():
                # What is easiest to write comes first.
                flat[key] = sorted((_flat(each, parts) for each in value), key=lambda each: "items" in each)
            case _:
                flat[key] = value
    return flat


def _objects(value: object) -> dict[str, JsonObject]:
    """The entries of a map that are objects themselves."""
    entries = value.items() if isinstance(value, dict) else ()
    return {str(name): each for name, each in entries if isinstance(each, dict)}


def properties_of(schema: JsonObject) -> dict[str, JsonObject]:
    """Return the schema of each property of an object."""
    return _objects(schema.get("properties"))


# --- in words -------------------------------------------------------------------------------------------------------


def allowed(schema: JsonObject) -> str:
    """Return in words what fits a schema: ``an integer from 1 to 604800``."""
    match schema:
        case {"enum": list(words)}:
            return " or ".join(f'"{word}"' for word in words)
        case {"anyOf": list(choices)}:
            return " or ".join(allowed(choice) for choice in choices)
        case {"type": "integer"}:
            return "an integer" + _range(schema)
        case {"type": "number"}:
            return "a number" + _range(schema)
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "string"}:
            pattern = f" that matches {schema['pattern']}" if "pattern" in schema else ""
            return "a string" + _count(schema, "Length", "character") + pattern
        case {"type": "array", "items": dict(item)}:
            return f"an array{_count(schema, 'Items', 'item')}, each {allowed(item)}"
        case {"type": "object", "properties": dict(properties)}:
            return f"an object with {_listed(properties)}"
        case {"type": "object", "additionalProperties": dict(item)}:
            return f"an object, each value {allowed(item)}"
        case {"type": "object"}:
            return "an object"
        case _:
            return "any JSON"


def _range(schema: JsonObject) -> str:
    match schema:
        case {"minimum": least, "maximum": most}:
            return f" from {least} to {most}"
        case {"minimum": least}:
            return f" of at least {least}"
        case _:
            return ""


def _count(schema: JsonObject, what: str, unit: str) -> str:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if least is not None and most is not None:
        return f" of {least} to {most} {unit}s"
    if least is not None:
        return f" of at least {least} {unit}{'' if least == 1 else 's'}"
    return f" of at most {most} {unit}s" if most is not None else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like ``name``, if any is near."""
    import difflib  # only a call with a mistake pays for it

    close = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return close[0] if close else None


# --- what is wrong --------------------------------------------------------------------------------------------------


def fault_of(problem: str, arguments: JsonObject, schema: JsonObject) -> Fault:
    """Say in one sentence what a model has to put right.

    Args:
        problem: What msgspec says; only the place is taken from it.
        arguments: What was given.
        schema: The tool's schema.
    """
    found = _PLACE.search(problem)
    path = ""
    node = schema
    here: object = arguments
    for name, index in _STEP.findall(found.group(1) if found else ""):
        if name:
            node, here = properties_of(node).get(name, {}), here.get(name) if isinstance(here, dict) else None
            path = f"{path}.{name}" if path else name
        elif index == "...":
            # The only maps with a type for their values are maps of strings.
            node = _object(node.get("additionalProperties"))
            entries = here.items() if isinstance(here, dict) else ()
            key, here = next(((key, each) for key, each in entries if not isinstance(each, str)), ("...", None))
            path = f"{path}.{_cut(str(key))}"
        else:
            node, here = _items(node), here[int(index)] if isinstance(here, list) else None
            path = f"{path}[{index}]"
    argument = re.split(r"[.\[]", path, maxsplit=1)[0] or None
    if isinstance(here, dict) and "properties" in node:
        return _fault_of_names(here, list(properties_of(node)), node, path, argument)
    if argument is None:
        return Fault(argument=None, sentence=problem)
    return Fault(argument=argument, sentence=f"{path} is {shown(here)}; it must be {allowed(node)}")


def _fault_of_names(
    given: dict[str, object], known: list[str], node: JsonObject, path: str, argument: str | None
) -> Fault:
    inside = f"{path} has" if path else "there is"
    for name in given:
        if name not in known:
            close = nearest(name, known)
            hint = f" (did you mean {close}?)" if close else ""
            sentence = f"{inside} no argument {shown(name)}{hint}; known are {_listed(known)}"
            return Fault(argument=argument or _cut(name), sentence=sentence)
    required = node.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in given:
            where = f"{path}.{name}" if path else name
            sentence = f"{where} is missing; it must be {allowed(properties_of(node)[name])}"
            return Fault(argument=argument or name, sentence=sentence)
    return Fault(argument=argument, sentence=f"{path or 'the call'} must be {allowed(node)}")


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _items(node: JsonObject) -> JsonObject:
    """The schema of an array's items; of a choice, that of the one that is an array."""
    choices = node.get("anyOf")
    for choice in choices if isinstance(choices, list) else [node]:
        if isinstance(choice, dict) and "items" in choice:
            return _object(choice["items"])
    return {}


def shown(value: object) -> str:
    """Return a value in a few words, whatever it is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 100:
            return "a very large integer"
        case "" | []:
            return "empty"
        case str():
            return f'"{_cut(value)}"' + (f" ({len(value)} characters)" if len(value) > _SHOWN_CHARS else "")
        case list():
            return f"an array of {len(value)} item{'' if len(value) == 1 else 's'}"
        case dict():
            return "an object"
        case _:
            return str(value)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
