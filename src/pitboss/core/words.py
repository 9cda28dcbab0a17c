"""What is waited for, in words: for those who look, and for a session that was cut off while it waited."""

from __future__ import annotations

from typing import assert_never

from pitboss.model.tree import Awaited, ForActors, ForApproval, ForKey, ForLease


def awaited(what: Awaited) -> str:
    """What a tool call waits for, as a phrase that follows "waits for"."""
    match what:
        case ForActors(ids=ids):
            return f"the end of {' or '.join(ids)}"
        case ForKey(path=path):
            return f"the key {path}"
        case ForLease(name=name):
            return f"the lease {name}"
        case ForApproval(request_id=name):
            return f"the decision on {name}"
        case _:
            assert_never(what)
