"""One line of the journal: a fact in its envelope, sealed with a checksum.

    {"seq":12,"cause":9,"via":"TurnEnded","fact":"ActorAdmitted","at":1767268800.25, ... ,"sum":"5d41402a"}

``seq`` counts the facts of a run from 1 and has no gaps; ``cause`` is the ``seq`` of the fact that led to this one,
or 0; ``via`` is the signal or rule that brought it about (``by`` in code: several facts have a ``by`` of their own);
``fact`` and all that follows is the fact itself. ``sum`` is the CRC-32 of every byte before ``,"sum"``, in hex.
The first line is the header, sealed alike: ``{"pitboss":"journal","format":1, ...}``.

A text of more than 4 KiB in UTF-8 is not on its line but a file of its own, and ``{"blob":"<sha-256>","bytes":N}``
stands in its place (``journal.blobs``); journals of format 1 have no such files.

A line is read alone, so the file can be looked at with ``jq``, cut at any line's end and written on. Later versions
may add keys; a change that older readers must not overlook raises ``format``.
No file is opened in here. Used by ``journal.log``, which writes, and ``journal.reader``, which reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from zlib import crc32

import msgspec

from pitboss.errors import WorldError
from pitboss.model.facts import AnyFact, Fact
from pitboss.wire.scalars import to_json

__all__ = [
    "FORMAT",
    "LARGEST_BYTES",
    "Entry",
    "Fetch",
    "Header",
    "Keep",
    "Scalar",
    "encode_entry",
    "encode_header",
    "is_whole",
    "parse_entry",
    "parse_header",
]

FORMAT = 2
"""The version of the format that this Pitboss writes, and the newest it reads; it reads all older ones too."""

LARGEST_BYTES = 4096
"""A longer text goes into a file of its own, from format 2 on."""

Keep: TypeAlias = Callable[[bytes], str]
"""Takes a large value and gives its name."""

Fetch: TypeAlias = Callable[[str], bytes]
"""Gives the value of a name; raises ``WorldError`` if it cannot."""

Scalar: TypeAlias = str | int | float | bool | None

Header: TypeAlias = dict[str, Scalar]
"""The first line of a journal: ``pitboss``, ``format``, and what its creator put beside them."""


class Entry(msgspec.Struct, frozen=True):
    """A fact with its place in the story."""

    seq: int
    cause: int
    """The ``seq`` of the fact this one follows from; 0 if it follows from none."""
    by: str
    """The signal or rule that brought it about."""
    fact: AnyFact


class _Envelope(msgspec.Struct, frozen=True):
    seq: int
    cause: int
    via: str


class _Kind(msgspec.Struct, frozen=True):
    fact: str = ""


_REFERENCE = b'{"blob":"'
_SEAL = b',"sum":"%08x"}\n'
_SEAL_BYTES = len(_SEAL % 0)

_envelopes = msgspec.json.Decoder(_Envelope)
_facts: msgspec.json.Decoder[AnyFact] = msgspec.json.Decoder(AnyFact)
_kinds = msgspec.json.Decoder(_Kind)
_headers = msgspec.json.Decoder(Header)
_KNOWN_KINDS = frozenset(kind.__name__ for kind in AnyFact.__args__)


def encode_header(header: Mapping[str, Scalar]) -> bytes:
    """The first line, newline included."""
    return _sealed(to_json({"pitboss": "journal", "format": FORMAT, **header})[:-1])


def encode_entry(seq: int, cause: int, by: str, fact: Fact, keep: Keep | None = None) -> bytes:
    """A fact's line, newline included.

    Args:
        seq: Its number.
        cause: The number of the fact it follows from.
        by: The signal or rule that brought it about.
        fact: What happened.
        keep: Takes what is too large for a line; ``None`` leaves everything on it.
    """
    text = to_json(fact)
    if keep is not None and len(text) > LARGEST_BYTES:
        text = to_json(_lifted(msgspec.json.decode(text), keep))
    return _sealed(b'{"seq":%d,"cause":%d,"via":%b,%b' % (seq, cause, to_json(by), text[1:-1]))


def _lifted(value: object, keep: Keep) -> object:
    """The same value with a reference in place of each long text."""
    match value:
        case str():
            data = value.encode()
            return {"blob": keep(data), "bytes": len(data)} if len(data) > LARGEST_BYTES else value
        case dict():
            return {key: _lifted(item, keep) for key, item in value.items()}
        case list():
            return [_lifted(item, keep) for item in value]
        case _:
            return value


def _whole(value: object, fetch: Fetch) -> object:
    """The same value with each long text back in its place."""
    match value:
        # No table of a fact mixes texts with numbers, so nothing else can look like this.
        case {"blob": str(name), "bytes": int(), **others} if not others:
            return fetch(name).decode()
        case dict():
            return {key: _whole(item, fetch) for key, item in value.items()}
        case list():
            return [_whole(item, fetch) for item in value]
        case _:
            return value


def is_whole(line: bytes) -> bool:
    """True if the line is whole: it ends in a newline and its checksum is right."""
    return line.endswith(_SEAL % crc32(line[:-_SEAL_BYTES]))


def parse_header(line: bytes) -> Header:
    """The header on a whole line.

    Raises:
        WorldError: If it is none, or of a format that only a later Pitboss knows; the caller adds where.
    """
    try:
        header = _headers.decode(line)
    except msgspec.DecodeError as error:
        raise WorldError(f"this is not the header of a Pitboss journal ({error})") from error
    if header.get("pitboss") != "journal":
        raise WorldError("this is not the header of a Pitboss journal")
    version = header.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise WorldError(f"its format is {version}, this Pitboss reads 1 to {FORMAT}; use a newer Pitboss")
    return header


def parse_entry(line: bytes, fetch: Fetch) -> Entry:
    """The fact on a whole line, with its envelope.

    Args:
        line: The line.
        fetch: Gives what was too large for it.

    Raises:
        WorldError: If this version does not know what it says, or a large value is gone; the caller adds where.
    """
    try:
        envelope = _envelopes.decode(line)
        fact = _facts.decode(line) if _REFERENCE not in line else _fact_of(line, fetch)
        return Entry(envelope.seq, envelope.cause, envelope.via, fact)
    except msgspec.DecodeError as error:
        raise WorldError(_misread(line, error)) from error


def _fact_of(line: bytes, fetch: Fetch) -> AnyFact:
    try:
        return msgspec.convert(_whole(msgspec.json.decode(line), fetch), AnyFact)  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        raise WorldError(f"a value it refers to is no text ({error})") from error


def _misread(line: bytes, error: msgspec.DecodeError) -> str:
    """A whole line was written by a Pitboss: if we cannot read it, that one was another version."""
    try:
        kind = _kinds.decode(line).fact
    except msgspec.DecodeError:
        return f"the line is no fact ({error})"
    if kind not in _KNOWN_KINDS:
        return f"the kind of fact {kind!r} is unknown; read this run with the Pitboss that wrote it, or a newer one"
    return f"the fact {kind} does not fit this version of Pitboss ({error})"


def _sealed(text: bytes) -> bytes:
    return text + _SEAL % crc32(text)
