"""What is waited for, in words: for those who look, and for a session that was cut off while it waited."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import assert_never

from pitboss.model.run import ActorId
from pitboss.model.tree import Awaited, ForActors, ForApproval, ForKey, ForLease

NO_NAMES: Mapping[ActorId, str] = MappingProxyType({})


def awaited(what: Awaited, names: Mapping[ActorId, str] = NO_NAMES) -> str:
    """What a tool call waits for, as a phrase that follows "waits for".

    Args:
        what: What it is.
        names: What actors are called for short; by their ids where they are not in it.
    """
    match what:
        case ForActors(ids=ids):
            return f"the end of {' or '.join(names.get(name, name) for name in ids)}"
        case ForKey(path=path):
            return f"the key {path}"
        case ForLease(name=name):
            return f"the lease {name}"
        case ForApproval(request_id=name):
            return f"the decision on {name}"
        case _:
            assert_never(what)
