"""The nouns of our tools: what an argument may be, and the words with which a model is told.

Used by ``model.calls``, whose structs are the tools.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

WorkerId = Annotated[str, Meta(min_length=1, max_length=128, description="Id of the worker, as spawn_worker gave it.")]
AnyId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="Id of the worker or sub-lead, as spawn_worker or spawn_sublead gave it.",
    ),
]
WaitSecs = Annotated[int, Meta(ge=0, le=604_800, description="How long to wait at most, in seconds.")]
ActorWaitSecs = Annotated[
    int, Meta(ge=0, le=604_800, description="How long to wait at most, in seconds. Default: 3600.")
]
Ttl = Annotated[int, Meta(ge=1, le=604_800, description="After so many seconds the lease ends by itself.")]
StorePath = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="Absolute path of the key: /ref/... (written by leads), /shared/... (by anyone), "
        "/peer/self/... (yours).",
    ),
]
StoreBytes = Annotated[
    list[Annotated[int, Meta(ge=0, le=255)]] | str,
    Meta(description="The value: a text, or an array of bytes (integers 0 to 255)."),
]
JsonValue = Any
MAX_COUNT = 9_007_199_254_740_991
"""The largest integer that every reader of JSON agrees on."""
Version = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Offset = Annotated[int, Meta(ge=0, le=MAX_COUNT, description="Leave out so many, to get the rest of a long list.")]
Dollars = Annotated[float, Meta(ge=0, le=1_000_000, description="US dollars.")]
Form = Annotated[
    Literal["bytes", "text", "json"],
    Meta(description="Only this form of the value. Default: bytes, and text if it is one."),
]
Label = Annotated[str, Meta(max_length=64, description="A short name for people, shown beside the id.")]
IdempotencyKey = Annotated[
    str,
    Meta(max_length=128, description="A repeated call with the same key gives the same actor, not another."),
]
ModelName = Annotated[str, Meta(min_length=1, max_length=128, description="Model name. Default: the lead's.")]
SubleadStore = Annotated[
    str | None,
    Meta(description="Look into the store of this sub-lead of yours, which you spawned with read_down."),
]
