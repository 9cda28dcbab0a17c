"""Runs that are struck again and again: whoever dies, and whenever, they come to the end of an undisturbed run.

``storm`` strikes a given number of times, over as many runs as that takes, and holds each against the laws. Which
blow falls when comes from a seed; what it meets at that moment is the machine's. ``bench.crash`` rides out longer ones.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import psutil
import pytest

from support.pit import Json, Pit, Run
from support.rehearsal import start_model

pytestmark = pytest.mark.slow

CAP = 3

STRAY = 10
"""More resumes than this without a blow, and the run is going nowhere."""


def _bash(command: str) -> Json:
    return {"tool": "Bash", "input": {"command": command}}


def _line(word: str) -> Json:
    """One line more, and one commit; may be cut off anywhere and done again."""
    done = f"git log --format=%s main.. | grep -qx {word}"
    return _bash(f"{done} || {{ grep -sqx {word} work || echo {word} >> work; git add work; $COMMIT {word}; }}")


# A git that was killed may leave its locks; the worktree and the branch are this agent's alone.
_UNLOCK = _bash(
    'rm -f "$(git rev-parse --git-dir)"/*.lock "$(git rev-parse --git-common-dir)/$(git symbolic-ref HEAD).lock"'
)

WORDS = ("one", "two", "three")

SCRIPT = [_UNLOCK, *itertools.chain(*([_line(word), {"delay": 0.1}] for word in WORDS))]
"""What every attempt does from its beginning, as an agent would that looks first at how things stand."""

REAL_TURNS = 12
"""A real session goes on where it was, so each of its turns looks at how things stand and does what comes next."""


class Cast(NamedTuple):
    """Who plays the agents."""

    tasks: tuple[str, ...]
    longest_calm_secs: float
    """From before a resumed dispatcher has loaded until its first actors have settled."""


FAKES = Cast(tuple("abcdef"), 1.6)
REAL = Cast(tuple("ab"), 4.0)


def fake_agents(pit: Pit) -> Cast:
    """Have fake agents follow the script."""
    script = pit.place / "script.json"
    script.write_text(json.dumps({"*": SCRIPT}))
    pit.env |= {"PITBOSS_FAKE_SCRIPT": str(script)}
    return FAKES


@contextmanager
def real_agents(pit: Pit) -> Iterator[Cast]:
    """Have the real CLI follow the same steps, its model scripted."""
    steps = [str(cast("Json", step["input"])["command"]) for step in [_UNLOCK, *map(_line, WORDS)]]
    call: Json = {"name": "Bash", "input": {"command": " && sleep 0.05 && ".join(steps), "description": "go on"}}
    turn = f"[[actor.turn]]\ntools = [{_toml(call)}]"
    with start_model(pit.place / "model", "\n".join(["[[actor]]", 'id = "*"', *([turn] * REAL_TURNS)])) as model:
        pit.use_real_claude(model.actor("agent"))
        yield REAL


def _toml(table: Json) -> str:
    shown = {key: _toml(item) if isinstance(item, dict) else json.dumps(item) for key, item in table.items()}
    return f"{{ {', '.join(f'{key} = {value}' for key, value in shown.items())} }}"


# --- the storm ------------------------------------------------------------------------------------------------------


def storm(pit: Pit, players: Cast, seed: int, blows: int) -> int:
    """Strike so many times, and check each run that was struck.

    Args:
        pit: Where.
        players: Who plays the agents.
        seed: Decides who is struck, and when.
        blows: How many.

    Returns:
        How many runs it took.
    """
    pit.env |= {"COMMIT": "git -c user.name=a -c user.email=a@b commit -qm"}
    model = {"prompt": "go", "model": "claude-haiku-4-5"}
    manifest = pit.manifest(dict.fromkeys(players.tasks, model), max_parallel_tasks=CAP)
    assert 0 == pit.dispatch(manifest).code
    calm = contents(pit, pit.run)
    assert players.tasks == tuple(calm)
    chance, runs = random.Random(seed), 0
    while blows > 0:
        runs += 1
        pit.runs = pit.place / f"runs-{runs}"
        story: list[str] = []
        try:
            ride_out(pit, manifest, players, chance, blows, story)
            check(pit, pit.run, calm)
        except Exception as problem:
            problem.add_note(f"seed {seed}, run {runs} in {pit.runs}: {'; '.join(story)}")
            raise
        blows -= sum("struck" in event for event in story)
    return runs


def ride_out(pit: Pit, manifest: Path, players: Cast, chance: random.Random, blows: int, story: list[str]) -> None:
    """Dispatch, strike at random moments, resume whenever the dispatcher is gone, until everything has succeeded."""
    process = pit.dispatching(manifest)
    pit.until(lambda run: run.told("RunOpened"))
    stray = 0
    while stray < STRAY:
        secs = chance.uniform(0, players.longest_calm_secs)
        if blows and not _ended(process, secs):
            name, blow = chance.choice(BLOWS)
            hit = blow(process, chance)
            blows -= hit
            story.append(f"{secs:.2f} s: {name} {'struck' if hit else 'missed'} after {len(pit.run.facts)} facts")
            if process.poll() is None and name not in DEADLY:
                continue
        ended = pit.finish(process)
        story.append(f"exit {ended.code}")
        assert ended.code in {0, 1, -signal.SIGKILL}, f"exit {ended.code}: {ended.err}"
        if _over(pit.run, players):
            return
        stray += ended.code >= 0
        process = pit.start("resume", "--failed", "--run-dir", str(pit.runs))
    raise AssertionError(f"it does not come to an end: {pit.run.statuses()}")


def _ended(process: subprocess.Popen[str], secs: float) -> bool:
    try:
        process.wait(secs)
    except subprocess.TimeoutExpired:
        return False
    return True


def _over(run: Run, players: Cast) -> bool:
    return (run.path / "summary.json").exists() and run.statuses() == dict.fromkeys(players.tasks, "Success")


# --- blows: each says whether it hit ----------------------------------------------------------------------------------


def _dispatcher(process: subprocess.Popen[str], chance: random.Random) -> bool:
    process.kill()
    return True


def _guardian(process: subprocess.Popen[str], chance: random.Random) -> bool:
    return _kill_one(_children(process, "guardian_main.py"), chance)


def _agent(process: subprocess.Popen[str], chance: random.Random) -> bool:
    return _kill_one(_children(process, "--input-format"), chance)


def _both(process: subprocess.Popen[str], chance: random.Random) -> bool:
    """The guardian first, and the dispatcher before it can start another: nobody is left to clean up."""
    process.send_signal(signal.SIGSTOP)
    _guardian(process, chance)
    return _dispatcher(process, chance)


Blow = Callable[[subprocess.Popen[str], random.Random], bool]

BLOWS: tuple[tuple[str, Blow], ...] = (
    ("dispatcher", _dispatcher),
    ("guardian", _guardian),
    ("agent", _agent),
    ("both", _both),
)
DEADLY = frozenset({"dispatcher", "both"})


def _children(process: subprocess.Popen[str], *words: str) -> list[psutil.Process]:
    """The dispatcher's children that have all these words in their command line."""
    found = []
    for child in psutil.Process(process.pid).children() if process.poll() is None else []:
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if all(word in line for word in words):
            found.append(child)
    return found


