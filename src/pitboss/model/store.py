"""The words of the shared store and of leases: what stands under a path, and who holds what until when."""

from __future__ import annotations

from typing import Literal

from pitboss.model.run import Frozen

RUN_WIDE = ""
"""The scope of a lease that is one for the whole run; all others have their layer lead's id as scope."""


class Value(Frozen, frozen=True, kw_only=True):
    """What stands under a path: a text or bytes, exactly one of them."""

    text: str | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.data is None):
            raise ValueError("a value is either text or data")

    @classmethod
    def of(cls, data: bytes) -> Value:
        """The value with these bytes; as text if they are UTF-8, which is what journals and people read best."""
        try:
            return cls(text=data.decode())
        except UnicodeDecodeError:
            return cls(data=data)

    @property
    def raw(self) -> bytes:
        """The bytes themselves."""
        return self.text.encode() if self.text is not None else self.data or b""

    @property
    def size(self) -> int:
        """How many bytes it has. Encodes a text anew: an entry has the number at hand."""
        return len(self.raw)


class Entry(Frozen, frozen=True, kw_only=True):
    """A key of the store at one version."""

    path: str
    """Normalised; see ``core.paths``."""
    value: Value
    version: int
    """1 for the first write of a path, one more with each write, never less than before."""
    written_by: str
    written_at: float
    size_bytes: int
    """Of the value, kept so that a listing touches no value."""


class Removed(Frozen, frozen=True, kw_only=True):
    """A key was taken out of the store."""

    path: str
    last_version: int
    """What it had; its next write has one more."""
    removed_by: str
    removed_at: float


class Lease(Frozen, frozen=True, kw_only=True):
    """The right to one name, for one holder, for a while."""

    scope: str
    """Id of the layer's lead, or `RUN_WIDE`."""
    name: str
    lease_id: str
    holder: str
    acquired_at: float
    expires_at: float
    """From this time on it is nobody's."""
    fence: int = 0
    """Grows with every acquisition: whoever guards the thing itself can refuse a holder that was overtaken."""


class LeaseEnded(Frozen, frozen=True, kw_only=True):
    """A lease is over; names the very acquisition, so a late end does not touch the next holder's."""

    scope: str
    name: str
    lease_id: str
    reason: Literal["released", "expired", "holder_ended", "layer_ended"]
