"""How much one answer holds, measured as it travels: a client keeps from its model what is longer, without a word.

So what can be long is told in pieces, and each says how to get the next. Used by whatever answers with the contents
of something: store, leases, lists, final messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from pitboss.model.answers import LONGEST_ANSWER

__all__ = ["ROOM", "cost", "first_that_fit", "last_words", "shortened"]

ROOM = LONGEST_ANSWER - 10_000
"""So many bytes of JSON a value, a text or a page may take in an answer; the rest is for what stands around it."""

_A_TIME = "2026-01-01T00:00:00.000000Z"

_T = TypeVar("_T")


def cost(value: object) -> int:
    """How many bytes a value takes as JSON."""
    return len(msgspec.json.encode(value, enc_hook=lambda _: _A_TIME))


def first_that_fit(items: Sequence[_T], room: int = ROOM) -> list[_T]:
    """As many of the first items as fit into an answer; one at least, else nobody would ever get further."""
    taken = 0
    for item in items:
        room -= cost(item) + 1
        if room < 0 and taken:
            break
        taken += 1
    return list(items[:taken])


def shortened(text: str, room: int = ROOM) -> str:
    """The beginning of a text that fits."""
    while (size := cost(text)) > room:
        text = text[: len(text) * room // size]
    return text


def last_words(text: str | None) -> str | None:
    """A final message as whoever waited for it is told: all of it, or its beginning and how much there is more."""
    told = text if text is None else shortened(text, ROOM // 2)  # a sub-lead's stands in its answer twice
    if text is None or told is None or told == text:
        return text
    left = len(text) - len(told)
    return f"{told}\n[{left} more characters; an answer holds no more: have long results put into the shared store]"
