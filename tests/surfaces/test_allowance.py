from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pitboss.surfaces.cli import cli

FLAT = """
[run]
{budget}
[[task]]
id = "a"
directory = "."
prompt = "x"
timeout_secs = 5400
use_worktree = false
"""

LEAD = """
[run]
{run}
[lead]
id = "root"
directory = "."
prompt = "x"
model = "claude-haiku-4-5"
effort = "low"
timeout_secs = 90
max_workers = 4
use_worktree = false
allow_subleads = true
max_subleads = 3
max_sublead_budget_usd = 2.0
max_total_workers = 8
{lead}
[sublead_defaults]
{defaults}
"""


def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *arguments: str) -> Result:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.toml").write_text(text)
    return CliRunner().invoke(cli, ["tree", "m.toml", *arguments])


def lead(run: str = "", lead: str = "budget_usd = 5.0", defaults: str = "budget_usd = 1.5\nmax_workers = 2") -> str:
    return LEAD.format(run=run, lead=lead, defaults=defaults)


def test_a_tree_is_told_with_its_caps_and_its_envelope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [
        "lead 'root': model=claude-haiku-4-5 effort=Low timeout=1m",
        "  workers: max=4 budget=$5.00 lead_timeout=—",
        "  subleads: enabled max=3 total_workers_cap=8, paid from the lead's budget",
        "    each at most $2.00",
        "    [sublead_defaults] budget=$1.50 max_workers=2 lead_timeout=— read_down=false",
        "envelope: $5.00 ([lead].budget_usd)",
    ] == tree(tmp_path, monkeypatch, lead()).stdout.splitlines()


def test_sub_leads_that_share_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tree(tmp_path, monkeypatch, lead(defaults="read_down = true")).stdout
    assert "    [sublead_defaults] shares the lead's budget and workers (read_down)" in told


def test_a_flat_run_is_told_task_by_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tree(tmp_path, monkeypatch, FLAT.format(budget="max_parallel_tasks = 3")).stdout.splitlines()
    assert "flat: 1 task, max_parallel_tasks=3" == told[0]
    assert told[1].endswith(" timeout=1h30m")
    assert "envelope: — ([run].budget_usd is not set: nothing bounds what is spent)" == told[2]


@pytest.mark.parametrize(
    ("text", "limit", "code", "said"),
    [
        (lead(), "5", 0, "PASS: $5.00 <= $5.00"),
        (lead(), "4.99", 1, "FAIL: $5.00 > $4.99"),
        (lead(run="budget_usd = 3.0"), "4", 0, "PASS: $3.00 <= $4.00 ([run].budget_usd)"),
        (lead(lead=""), "1000", 1, "FAIL: [lead].budget_usd or [run].budget_usd is not set"),
        (FLAT.format(budget="budget_usd = 2.0"), "1", 1, "FAIL: $2.00 > $1.00"),
        (FLAT.format(budget="budget_usd = 2.0"), "2", 0, "PASS"),
        (FLAT.format(budget=""), "2", 1, "FAIL: [run].budget_usd is not set"),
    ],
)
def test_the_check_compares_with_what_the_run_is_really_held_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, limit: str, code: int, said: str
) -> None:
    result = tree(tmp_path, monkeypatch, text, "--check", limit)
    assert code == result.exit_code
    assert result.stderr.startswith(said)


@pytest.mark.parametrize("limit", ["nan", "inf", "-1"])
def test_what_is_no_amount_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    result = tree(tmp_path, monkeypatch, lead(), f"--check={limit}")
    assert 2 == result.exit_code
    assert "is not an amount in US dollars" in result.stderr


def test_a_manifest_that_is_not_valid_has_no_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 == tree(tmp_path, monkeypatch, "").exit_code
    assert 2 == tree(tmp_path, monkeypatch, lead(lead="budget_usd = -1.0")).exit_code


def test_programs_get_the_same_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(tree(tmp_path, monkeypatch, lead(), "--json", "--check", "9").stdout)
    assert ("hierarchical", 5.0, {"limit_usd": 9.0, "passed": True}) == (told["mode"], told["bound_usd"], told["check"])
    assert 8 == told["caps"]["max_total_workers"]
    flat = json.loads(tree(tmp_path, monkeypatch, FLAT.format(budget=""), "--json").stdout)
    assert (None, ["a"]) == (flat["bound_usd"], [task["id"] for task in flat["tasks"]])
