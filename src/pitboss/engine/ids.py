"""Ids that are minted here: run ids sort by time, session ids are random."""

from __future__ import annotations

import os
import time
import uuid

from pitboss.model.run import RunId


def mint_run_id() -> RunId:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then randomness."""
    millis = time.time_ns() // 1_000_000
    value = (millis << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return RunId(str(uuid.UUID(int=value)))


def mint_session_id() -> str:
    """A random UUID, as Claude Code wants its session ids."""
    return str(uuid.uuid4())
