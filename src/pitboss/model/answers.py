"""What a tool call comes to: an answer, or a refusal with its code. Plain data that the edge turns into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

RefusalCode = Literal[
    "invalid_arg",
    "forbidden",
    "conflict",
    "timeout",
    "store_limit_exceeded",
    "not_found",
    "cap_reached",
    "budget_exceeded",
    "draining",
    "api_unavailable",
    "plan_required",
    "unavailable",
]
"""The codes a program may match on; the first five are those of Pitboss 0.9."""

LONGEST_ANSWER = 50_000
"""Bytes of an answer as JSON. One of more than 50,000 characters Claude Code 2.1.330 writes to a file, and shows the
model 2 KB of it: an actor without Read never sees the rest. (A tool may ask for more with
``_meta["anthropic/maxResultSizeChars"]``, up to 25,000 tokens; half a lead's context is no place for one answer.)"""

SPREAD = "*"
"""Under this key stands a record whose own keys belong in its place."""


class Instant(float):
    """A time inside an answer, in seconds since the epoch.

    A type of its own, so that the edge finds every time whatever its key is, and nothing else: the encoder does not
    know the type and asks (``wire.scalars.to_plain``).
    """

    __slots__ = ()


class Answer(NamedTuple):
    """The call was carried out, or looked up; this is what it says."""

    content: dict[str, object]
    """Plain data; times are `Instant`."""


class Refused(NamedTuple):
    """The call was not carried out and nothing has changed."""

    code: RefusalCode
    message: str
    """One sentence that says what to do instead."""
    extra: Mapping[str, object]
    """More of the error's data, such as ``which``; times are `Instant`."""


def refused(code: RefusalCode, message: str, **extra: object) -> Refused:
    """A refusal with its data as keywords."""
    return Refused(code, message, extra)
