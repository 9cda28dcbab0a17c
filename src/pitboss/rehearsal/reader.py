"""TOML in, a script or all its problems out, each with its line. Pure: the file is read by the caller.

The shape is declared once, by the types in ``script``; this room walks those types and the text side by side, so a
new field needs nothing here. Called by ``__main__``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from types import UnionType
from typing import TypeVar, get_args, get_origin

import msgspec

from pitboss.errors import ManifestError, Problem
from pitboss.model.run import Usage
from pitboss.rehearsal.messages import Call
from pitboss.rehearsal.places import Path, Places
from pitboss.rehearsal.references import complaints
from pitboss.rehearsal.script import ActorScript, ApiError, Script, Turn

__all__ = ["read_script"]

_Made = TypeVar("_Made", bound=msgspec.Struct)

_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_TOML_NAMES = {
    dict: "a table",
    list: "an array",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
_MSGSPEC_NAMES = {
    "object": "a table",
    "array": "an array",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}


def read_script(text: str, path: str) -> Script:
    """The script in ``text``; ``path`` is only for messages.

    Raises:
        ManifestError: It cannot be used; everything that is wrong with it is in there.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ManifestError(path, [_syntax_problem(str(problem))]) from problem
    reader = _Reader()
    script = reader.read(Script, raw, ())
    if script is None:
        raise ManifestError(path, _placed(reader.problems, Places(text)))
    return script


def _placed(problems: list[tuple[Path, str]], places: Places) -> list[Problem]:
    """The problems with their lines, in the order of the file."""
    placed = [Problem(message, line=places.line(where)) for where, message in problems]
    return sorted(placed, key=lambda problem: problem.line or 0)


def _syntax_problem(message: str) -> Problem:
    found = _SYNTAX_PLACE.search(message)
    said = f"not TOML: {_SYNTAX_PLACE.sub('', message)}"
    if found is None or found[1] is None:
        return Problem(said)
    return Problem(said, line=int(found[1]), column=int(found[2]))


class _Reader:
    """Builds values of the script's types and notes every problem instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[tuple[Path, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def read(self, wanted: type[_Made], raw: object, path: Path) -> _Made | None:
        """``raw`` as a struct of type ``wanted``, or ``None`` if something in it is wrong."""
        if not isinstance(raw, dict):
            self._refuse(path, f"{_named(path)} must be a table, not {_TOML_NAMES.get(type(raw), 'a value')}")
            return None
        before = len(self.problems)
        fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
        self._refuse_unknown(raw, sorted(fields), path)
        made = {fields[key].name: self._field(fields[key].type, raw[key], (*path, key)) for key in raw if key in fields}
        for key, field in fields.items():
            if field.required and key not in raw:
                self._refuse(path, f"{_named(path)} needs a key '{key}'")
        if len(self.problems) > before:
            return None
        whole = wanted(**made)
        self._judge(whole, path)
        return whole if len(self.problems) == before else None

    def _field(self, wanted: object, raw: object, path: Path) -> object:
        """One value: a struct, several of them, or something plain."""
        if (single := _struct_in(wanted)) is not None:
            return self.read(single, raw, path)
        if get_origin(wanted) is tuple:
            return self._several(get_args(wanted)[0], raw, path)
        try:
            return msgspec.convert(raw, wanted)
        except msgspec.ValidationError as problem:
            self._refuse(path, f"{_named(path)}: {_in_words(str(problem))}")
            return None

    def _several(self, wanted: type[msgspec.Struct], raw: object, path: Path) -> object:
        """An array of tables; a table on its own is an array of one."""
        if isinstance(raw, dict):
            return (self.read(wanted, raw, path),)
        if not isinstance(raw, list):
            self._refuse(path, f"{_named(path)} must be an array of tables")
            return ()
        return tuple(self.read(wanted, item, (*path, index)) for index, item in enumerate(raw))

    def _judge(self, made: msgspec.Struct, path: Path) -> None:
        for where, what in _opinions(made):
            self._refuse((*path, *where), f"{_named((*path, *where))}: {what}")
        if isinstance(made, ActorScript):
            if (made.id, made.prompt) in self._seen:
                self._refuse(
                    (*path, "id"), f"{_named(path)}.id '{made.id}' is there twice: the second is never reached"
                )
            self._seen.add((made.id, made.prompt))

    def _refuse_unknown(self, raw: dict[str, object], known: list[str], path: Path) -> None:
        for key in raw:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                advice = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                self._refuse((*path, key), f"unknown key '{key}' in {_named(path)}: {advice}")

    def _refuse(self, path: Path, message: str) -> None:
        self.problems.append((path, message))


def _struct_in(wanted: object) -> type[msgspec.Struct] | None:
    """The struct that ``wanted`` is or, as a union with ``None``, may be."""
    members = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    structs = (each for each in members if isinstance(each, type) and issubclass(each, msgspec.Struct))
    return next(structs, None)


def _opinions(made: msgspec.Struct) -> Iterator[tuple[Path, str]]:
    """What the types cannot say about one well-formed table: the place in it, and what is wrong."""
    match made:
        case Turn(error=ApiError()):
            if made.text or made.tools or made.usage:
                yield (), "an error comes instead of an answer: give text, tools and usage to the next turn"
        case Turn():
            if not made.text.strip() and not made.tools:
                yield (), "an empty turn: give it text, tools or an error"
            yield from ((("text",), what) for what in complaints(made.text))
        case Call():
            yield from ((("input",), what) for what in complaints(made.input))
        case Usage():
            counts = msgspec.structs.asdict(made)
            yield from (((name,), "must not be below 0") for name, count in counts.items() if count < 0)
        case ApiError():
            yield from ((("headers", name), what) for name, what in _header_opinions(made.headers))
        case _:
            pass


def _header_opinions(headers: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            yield name, "not a possible name of an HTTP header"
        if not re.fullmatch(r"[\x20-\x7e]*", value):
            yield name, "an HTTP header holds printable ASCII only"


def _named(path: Path) -> str:
    """``actor[0].turn[1].text``; the top of the file has no name of its own."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.removeprefix(".") or "the script"


def _in_words(message: str) -> str:
    """A msgspec message in the words of TOML: ``expected a whole number, got a text``."""
    message = re.sub(r" - at `.*`$", "", message)
    message = re.sub(r"`(\w+)(?: \| null)?`", lambda found: _MSGSPEC_NAMES.get(found[1], found[1]), message)
    return message[0].lower() + message[1:]
