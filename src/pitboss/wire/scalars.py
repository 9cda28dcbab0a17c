"""How times and strings travel in public JSON: the smallest words that every file of a run is made of.

Only conversions live here; what a file says as a whole is in ``wire.artifacts`` and ``journal.entries``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from pitboss.errors import WorldError
from pitboss.model.answers import Instant

__all__ = ["decoded", "duration_ms", "from_timestamp", "to_json", "to_plain", "to_timestamp"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ENCODER = msgspec.json.Encoder()
_T = TypeVar("_T")


def to_timestamp(at: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with 0, 3 or 6 digits of a second as needed."""
    micros = _micros(at)
    timespec = "seconds" if micros % 1_000_000 == 0 else "milliseconds" if micros % 1000 == 0 else "microseconds"
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def from_timestamp(text: str) -> float:
    """Any RFC 3339 time as seconds since the epoch; one without an offset is taken for UTC.

    Raises:
        WorldError: If it is no such time.
    """
    # A leap second is a legal time that datetime does not know: it is the second after :59.
    leap = text[16:19] == ":60"
    try:
        moment = msgspec.convert(f"{text[:16]}:59{text[19:]}" if leap else text, datetime)
    except msgspec.ValidationError as error:
        raise WorldError(f"{text!r} is not a time in RFC 3339 form, such as 2026-01-31T12:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    micros = (moment - _EPOCH) // _MICROSECOND
    return (micros + 1_000_000 if leap else micros) / 1_000_000


def duration_ms(started_at: float, ended_at: float) -> int:
    """Whole milliseconds between two times as they are published; 0 if the clock went backwards."""
    return max(0, (_micros(ended_at) - _micros(started_at)) // 1000)


def to_json(value: object) -> bytes:
    """Compact JSON of any of our data, whatever its strings hold.

    A path with bytes that are not UTF-8 reaches us with lone surrogates, which JSON cannot carry. They become
    U+FFFD: a record with a spoiled character is worth more than no record.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_scrubbed(msgspec.to_builtins(value)))


def decoded(decoder: msgspec.json.Decoder[_T], data: bytes, what: str) -> _T:
    """What a decoder makes of a file's bytes.

    Args:
        decoder: Knows the shape.
        data: The bytes.
        what: What they should be, for the message.

    Raises:
        WorldError: If they are no such thing.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WorldError(f"this is not {what}: {error}") from error


def to_plain(value: object) -> Any:
    """Our data as what JSON can carry, each `Instant` in it as RFC 3339, or null if no calendar has that time."""
    return msgspec.to_builtins(value, enc_hook=_instant)


def _instant(value: object) -> str | None:
    if not isinstance(value, Instant):
        raise NotImplementedError(type(value).__name__)  # msgspec's word for: I do not know this type either
    try:
        return to_timestamp(value)
    except (OverflowError, ValueError):
        return None  # an end that never comes


def _micros(at: float) -> int:
    """Whole microseconds: what a public time can say, and a float can hold exactly."""
    return round(at * 1_000_000)


def _scrubbed(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
        case list() | tuple():
            return [_scrubbed(item) for item in value]
        case _:
            return value