def _kill_one(victims: list[psutil.Process], chance: random.Random) -> bool:
    if not victims:
        return False
    try:
        chance.choice(victims).kill()
    except psutil.NoSuchProcess:
        return False
    return True


# --- the laws ---------------------------------------------------------------------------------------------------------


def check(pit: Pit, run: Run, calm: dict[str, list[str]]) -> None:
    """Hold a run that has come to its end against an undisturbed one's contents, and against the laws."""
    check_records(run, tuple(calm))
    assert calm == contents(pit, run), f"{calm} became {contents(pit, run)}"
    check_journal(run)
    for task in calm:
        check_attempts(run, task)
        check_money(run, task)
    check_nobody_left(pit, run)


def contents(pit: Pit, run: Run) -> dict[str, list[str]]:
    """What each task's branch holds: its tree, and the subject of every commit on it."""
    found = {}
    for task in sorted(run.statuses()):
        branch = f"pitboss-{task}-{run.path.name}"
        subjects = pit.git("log", "--format=%s", f"main..{branch}").splitlines()
        found[task] = [pit.git("rev-parse", f"{branch}^{{tree}}"), *subjects]
    return found


def check_records(run: Run, tasks: tuple[str, ...]) -> None:
    """Every task succeeded and has exactly one record, in both files."""
    lines = [json.loads(line) for line in (run.path / "summary.jsonl").read_text().splitlines()]

    assert list(tasks) == sorted(line["task_id"] for line in lines)
    assert {"Success"} == {line["status"] for line in lines}
    assert dict.fromkeys(tasks, "Success") == run.statuses()
    assert len(tasks) == len(run.summary["tasks"])  # type: ignore[arg-type]  # a list, or the line above had failed


def check_journal(run: Run) -> None:
    """Facts are numbered without a hole, dispatchers in their order, and no hand broke."""
    epochs = [int(str(fact["epoch"])) for fact in run.told("RunReopened")]

    assert list(range(1, len(run.facts) + 1)) == [fact["seq"] for fact in run.facts]
    assert sorted(set(epochs)) == epochs
    assert [] == run.told("HandFailed") + run.told("ArtifactLost")


def check_attempts(run: Run, task: str) -> None:
    """Attempts are numbered without a hole and have one session; after a success there is none."""
    admitted = run.told("ActorAdmitted", task)
    statuses = [fact["status"] for fact in run.told("ActorSettled", task)]

    assert list(range(1, len(admitted) + 1)) == [fact["attempt"] for fact in admitted]
    assert {run.record(task)["claude_session_id"]} == {fact["session_id"] for fact in admitted}
    assert "Success" not in statuses[:-1]
    assert "Success" == statuses[-1]


def check_money(run: Run, task: str) -> None:
    """The record has what every attempt had spent when it was last heard of."""
    known: dict[object, float] = {}
    for fact in run.facts:
        if fact.get("actor") == task and fact.get("cost_usd") is not None:
            known[fact["attempt"]] = float(str(fact["cost_usd"]))

    assert sum(known.values()) == pytest.approx(float(str(run.record(task)["cost_usd"])))


def check_nobody_left(pit: Pit, run: Run, patience_secs: float = 10.0) -> None:
    """No process of the run is there any more; a guardian may still be about to leave."""
    assert [] == pit.with_cookie()
    deadline = time.monotonic() + patience_secs
    while guardians := _guardians_of(run):
        assert time.monotonic() < deadline, f"guardians that do not leave: {guardians}"
        time.sleep(0.05)


def _guardians_of(run: Run) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if run.path.name in words and any(word.endswith("guardian_main.py") for word in words):
            found.append(process.pid)
    return found


# --- the story --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [11, 22, 33, 44])
def test_whoever_is_killed_whenever_the_run_comes_to_the_same_end(pit: Pit, seed: int) -> None:
    storm(pit, fake_agents(pit), seed, blows=5)


@pytest.mark.claude
def test_real_sessions_that_are_killed_come_to_the_same_end_too(pit: Pit) -> None:
    with real_agents(pit) as players:
        storm(pit, players, seed=55, blows=4)
