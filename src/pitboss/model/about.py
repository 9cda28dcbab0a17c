"""What every report and every fact about an attempt begins with."""

from __future__ import annotations

from typing import TypedDict

from pitboss.model.run import ActorId


class About(TypedDict):
    """When, and which attempt of which actor: ``Kind(**about, ...)``."""

    at: float
    actor: ActorId
    attempt: int
