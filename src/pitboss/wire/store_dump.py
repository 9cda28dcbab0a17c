"""``shared-store.json``: what the stores and leases of a run were at its end, byte for byte.

The keys are those of Pitboss 0.9, which dumped the lead's layer alone; the layers of sub-leads stand behind them.
Called by ``journal.publish``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from pitboss.model.effects import PublishStore
from pitboss.model.store import Entry, Lease
from pitboss.wire.scalars import to_json, to_timestamp

__all__ = ["encode_store"]


def encode_store(picture: PublishStore) -> bytes:
    """The bytes of ``shared-store.json``."""
    others = {layer: _entries(held) for layer, held in picture.entries.items() if layer != picture.root}
    shape: dict[str, object] = {
        "finalized_at": to_timestamp(picture.at),
        "entries": _entries(picture.entries.get(picture.root, ())),
        "leases": [_lease(lease) for lease in picture.leases],
    }
    return msgspec.json.format(to_json(shape | ({"layers": others} if others else {})), indent=2)


def _entries(held: Sequence[Entry]) -> list[dict[str, object]]:
    return [
        {
            "path": entry.path,
            "version": entry.version,
            "written_by": entry.written_by,
            "written_at": to_timestamp(entry.written_at),
            "value_b64": base64.b64encode(entry.value.raw).decode(),
        }
        for entry in sorted(held, key=lambda entry: entry.path)
    ]


def _lease(lease: Lease) -> dict[str, object]:
    return {
        "name": lease.name,
        "lease_id": lease.lease_id,
        "holder": lease.holder,
        "acquired_at": to_timestamp(lease.acquired_at),
        "expires_at": to_timestamp(lease.expires_at),
        "scope": lease.scope,
    }
