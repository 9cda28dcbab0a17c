"""Counting again what an attempt has used, from its log, when its dispatcher died before it could say so.

The stream is on disk byte for byte, so what a killed dispatcher had read but not reported is not lost to the account.
What may not come in: opinions on what the tokens cost. Called by ``compose`` for the survey of a resume; blocks.
"""

from __future__ import annotations

from pathlib import Path

from pitboss.model.run import ActorId, Heard, Session
from pitboss.wire.claude import Conversation, Ended

__all__ = ["count_again"]

_CHUNK_BYTES = 1 << 20


def count_again(log: Path, offset: int) -> Heard | None:
    """What the last attempt in a log has used, as far as its stream tells.

    Args:
        log: The actor's ``stdout.log``.
        offset: Where that attempt's stream begins, in bytes.

    Returns:
        Its account; ``None`` if the log cannot be read.
    """
    talk = Conversation(_SOMEONE)
    last: Ended | None = None
    try:
        with log.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK_BYTES):
                for event in talk.feed(chunk):
                    last = event if isinstance(event, Ended) else last
    except OSError:
        return None
    for event in talk.eof():
        last = event if isinstance(event, Ended) else last
    if last is None or last.result.cost_usd is None:
        return Heard(usage=talk.usage)
    return Heard(usage=talk.usage, exact_usage=last.usage, exact_cost_usd=last.result.cost_usd)


_SOMEONE = Session(
    actor=ActorId(""), attempt=0, cookie="", binary="", cwd="", prompt="", session_id="", model="", log_dir=""
)
"""Whoever it was: the account does not depend on it."""
