from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pitboss import __version__
from pitboss.errors import ManifestError, OurFault, Problem, WorldError
from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from pitboss.surfaces.cli import cli
from pitboss.surfaces.faults import Commands
from pitboss.testing.fake_binary import install
from support.pictures import RUN, append, begun, done, opened, write_run

PITBOSS = [sys.executable, "-m", "pitboss"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder of runs with one that was cut short."""
    folder = write_run(tmp_path / "runs", [opened(tmp_path / "runs", "a", "b"), *begun("a"), *done("a"), *begun("b")])
    folder.task("a").mkdir()
    said = {"type": "assistant", "message": {"content": [{"type": "text", "text": "Hello."}]}}
    folder.stdout_log("a").write_text(json.dumps(said) + "\n")
    folder.stderr_log("a").write_text("a complaint\n")
    return tmp_path / "runs"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="pitboss")


def child(tmp_path: Path, arguments: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": "", **more}
    return subprocess.run(
        arguments, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60, check=False
    )


# --- the front door -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["version"]])
def test_the_version_is_one_line(arguments: list[str]) -> None:
    assert f"pitboss {__version__}\n" == run(*arguments).output


def test_no_command_at_all_shows_the_usage_and_ends_with_two() -> None:
    result = run()
    assert 2 == result.exit_code
    assert "Usage: pitboss" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["status", "--nonsense"], ["attach", "x"], ["dispatch"], ["status", "--full"]]
)
def test_a_wrong_use_ends_with_two(arguments: list[str]) -> None:
    assert 2 == run(*arguments).exit_code


def test_every_command_and_option_has_help() -> None:
    for name, command in cli.commands.items():
        assert command.help, name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{name} {parameter.name}"


LOADS = {
    "pitboss --version": [],
    "pitboss status": ["status", "--run-dir", "{base}"],
    "pitboss list": ["list", "--run-dir", "{base}"],
    "pitboss watch --once": ["watch", "--once", "--run-dir", "{base}"],
    "pitboss why": ["why", "latest", "a", "--run-dir", "{base}"],
    "pitboss diff": ["diff", "latest", "latest", "--run-dir", "{base}"],
    "pitboss attach": ["attach", "latest", "a", "--run-dir", "{base}"],
}
HEAVY = (
    "asyncio",
    "pydantic",
    "subprocess",
    "rich.console",
    "pitboss.engine",
    "pitboss.compose",
    "pitboss.manifest",
    "psutil",
)


@pytest.mark.parametrize("name", LOADS)
def test_looking_loads_neither_the_engine_nor_the_manifest(tmp_path: Path, base: Path, name: str) -> None:
    arguments = [part.format(base=base) for part in LOADS[name]] or ["--version"]
    program = (
        "import sys, json\n"
        "from pitboss.surfaces.cli import cli\n"
        f"cli({arguments!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )

    done_ = child(tmp_path, [sys.executable, "-c", program])
    loaded = json.loads(done_.stderr.splitlines()[-1])

    assert "pitboss.surfaces.cli" in loaded
    assert [] == [module for module in loaded if module in HEAVY]
    if name == "pitboss --version":
        assert [] == [module for module in loaded if module.startswith(("msgspec", "rich", "pitboss.core"))]


# --- looking at runs ------------------------------------------------------------------------------------------------


def test_status_shows_the_newest_run_by_default(base: Path) -> None:
    result = run("status", "--run-dir", str(base))
    assert 0 == result.exit_code
    assert f"Run: {RUN}" == result.output.splitlines()[0]
    assert "Total: 2  Failed: 0  Interrupted: 1  Cost: $0.01" in result.output.splitlines()
    assert f"Go on with it: pitboss resume 019ab000-1111 --run-dir {base}" == result.output.splitlines()[-1]


@pytest.mark.parametrize("spelling", ["--run-dir", "--runs-dir"])
def test_both_spellings_of_the_folder_of_runs_are_understood(base: Path, spelling: str) -> None:
    assert 0 == run("list", spelling, str(base)).exit_code
    assert 0 == run("status", spelling, str(base)).exit_code


def test_an_unknown_run_is_one_sentence_and_exit_code_one(base: Path) -> None:
    result = run("status", "zzz", "--run-dir", str(base))
    assert 1 == result.exit_code
    assert (
        f"pitboss: no run found matching prefix 'zzz' in {base}; see: pitboss list --run-dir {base}\n" == result.stderr
    )


def test_status_as_json_is_an_array_of_records(base: Path) -> None:
    told = json.loads(run("status", "--json", "--run-dir", str(base)).stdout)
    assert ["a"] == [record["task_id"] for record in told]
    full = json.loads(run("status", "--json", "--full", "--run-dir", str(base)).stdout)
    assert 2 == len(full["actors"])


def test_list_says_kindly_that_there_is_nothing(tmp_path: Path) -> None:
    missing = run("list", "--run-dir", str(tmp_path / "nothing"))
    assert (0, "") == (missing.exit_code, missing.stdout)
    assert 2 == len(missing.stderr.splitlines())
    assert "[]\n" == run("list", "--json", "--run-dir", str(tmp_path / "nothing")).stdout
    assert f"No runs found under {tmp_path}.\n" == run("list", "--run-dir", str(tmp_path)).stdout
    assert "No active runs.\n" == run("list", "--active", "--run-dir", str(tmp_path)).stdout


def test_attach_to_a_task_that_has_ended_prints_and_returns(base: Path) -> None:
    result = run("attach", "latest", "a", "--run-dir", str(base))
    assert (0, "> Hello.\n") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("pitboss attach: following ")


def test_attach_can_show_the_lines_themselves_and_the_complaints(base: Path) -> None:
    raw = run("attach", "latest", "a", "--raw", "--run-dir", str(base)).stdout
    assert "assistant" == json.loads(raw)["type"]
    assert "a complaint\n" == run("attach", "latest", "a", "--stderr", "--run-dir", str(base)).stdout


def test_attach_to_a_task_that_was_cut_short_ends_and_says_so(base: Path) -> None:
    result = run("attach", "latest", "b", "--run-dir", str(base))
    assert 0 == result.exit_code
    assert "pitboss attach: the run is over, and b was not settled by then" == result.stderr.splitlines()[-1]


def test_attach_to_an_unknown_task_ends_with_two_and_names_the_others(base: Path) -> None:
    result = run("attach", "latest", "../a", "--run-dir", str(base))
    assert 2 == result.exit_code
    assert "there are: a, b" in result.stderr


def test_attach_follows_a_live_task_until_it_is_settled(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = write_run(runs, [opened(runs, "a"), *begun("a")])
    folder.task("a").mkdir()
    folder.stdout_log("a").write_text("first\n")
    arguments = [*PITBOSS, "attach", "latest", "a", "--raw", "--run-dir", str(runs)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with (
        RunLock.acquire(folder.lock),
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as viewer,
    ):
        assert viewer.stdout is not None
        assert "first\n" == viewer.stdout.readline()
        with folder.stdout_log("a").open("a") as log:
            log.write("second\n")
        assert "second\n" == viewer.stdout.readline()
        append(folder, done("a"))
        assert 0 == viewer.wait(20)


def test_interrupting_attach_is_no_failure(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = write_run(runs, [opened(runs, "a"), *begun("a")])
    folder.task("a").mkdir()
    folder.stdout_log("a").write_text("first\n")
    arguments = [*PITBOSS, "attach", "latest", "a", "--raw", "--run-dir", str(runs)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with (
        RunLock.acquire(folder.lock),
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as viewer,
    ):
        assert viewer.stdout is not None
        viewer.stdout.readline()
        viewer.send_signal(signal.SIGINT)
        assert 0 == viewer.wait(20)


def test_why_tells_the_story(base: Path) -> None:
    lines = run("why", RUN[:13], "a", "--run-dir", str(base)).stdout.splitlines()
    assert lines[0].endswith("the run began: 2 tasks, at most 4 at once (dispatcher 4242)")
    assert any(line.endswith("settled as Success") for line in lines)
    assert 1 == json.loads(run("why", RUN, "a", "--json", "--run-dir", str(base)).stdout)["version"]


def test_a_reader_that_leaves_early_does_not_change_the_exit_code(tmp_path: Path, base: Path) -> None:
    command = f"{sys.executable} -m pitboss status --run-dir {base}; echo code=$? >&2"
    assert "code=0\n" == child(tmp_path, ["sh", "-c", f"({command}) | true"]).stderr


def test_closed_streams_are_survived(tmp_path: Path, base: Path) -> None:
    command = f"{sys.executable} -m pitboss status --run-dir {base} <&- >&- 2>&-; echo code=$?"
    assert "code=0\n" == child(tmp_path, ["sh", "-c", command]).stdout


@pytest.mark.parametrize("words", ["tell latest a -", "policy latest --set -", "cancel latest"])
def test_a_closed_standard_input_is_an_empty_one(tmp_path: Path, base: Path, words: str) -> None:
    command = f"{sys.executable} -m pitboss {words} --run-dir {base}"
    with RunLock.acquire(RunDir(base / RUN).lock):
        closed, empty = (child(tmp_path, ["sh", "-c", f"{command} {given}"]) for given in ("<&-", "</dev/null"))
    assert (empty.returncode, empty.stderr) == (closed.returncode, closed.stderr)
    assert "internal error" not in closed.stderr


# --- manifests ------------------------------------------------------------------------------------------------------

FLAT = """
[run]
max_parallel_tasks = 3
[[task]]
id = "a"
directory = "."
prompt = "Do it."
use_worktree = false
"""

LEAD = """
[lead]
id = "boss"
directory = "."
prompt = "Lead."
max_workers = 4
budget_usd = 2.5
use_worktree = false
"""


def manifest(folder: Path, text: str) -> str:
    path = folder / "nightly.toml"
    path.write_text(text)
    return str(path)


def test_a_valid_manifest_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "OK — 1 tasks, max_parallel=3\n" == run("validate", manifest(tmp_path, FLAT)).stdout
    assert (
        "OK (hierarchical) — lead='boss', max_workers=4, budget=$2.50\n"
        == run("validate", manifest(tmp_path, LEAD)).stdout
    )


def test_all_problems_of_a_manifest_come_at_once_with_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = manifest(tmp_path, FLAT.replace("= 3", "= 0").replace("prompt", "promt"))

    result = run("validate", bad)

    assert (2, "") == (result.exit_code, result.stdout)
    first, *rest = result.stderr.splitlines()
    assert "validation failed:" == first
    assert len(rest) >= 2
    assert all(line.startswith(f"{bad}:") for line in rest)


def test_problems_as_json_have_line_and_severity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("validate", "--json", manifest(tmp_path, FLAT.replace("= 3", "= 0")))
    told = json.loads(result.stdout)
    assert (2, 1, False) == (result.exit_code, told["version"], told["valid"])
    assert ("error", 3) == (told["problems"][0]["severity"], told["problems"][0]["line"])


def test_a_manifest_that_is_not_there_ends_with_two(tmp_path: Path) -> None:
    for command in ("validate", "dispatch", "rehearse"):
        result = run(command, str(tmp_path / "nothing.toml"))
        assert 2 == result.exit_code, command
        assert "nothing.toml" in result.stderr


# --- dispatch -------------------------------------------------------------------------------------------------------

TWO = (
    FLAT
    + """
[[task]]
id = "b"
directory = "."
prompt = 'FAKE: [{"exit": 3}]'
use_worktree = false
"""
)


@pytest.fixture
def fake_claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a run whose sessions are played by the stand-in."""
    monkeypatch.chdir(tmp_path)
    return {"PITBOSS_CLAUDE_BINARY": str(install(tmp_path)), "PITBOSS_RUNS_DIR": str(tmp_path / "runs")}


def test_without_a_terminal_standard_output_has_one_line_per_task_and_nothing_else(
    tmp_path: Path, fake_claude: dict[str, str]
) -> None:
    done = child(tmp_path, [*PITBOSS, "dispatch", manifest(tmp_path, TWO)], **fake_claude)

    assert 1 == done.returncode
    first, second = sorted(done.stdout.splitlines())
    assert first.startswith("a                    ✓ Success    ")
    assert second.startswith("b                    ✗ Failed     ")
    assert second.endswith("   3")
    opening, *closing = done.stderr.splitlines()
    assert re.fullmatch(rf"Run \S+: 2 tasks, at most 3 at once, in {tmp_path}/runs/\S+", opening)
    assert closing[0].startswith("Run nightly: 1 of 2 tasks successful, 1 not")
    assert "  b: " in "\n".join(closing)


def test_a_quiet_run_says_nothing_but_its_lines(tmp_path: Path, fake_claude: dict[str, str]) -> None:
    done = child(tmp_path, [*PITBOSS, "dispatch", "-q", manifest(tmp_path, FLAT)], **fake_claude)
    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == len(done.stdout.splitlines())


def test_a_reader_that_leaves_early_does_not_end_a_run(tmp_path: Path, fake_claude: dict[str, str]) -> None:
    command = f"{sys.executable} -m pitboss dispatch -q {manifest(tmp_path, FLAT)}; echo code=$? >&2"
    assert "code=0\n" == child(tmp_path, ["sh", "-c", f"({command}) | true"], **fake_claude).stderr


def test_a_binary_that_is_missing_is_said_before_anything_begins(tmp_path: Path, fake_claude: dict[str, str]) -> None:
    environment = fake_claude | {"PITBOSS_CLAUDE_BINARY": "/nowhere/claude"}
    done = child(tmp_path, [*PITBOSS, "dispatch", manifest(tmp_path, FLAT)], **environment)
    assert 2 == done.returncode
    assert done.stderr.startswith("pitboss: the agent's binary '/nowhere/claude' was not found")
    assert not (tmp_path / "runs").exists()


# --- failures -------------------------------------------------------------------------------------------------------


def failing(error: BaseException) -> Commands:
    """A pitboss whose only command fails."""

    @click.group(cls=Commands)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return group


def test_a_failure_of_the_world_is_a_sentence_a_hint_and_a_code() -> None:
    result = CliRunner().invoke(failing(WorldError("the disk is full", hint="make room")), ["fail"])
    assert (1, "pitboss: the disk is full\nhint: make room\n") == (result.exit_code, result.stderr)


def test_problems_found_late_are_told_like_the_others() -> None:
    error = ManifestError("m.toml", [Problem("no such branch", line=7), Problem("no")])
    result = CliRunner().invoke(failing(error), ["fail"])
    assert 2 == result.exit_code
    assert "pitboss: m.toml cannot be used:\nm.toml:7: error: no such branch\nm.toml: error: no\n" == result.stderr


def test_failures_that_came_together_are_told_by_the_first() -> None:
    result = CliRunner().invoke(failing(ExceptionGroup("x", [WorldError("one"), WorldError("two")])), ["fail"])
    assert (1, "pitboss: one\n") == (result.exit_code, result.stderr)


def test_a_bug_is_one_line_and_its_traceback_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = CliRunner().invoke(failing(ZeroDivisionError("what")), ["fail"])
    assert OurFault.exit_code == result.exit_code
    first, second = result.stderr.splitlines()
    assert "pitboss: internal error: ZeroDivisionError: what" == first
    assert "Traceback" in Path(second.rpartition(" ")[2]).read_text()


def test_a_file_that_cannot_be_read_is_no_bug_of_ours() -> None:
    result = CliRunner().invoke(failing(PermissionError(13, "Permission denied", "/a/log")), ["fail"])
    assert (1, "pitboss: /a/log: Permission denied\n") == (result.exit_code, result.stderr)


def test_an_interrupted_command_ends_with_130() -> None:
    assert 130 == CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"]).exit_code
