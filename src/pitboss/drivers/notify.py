"""The hand that tells sinks: one message after the other to each, again where that may help, never for ever.

Every message ends in a report: delivered, refused by the receiver, or undelivered, to be sent another time. What may be
sent where is handed in, as hands have no opinions; the variables of a sink are filled in for one delivery and
forgotten. Called by ``engine.perform``, and by ``upkeep`` for runs at rest.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from pitboss.drivers import http_post
from pitboss.drivers.http_post import Address, PostError, Reply, Resolve
from pitboss.model.effects import Emit, FinishNotices, Notify
from pitboss.model.notices import Outcome, Sink
from pitboss.model.signals import NoticeReported
from pitboss.wire import notices as wire
from pitboss.wire.scalars import to_json

__all__ = ["Filled", "Notifier", "Rules"]

PATIENCE_SECS = 1.0
"""How long the end of a run may wait without saying why."""

CUT_SHORT = "there was no time left to deliver it"


class Filled(Protocol):
    """A sink with its variables filled in."""

    @property
    def url(self) -> str:
        """Where to post."""

    @property
    def headers(self) -> dict[str, str]:
        """More headers."""

    @property
    def secret(self) -> str:
        """What to sign with; empty for nothing."""


class Rules(NamedTuple):
    """What is not a hand's to decide."""

    fill: Callable[[Sink], Filled]
    """Fills in a sink; raises ``ValueError`` with a message that shows nothing secret if it cannot be used."""
    allowed: Callable[[Sink, Address], bool]
    """True if a sink may be at an address."""
    say: Callable[[str], None]
    """Tells the operator: where a sink of kind ``log`` leads."""


class _Told(NamedTuple):
    """How telling went."""

    outcome: Outcome
    tries: int
    error: str


class _Course:
    """How telling goes while it is under way."""

    def __init__(self) -> None:
        self.tries = 0
        self.error = ""
        """Why the last try that is over did not do; empty before that."""

    def cut_short(self) -> _Told:
        return _Told("undelivered", self.tries, "; ".join(filter(None, [self.error, CUT_SHORT])))


class Notifier:
    """Tells sinks, each in its own time."""

    def __init__(
        self,
        clock: Callable[[], float],
        rules: Rules,
        *,
        find: Resolve = http_post.resolve,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare to tell.

        Args:
            clock: What time it is.
            rules: What may be sent where.
            find: Resolves names.
            tls: What certificates are checked with.
            chance: From 0 to 1: spreads tries that would otherwise come at the same time.
            sleep: Waits between tries.
        """
        self._clock = clock
        self._rules = rules
        self._find = find
        self._tls = tls
        self._chance = chance
        self._sleep = sleep
        self._lanes: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One message at a time to each sink, in the order in which they came."""
        self._dead: set[str] = set()
        """Sinks that did not take the last message: the next is tried once, so that a queue of them ends."""
        self._end: float | None = None
        """When, by the event loop's clock, everything is to be settled."""
        self._limits: set[asyncio.Timeout] = set()

    async def notify(self, effect: Notify, emit: Emit) -> None:
        """Tell a sink, and report how that went."""
        course = _Course()
        try:
            async with asyncio.timeout_at(self._end) as limit:
                self._limits.add(limit)
                async with self._lanes[effect.sink.id]:
                    told = await self._tell(effect, course)
        except TimeoutError:
            told = course.cut_short()
        finally:
            self._limits.discard(limit)
        report = NoticeReported(
            at=self._clock(),
            key=effect.notice.key,
            sink=effect.sink.id,
            outcome=told.outcome,
            tries=told.tries,
            error=told.error,
        )
        emit(report)

    async def finish(self, effect: FinishNotices, _emit: Emit) -> None:
        """From now on, everything is settled within the time given."""
        self.end_within(effect.within_secs)
        if effect.within_secs > PATIENCE_SECS:
            asyncio.get_running_loop().call_later(PATIENCE_SECS, self._explain, effect.within_secs)

    def end_within(self, secs: float) -> None:
        """The same, without a word about it."""
        self._end = asyncio.get_running_loop().time() + secs
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(self._end)

    def _explain(self, within_secs: float) -> None:
        if self._limits:
            self._rules.say(f"waiting up to {within_secs:.0f} s for notifications on the way; Ctrl-C ends the waiting")

    async def _tell(self, effect: Notify, course: _Course) -> _Told:
        if effect.sink.kind == "log":
            shown = to_json(wire.envelope(effect.notice, effect.run_id)).decode()
            self._rules.say(f"notification emitted envelope={shown}")
            return _Told("delivered", 1, "")
        told = await self._deliver(effect, course)
        if told.outcome == "undelivered":
            self._dead.add(effect.sink.id)
        else:
            self._dead.discard(effect.sink.id)
        return told

    async def _deliver(self, effect: Notify, course: _Course) -> _Told:
        """Try until it is taken, refused, or enough."""
        while True:
            course.tries += 1
            try:
                reply = await self._try(effect)
                verdict = wire.judge(reply.status)
            except ValueError as problem:  # the environment is not what the sink was checked with
                return _Told("undelivered", course.tries, f"its address {problem}")
            except PostError as problem:
                reply, verdict = Reply(0, ""), wire.Verdict("undelivered", str(problem))
            pause = wire.wait_secs(course.tries, self._chance(), reply.retry_after, self._clock())
            course.error = verdict.error
            if verdict.outcome != "undelivered" or pause is None or effect.sink.id in self._dead:
                return _Told(verdict.outcome, course.tries, verdict.error)
            await self._sleep(pause)

    async def _try(self, effect: Notify) -> Reply:
        sink = effect.sink
        filled = self._rules.fill(sink)
        post = wire.post(
            sink, filled.url, filled.headers, filled.secret, effect.notice, effect.run_id, now=self._clock()
        )
        limit = asyncio.timeout(sink.request_timeout_secs)
        try:
            async with limit:
                return await http_post.send(
                    post, allowed=lambda address: self._rules.allowed(sink, address), find=self._find, tls=self._tls
                )
        except TimeoutError as problem:
            raise PostError(f"no answer within {sink.request_timeout_secs} s") from problem
