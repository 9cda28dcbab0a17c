"""Where things stand in a TOML text: the line of every key and table, which the parser itself does not tell.

Only a text that the real parser has accepted comes in, so this reads shapes and checks nothing. Pure. Called by
``reader`` when a script has problems.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

__all__ = ["Path", "Places"]

Path = tuple[str | int, ...]
"""The way to a value: keys of tables and indexes of arrays."""

_TOKEN = re.compile(
    r"""(?P<string>"{3}(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
    r"""|(?P<comment>\#[^\n]*)|(?P<mark>[][{}=,.\n])|(?P<bare>[^][{}=,.\n\#"'\s]+)""",
    re.DOTALL,
)


class Places:
    """The line of each path in a text."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        """How many tables each array of tables has so far."""
        self._table: Path = ()
        for line, tokens in _statements(text):
            self._read(line, tokens)

    def line(self, path: Path) -> int | None:
        """The line where ``path`` is, or the nearest thing around it that has one.

        A table where an array of tables might be is its own first element.
        """
        here: Path = ()
        for step in path:
            if (*here, step) in self._lines:
                here = (*here, step)
            elif step != 0:
                break
        return self._lines.get(here)

    def _read(self, line: int, tokens: list[tuple[int, str]]) -> None:
        words = [token for _, token in tokens]
        if words[0] == "[":
            self._open_table(line, words)
        else:
            self._read_pairs(self._table, tokens)

    def _open_table(self, line: int, words: list[str]) -> None:
        *parents, last = [_key(word) for word in words if word not in {"[", "]", "."}]
        path: Path = ()
        for parent in parents:
            path = self._inside((*path, parent))
            self._lines.setdefault(path, line)
        path = (*path, last)
        self._lines.setdefault(path, line)
        if words[1] == "[":
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = self._inside(path)
            self._lines[path] = line
        self._table = path

    def _inside(self, path: Path) -> Path:
        """The latest table of an array of tables, or the path itself."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _read_pairs(self, base: Path, tokens: list[tuple[int, str]]) -> None:
        """Walk ``key = value`` with all it holds; ``stack`` is what is open around the current token."""
        stack: list[Path] = [base]
        indexes: list[int | None] = [None]
        key: list[str] = []
        path = base
        for line, token in tokens:
            match token:
                case "=":
                    path = stack[-1]
                    for part in key:
                        path = (*path, part)
                        self._lines.setdefault(path, line)
                    key = []
                case "[" | "{":
                    path = self._element(stack[-1], indexes[-1], path, line)
                    stack.append(path)
                    indexes.append({"[": 0}.get(token))
                case "]" | "}":
                    stack.pop()
                    indexes.pop()
                    key = []
                case ",":
                    index = indexes[-1]
                    indexes[-1] = None if index is None else index + 1
                    key = []
                case "." | "\n":
                    pass
                case _:
                    key.append(_key(token))

    def _element(self, base: Path, index: int | None, path: Path, line: int) -> Path:
        """The path of a value that opens here: an element of the array around it, or what the last key names."""
        if index is None:
            return path
        self._lines.setdefault((*base, index), line)
        return (*base, index)


def _statements(text: str) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Headers and pairs, each with its line and its tokens; one may go over many lines while a bracket is open."""
    line, depth, tokens = 1, 0, list[tuple[int, str]]()
    for found in _TOKEN.finditer(text + "\n"):
        word = found[0]
        if word == "\n" and depth == 0:
            if tokens:
                yield tokens[0][0], tokens
            tokens = []
        elif found.lastgroup != "comment":
            tokens.append((line, word))
            depth += (word in {"[", "{"}) - (word in {"]", "}"})
        line += word.count("\n")


def _key(word: str) -> str:
    if word[0] not in "\"'" or word[:3] in {'"""', "'''"}:
        return word
    return next(iter(tomllib.loads(f"{word} = 0")))
