"""Where each key of a TOML text is written.

The parsers we use keep no positions, and a problem without a line is half a message. This scanner reads only
structure - headers, keys, brackets - of a text that a parser has already accepted (TOML 1.0 or 1.1), so it
judges nothing. It runs only when there is something to report. Called by ``document``.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple, TypeAlias

__all__ = ["Path", "Place", "bracket_at_depth", "locate", "place_at", "unclosed_string"]

Path: TypeAlias = tuple[str | int, ...]
"""A key's way from the top: names of tables and keys, and indexes of arrays."""

# Possessive quantifiers (++, *+) keep a text of megabytes linear and off the regex stack.
_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r]++|\#[^\n]*+)
    | (?P<newline>\n)
    | (?P<string>
          \"\"\"(?:[^"\\]++|\\[\s\S]|"{1,2}(?!"))*+"{3,5}
        | '''(?:[^']++|'{1,2}(?!'))*+'{3,5}
        | "(?!"")(?:[^"\\\n]++|\\.)*+" | ""(?!")
        | '(?!'')[^'\n]*+' | ''(?!')
      )
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\#"'\[\]{}=,.]++)
    """,
    re.VERBOSE,
)


class Place(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


def place_at(text: str, offset: int) -> Place:
    """The place of a character in its text."""
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def unclosed_string(text: str) -> int | None:
    """The offset of the first string that never ends, if there is one."""
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
    return position if text[position : position + 1] in ("'", '"') else None


def bracket_at_depth(text: str, depth: int) -> int | None:
    """The offset of the first bracket or brace inside ``depth`` others, if there is one."""
    position = open_ones = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        open_ones += (match.group() in "[{") - (match.group() in "]}") if match["mark"] else 0
        if open_ones > depth:
            return match.start()
    return None


def locate(text: str) -> dict[Path, int]:
    """The offset at which each key, table and array element begins."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


class _Scanner:
    """One pass over a valid text, token by token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # how many [[elements]] each array of tables has so far
        self._position = 0
        self._kind = ""
        self._word = ""
        self._start = 0
        self._next()

    def _next(self) -> None:
        """Step to the next token that is not blank; the end is a token of no kind."""
        while match := _TOKEN.match(self.text, self._position):
            self._start, self._position = match.span()
            self._kind = match.lastgroup or ""
            if self._kind != "blank":
                self._word = match.group()
                return
        self._kind, self._word, self._start = "", "", len(self.text)

    def _skip_newlines(self) -> None:
        while self._kind == "newline":
            self._next()

    def _note(self, path: Path, offset: int) -> None:
        self.found.setdefault(path, offset)

    def document(self) -> None:
        table: Path = ()
        self._skip_newlines()
        while self._kind:
            table = self._header() if self._word == "[" else self._pair(table)
            while self._kind and self._kind != "newline":
                self._next()
            self._skip_newlines()

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``: the path that the following keys are under."""
        start, brackets = self._start, 0
        while self._word == "[":
            brackets += 1
            self._next()
        *parents, last = self._key()
        path: Path = ()
        for part in parents:
            path = self._newest((*path, part))
            self._note(path, start)
        path = (*path, last)
        self._note(path, start)
        if brackets == 1:
            return path
        self._lengths[path] = self._lengths.get(path, 0) + 1
        self._note(self._newest(path), start)
        return self._newest(path)

    def _newest(self, path: Path) -> Path:
        """The last element of an array of tables; any other path as it is."""
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _pair(self, table: Path) -> Path:
        """``key = value``; returns the table it is in, so that both statements read alike."""
        start = self._start
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path, start)
        if self._word == "=":
            self._next()
        self._value(path)
        return table

    def _key(self) -> list[str]:
        """A dotted key, quoted parts opened."""
        parts: list[str] = []
        while self._kind in ("bare", "string") or self._word == ".":
            if self._word != ".":
                parts.append(_unquoted(self._word))
            self._next()
        return parts or [""]

    def _value(self, path: Path) -> None:
        if self._word == "[":
            self._array(path)
        elif self._word == "{":
            self._inline_table(path)
        else:
            while self._kind in ("bare", "string") or self._word == ".":
                self._next()

    def _array(self, path: Path) -> None:
        self._next()
        index = 0
        self._skip_newlines()
        while self._kind and self._word != "]":
            if self._word == ",":
                index += 1
                self._next()
            else:
                self._note((*path, index), self._start)
                self._value_or_step((*path, index))
            self._skip_newlines()
        self._next()

    def _inline_table(self, path: Path) -> None:
        self._next()
        self._skip_newlines()
        while self._kind and self._word != "}":
            if self._word == ",":
                self._next()
            else:
                before = self._start
                self._pair(path)
                if self._start == before:
                    self._next()
            self._skip_newlines()
        self._next()

    def _value_or_step(self, path: Path) -> None:
        """Read a value; step over anything else, so that no text can hold the scanner."""
        before = self._start
        self._value(path)
        if self._start == before:
            self._next()


def _unquoted(token: str) -> str:
    """The text of a key part; one whose escapes cannot be read keeps its quotes."""
    if token[0] not in "\"'":
        return token
    try:
        return str(tomllib.loads(f"key = {token}")["key"])
    except tomllib.TOMLDecodeError:
        return token
