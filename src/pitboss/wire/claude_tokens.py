"""The token account of one Claude Code process: an estimate while a turn runs, exact at its end.

Pure arithmetic over what the stream says. Two traps lie in the format: an ``assistant`` line repeats its message's
usage for every content block, and its output count is that of the message's start. So each message id is counted
once, and its output is taken from ``message_delta``; subagents, whose streaming is not forwarded, are short of
output until the result. Used by `wire.claude` alone.
"""

from __future__ import annotations

from pitboss.model.run import Usage

__all__ = ["TokenCount"]


class TokenCount:
    """Counts tokens of one process."""

    def __init__(self, baseline: Usage) -> None:
        self._baseline = baseline
        """What the session's own total held before this process."""
        self._settled = Usage()
        """Exact, as of the last result."""
        self._running = Usage()
        """The settled account and all open messages."""
        self._open: dict[str, Usage] = {}
        """Messages since the last result."""
        self._closed: set[str] = set()
        """Ids that a result has accounted for; late lines about them change nothing."""
        self._said = Usage()

    @property
    def usage(self) -> Usage:
        """The best figure there is now."""
        return self._running

    def note(self, message_id: str, usage: Usage) -> None:
        """Take what a line says about a message; its figures only ever grow."""
        if message_id in self._closed:
            return
        before = self._open.get(message_id, Usage())
        after = self._open[message_id] = _larger(before, usage)
        self._running += after - before

    def settle(self, *, since: Usage | None, session: Usage | None) -> Usage:
        """Close the account at a result.

        Args:
            since: What the session says this process has used since its start or its last result.
            session: The session's total over all its processes; without ``since``, it less the baseline is ours.

        Returns:
            The exact usage of this process so far.
        """
        if since is not None:
            self._settled += since
        elif session is not None:
            self._settled = session - self._baseline
        else:
            self._settled = self._running
        self._running = self._settled
        self._closed.update(self._open)
        self._open.clear()
        return self._settled

    def growth(self) -> Usage | None:
        """Return the estimate if it has grown since it was last asked for; it never seems to shrink."""
        usage = self._running
        if usage == self._said or _larger(usage, self._said) != usage:
            return None
        self._said = usage
        return usage


def _larger(one: Usage, other: Usage) -> Usage:
    return Usage(
        input=max(one.input, other.input),
        output=max(one.output, other.output),
        cache_read=max(one.cache_read, other.cache_read),
        cache_creation=max(one.cache_creation, other.cache_creation),
    )
