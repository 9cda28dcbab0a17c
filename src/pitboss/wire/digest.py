"""What a list of runs shows of one that has ended: the digest of its ``summary.json``, without its tasks.

Written by ``wire.artifacts``, read from the ends of the file. Called by ``journal.discovery``.
"""

from __future__ import annotations

import msgspec

from pitboss.errors import WorldError
from pitboss.wire.scalars import decoded

__all__ = ["RunDigest", "decode_digest", "digest_from_ends"]


class RunDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a ``summary.json``: what a list of runs shows, without reading its tasks."""

    run_id: str
    manifest_name: str | None = None
    started_at: str
    ended_at: str
    tasks_total: int
    tasks_failed: int
    was_interrupted: bool
    total_cost_usd: float | None = None
    rehearsal: bool = False


_DIGEST_DECODER = msgspec.json.Decoder(RunDigest)


def decode_digest(data: bytes) -> RunDigest:
    """The digest of a whole ``summary.json``; every byte is looked at, but no task is built.

    Raises:
        WorldError: If the bytes are no run summary.
    """
    return decoded(_DIGEST_DECODER, data, "a run summary")


def digest_from_ends(head: bytes, tail: bytes) -> RunDigest | None:
    """The digest from the first and last few KiB of a large ``summary.json``, or ``None`` if it takes the whole.

    All that a digest holds stands before and after ``tasks``. The cuts are sure: a raw newline cannot occur in a
    JSON string, so a key after a newline and two blanks is one of the outermost object.
    """
    before, cut, _ = head.partition(b'\n  "tasks": [')
    if not cut or not tail.endswith(b"\n}"):
        return None
    _, ours, after = tail.rpartition(b'\n  "total_cost_usd":')
    closing = b',"total_cost_usd":' + after if ours else b"}"
    try:
        return decode_digest(before.rstrip().rstrip(b",") + closing)
    except WorldError:
        return None
