"""What we write down about notifications: the journal is their outbox.

Listed with all other kinds in ``model.facts``, whose rules of evolution hold here too.
"""

from __future__ import annotations

from pitboss.model.fact import Fact
from pitboss.model.notices import Notice, Outcome


class NoticeRaised(Fact, frozen=True, kw_only=True):
    """There is something to tell; until it is settled for a sink, it is owed to that sink."""

    notice: Notice
    sinks: tuple[str, ...]
    """Ids of those who are to be told."""


class NoticeSettled(Fact, frozen=True, kw_only=True):
    """A sink was told, or could not be."""

    key: str
    """The notice's."""
    sink: str
    outcome: Outcome
    """``delivered``; ``undelivered``, to be sent again later; ``refused`` by the receiver, for good."""
    tries: int
    error: str = ""


NoticeFact = NoticeRaised | NoticeSettled
"""Facts about notifications."""
