"""A run that was cut off before its first fact: nothing says that it can be resumed, everything how to begin again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pitboss.journal.rundir import RunDir
from pitboss.surfaces.cli import cli
from support.legacy import a_resolved_task, write_legacy
from support.pictures import write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run, whose journal holds only its header."""
    public = write_legacy(tmp_path / "runs", [a_resolved_task("a")], [], ended=False, manifest="/my/pit.toml", begun=[])
    header = write_run(tmp_path / "other", []).journal.read_bytes()
    folder = RunDir(public)
    folder.journal.write_bytes(header)
    folder.lock.touch()
    return tmp_path / "runs"


def run(runs: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--run-dir", str(runs)], prog_name="pitboss")


def test_status_says_that_it_never_began_and_how_to_begin_again(runs: Path) -> None:
    said = run(runs, "status").output

    assert "State: never began (it was cut off before anything was started)" in said
    assert f"Dispatch it again: pitboss dispatch /my/pit.toml --run-dir {runs}\n" in said
    assert "resume" not in said


def test_as_json_it_is_a_need_with_its_command(runs: Path) -> None:
    told = json.loads(run(runs, "status", "--json", "--full").stdout)
    (need,) = told["attention"]

    assert ("unbegun", "cut_off") == (told["state"], need["kind"])
    assert f"pitboss dispatch /my/pit.toml --run-dir {runs}" == need["command"]


def test_watch_says_it_and_ends_with_1(runs: Path) -> None:
    result = run(runs, "watch")

    assert 1 == result.exit_code
    assert "! The run was cut off before it began anything: it cannot go on, dispatch it again\n" in result.output
    assert "resume" not in result.output


def test_the_list_tells_it_from_a_run_that_can_be_resumed(runs: Path) -> None:
    (listed,) = json.loads(run(runs, "list", "--json").stdout)

    assert "unbegun" == listed["status"]
    assert "unbegun" in run(runs, "list").output


@pytest.mark.parametrize("journal", [True, False])
def test_an_order_to_it_is_refused_without_a_word_of_resuming(runs: Path, *, journal: bool) -> None:
    if not journal:
        next(runs.glob("*/journal.jsonl")).unlink()
    result = run(runs, "tell", "latest", "a", "hello")

    assert 1 == result.exit_code
    assert "was cut off before it began anything; dispatch it again" in result.stderr
    assert "resume" not in result.stderr
