"""Chunks to lines: whole lines whatever the split, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.wire.lines import LineSplitter

CHUNK = 65536


def split(*chunks: bytes) -> list[bytes]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    rest = splitter.flush()
    return lines if rest is None else [*lines, rest]


def test_a_line_is_given_back_without_its_newline() -> None:
    assert [b"one", b"two"] == split(b"one\ntwo\n")


def test_a_carriage_return_before_the_newline_is_dropped_even_when_the_two_are_apart() -> None:
    assert [b"one", b"two"] == split(b"one\r", b"\ntwo\r\n")


def test_a_carriage_return_inside_a_line_stays() -> None:
    assert [b"50%\r100%"] == split(b"50%\r100%\r\n")


def test_blank_lines_are_lines() -> None:
    assert [b"", b"", b"x"] == split(b"\n\nx\n")


def test_what_has_no_newline_comes_out_at_the_end_only() -> None:
    splitter = LineSplitter()
    assert [] == splitter.feed(b"half")
    assert b"half" == splitter.flush()
    assert splitter.flush() is None


def test_nothing_in_is_nothing_out() -> None:
    assert [] == split(b"", b"")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))), st.data())
def test_the_split_into_chunks_makes_no_difference(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert lines == split(*chunks)


@pytest.mark.slow
def test_a_line_of_100_mb_comes_whole() -> None:
    """Quadratic work would meet the suite's time limit; how fast it is, the bench says."""
    splitter, piece = LineSplitter(), b"x" * CHUNK
    for _ in range(1600):
        assert [] == splitter.feed(piece)
    (line,) = splitter.feed(b"\n")
    assert 1600 * CHUNK == len(line)
