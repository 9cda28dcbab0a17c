"""Rows about crash and resume: what it costs to write everything down, and what it buys.

They stand on the tests' own harness (a pit with fake agents, journals built by hand), so ``rows`` loads this module
only when one of them is measured.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from msgspec.structs import replace

from bench import ground
from bench.ground import Row
from pitboss.core.state import RunState, evolve
from pitboss.engine.clock import SystemClock
from pitboss.engine.ids import mint_run_id, mint_session_id
from pitboss.engine.loop import Loop
from pitboss.journal.blobs import Blobs, blobs_of
from pitboss.journal.disk import flush
from pitboss.journal.entries import encode_entry, encode_header, parse_entry
from pitboss.journal.log import Journal, replay
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.run import ActorId, Certificate, RunId, RunSpec, Usage
from pitboss.testing.doubles import a_result, a_run, a_task

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from stories.test_random_kills import Cast, fake_agents, real_agents, storm
from support import pictures
from support.pit import Pit

# --- whoever dies, and whenever -------------------------------------------------------------------------------------

STORMS, BLOWS = 50, 20
REAL_STORMS, REAL_BLOWS = 4, 10


def random_kills(place: Path) -> Row:
    """1,000 random kills of the dispatcher, its guardian, an agent, or both; each run is held against a calm one."""
    return _storms(place, STORMS, BLOWS, lambda pit: nullcontext(fake_agents(pit)), "")


def random_kills_of_real_sessions(place: Path) -> Row:
    """The same with the real CLI, whose sessions are resumed."""
    return _storms(place, REAL_STORMS, REAL_BLOWS, real_agents, " of real sessions")


Players = Callable[[Pit], AbstractContextManager[Cast]]


def _storms(place: Path, storms: int, blows: int, players: Players, whom: str) -> Row:
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        seeds = range(1000, 1000 + storms)
        ends = list(pool.map(lambda seed: _one_storm(place / f"storm-{seed}", seed, blows, players), seeds))
    per_minute = storms * blows / (time.monotonic() - began) * 60
    failures = [end for end in ends if isinstance(end, str)]
    runs = sum(end for end in ends if isinstance(end, int))
    detail = "; ".join([f"{per_minute:.0f} kills a minute in {runs} runs that came to the right end", *failures])
    what = f"{storms * blows:,} random kills{whom}, each run as if undisturbed"
    return Row(what, "0 storms fail", f"{len(failures)} of {storms}", not failures, detail)


def _one_storm(place: Path, seed: int, blows: int, players: Players) -> int | str:
    """How many runs it took, or what went wrong."""
    place.mkdir()
    pit = Pit(place)
    try:
        with players(pit) as cast:
            return storm(pit, cast, seed, blows)
    except Exception as problem:  # noqa: BLE001 - one storm that fails is a figure, and the others go on
        broken = traceback.extract_tb(problem.__traceback__)[-1]
        return f"{type(problem).__name__} {problem} at {broken.line!r} ({'; '.join(getattr(problem, '__notes__', []))})"
    finally:
        pit.close()
        shutil.rmtree(place, ignore_errors=True)


# --- taking over ----------------------------------------------------------------------------------------------------

SETTLED, OPEN = 500, 20


def first_start(place: Path) -> Row:
    """From ``pitboss resume`` to the first actor's admission, in a run with much behind it."""
    fake = ground.shell_fake(place)
    env = ground.environment(place / "home")
    waits = [_first_start(place, place / f"runs-{turn}", fake, env) for turn in range(5)]
    secs = statistics.median(waits)
    shown = ", ".join(f"{wait:.2f}" for wait in waits)
    detail = f"{shown} s; the interpreter and its imports are in it"
    return Row(f"resume of {SETTLED} settled and {OPEN} open", "<= 1 s", f"{secs:.2f} s", secs <= 1.0, detail)


def _first_start(place: Path, base: Path, fake: Path, env: dict[str, str]) -> float:
    settled, cut_off = [f"s{n}" for n in range(SETTLED)], [f"o{n}" for n in range(OPEN)]
    opened = pictures.opened(base, *settled, *cut_off)
    tasks = tuple(
        replace(task, directory=str(place), use_worktree=False, session_id=mint_session_id())
        for task in opened.run.tasks
    )
    spec = replace(opened.run, tasks=tasks, claude_binary=str(fake), max_parallel=OPEN, max_starts=8)
    story = [fact for name in settled for fact in [*pictures.begun(name), *pictures.done(name)]]
    story += [fact for name in cut_off for fact in pictures.begun(name)]
    placed = (f.WorktreeMade, f.WorktreeLeft)
    pictures.write_run(base, [replace(opened, run=spec), *(fact for fact in story if not isinstance(fact, placed))])
    (base / spec.run_id / "summary.jsonl").touch()
    began = time.time()
    ground.timed(ground.pitboss("resume", "--run-dir", str(base)), env)
    run = ground.facts(base)
    reopened = next(number for number, entry in enumerate(run) if entry.get("fact") == "RunReopened")
    first = next(entry for entry in run[reopened:] if entry.get("fact") == "ActorAdmitted")
    return float(str(first["at"])) - began


