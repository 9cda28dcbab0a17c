"""What was to be told to whom, and how that went: the journal's facts about notifications, taken together.

Frozen data and how a fact changes it; what is worth telling is ``core.notices``'.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from pitboss.model import notice_facts as n
from pitboss.model.notices import Notice, Outcome, Settled
from pitboss.model.run import Frozen


class Outbox(Frozen, frozen=True, kw_only=True):
    """Everything that was ever to be told in a run."""

    notices: dict[str, Notice] = msgspec.field(default_factory=dict)
    """By key, in the order they came about."""
    due: dict[tuple[str, str], Outcome | None] = msgspec.field(default_factory=dict)
    """Key and sink of what has not arrived, in the same order, with how the last try ended; ``None`` before that."""
    settled: tuple[Settled, ...] = ()
    """How telling went, each time."""

    @property
    def owed(self) -> list[tuple[Notice, str]]:
        """What is still to be sent, and to whom; not what a receiver has refused."""
        return [(self.notices[key], sink) for (key, sink), last in self.due.items() if last != "refused"]

    @property
    def unreached(self) -> tuple[str, ...]:
        """Those to whom something was sent that did not arrive."""
        return tuple(dict.fromkeys(sink for (_, sink), last in self.due.items() if last is not None))

    @property
    def on_the_way(self) -> bool:
        """True if something has been sent of which nothing was heard yet."""
        return any(last is None for last in self.due.values())


def evolved(outbox: Outbox, fact: n.NoticeFact) -> Outbox:
    """The outbox after ``fact``."""
    if isinstance(fact, n.NoticeRaised):
        key = fact.notice.key
        due = outbox.due | dict.fromkeys(((key, sink) for sink in fact.sinks), None)
        return replace(outbox, notices=outbox.notices | {key: fact.notice}, due=due)
    at = (fact.key, fact.sink)
    due = {each: last for each, last in outbox.due.items() if each != at}
    if fact.outcome != "delivered":
        due = {each: fact.outcome if each == at else last for each, last in outbox.due.items()}
    settled = Settled(
        at=fact.at,
        key=fact.key,
        kind=outbox.notices[fact.key].kind,
        sink=fact.sink,
        outcome=fact.outcome,
        tries=fact.tries,
        error=fact.error,
    )
    return replace(outbox, due=due, settled=(*outbox.settled, settled))
