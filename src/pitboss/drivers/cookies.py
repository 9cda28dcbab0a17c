"""Finding processes by their cookie from inside the dispatcher, without ever blocking its loop.

``Census`` answers "who holds this cookie" for everyone who asks: one look at the process table, in a thread, serves
all who wait at the same time. ``process.bury`` asks it before it signs a death certificate. How a look is done, and
the synchronous ``stop_all`` for those without a loop, is ``sweep``'s; opinions on what a leftover means stay out.
"""

from __future__ import annotations

import asyncio

from pitboss.drivers.lookout import COOKIE, Finding, Found, Lookout, Snapshot
from pitboss.drivers.sweep import Sweep, stop_all

__all__ = ["COOKIE", "Census", "Finding", "Found", "Sweep", "stop_all"]


class Census:
    """Finds processes by cookie; have one per event loop, so that its looks are shared.

    Attributes:
        looks: How many times the process table has been read.
    """

    def __init__(self) -> None:
        self.looks = 0
        self._lookout = Lookout()
        self._one_at_a_time = asyncio.Lock()
        self._latest: tuple[int, Snapshot] | None = None

    async def holders(self, cookie_prefix: str) -> list[Found]:
        """Every process that was found to hold a cookie now; an empty answer is no proof that there is none.

        Args:
            cookie_prefix: A prefix if it ends in a slash (``<run>/``), else one whole cookie.
        """
        return (await self._look()).carrying(cookie_prefix)

    async def remains(self, cookie: str, session: int) -> Finding:
        """The holders of one cookie and their groups, and all of a session or group whose leader has ended."""
        snapshot = await self._look()
        found = snapshot.carrying(cookie)
        if not found and session not in snapshot.kinships:
            return Finding([], snapshot.sure)
        return await asyncio.to_thread(snapshot.belonging, cookie, session=session)

    async def _look(self) -> Snapshot:
        """A look that began after now; the first of those who wait takes it for all of them."""
        wanted = self.looks + 1
        async with self._one_at_a_time:
            if self._latest is not None and self._latest[0] >= wanted:
                return self._latest[1]
            await asyncio.sleep(0)  # everyone who is about to ask in this turn of the loop is served too
            self.looks += 1
            number = self.looks
            snapshot = await asyncio.to_thread(self._lookout.look)
            self._latest = number, snapshot
            return snapshot
