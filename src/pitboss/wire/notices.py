"""What is posted to a receiver, and what its answer means: envelope, headers, signature, and when to try again.

No address is in any text made here but in the request itself. Called by ``drivers.notify``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from pitboss import __version__
from pitboss.model.answers import Instant
from pitboss.model.notices import Notice, Outcome, Settled, Sink, fill_places
from pitboss.wire import chat
from pitboss.wire.scalars import to_json, to_plain, to_timestamp

__all__ = ["WAITS", "Post", "Verdict", "encode_settled", "envelope", "judge", "post", "signature", "wait_secs"]

WAITS = (0.1, 0.3, 0.9)
"""Seconds between one try and the next; after the last there is none."""

LONGEST_WAIT_SECS = 60.0
"""So long at most is waited because a receiver asks for it."""


class Post(NamedTuple):
    """One request."""

    url: str
    headers: dict[str, str]
    body: bytes


def envelope(notice: Notice, run_id: str) -> dict[str, object]:
    """What every receiver is told, whatever it makes of it."""
    return {
        "dedup_key": notice.key,
        "severity": notice.severity,
        "event": _event(notice),
        "ts": to_timestamp(notice.at),
        "source": run_id,
    }


def _event(notice: Notice) -> dict[str, object]:
    return {
        key: to_plain(Instant(value)) if key.endswith("_at") and isinstance(value, float) else value
        for key, value in notice.event.items()
    }


def post(
    sink: Sink, url: str, headers: Mapping[str, str], secret: str, notice: Notice, run_id: str, *, now: float
) -> Post:
    """The request that tells a sink.

    Args:
        sink: Who is told.
        url: Where, with its variables filled in.
        headers: More headers, filled in.
        secret: What the body is signed with; empty for no signature.
        notice: What is told.
        run_id: Of which run.
        now: When it is sent, for the signature.
    """
    body = to_json(_body(sink, notice, run_id))
    if sink.kind == "webhook" and sink.template:
        body = _templated(sink.template, notice, run_id)
    own = {
        "Content-Type": "application/json",
        "User-Agent": f"pitboss/{__version__}",
        "Idempotency-Key": notice.key,
    }
    if secret:
        stamp = str(int(now))
        own |= {"X-Pitboss-Timestamp": stamp, "X-Pitboss-Signature": signature(secret, stamp, body)}
    return Post(url, {**own, **headers}, body)


def signature(secret: str, stamp: str, body: bytes) -> str:
    """``sha256=`` and the HMAC-SHA256 of ``<stamp>.<body>``, in hexadecimal."""
    digest = hmac.new(secret.encode(errors="surrogateescape"), stamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def _body(sink: Sink, notice: Notice, run_id: str) -> dict[str, object]:
    if sink.kind == "slack":
        return chat.slack(notice, sink.template, _places(notice, run_id))
    if sink.kind == "discord":
        return chat.discord(notice, run_id, sink.template, _places(notice, run_id))
    return envelope(notice, run_id)


def _places(notice: Notice, run_id: str) -> dict[str, str]:
    return {
        "title": chat.title(notice),
        "text": chat.plain(notice),
        "kind": notice.kind,
        "severity": notice.severity,
        "run_id": run_id,
        "dedup_key": notice.key,
        "ts": to_timestamp(notice.at),
        "event": to_json(_event(notice)).decode(),
    }


def _templated(template: str, notice: Notice, run_id: str) -> bytes:
    """A body of the operator's own: texts as JSON strings without their quotes, the event as the object it is."""
    places = _places(notice, run_id)
    inside = {name: to_json(value).decode()[1:-1] for name, value in places.items()}
    return fill_places(template, inside | {"event": places["event"]}).encode()


# --- answers ----------------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What a status means."""

    outcome: Outcome
    error: str
    """Empty if it was delivered."""


def judge(status: int) -> Verdict:
    """Whether a receiver has taken it, refuses it for good, or may take it later."""
    if 200 <= status < 300:
        return Verdict("delivered", "")
    if 300 <= status < 400:
        return Verdict("refused", f"it answers {status}: redirects are not followed, so give the address it leads to")
    if 400 <= status < 500 and status != 429:
        return Verdict("refused", f"it answers {status}")
    return Verdict("undelivered", f"it answers {status}")


def wait_secs(tries: int, chance: float, retry_after: str, now: float) -> float | None:
    """How long to wait before the next try; ``None`` if there is to be none.

    Args:
        tries: How many there were.
        chance: From 0 to 1, so that many do not come back at the same time.
        retry_after: The header of that name, or nothing.
        now: Seconds since the epoch.
    """
    if tries > len(WAITS):
        return None
    own = WAITS[tries - 1] * (0.5 + chance)
    return min(max(own, _asked_for(retry_after, now)), LONGEST_WAIT_SECS)


def _asked_for(retry_after: str, now: float) -> float:
    """Seconds, by a number or a date; 0 for what is neither."""
    try:
        secs = float(retry_after)
    except ValueError:
        try:
            secs = parsedate_to_datetime(retry_after).timestamp() - now
        except (ValueError, OverflowError, TypeError):
            return 0.0
    return secs if 0.0 < secs < float("inf") else 0.0


def encode_settled(settled: Settled) -> bytes:
    """A line of ``notifications.jsonl``."""
    delivered = settled.outcome == "delivered"
    shape: dict[str, object] = {
        "kind": "notification_delivered" if delivered else "notification_failed",
        "at": to_timestamp(settled.at),
        "sink_id": settled.sink,
        "event_kind": settled.kind,
    }
    if not delivered:
        shape |= {"error": settled.error, "will_retry": settled.outcome == "undelivered"}
    return to_json(shape | {"dedup_key": settled.key, "tries": settled.tries}) + b"\n"