FACTS = 10_000


def replay_of_many(place: Path) -> Row:
    """Reading a journal of 10,000 facts, and what they lead to."""
    names = [f"t{n}" for n in range(FACTS // 10)]
    opened = pictures.opened(place, *names)
    story = [fact for name in names for fact in [*pictures.begun(name), *pictures.done(name)]]
    pictures.write_run(place, [opened, *story])
    path = place / opened.run.run_id / "journal.jsonl"
    walls = []
    for _ in range(5):
        began = time.perf_counter()
        state, count = RunState(), 0
        for entry in replay(path):
            state, count = evolve(state, entry.fact), count + 1
        walls.append(time.perf_counter() - began)
        assert count > FACTS, f"{count} facts"
    wall = statistics.median(walls)
    detail = f"{len(names):,} actors; {', '.join(f'{one:.2f}' for one in walls)} s"
    return Row(f"replay of {FACTS:,} facts", "<= 1 s", f"{wall:.2f} s", wall <= 1.0, detail)


# --- the loop -------------------------------------------------------------------------------------------------------

TALKERS, CALLS, BREATH = 50, 2000, 20


class World:
    """Hands in memory: agents that talk as much as they are asked to, and leave when told."""

    def __init__(self, calls: int) -> None:
        self.clock = SystemClock()
        self.ready = asyncio.Event()
        """Every agent has its session."""
        self._calls = calls
        self._sessions = 0
        self._leave: dict[str, asyncio.Event] = {}

    def hands(self) -> dict[type[Effect], Hand]:
        """One for each effect that a run without worktrees asks for."""
        return {
            e.StartGuardian: self._guard,
            e.StartSession: self._talk,
            e.Press: self._press,
            e.ProbeClaude: self._nothing,
            e.PublishTask: self._nothing,
            e.PublishRun: self._nothing,
        }

    async def _guard(self, effect: Effect, emit: Emit) -> None:
        emit(s.GuardianUp(at=self.clock.now(), pid=1))

    async def _nothing(self, effect: Effect, emit: Emit) -> None:
        emit(s.ArtifactWritten(at=self.clock.now(), path=""))

    async def _press(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.Press)
        self._leave[effect.actor].set()

    async def _talk(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.StartSession)
        actor, now = effect.session.actor, self.clock.now
        leave = self._leave[actor] = asyncio.Event()
        emit(s.ProcessUp(at=now(), actor=actor, attempt=1, pid=7))
        emit(s.SessionReady(at=now(), actor=actor, attempt=1))
        self._sessions += 1
        if self._sessions == len(self._leave):
            self.ready.set()
        for number in range(self._calls):
            emit(s.ToolCalled(at=now(), actor=actor, attempt=1, tool="Bash", summary="ls -la", tool_use_id="toolu_1"))
            if number % BREATH == 0:
                await asyncio.sleep(0)
        if self._calls:
            emit(s.TurnEnded(at=now(), actor=actor, attempt=1, result=a_result(), usage=Usage(input=1)))
        await leave.wait()
        emit(s.ProcessGone(at=now(), actor=actor, attempt=1, certificate=Certificate(exit_code=0)))


def _talk(count: int) -> RunSpec:
    tasks = [a_task(f"t{n}", use_worktree=False) for n in range(count)]
    return a_run(*tasks, max_parallel=count, max_starts=count)


def throughput(place: Path) -> Row:
    """Facts a second through the loop, from signal to disk, when 50 agents have much to say."""
    rates = []
    for turn in range(3):
        path = place / f"journal-{turn}.jsonl"
        secs = asyncio.run(_throughput(path))
        count = path.read_bytes().count(b"\n") - 1
        assert count > TALKERS * CALLS, f"only {count} facts reached the disk"
        rates.append(count / secs)
    rate = statistics.median(rates)
    detail = f"{', '.join(f'{one:,.0f}' for one in rates)}; {TALKERS} agents, {CALLS} tool calls each"
    return Row("facts per second through the loop, to disk", ">= 20,000", f"{rate:,.0f}", rate >= 20_000, detail)


async def _throughput(path: Path) -> float:
    """Seconds from the first signal to the last fact."""
    world, journal = World(CALLS), Journal.create(path, {})
    first = s.Opened(at=world.clock.now(), run=_talk(TALKERS), pid=1, pitboss_version="bench")
    began = time.perf_counter()
    state = await Loop(journal, world.clock, world.hands()).run(first)
    secs = time.perf_counter() - began
    journal.close()
    assert state.exit_code == 0
    return secs


def latency(place: Path) -> Row:
    """One signal to its fact on disk, with nothing else going on, against writing and flushing such a line."""
    rounds = []
    for turn in range(5):
        (place / str(turn)).mkdir()
        ours, bare = asyncio.run(_latency(place / str(turn)))
        rounds.append((statistics.median(ours), statistics.median(bare)))
    ratio = statistics.median(ours / bare for ours, bare in rounds)
    detail = ", ".join(f"{ours * 1e6:.0f}/{bare * 1e6:.0f}" for ours, bare in rounds) + " us"
    return Row("one fact from signal to synced, over a bare flush", "<= 2", f"{ratio:.2f}", ratio <= 2.0, detail)


async def _latency(place: Path, count: int = 200) -> tuple[list[float], list[float]]:
    """By turns, so that both meet the same disk."""
    world, journal, synced = World(0), Journal.create(place / "journal.jsonl", {}), asyncio.Event()
    ended = 0.0

    def told_of(_: RunState) -> None:
        nonlocal ended
        ended = time.perf_counter()  # here it is on disk; that this task hears of it is its own affair
        synced.set()

    loop = Loop(journal, world.clock, world.hands(), [told_of])
    first = s.Opened(at=world.clock.now(), run=_talk(1), pid=1, pitboss_version="bench")
    told = f.ToolUsed(at=first.at, actor=ActorId("t0"), attempt=1, tool="Bash", summary="ls -la", verdict="allow")
    line = encode_entry(1000, 999, "ToolCalled", told)
    ours: list[float] = []
    bare: list[float] = []
    with (place / "floor").open("wb", buffering=0) as floor:
        running = asyncio.create_task(loop.run(first))
        await world.ready.wait()
        for _ in range(count):
            await asyncio.sleep(0.001)
            began = time.perf_counter()
            floor.write(line)
            flush(floor.fileno())
            bare.append(time.perf_counter() - began)
            synced.clear()
            began = time.perf_counter()
            loop.inbox.post(s.ToolCalled(at=world.clock.now(), actor=told.actor, attempt=1, tool="Bash", summary="ls"))
            await synced.wait()
            ours.append(ended - began)
        loop.inbox.post(s.Stop(at=world.clock.now(), by="bench"))
        await running
    journal.close()
    return ours, bare


# --- looking back ---------------------------------------------------------------------------------------------------

RUNS = 1000


def list_runs(place: Path) -> Row:
    """``pitboss list`` over many runs that have ended."""
    return _command(place, "list", 200)


def status(place: Path) -> Row:
    """``pitboss status`` of the newest of many runs that have ended."""
    return _command(place, "status", 120)


def _command(place: Path, word: str, goal_ms: int) -> Row:
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(ground.shell_fake(place)))
    base = place / "runs"
    path = ground.manifest(place, 4, cap=4)
    ground.timed(ground.pitboss("dispatch", str(path), "--run-dir", str(base)), env)
    _multiply(next(base.iterdir()), RUNS - 1)
    script = str(Path(sys.executable).with_name("pitboss"))
    walls = [ground.timed([script, word, "--run-dir", str(base)], env).wall_secs * 1000 for _ in range(15)]
    said = subprocess.run([script, word, "--run-dir", str(base)], env=env, check=True, capture_output=True)
    shown = said.stdout.splitlines()
    assert len(shown) >= (RUNS if word == "list" else 4), f"only {len(shown)} lines"
    wall = statistics.median(walls)
    detail = f"{min(walls):.0f} to {max(walls):.0f} ms"
    return Row(f"pitboss {word} with {RUNS:,} runs", f"<= {goal_ms} ms", f"{wall:.0f} ms", wall <= goal_ms, detail)


def _multiply(run: Path, times: int) -> None:
    """Copies of an ended run under ids of their own."""
    for _ in range(times):
        copy = run.with_name(mint_run_id())
        shutil.copytree(run, copy)
        for name in ("meta.json", "summary.json", "summary.jsonl"):
            text = (copy / name).read_bytes()
            (copy / name).write_bytes(text.replace(run.name.encode(), copy.name.encode()))
        _rename(copy / "journal.jsonl", copy)


def _rename(journal: Path, run: Path) -> None:
    """Have a copied journal begin with its own id; nothing behind its first fact names the run."""
    _, line, *rest = journal.read_bytes().splitlines(keepends=True)
    entry = parse_entry(line, Blobs(blobs_of(journal)).get)
    assert isinstance(entry.fact, f.RunOpened)
    opened = replace(entry.fact, run=replace(entry.fact.run, run_id=RunId(run.name), run_dir=str(run)))
    begin = [encode_header({"run_id": run.name}), encode_entry(entry.seq, entry.cause, entry.by, opened)]
    journal.write_bytes(b"".join([*begin, *rest]))


ROWS: dict[str, Callable[[Path], Row]] = {
    "kills": random_kills,
    "real-kills": random_kills_of_real_sessions,
    "replay": replay_of_many,
    "resume": first_start,
    "throughput": throughput,
    "latency": latency,
    "list": list_runs,
    "status": status,
}
"""Name on the command line -> measurement."""
