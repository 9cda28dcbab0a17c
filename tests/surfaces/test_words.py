from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pitboss.model.run import Phase, Status, Usage
from pitboss.surfaces import words
from support.pictures import settled, waiting, working


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (-1, "—"),
        (0, "—"),
        (0.34, "340ms"),
        (1, "1s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (247, "4m07s"),
        (3600, "1h00m00s"),
        (7447, "2h04m07s"),
    ],
)
def test_durations_read_as_they_always_have(secs: float, text: str) -> None:
    assert text == words.duration(secs)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (12345, "12.3k"), (99_960, "100k"), (999_600, "1.0M"), (2e9, "2.0G")],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert text == words.compact(int(count))


@given(st.integers(0, 10**12))
def test_a_short_count_never_needs_more_than_five_cells(count: int) -> None:
    assert len(words.compact(count)) <= 5


def test_tokens_are_exact_where_there_is_room() -> None:
    assert "—" == words.tokens(Usage(cache_read=9))
    assert "100/20/5000" == words.tokens(Usage(input=100, output=20, cache_read=5000))
    assert "100/20/5.0k" == words.tokens(Usage(input=100, output=20, cache_read=5000), short=True)
    assert "12.3M/1.2M/123M" == words.tokens(Usage(input=12345678, output=1234567, cache_read=123456789))


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "—"),
        (0, "$0.00"),
        (0.1 + 0.2 - 0.3, "$0.00"),
        (0.000031, "$0.000031"),
        (0.00042, "$0.00042"),
        (0.0042, "$0.0042"),
        (0.01, "$0.01"),
        (0.05, "$0.05"),
        (0.126, "$0.13"),
        (1, "$1.00"),
        (12, "$12.00"),
    ],
)
def test_money_shows_cents_and_less_only_below_one(usd: float | None, text: str) -> None:
    assert text == words.money(usd)


@pytest.mark.parametrize("status", Status)
def test_every_status_has_its_label(status: Status) -> None:
    assert words.label(settled("a", status)) == words.STATUS_LABELS[status]


def test_the_labels_are_those_of_the_contract() -> None:
    expected = "✓ Success,✗ Failed,⏱ TimedOut,⊘ Cancelled,! SpawnFailed,⊘ ApprovalRej,⏱ ApprovalTO"
    assert expected.split(",") == list(words.STATUS_LABELS.values())
    assert set(Phase) == set(words.PHASE_LABELS)


def test_nobody_is_said_to_run_in_a_run_that_is_over() -> None:
    assert "● Running" == words.label(working("a"))
    assert "? Interrupted" == words.label(working("a"), over=True)
    assert "– NotStarted" == words.label(waiting("a"), over=True)


def test_what_an_agent_wrote_cannot_steer_the_terminal() -> None:
    assert "a[2Jb c" == words.clean("a\x1b[2Jb\nc")
    assert "abc" == words.clean("a\u202eb\x9bc\x07")
    assert "größer 你好" == words.clean("größer 你好")


@given(st.text(), st.integers(0, 40), st.booleans())
def test_fitted_text_has_exactly_the_cells_asked_for(text: str, width: int, right: bool) -> None:
    assert width == cell_len(words.fit(words.clean(text), width, right=right))


def test_suggested_commands_name_the_program_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / ".venv" / "bin" / "pitboss"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert ".venv/bin/pitboss" == words.program()

    monkeypatch.setenv("PATH", str(script.parent))
    assert "pitboss" == words.program()

    monkeypatch.setattr("sys.argv", ["/somewhere/else.py"])
    assert "pitboss" == words.program()
