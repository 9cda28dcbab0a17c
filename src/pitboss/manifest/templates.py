r"""Prompts with places for values: ``{name}`` is replaced, ``\{`` and ``\}`` are literal braces.

One pass from left to right; values are not looked into again. A name is everything up to the next ``}``, spaces
included; a lone ``}`` and a backslash before anything else stay as they are. Called by ``resolve`` and
the rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["TemplateError", "names_in", "render"]

_PLACE = re.compile(r"\\(?P<brace>[{}])|\{(?P<name>[^}]*)\}|(?P<open>\{)")


class TemplateError(ValueError):
    """A template that cannot be rendered; the message says why."""


def names_in(text: str) -> list[str]:
    """The names of all places, in order, each once.

    Raises:
        TemplateError: A ``{`` is never closed.
    """
    names: dict[str, None] = {}
    for match in _PLACE.finditer(text):
        if match["open"]:
            line = text.count("\n", 0, match.start()) + 1
            message = f"an unclosed {{ in line {line} of the text; close it, or write \\{{ for a literal brace"
            raise TemplateError(message)
        if match["name"] is not None:
            names[match["name"]] = None
    return list(names)


def render(text: str, values: Mapping[str, str]) -> str:
    """The text with every place filled.

    Raises:
        TemplateError: A ``{`` is never closed, or a place has no value.
    """
    if missing := [name for name in names_in(text) if name not in values]:
        names = ", ".join(map(repr, missing))
        raise TemplateError(f"undeclared var {names}; set it in vars, or write \\{{ for a literal brace")
    return _PLACE.sub(lambda match: match["brace"] or values[match["name"]], text)
