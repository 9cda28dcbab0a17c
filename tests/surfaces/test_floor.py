from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from pitboss.model.run import ActorId, Failure, Status
from pitboss.model.views import ApprovalView, RunView
from pitboss.surfaces.floor import floor
from support.pictures import START, picture, settled, waiting, working

NOW = START + 123


def mixed() -> RunView:
    timed_out = replace(settled("dev-server", Status.TIMED_OUT), failure=Failure(kind="unknown"), doing="timed out")
    return picture(
        settled("fix-parser"), working("write-docs", "Bash pytest -q tests/test_parser.py"), timed_out, waiting("later")
    )


def drawn(view: RunView, width: int, height: int = 20) -> list[str]:
    return floor(view, width=width, height=height, now=NOW).plain.split("\n")


def test_a_wide_terminal_shows_everything() -> None:
    assert [
        "nightly · 019ab000-1111 · 2m03s · 1 running · 1 queued · 1 done · 1 failed · $0.24",
        "✓ Success     fix-parser                                                          7s     100/20/5.0k   $0.12",
        "● Running     write-docs Bash pytest -q tests/test_parser.py                   1m53s     100/20/5.0k $0.0042",
        "⏱ TimedOut    dev-server timed out                                                7s     100/20/5.0k   $0.12",
        "… Pending     later      waits for a slot                                          —               —       —",
    ] == drawn(mixed(), 108)


def test_eighty_columns_keep_every_column() -> None:
    assert [
        "nightly · 2m03s · 1 running · 1 queued · 1 done · 1 failed · $0.24",
        "✓ Success     fix-parser                              7s     100/20/5.0k   $0.12",
        "● Running     write-docs Bash pytest -q tests/t…   1m53s     100/20/5.0k $0.0042",
        "⏱ TimedOut    dev-server timed out                    7s     100/20/5.0k   $0.12",
        "… Pending     later      waits for a slot              —               —       —",
    ] == drawn(mixed(), 80)


def test_forty_columns_keep_what_matters() -> None:
    assert [
        "2m03s · 1 running · 1 done · 1 failed",
        "✓ fix-parser      7s   $0.12",
        "● write-docs   1m53s $0.0042",
        "⏱ dev-server      7s   $0.12",
        "… later            —       —",
    ] == drawn(mixed(), 40)


def test_a_rehearsal_says_so_however_narrow_the_terminal() -> None:
    assert "REHEARSAL" in drawn(replace(mixed(), rehearsal=True), 20)[0]


def test_failed_and_running_actors_come_first_when_there_is_no_room_for_all() -> None:
    actors = [waiting(f"q{n:02}") for n in range(30)] + [settled(f"d{n:02}") for n in range(30)]
    view = picture(*actors, working("busy"), settled("broken", Status.FAILED))

    lines = drawn(view, 80, height=5)

    assert 5 == len(lines)
    assert ["q00", "busy", "broken"] == [line.split()[2] for line in lines[1:4]]
    assert "… and 59 more: 29 queued, 30 done" == lines[4]


@pytest.mark.parametrize(
    ("changes", "notice"),
    [
        (
            {"draining": "SIGINT"},
            "! draining (SIGINT): nothing more is started; Ctrl-C twice within 5 s stops everything",
        ),
        ({"draining": "SIGINT", "stopping": True}, "! stopping everything"),
        (
            {"throttle": "the API is overloaded", "starts_limit": 1},
            "! starting is slowed to 1 at once: the API is overloaded",
        ),
        ({"guarded": False}, "! no guardian yet: nothing is started before one watches"),
    ],
)
def test_what_holds_the_run_back_is_said_below_the_header(changes: dict[str, object], notice: str) -> None:
    assert notice == drawn(replace(mixed(), **changes), 100)[1]


def test_a_budget_is_shown_beside_what_was_spent() -> None:
    assert drawn(replace(mixed(), budget_usd=5.0), 120)[0].endswith("$0.24 of $5.00")


@given(st.integers(20, 200), st.integers(1, 30), st.integers(0, 40))
def test_the_picture_never_leaves_its_frame(width: int, height: int, count: int) -> None:
    actors = [working(f"w{n}-你好", "Bash \x1b[31m" + "宽" * 90) for n in range(count)]

    lines = drawn(picture(*actors), width, height)

    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert not any("\x1b" in line for line in lines)


def asked(actor: str, number: int = 1) -> ApprovalView:
    return ApprovalView(
        request_id=f"req-{number}",
        actor=ActorId(actor),
        kind="action",
        summary="push \x1b[31mto main",
        asked_at=NOW - 180,
        expires_at=None,
    )


def test_an_approval_that_waits_is_said_below_the_header() -> None:
    lines = drawn(replace(picture(working("a")), approvals=(asked("a"),)), 80)
    assert "! a asks for approval: push [31mto main (3m)" == lines[1]


def test_of_many_needs_three_are_said_and_the_others_counted() -> None:
    lines = drawn(replace(picture(working("a")), approvals=tuple(asked("a", n) for n in range(9))), 80)
    assert "! and 6 more need you: see `pitboss status 019ab000-1111 --run-dir /runs`" == lines[4]


def test_a_budget_that_is_nearly_spent_is_said_below_the_header() -> None:
    lines = drawn(replace(mixed(), budget_usd=0.25), 80)
    assert "! The run has spent $0.24 of $0.25" == lines[1]
