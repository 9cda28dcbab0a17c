from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import NamedTuple

import pytest

from pitboss.model.views import RunView
from pitboss.surfaces.outlet import Outlet
from pitboss.surfaces.progress import Floor, Lines, Watcher, may_redraw
from support.pictures import START, picture, settled, waiting, working


class Pipe(NamedTuple):
    reader: int
    outlet: Outlet


@contextmanager
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        yield Pipe(reader, Outlet(stream))


def test_a_reader_that_leaves_ends_the_output_and_nothing_else() -> None:
    with pipe() as (reader, outlet):
        outlet.line("heard")
        assert b"heard\n" == os.read(reader, 100)
        os.close(reader)
        outlet.line("not heard")
        outlet.line("not heard either")
        assert outlet.gone


def test_a_stream_in_memory_is_written_like_any_other() -> None:
    text = StringIO()
    Outlet(text).line("hello")
    assert "hello\n" == text.getvalue()


def test_a_character_that_the_terminal_cannot_show_is_replaced() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as stream:
        Outlet(stream).line("✓ Success")
        assert b"? Success\n" == os.read(reader, 100)
    os.close(reader)


def test_without_a_terminal_each_finished_task_gets_exactly_one_line() -> None:
    out, err = StringIO(), StringIO()
    face = Lines(Outlet(out), Outlet(err))

    face.show(picture(working("a"), waiting("b")))
    face.show(picture(settled("a", took=5), waiting("b")))
    face.show(picture(settled("a", took=5), settled("b", took=4)))
    face.say("a warning")

    assert ["a", "b"] == [line.split()[0] for line in out.getvalue().splitlines()]
    assert "a warning\n" == err.getvalue()


class Recorder:
    """A face that remembers, and can be held up like a terminal that has stopped."""

    tick_secs: float | None = None

    def __init__(self) -> None:
        self.shown: list[RunView] = []
        self.said: list[str] = []
        self.closed = False
        self.go = threading.Event()
        self.go.set()
        self.seen = threading.Event()

    def show(self, view: RunView) -> None:
        self.seen.set()
        assert self.go.wait(10)
        self.shown.append(view)

    def say(self, text: str) -> None:
        self.said.append(text)

    def close(self) -> None:
        self.closed = True


def test_a_terminal_that_has_stopped_delays_nobody_and_then_shows_the_newest() -> None:
    face = Recorder()
    face.go.clear()
    watcher = Watcher(face)

    watcher.see(picture(working("a")))
    assert face.seen.wait(10)
    for number in range(1000):  # returns at once although the face is held up
        watcher.see(picture(working(f"a{number}")))
    face.go.set()

    assert watcher.close() is None
    assert "a999" == face.shown[-1].actors[0].id
    assert len(face.shown) < 5
    assert face.closed


def test_what_is_said_before_the_end_is_not_lost() -> None:
    face = Recorder()
    watcher = Watcher(face)
    for number in range(10):
        watcher.say(str(number))
    watcher.close()
    assert [str(number) for number in range(10)] == face.said


class Broken(Recorder):
    def show(self, view: RunView) -> None:
        raise ZeroDivisionError


def test_a_display_that_breaks_is_reported_at_the_end() -> None:
    face = Broken()
    watcher = Watcher(face)
    watcher.see(picture())
    assert isinstance(watcher.close(), ZeroDivisionError)
    assert face.closed


# --- the floor ------------------------------------------------------------------------------------------------------


def drawn() -> str:
    text = StringIO()
    face = Floor(Outlet(text), now=lambda: START + 30)
    face.say("a warning with [brackets]")
    face.show(picture(working("a")))
    face.close()
    return text.getvalue()


def test_the_floor_is_drawn_in_colour_and_taken_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = drawn()
    assert "a warning with [brackets]" in shown
    assert "\x1b[36m● Running" in shown
    assert shown.rstrip("\n").endswith("\x1b[2K")


def test_colours_are_left_out_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = drawn()
    assert "● Running" in shown
    assert "\x1b[36m" not in shown


def test_only_a_terminal_that_can_move_its_cursor_gets_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setenv("TERM", "xterm")
        assert may_redraw(Outlet(stream))
        monkeypatch.setenv("TERM", "dumb")
        assert not may_redraw(Outlet(stream))
    os.close(reader)
    monkeypatch.setenv("TERM", "xterm")
    assert not may_redraw(Outlet(StringIO()))
