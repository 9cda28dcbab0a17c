"""The demonstration and rehearsals, through the real command; on a terminal where that matters."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pitboss import compose
from pitboss.errors import OperatorError
from pitboss.surfaces.demo import flat, stage
from pitboss.surfaces.scripted import find_claude, scripted_model

PITBOSS = [sys.executable, "-m", "pitboss"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """Nothing of the user's: a home and a temporary folder of this test's own."""
    (tmp_path / "home").mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "IS_SANDBOX": "1",
        **more,
    }


def pitboss(tmp_path: Path, arguments: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PITBOSS, *arguments],
        capture_output=True,
        text=True,
        env=environment(tmp_path, **more),
        timeout=150,
        check=False,
    )


def folder_of(tmp_path: Path) -> Path:
    (folder,) = tmp_path.glob("pitboss-demo-*")
    return folder


def suggested(text: str) -> list[list[str]]:
    """The commands that the end of a run suggests."""
    return [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.startswith("  pitboss ")]


def check_demo(tmp_path: Path, done: subprocess.CompletedProcess[str]) -> None:
    """What every demonstration shows, whoever plays Claude Code."""
    assert 0 == done.returncode, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert {"add-shipping", "busy-hour", "dev-server", "fix-readme", "review", "write-tests"} == set(lines)
    assert "⏱ TimedOut" in lines["dev-server"]
    assert 5 == sum("✓ Success" in line for line in lines.values())
    assert "dev-server: timed out after 7 s" in done.stderr
    commands = suggested(done.stderr)
    assert 3 == len(commands)
    for command in commands:
        assert 0 == pitboss(tmp_path, command).returncode, command
    repository = folder_of(tmp_path) / "repository"
    log = subprocess.run(
        ["git", "-C", repository, "log", "--all", "--oneline"], capture_output=True, text=True, check=True
    )
    assert "Add the cost of shipping" in log.stdout
    assert "Test the discount" in log.stdout
    (reference,) = re.findall(r"show (refs/pitboss/\S+)", done.stderr)
    show = subprocess.run(["git", "-C", repository, "show", reference], capture_output=True, text=True, check=True)
    assert "+You will receive your order" in show.stdout


def test_the_demonstration_runs_without_any_binary_of_claude(tmp_path: Path) -> None:
    check_demo(tmp_path, pitboss(tmp_path, ["demo", "--fake"]))


@pytest.mark.claude
def test_the_demonstration_runs_with_the_real_claude(tmp_path: Path) -> None:
    claude = find_claude()
    check_demo(tmp_path, pitboss(tmp_path, ["demo"], PITBOSS_CLAUDE_BINARY=claude.path))

    (summary,) = folder_of(tmp_path).glob("runs/*/summary.json")
    assert json.loads(summary.read_bytes())["rehearsal"]


@pytest.mark.claude
def test_the_demonstration_of_a_lead_runs_with_the_real_claude(tmp_path: Path) -> None:
    done = pitboss(tmp_path, ["demo", "--lead"], PITBOSS_CLAUDE_BINARY=find_claude().path)

    assert 0 == done.returncode, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    workers = {"shipping", "prices", "readme", "benchmark", "tests", "docs"}
    assert {"coordinator", "quality", *workers} == set(lines)
    assert "⊘ Cancelled" in lines["benchmark"]
    assert 7 == sum("✓ Success" in line for line in lines.values())
    assert "lead coordinator with at most 4 workers" in done.stderr
    assert "7 of 8 actors successful, 1 cancelled" in done.stderr
    assert "benchmark: cancelled by coordinator: there is no traffic yet: nothing to measure" in done.stderr

    for command in suggested(done.stderr):
        assert 0 == pitboss(tmp_path, command).returncode, command
    folder = folder_of(tmp_path)
    log = subprocess.run(
        ["git", "-C", folder / "repository", "log", "--format=%s", "demo/shop"],
        capture_output=True,
        text=True,
        check=True,
    )
    merged = {"Add the cost of shipping", "A discount never makes money", "Spell receive", "Test the total"}
    assert merged <= set(log.stdout.splitlines())
    runs = ["--run-dir", str(folder / "runs")]
    assert (
        "coordinator interrupts it to say: Stop rendering"
        in pitboss(tmp_path, ["why", "latest", "readme", *runs]).stdout
    )
    status = pitboss(tmp_path, ["status", *runs]).stdout
    assert "\n    tests (worker-" in status
    assert "\nLAYER " in status


def test_the_stand_in_does_not_play_a_lead(tmp_path: Path) -> None:
    done = pitboss(tmp_path, ["demo", "--lead", "--fake"])
    assert 2 == done.returncode
    assert "leave out --fake or --lead" in done.stderr


@pytest.mark.parametrize(("keep", "cleanup"), [(True, "never"), (False, "on_success")])
def test_worktrees_are_kept_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, cleanup: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scene = stage.build(flat.FLAT, keep_worktrees=keep)
    assert cleanup == compose.load(str(scene.manifest)).run.worktree_cleanup


@pytest.mark.parametrize(
    ("code", "failed", "expected"), [(1, "dev-server", 0), (1, "review", 1), (0, "", 1), (130, "", 130)]
)
def test_the_demonstration_succeeds_only_if_what_was_meant_to_fail_did(code: int, failed: str, expected: int) -> None:
    from pitboss.model.run import Status
    from support.pictures import picture, settled

    names = ["dev-server", "review"]
    view = picture(*(settled(name, Status.TIMED_OUT if name == failed else Status.SUCCESS) for name in names))
    assert expected == stage.verdict(flat.FLAT, code, view)


# --- rehearsals -----------------------------------------------------------------------------------------------------

MANIFEST = """
[run]
name = "small"
[[task]]
id = "a"
directory = "{folder}"
prompt = "Say hello."
use_worktree = false
"""


def test_a_script_that_cannot_be_played_is_refused_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MANIFEST.format(folder=tmp_path))
    (tmp_path / "m.script.toml").write_text("[[actr]]\nid = 'a'\n")

    done = pitboss(tmp_path, ["rehearse", str(tmp_path / "m.toml"), "--claude", "/bin/true"])

    assert 2 == done.returncode
    assert "REHEARSAL" in done.stderr
    assert "m.script.toml cannot be played" in done.stderr
    assert "actr" in done.stderr


def test_a_binary_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MANIFEST.format(folder=tmp_path))
    done = pitboss(tmp_path, ["rehearse", str(tmp_path / "m.toml"), "--claude", "/nowhere/claude"])
    assert 2 == done.returncode
    assert "pitboss: --claude names '/nowhere/claude', which was not found or cannot be executed\n" == done.stderr


@pytest.mark.claude
def test_a_rehearsal_plays_the_script_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MANIFEST.format(folder=tmp_path))
    (tmp_path / "m.script.toml").write_text('[[actor]]\nid = "a"\n[[actor.turn]]\ntext = "Hello from the script."\n')
    runs = ["--run-dir", str(tmp_path / "runs")]

    done = pitboss(tmp_path, ["rehearse", str(tmp_path / "m.toml"), "--claude", find_claude().path, *runs])

    assert 0 == done.returncode, done.stderr
    assert 1 == len(done.stdout.splitlines())
    assert "This was a rehearsal" in done.stderr
    assert "> Hello from the script." in pitboss(tmp_path, ["attach", "latest", "a", *runs]).stdout


def test_the_scripted_model_ends_with_its_block() -> None:
    import urllib.error
    import urllib.request

    with scripted_model(None) as url:
        urllib.request.urlopen(url, timeout=10).close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)


def test_a_binary_is_looked_for_where_it_was_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PITBOSS_CLAUDE_BINARY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "claude").write_text("#!/bin/sh\n")
    (tmp_path / "claude").chmod(0o755)

    assert (str(tmp_path / "claude"), "found on PATH") == find_claude()
    monkeypatch.setenv("PITBOSS_CLAUDE_BINARY", "/bin/sh")
    assert ("/bin/sh", "PITBOSS_CLAUDE_BINARY") == find_claude()
    with pytest.raises(OperatorError, match="--claude names 'nothing'"):
        find_claude("nothing")


# --- the terminal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[list[str]]:
    """A real terminal of 90 by 12 cells: the ``tmux`` command that talks to it."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    tmux = ["tmux", "-S", str(tmp_path / "tmux.sock"), "-f", "/dev/null"]
    yield tmux
    subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


