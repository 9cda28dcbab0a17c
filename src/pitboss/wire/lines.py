"""Chunks of bytes to lines: any length, any split, in linear time.

No decoding and no opinion about what a line holds; that is for the formats beside this one.
Called by every reader of a stream: `wire.claude` for an agent's output, the drivers for its log.
"""

from __future__ import annotations

__all__ = ["LineSplitter"]


class LineSplitter:
    r"""Collects chunks and gives back whole lines, without their ``\n`` or ``\r\n``.

    A line that spans many chunks is kept in pieces and joined once, so a 100 MB line costs 100 MB of
    copying and not the square of it.
    """

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        """What has come of the line that is not complete yet."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next chunk; return the lines it completed, oldest first."""
        first, *others = chunk.split(b"\n")
        if first:
            self._pieces.append(first)
        if not others:
            return []
        lines = [b"".join(self._pieces), *others]
        rest = lines.pop()
        self._pieces = [rest] if rest else []
        return [line.removesuffix(b"\r") for line in lines]

    def flush(self) -> bytes | None:
        """Return what is left at the end of the stream, or ``None``; the splitter is empty afterwards."""
        rest = b"".join(self._pieces).removesuffix(b"\r")
        self._pieces = []
        return rest or None
