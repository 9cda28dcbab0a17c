"""The rows of flat runs and single commands. Each takes a fresh folder and returns what it measured, with its goal."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench import ground
from bench.ground import Row


def real_sessions(place: Path) -> Row:
    """16 real sessions, two at a time, against the CLI started by xargs."""
    count, cap, rounds = 16, 2, 3
    claude = str(ground.real_claude())
    work = place / "work"
    work.mkdir()
    ratios: list[float] = []
    floors: list[float] = []
    with ground.scripted_model() as url:
        env = ground.environment(place / "home", ANTHROPIC_BASE_URL=url, **ground.MODEL_ENV)
        words = f"{claude} -p hi-{{}} --output-format stream-json --verbose --model claude-haiku-4-5 >/dev/null"
        floor = ["sh", "-c", f"seq {count} | xargs -P{cap} -I{{}} sh -c '{words} </dev/null'"]
        path = ground.manifest(work, count, cap=cap)
        ours = ground.pitboss("dispatch", str(path), "--run-dir", str(place / "runs"))
        for _ in range(rounds):
            floors.append(ground.timed(floor, env, cwd=work).wall_secs)
            mine = ground.timed(ours, env | {"PITBOSS_CLAUDE_BINARY": claude}, cwd=work).wall_secs
            ratios.append(mine / floors[-1])
    ratio = statistics.median(ratios)
    detail = f"floor {statistics.median(floors):.2f} s; ratios {', '.join(f'{value:.2f}' for value in ratios)}"
    return Row("16 real sessions, cap 2, over xargs -P2 claude -p", "<= 1.05", f"{ratio:.2f}", ratio <= 1.05, detail)


def noise(place: Path) -> Row:
    """200 noisy agents, 50 at a time, every line to disk; memory must not grow with what passed through."""
    count, cap = 200, 50
    fake = ground.shell_fake(place, noise=True)
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(fake))
    path = ground.manifest(place, count, cap=cap, max_starts=8)
    argv = ground.pitboss("dispatch", str(path), "--run-dir", str(place / "runs"))
    peaks: list[int] = []
    began = time.monotonic()
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peaks.append(watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
    wall = time.monotonic() - began
    lines = sum(1 for entry in (place / "runs").glob("*/tasks/*/stdout.log") for _ in entry.open("rb"))
    assert lines >= count * ground.NOISE_LINES, f"only {lines} lines reached the disk"
    run = ground.facts(place / "runs")
    span = float(str(run[-1]["at"])) - float(str(run[1]["at"]))
    rate = lines / span
    half = peaks[len(peaks) // 2] if peaks else 0
    grown = (max(peaks) - half) / 2**20 if peaks else 0.0
    peak = max(peaks) / 2**20
    detail = f"run {span:.2f} s, whole command {wall:.2f} s; peak {peak:.0f} MiB, +{grown:.0f} in its second half"
    reached = rate >= 100_000 and grown < 20
    return Row(
        "200 noisy actors, cap 50, lines to disk per second", ">= 100,000, flat memory", f"{rate:,.0f}", reached, detail
    )


def do_nothing(place: Path) -> Row:
    """What one actor costs beyond starting its process."""
    count, cap = 400, 50
    fake = ground.shell_fake(place)
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(fake))
    feed = '{"request_id":"1"}\n\n'
    floor_words = f"printf '{feed}' | {fake}".replace("\n", "\\n")
    floor = ["sh", "-c", f"seq {count} | xargs -P2 -I{{}} sh -c {json.dumps(f'{fake} < {place}/feed >/dev/null')}"]
    (place / "feed").write_text(feed)
    assert floor_words
    floors, ours = [], []
    for _ in range(3):
        floors.append(ground.timed(floor, env).wall_secs / count)
        path = ground.manifest(place, count, cap=cap, max_starts=8)
        ground.timed(ground.pitboss("dispatch", str(path), "--run-dir", str(place / "runs")), env)
        run = ground.facts(place / "runs")
        first = next(entry for entry in run if entry.get("fact") == "ActorAdmitted")
        ours.append((float(str(run[-1]["at"])) - float(str(first["at"]))) / count)
    beyond = (statistics.median(ours) - statistics.median(floors)) * 1000
    detail = (
        f"an actor {statistics.median(ours) * 1000:.2f} ms, its process alone {statistics.median(floors) * 1000:.2f} ms"
    )
    return Row("a do-nothing actor, beyond starting its process", "<= 2 ms", f"{beyond:.2f} ms", beyond <= 2.0, detail)


def worktrees(place: Path) -> Row:
    """16 worktrees of 30,000 files, against plain git two at a time; the loop must stay awake."""
    count, files = 16, 30_000
    repo = place / "repo"
    repo.mkdir()
    ground.git("init", "-q", cwd=repo)
    for n in range(files):
        folder = repo / f"d{n % 300:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{n}.txt").write_text(f"file {n}\n" * 4)
    ground.git("add", "-A", cwd=repo)
    ground.git("commit", "-qm", "files", cwd=repo)
    fake = ground.shell_fake(place)
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(fake))

    def plain(turn: int) -> float:
        words = f"git -C {repo} worktree add -q -b floor-{turn}-{{}} {place}/floor-{turn}-{{}}"
        # Plain git fails when two meet at the registration; a shell user would try again.
        floor = ["sh", "-c", f"seq {count} | xargs -P2 -I{{}} sh -c '{words} || (sleep 0.1; {words})'"]
        return ground.timed(floor, env).wall_secs

    def ours(turn: int) -> tuple[float, float, float]:
        runs, out = place / f"runs-{turn}", place / "lag.json"
        path = ground.manifest(place, count, cap=count, worktree=str(repo), worktree_cleanup="never")
        ground.timed([sys.executable, "-m", "bench.lag", str(path), str(runs), str(out)], env, cwd=Path.cwd())
        run = ground.facts(runs)
        first = next(float(str(entry["at"])) for entry in run if entry.get("fact") == "ActorAdmitted")
        last = max(float(str(entry["at"])) for entry in run if entry.get("fact") == "WorktreeMade")
        lag = json.loads(out.read_text())
        return last - first, float(lag["worst_secs"]) * 1000, float(lag["idle_secs"]) * 1000

    floors, spans, lags, idle = [], [], [], []
    for turn, first in enumerate((plain, ours, ours, plain)):
        os.sync()  # nobody pays for what the one before him has not written back yet
        if first is plain:
            floors.append(plain(turn))
        else:
            span, lag, waited = ours(turn)
            spans.append(span)
            lags.append(lag)
            idle.append(waited)
    ratio, lag = statistics.mean(spans) / statistics.mean(floors), max(lags)
    detail = (
        f"plain git {_list(floors)} s; ours {_list(spans)} s; an idle loop beside it waited up to {max(idle):.0f} ms"
    )
    return Row(
        "16 worktrees of 30,000 files, over plain git",
        "<= 1.10, loop < 50 ms beyond idle",
        f"{ratio:.2f}, {lag:.0f} ms",
        ratio <= 1.1 and lag - max(idle) < 50,
        detail,
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def memory(place: Path) -> Row:
    """The dispatcher's memory with 50 live actors."""
    count = 50
    fake = ground.shell_fake(place, hang=True)
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(fake))
    path = ground.manifest(place, count, cap=count, max_starts=8)
    argv = ground.pitboss("dispatch", str(path), "--run-dir", str(place / "runs"))
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        working = 0
        while working < count and time.monotonic() < deadline:
            time.sleep(0.2)
            if any((place / "runs").glob("*/journal.jsonl")):
                working = sum(entry.get("fact") == "SessionOpened" for entry in _whole_lines(place / "runs"))
        watched = psutil.Process(process.pid)
        rss = watched.memory_full_info().rss / 2**20
        guardian = sum(
            child.memory_info().rss for child in watched.children() if "guardian_main" in " ".join(child.cmdline())
        )
        process.terminate()
    assert working == count, f"only {working} sessions came up"
    detail = f"its guardian {guardian / 2**20:.0f} MiB"
    return Row("dispatcher memory with 50 live actors", "<= 80 MiB", f"{rss:.0f} MiB", rss <= 80, detail)


def _whole_lines(base: Path) -> list[dict[str, object]]:
    newest = max(base.iterdir(), key=lambda path: path.name)
    text = (newest / "journal.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def version(place: Path) -> Row:
    """How long the shortest command takes, over the bare interpreter."""
    env = ground.environment(place / "home")
    script = str(Path(sys.executable).with_name("pitboss"))
    ours = statistics.median(ground.timed([script, "--version"], env).wall_secs for _ in range(15)) * 1000
    bare = statistics.median(ground.timed([sys.executable, "-c", ""], env).wall_secs for _ in range(15)) * 1000
    return Row("pitboss --version", "<= 60 ms", f"{ours:.0f} ms", ours <= 60, f"the bare interpreter {bare:.0f} ms")


ROWS: dict[str, Callable[[Path], Row]] = {
    "real": real_sessions,
    "noise": noise,
    "nothing": do_nothing,
    "worktrees": worktrees,
    "memory": memory,
    "version": version,
}
"""Name on the command line -> measurement."""
