"""What every fact begins with; the kinds are in ``model.facts`` and, for what only a tree has, ``model.tree_facts``."""

from __future__ import annotations

import msgspec

from pitboss.model.run import ActorId


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="fact", omit_defaults=True):
    """Base of all facts."""

    at: float


class ActorFact(Fact, frozen=True, kw_only=True):
    """Base of all facts about one attempt of one actor."""

    actor: ActorId
    attempt: int
