"""What a program that asked for JSON is told when a command fails: one object, whichever way it fails."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pitboss.errors import ManifestError, OurFault, PitbossError, Problem, WorldError
from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from pitboss.surfaces.cli import cli
from pitboss.surfaces.faults import Commands
from support.dispatcher import Dispatcher, Json, Talk
from support.pictures import RUN, begun, opened, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run that was cut off."""
    write_run(tmp_path / "runs", [opened(tmp_path / "runs", "a"), *begun("a")])
    return tmp_path / "runs"


def told(result: Result) -> Json:
    """The one object on the standard output."""
    assert 1 == len(result.stdout.splitlines()), result.output
    found: Json = json.loads(result.stdout)
    assert (1, False) == (found["version"], found["ok"])
    return found


def run(runs: Path, *words: str) -> Result:
    # The folder comes first: some of the words end with what `--` makes a word.
    verb, *rest = words
    return CliRunner().invoke(cli, [verb, "--run-dir", str(runs), *rest], prog_name="pitboss")


@pytest.mark.parametrize(
    ("words", "code", "exit_code", "says"),
    [
        (("status", "0bad", "--json"), "not_found", 1, "no run found"),
        (("watch", "0bad", "--json"), "not_found", 1, "no run found"),
        (("notify", "0bad", "--json"), "not_found", 1, "no run found"),
        (("status", "a/b", "--json"), "not_found", 1, "is not a run id"),
        (("why", "--json", "latest", "nobody"), "not_found", 2, "there are: a"),
        (("cancel", "latest", "nobody", "--json"), "not_found", 2, "there are: a"),
        (("approve", "latest", "req-x", "--json"), "not_found", 2, "no request"),
        (("budget", "latest", "much", "--json"), "invalid_arg", 2, "not an amount"),
        (("policy", "latest", "--edit", "--set", "x", "--json"), "invalid_arg", 2, "exclude each other"),
        (("policy", "latest", "--set", "/is/not/there", "--json"), "unavailable", 1, "/is/not/there"),
        (("status", "--nonsense", "--json"), "invalid_arg", 2, "No such option"),
        (("why", "latest", "--json"), "invalid_arg", 2, "Missing argument 'ACTOR'"),
    ],
)
def test_a_failure_as_json_is_one_object_beside_the_sentence(
    runs: Path, words: tuple[str, ...], code: str, exit_code: int, says: str
) -> None:
    result = run(runs, *words)
    found = told(result)

    assert (exit_code, code) == (result.exit_code, found["code"])
    assert says in str(found["error"])
    assert says in result.stderr


def test_what_ends_everything_without_a_yes_is_told_as_json(runs: Path) -> None:
    with RunLock.acquire(RunDir(runs / RUN).lock):
        result = run(runs, "cancel", "latest", "--json")
    found = told(result)

    assert (2, "invalid_arg", "see `pitboss cancel --help`") == (result.exit_code, found["code"], found["hint"])
    assert "--yes" in str(found["error"])


def test_a_dispatcher_that_speaks_in_riddles_is_told_as_json(runs: Path) -> None:
    folder = RunDir(runs / RUN)

    def riddle(talk: Talk) -> None:
        talk.hear()
        talk.say(b"what?\n")

    with RunLock.acquire(folder.lock), Dispatcher(folder, riddle):
        result = run(runs, "model", "latest", "a", "m", "--json")
    assert (1, "unavailable") == (result.exit_code, told(result)["code"])


def test_rules_with_mistakes_have_them_one_by_one(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[approval_policy]]\naction = "no"\n')
    result = run(runs, "policy", "latest", "--set", str(file), "--json")
    found = told(result)

    assert (2, "invalid_arg", f"{file} cannot be used") == (result.exit_code, found["code"], found["error"])
    assert isinstance(problems := found["problems"], list)
    assert [2] == [problem["line"] for problem in problems]


def test_a_manifest_that_is_not_there_is_not_valid(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["validate", str(tmp_path / "none.toml"), "--json"])
    found = json.loads(result.stdout)

    assert (2, False) == (result.exit_code, found["valid"])
    assert "none.toml" in found["problems"][0]["message"]


@pytest.mark.parametrize("words", [("status", "0bad"), ("budget", "latest", "--", "--json")])
def test_who_does_not_ask_for_json_is_told_in_words_alone(runs: Path, words: tuple[str, ...]) -> None:
    assert "" == run(runs, *words).stdout


@pytest.mark.parametrize(
    ("error", "shape"),
    [
        (WorldError("no room", hint="make some"), {"error": "no room", "hint": "make some", "code": "unavailable"}),
        (PitbossError("no"), {"error": "no", "hint": None, "code": "failed"}),
        (OurFault("broken"), {"error": "broken", "hint": None, "code": "internal"}),
        (
            ManifestError("m.toml", [Problem("no such branch", line=7)]),
            {
                "error": "m.toml cannot be used",
                "hint": None,
                "code": "invalid_arg",
                "problems": [{"severity": "error", "line": 7, "column": None, "message": "no such branch"}],
            },
        ),
        (
            ExceptionGroup("x", [WorldError("one"), WorldError("two")]),
            {"error": "one", "hint": None, "code": "unavailable"},
        ),
    ],
)
def test_each_kind_of_failure_has_its_code(error: Exception, shape: Json) -> None:
    @click.group(cls=Commands)
    def group() -> None: ...

    @group.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(as_json: bool) -> None:
        assert as_json
        raise error

    assert {"version": 1, "ok": False} | shape == told(CliRunner().invoke(group, ["fail", "--json"]))
