r"""Bytes to a parsed TOML document that knows its own lines.

Manifests are TOML 1.1, as upstream's are (newlines and trailing commas inside inline tables, ``\e``, ``\xHH``,
times without seconds). The standard library reads TOML 1.0 and is fast, so it goes first; only a text it refuses
is given to tomlkit, which reads 1.1 and is imported then. A text that both refuse is a problem with a line.
What may not come in: any knowledge of what the keys mean. Called by ``load``.
"""

from __future__ import annotations

import functools
import re
import tomllib
from typing import NamedTuple

from pitboss.errors import ManifestError, Problem
from pitboss.manifest.positions import Path, Place, bracket_at_depth, locate, place_at, unclosed_string

__all__ = ["MAX_BYTES", "Document", "read"]

MAX_BYTES = 8 * 1024 * 1024
"""The largest manifest we read; the whole text is also copied into the run's records."""

_DEEPEST = 32
"""More than any manifest needs, and few enough for every reader that walks into tables and arrays."""

_TOO_DEEP = f"arrays or tables are nested more than {_DEEPEST} deep; no key of a manifest is"

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_NEVER_ENDS = "a string that starts here never ends"

_PLAIN_WORDS = (
    (re.compile(r"Illegal character '\\n'"), "a string that is not closed on its line"),
    (re.compile(r"Cannot overwrite a value"), "a key is set twice, or is used both as a value and as a table"),
    (re.compile(r"Cannot declare \((.*?),?\) twice"), r"the table \1 is declared twice"),
    (re.compile(r"Cannot mutate immutable namespace \((.*?),?\)"), r"\1 already has its value and cannot be added to"),
    (re.compile(r"Invalid value"), "not a value; text needs quotes, and booleans are true and false"),
    (re.compile(r"Unterminated string|Expected \"'''\""), _NEVER_ENDS),
)


class _Fault(NamedTuple):
    """Why a parser refused a text; ``place`` is ``None`` when it only knows the end of the text."""

    message: str
    place: Place | None

    @property
    def sentence(self) -> str:
        """The message of the problem."""
        return self.message if self.message == _TOO_DEEP else f"not valid TOML: {self.message}"

    @property
    def is_clash(self) -> bool:
        """Two keys that cannot both be: wrong in every version of TOML."""
        return self.message.startswith(("Cannot", "Duplicate"))


class Document:
    """A parsed manifest: its tables and values, and where each was written."""

    def __init__(self, text: str, raw: dict[str, object]) -> None:
        self.text = text
        self.raw = raw

    @functools.cached_property
    def _offsets(self) -> dict[Path, int]:
        return locate(self.text)

    def place(self, path: Path) -> Place | None:
        """Where ``path`` is written, or else the nearest table around it; ``None`` for the whole file."""
        while path:
            offset = self._offsets.get(path)
            if offset is not None:
                return place_at(self.text, offset)
            path = path[:-1]
        return None

    def value(self, path: Path) -> object:
        """What stands at ``path``; ``None`` if nothing does."""
        found: object = self.raw
        for part in path:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found


def read(source: str | bytes, path: str) -> Document:
    """Decode and parse a manifest.

    Args:
        source: The file's content.
        path: How the operator named the file; for messages.

    Raises:
        ManifestError: The text is too large, not UTF-8 or not TOML.
    """
    text = _decoded(source, path)
    try:
        return _shallow(text, tomllib.loads(text), path)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        first = _stdlib_fault(error)
    second = _parse_as_1_1(text)
    if isinstance(second, dict) and not first.is_clash:
        return _shallow(text, second, path)
    fault = _telling(first, second if isinstance(second, _Fault) else first)
    raise _refusal(text, fault, path)


def _shallow(text: str, raw: dict[str, object], path: str) -> Document:
    """The document, unless it is nested so deeply that later readers would exhaust the stack."""
    level: list[dict[str, object] | list[object]] = [raw]
    for _ in range(_DEEPEST):
        items = (item for table in level for item in (table.values() if isinstance(table, dict) else table))
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return Document(text, raw)
    raise _refusal(text, _Fault(_TOO_DEEP, None), path)


def _refusal(text: str, fault: _Fault, path: str) -> ManifestError:
    place = _where(text, fault)
    return ManifestError(path, [Problem(fault.sentence, line=place.line, column=place.column)])


def _decoded(source: str | bytes, path: str) -> str:
    """Text with Unix newlines and without a byte order mark."""
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > MAX_BYTES:
        limit = f"{MAX_BYTES // 2**20} MiB"
        raise ManifestError(path, [Problem(f"larger than {limit}; put long texts into files that the agents read")])
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ManifestError(path, [Problem("the manifest is UTF-16 text; save it as UTF-8", line=1)])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        raise ManifestError(path, [Problem(message, line=line)]) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if (offset := text.find("\0")) >= 0:
        raise ManifestError(path, [Problem("a NUL character; remove it", line=place_at(text, offset).line)])
    return text


def _stdlib_fault(error: Exception) -> _Fault:
    """The standard library's error; it tells its place only in words."""
    if isinstance(error, RecursionError):
        return _Fault(_TOO_DEEP, None)
    if not isinstance(error, tomllib.TOMLDecodeError):
        return _Fault("an integer has too many digits", None)
    message = str(error)
    match = _AT.search(message)
    if match is None or match[1] is None:
        return _Fault(_AT.sub("", message), None)
    return _Fault(message[: match.start()], Place(int(match[1]), int(match[2])))


def _parse_as_1_1(text: str) -> dict[str, object] | _Fault:
    """What tomlkit makes of a text that the standard library refuses."""
    import tomlkit  # 22 ms that a TOML 1.0 manifest need not pay
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return dict(tomlkit.parse(text).unwrap())
    except ParseError as error:
        message = re.sub(r" at line \d+ col \d+$", "", str(error))
        return _Fault(message, Place(error.line, error.col + 1))
    except (TOMLKitError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # On broken text tomlkit also fails in ways of its own; the first parser has said what is wrong.
        return _Fault(str(error), None)


def _telling(first: _Fault, second: _Fault) -> _Fault:
    """The fault to show: the standard library words it better, unless it only stumbled over TOML 1.1.

    Past valid TOML 1.1 only tomlkit reads on, and so gets further down.
    """
    if not first.is_clash and first.place and second.place and second.place.line > first.place.line:
        return second._replace(message=_plain(second.message))
    return _Fault(_plain(first.message), first.place or second.place)


def _plain(message: str) -> str:
    for pattern, words in _PLAIN_WORDS:
        message = pattern.sub(words, message)
    return message[:1].lower() + message[1:]


def _where(text: str, fault: _Fault) -> Place:
    """The fault's place; one that a parser noticed too late is looked for, or else is at the end."""
    start: int | None = None
    if fault.message == _NEVER_ENDS:
        start = unclosed_string(text)
    elif fault.message == _TOO_DEEP:
        start = bracket_at_depth(text, _DEEPEST)
    if start is not None:
        return place_at(text, start)
    return fault.place or place_at(text, len(text.rstrip()))
