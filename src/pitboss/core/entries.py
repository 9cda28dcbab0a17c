"""How an answer shows an entry of the store: which form of the value, and how much of it at once.

A model pays for every byte it is shown, and its client cuts off what is too long without asking. So an answer is
bounded, says where it was cut, and the rest is had by ``kv_get`` with ``offset``. Called by ``core.store``.
"""

from __future__ import annotations

import msgspec

from pitboss.core.bounds import ROOM, cost, shortened
from pitboss.model.answers import Instant, Refused, refused
from pitboss.model.arguments import Form, JsonValue, StoreBytes
from pitboss.model.store import Entry, Value

ARRAY_BYTES = ROOM // 4
"""So many bytes an answer holds at most as an array of integers, of which each takes up to four characters."""


def meta(entry: Entry) -> dict[str, object]:
    """An entry without its value."""
    return {
        "path": entry.path,
        "version": entry.version,
        "written_by": entry.written_by,
        "written_at": Instant(entry.written_at),
        "size_bytes": entry.size_bytes,
    }


def show(entry: Entry, form: Form | None = None, offset: int = 0) -> dict[str, object] | Refused:
    """An entry with its value, or a piece of it.

    Args:
        entry: The entry.
        form: The only form wanted. Default: bytes, and text if it is one; the text alone if both are too long.
        offset: Leave out so many bytes of the value.

    Returns:
        The entry; ``truncated_at`` is the offset to go on from, and is there only if something is left.
    """
    if form == "json":
        return _as_json(entry, offset)
    if form == "text" and entry.value.text is None:
        message = f"the value of {entry.path} is not UTF-8 text: read it with form bytes."
        return refused("invalid_arg", message, current_version=entry.version)
    raw = entry.value.raw
    told = meta(entry)
    as_text = entry.value.text is not None and form != "bytes"
    small = entry.size_bytes <= ARRAY_BYTES and cost(list(raw)) + cost(entry.value.text) <= ROOM
    if as_text:
        offset, piece = _piece_of_text(raw, offset)
        told["text"] = piece.decode()
    else:
        piece = raw[offset : offset + ARRAY_BYTES]
    if form == "bytes" or not as_text or (form is None and small):
        told["value"] = list(piece)
    if offset:
        told["offset"] = offset
    end = offset + len(piece)
    if end < entry.size_bytes:
        told["truncated_at"] = end
        told["note"] = (
            f"bytes {offset} to {end} of {entry.size_bytes}; the rest: kv_get with offset {end} and the same form, "
            f"as long as the version is {entry.version}"
        )
    elif form is None and as_text and not small:
        told["note"] = "given as text alone, as it is long; form bytes gives the array"
    return told


def taken(value: StoreBytes | None, json: JsonValue) -> Value | Refused:
    """The value that a call brings: text, an array of bytes, or JSON, of which its compact text is stored."""
    if (value is None) == (json is None):
        message = "give exactly one of the value and json; kv_delete removes a key, and JSON null is the text null."
        return refused("invalid_arg", message)
    try:
        if isinstance(value, str):
            value.encode()
            return Value(text=value)
        return Value.of(msgspec.json.encode(json) if value is None else bytes(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        message = (
            "the value cannot be stored: give text that is valid Unicode, integers from 0 to 255, or JSON that is not "
            "nested too deeply."
        )
        return refused("invalid_arg", message)


def _as_json(entry: Entry, offset: int) -> dict[str, object] | Refused:
    if offset:
        return refused("invalid_arg", "offset counts bytes, and JSON cannot be cut: use it with form text or bytes.")
    if entry.size_bytes > ROOM:
        message = (
            f"the value of {entry.path} has {entry.size_bytes} bytes, more than the {ROOM} an answer holds: "
            f"read it in pieces with form text and offset."
        )
        return refused("invalid_arg", message, current_version=entry.version)
    try:
        return meta(entry) | {"json": msgspec.json.decode(entry.value.raw)}
    except (msgspec.DecodeError, ValueError, RecursionError):
        message = f"the value of {entry.path} is not JSON: read it with form text or bytes."
        return refused("invalid_arg", message, current_version=entry.version)


def _piece_of_text(raw: bytes, offset: int) -> tuple[int, bytes]:
    """A piece that begins and ends between two characters, and where it begins: at or shortly before ``offset``."""
    start = _between_characters(raw, min(offset, len(raw)))
    piece = raw[start : _between_characters(raw, min(start + ROOM, len(raw)))]
    return start, shortened(piece.decode()).encode()


def _between_characters(raw: bytes, at: int) -> int:
    while at < len(raw) and raw[at] & 0xC0 == 0x80:  # a byte in the middle of a character
        at -= 1
    return at
