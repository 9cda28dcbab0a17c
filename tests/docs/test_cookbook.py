"""Every recipe of the cookbook is rehearsed: the real CLI, real worktrees, and what the page says comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pitboss.surfaces.scripted import find_claude

COOKBOOK = Path(__file__).parents[2] / "docs" / "cookbook"
RECIPES = sorted(path for path in COOKBOOK.glob("*.toml") if not path.name.endswith(".script.toml"))


class Outcome(NamedTuple):
    """What a recipe comes to."""

    says: str
    """The last word of its lead."""
    actors: Mapping[str, str]
    """Everybody else by label, with their status."""
    branches: Mapping[str, str] = {}
    """A branch -> a file that is on it."""


OUTCOMES = {
    "fan-out-and-gather": Outcome(
        "cart: Success, merged. users: Success, merged.",
        {"cart": "Success", "users": "Success"},
        {"docstrings": "cart.txt", "docstrings-users": "users.txt"},
    ),
    "pipeline-with-leases": Outcome(
        "Migrated: orders(id, total)",
        {"schema": "Success", "migration": "Success", "trial": "Success"},
        {"migration": "migration.sql"},
    ),
    "two-sub-leads": Outcome(
        "search: success. changes: success: GET /orders has an index.",
        dict.fromkeys(["search", "reader", "meter", "changes", "orders"], "Success"),
        {"faster-orders": "orders.sql"},
    ),
    "redirect-a-worker": Outcome(
        "The changelog has its line. Its worker had to be redirected 1 time.",
        {"changelog": "Success"},
        {"changelog": "CHANGES"},
    ),
    "plan-gate": Outcome(
        "Approved: true. The branch remove-old has it.", {"remove": "Success"}, {"remove-old": "README"}
    ),
}


def git(repository: Path, *arguments: str) -> str:
    clean, argv = {"PATH": os.environ["PATH"]}, ["git", "-C", str(repository), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=clean).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Any git repository."""
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch=main")
    git(place, "config", "user.name", "Somebody")
    git(place, "config", "user.email", "somebody@example.invalid")
    (place / "README").write_text("Hello.\n")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "--message=Begin")
    return place


def test_every_recipe_says_what_comes_of_it() -> None:
    assert set(OUTCOMES) == {path.stem for path in RECIPES}


@pytest.mark.slow
@pytest.mark.claude
@pytest.mark.timeout(180)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_does_what_its_page_says(recipe: Path, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pitboss", "rehearse", str(recipe), "--run-dir", str(tmp_path / "runs")],
        cwd=repository,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "IS_SANDBOX": "1",
            "PITBOSS_CLAUDE_BINARY": find_claude().path,
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert ": warning: " not in done.stderr, "the manifest itself is beyond doubt"
    (summary,) = (tmp_path / "runs").glob("*/summary.json")
    records: list[dict[str, Any]] = json.loads(summary.read_bytes())["tasks"]
    outcome = OUTCOMES[recipe.stem]
    lead = next(record for record in records if record["parent_task_id"] is None)
    assert outcome.says == lead["final_message"].strip()
    assert outcome.actors == {record["label"]: record["status"] for record in records if record is not lead}
    for branch, file in outcome.branches.items():
        assert git(repository, "show", f"{branch}:{file}")
