"""Why an attempt failed, told from its last result and its death: one of the kinds of `model.run.Failure`.

Pure. What a tool printed is never looked at, only what the session itself reported: an agent that has read a file
about "401 Unauthorized" has no trouble logging in. Called by the core when an attempt is over.
"""

from __future__ import annotations

import re
import signal as signals
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal, TypeAlias

from pitboss.model.run import Failure, TurnResult

__all__ = ["classify", "reset_time"]

_Kind: TypeAlias = Literal[
    "rate_limit",
    "overloaded",
    "auth_failure",
    "context_exceeded",
    "network_error",
    "budget_exceeded",
    "invalid_argument",
    "unknown",
]

_EXCERPT_CHARS: Final = 240
"""Upstream's cap on a message."""

_CONTEXT: Final = re.compile(
    r"prompt is too long|context_length_exceeded|context (?:window|length|limit)", re.IGNORECASE
)

_PROSE: Final[tuple[tuple[_Kind, re.Pattern[str]], ...]] = (
    ("context_exceeded", _CONTEXT),
    (
        "auth_failure",
        re.compile(
            r"invalid_api_key|invalid api key|authentication_error|failed to authenticate|not logged in"
            r"|please run /login|oauth token|401 unauthorized",
            re.IGNORECASE,
        ),
    ),
    (
        "rate_limit",
        re.compile(
            r"you've (?:hit|reached) your .{0,40}limit|rate_limit_e|rate limit exceeded|usage limit reached"
            r"|\blimit reached\b",
            re.IGNORECASE,
        ),
    ),
    ("overloaded", re.compile(r"overloaded", re.IGNORECASE)),
    (
        "network_error",
        re.compile(
            r"ENOTFOUND|ETIMEDOUT|ECONNRESET|ECONNREFUSED|EAI_AGAIN|EPIPE|getaddrinfo|socket hang up|network error"
            r"|connection error|unable to connect|request timed out",
            re.IGNORECASE,
        ),
    ),
    ("invalid_argument", re.compile(r"invalid_request_error")),
)
"""What the session's own words point to where it gives no status; the first that fits."""


def classify(
    result: TurnResult | None,
    exit_code: int | None,
    signal: int | None,
    stderr_tail: str,
    *,
    now: float | None = None,
    utc_offset_secs: int = 0,
) -> Failure | None:
    """Say why an attempt failed, or ``None`` if it did not.

    Args:
        result: The last result the session wrote.
        exit_code: The exit code of its process, ``None`` if it had none.
        signal: The signal that ended it.
        stderr_tail: The end of its error output.
        now: The time, to make sense of "resets 3pm"; without it only complete times are understood.
        utc_offset_secs: How far local time, in which the session writes, is ahead of UTC.
    """
    if result is None:
        return _unheard(exit_code, signal, stderr_tail)
    if not result.is_error and not result.subtype.startswith("error"):
        return None if exit_code == 0 else _died(exit_code, signal, stderr_tail)
    kind = _kind(result)
    # The CLI's own diagnosis of how it was interrupted says nothing to a reader; what is left may be nothing.
    message = _excerpt(result.text) or _excerpt(stderr_tail) or result.terminal_reason or result.subtype
    resets_at = reset_time(result.text, now=now, utc_offset_secs=utc_offset_secs) if kind == "rate_limit" else None
    return Failure(kind=kind, message=message, resets_at=resets_at)


def _kind(result: TurnResult) -> _Kind:
    if result.is_out_of_money:
        return "budget_exceeded"
    match result.api_error_status:
        case None:
            return next((kind for kind, words in _PROSE if words.search(result.text)), "unknown")
        case 429:
            return "rate_limit"
        case 401 | 403:
            return "auth_failure"
        case 413:
            return "context_exceeded"
        case 400 if _CONTEXT.search(result.text):
            return "context_exceeded"
        case status if 500 <= status < 600:
            return "overloaded"
        case status if 400 <= status < 500:
            return "invalid_argument"
        case _:
            return "unknown"


def _unheard(exit_code: int | None, signal: int | None, stderr_tail: str) -> Failure:
    if exit_code == 0:
        return Failure(kind="no_result", message="The session ended without a result.")
    return _died(exit_code, signal, stderr_tail)


def _died(exit_code: int | None, signal: int | None, stderr_tail: str) -> Failure:
    if signal is not None:
        return Failure(kind="process_died", message=f"killed by {_name(signal)}")
    if exit_code is None:
        return Failure(kind="process_died", message="How the process ended is not known.")
    return Failure(kind="process_died", message=_excerpt(stderr_tail) or f"exited with code {exit_code}")


def _name(signal: int) -> str:
    try:
        return signals.Signals(signal).name
    except ValueError:
        return f"signal {signal}"


def _excerpt(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[ede_diagnostic]")]
    return lines[-1][-_EXCERPT_CHARS:] if lines else ""


_EPOCH: Final = re.compile(r"\|(\d{10})(?:\d{3})?\b")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_PROSE_TIME: Final = re.compile(
    r"\bresets?\b(?:\s+(?:at|on))?"
    r"(?:\s+(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?(?:\s+at)?)?"
    r"\s+(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\b)?",
    re.IGNORECASE,
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_FORESIGHT: Final = timedelta(days=31)
"""No limit lasts longer: a date further ahead is one that has passed, or no date."""


def reset_time(text: str, *, now: float | None, utc_offset_secs: int = 0) -> float | None:
    """Find out when a limit ends, in seconds since the epoch; ``None`` if the text does not say.

    Understands ``|1764000000``, ISO times, and local prose such as ``resets 3pm`` or ``resets Nov 24, 3:45pm``. A time
    without a date is the next one, so at most 24 hours ahead.
    """
    if found := _EPOCH.search(text):
        return float(found[1])
    if found := _ISO.search(text):
        return _iso(found[0])
    if now is not None and (found := _PROSE_TIME.search(text)):
        return _prose(found, datetime.fromtimestamp(now, timezone(timedelta(seconds=utc_offset_secs))))
    return None


def _iso(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return None


def _prose(found: re.Match[str], now: datetime) -> float | None:
    hour = _hour(int(found["hour"]), found["half"], has_minute=found["minute"] is not None)
    if hour is None:
        return None
    try:
        then = now.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
        if found["month"] is not None:
            return _dated(then, _MONTHS.index(found["month"].lower()) + 1, int(found["day"]), now)
    except ValueError:
        return None
    return (then if then > now else then + timedelta(days=1)).timestamp()


def _hour(hour: int, half: str | None, *, has_minute: bool) -> int | None:
    """Return the hour of the day; a bare number is no time."""
    if half is None:
        return hour if has_minute and hour < 24 else None
    if not 1 <= hour <= 12:
        return None
    return hour % 12 + (12 if half[0] in "pP" else 0)


def _dated(then: datetime, month: int, day: int, now: datetime) -> float | None:
    """Return that day's time, this year or around the turn of it; one that is months away was misread."""
    for year in (now.year, now.year + 1):
        dated = then.replace(year=year, month=month, day=day)
        if -_FORESIGHT < dated - now < _FORESIGHT:
            return dated.timestamp()
    return None