def screen(tmux: Sequence[str], *arguments: str) -> str:
    return subprocess.run([*tmux, "capture-pane", "-p", *arguments], capture_output=True, text=True, check=True).stdout


def wait_for(tmux: Sequence[str], words: str, *arguments: str) -> str:
    """The screen, once it shows ``words``."""
    deadline = time.monotonic() + 60
    while words not in (shown := screen(tmux, *arguments)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    return shown


def open_terminal(tmux: Sequence[str], tmp_path: Path, command: str) -> None:
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment(tmp_path).items())
    line = f"trap : INT; env -i {said} TERM=screen LANG=C.UTF-8 {command}; echo code=$?; exec cat"
    subprocess.run([*tmux, "-u", "new-session", "-d", "-x", "90", "-y", "12", f"sh -c {shlex.quote(line)}"], check=True)


def test_a_terminal_shows_a_floor_that_redraws_itself_and_leaves_the_outcome(
    tmp_path: Path, terminal: list[str]
) -> None:
    open_terminal(terminal, tmp_path, shlex.join([*PITBOSS, "demo", "--fake"]))

    floor = wait_for(terminal, "✓ Success     add-shipping")
    assert 1 == floor.count("REHEARSAL · demo")
    assert "● Running     dev-server" in floor

    end = wait_for(terminal, "code=0", "-S", "-200", "-J")
    assert "Rehearsal demo: 5 of 6 tasks successful" in end
    assert "● Running" not in end
    assert 6 == sum(line.startswith(("  ✓ Success ", "  ⏱ TimedOut ")) for line in end.splitlines())


def test_ctrl_c_twice_stops_everything(tmp_path: Path, terminal: list[str]) -> None:
    open_terminal(terminal, tmp_path, shlex.join([*PITBOSS, "demo", "--fake"]))
    wait_for(terminal, "● Running     dev-server")

    subprocess.run([*terminal, "send-keys", "C-c"], check=True)
    wait_for(terminal, "draining (SIGINT)")
    subprocess.run([*terminal, "send-keys", "C-c"], check=True)

    end = wait_for(terminal, "code=", "-S", "-200", "-J")
    assert "It was interrupted." in end
    assert "code=130" in end
