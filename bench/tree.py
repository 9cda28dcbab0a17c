"""Rows about trees: what it costs to call a tool of ours, to spawn, to redirect, and to hold many actors.

Those with the real CLI ask a scripted model, whose log says when each request came in; actors are known to the script
by their prompts. Loaded by ``rows`` only when one of them is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import psutil
from msgspec.structs import replace

from bench import ground
from bench.ground import Row
from pitboss.engine.clock import SystemClock
from pitboss.engine.loop import Loop
from pitboss.journal.log import Journal
from pitboss.model import effects as e
from pitboss.model import signals as s
from pitboss.model.calls import AnyCall, KvGet, KvSet, SpawnWorker
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.run import ActorId, Certificate, RunSpec, Usage
from pitboss.testing.doubles import a_result, a_tree
from pitboss.testing.fake_binary import install

Json = dict[str, object]

MODEL = "claude-haiku-4-5"

# --- with the real CLI ----------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """A scripted model, and what was asked of it."""

    url: str
    log: Path
    env: dict[str, str]
    place: Path

    def requests(self) -> list[Json]:
        """Every turn so far, oldest first; what the CLI asks on its own account is left out."""
        text = self.log.read_text()
        lines = [cast("Json", json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if line["kind"] == "turn"]

    def dispatch(self, prompt: str) -> list[Json]:
        """Run a tree whose lead is asked this, to its end; its facts."""
        path = self.place / "tree.toml"
        keys = {"id": "lead", "directory": str(self.place), "prompt": prompt, "model": MODEL, "use_worktree": False}
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        path.write_text("\n".join(["[lead]", *lines]) + "\n")
        base = self.place / "runs"
        claude = {"PITBOSS_CLAUDE_BINARY": str(ground.real_claude())}
        ground.timed(ground.pitboss("dispatch", str(path), "--run-dir", str(base)), self.env | claude)
        return ground.facts(base)

    def first_request(self, prompt: str, number: int) -> float:
        """When the session that was asked this as number so many, from 0, asked the model for the first time."""
        first: dict[object, float] = {}

        def there() -> bool:
            for request in self.requests():
                if str(request["heard"]).startswith(prompt):
                    first.setdefault(request["session"], float(str(request["at"])))
            return len(first) > number

        _until(there)
        return sorted(first.values())[number]

    def plain(self, prompt: str) -> float:
        """Run the CLI alone, and say when it was started."""
        began = time.time()
        words = ["-p", prompt, "--output-format", "stream-json", "--verbose", "--model", MODEL]
        mode = ["--permission-mode", "bypassPermissions"]
        ground.timed([str(ground.real_claude()), *words, *mode], self.env, cwd=self.place)
        return began


Turn = tuple[str, Json]
"""A tool and its arguments."""


@contextmanager
def stage(place: Path, **actors: Iterable[Turn]) -> Iterator[Stage]:
    """A scripted model that knows whom it talks to by how their prompts begin."""
    tables = []
    for prompt, turns in actors.items():
        tables.append(f'[[actor]]\nid = "*"\nprompt = "{prompt}*"')
        tables += [
            f"[[actor.turn]]\ntools = [{{ name = {json.dumps(tool)}, input = {_toml(given)} }}]"
            for tool, given in turns
        ]
    script, log = place / "script.toml", place / "requests.jsonl"
    script.write_text("\n".join(tables))
    with ground.scripted_model(script, log) as url:
        env = ground.environment(place / "home", ANTHROPIC_BASE_URL=url, **ground.MODEL_ENV)
        yield Stage(url, log, env, place)


def _until(true: Callable[[], object], patience_secs: float = 60.0) -> None:
    deadline = time.monotonic() + patience_secs
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def _spans(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def _toml(table: Json) -> str:
    return f"{{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in table.items())} }}"


def _ours(name: str, **arguments: object) -> Turn:
    return f"mcp__pitboss__{name}", dict(arguments)


def _ms(values: Iterable[float]) -> str:
    return ", ".join(f"{value * 1000:.0f}" for value in values)


CALLS = 30


def our_tool(place: Path) -> Row:
    """From the reply that calls a tool to the request with its answer: a tool of ours, over the CLI's own ``Read``."""
    (place / "file").write_text("hello\n")
    read: Turn = ("Read", {"file_path": str(place / "file")})
    write = _ours("kv_set", path="/shared/key", value="hello")
    turns = [read, *(turn for _ in range(CALLS) for turn in (write, read))]
    with stage(place, lead=turns, plain=[read] * CALLS) as on:
        on.dispatch("lead")
        on.plain("plain")
        requests = on.requests()
    times: dict[str, list[float]] = {}
    for request in requests:
        times.setdefault(str(request["session"]), []).append(float(str(request["at"])))
    held, alone = (_spans(each) for each in sorted(times.values(), key=len, reverse=True))
    ours, builtin, without_us = (statistics.median(spans) for spans in (held[1::2], held[2::2], alone[1:]))
    ratio = ours / builtin
    detail = (
        f"ours {ours * 1000:.1f} ms, Read beside it {builtin * 1000:.1f} ms, "
        f"Read in a session without us {without_us * 1000:.1f} ms"
    )
    return Row("one tool call of ours, over a built-in one", "<= 1.10", f"{ratio:.2f}", ratio <= 1.10, detail)


SPAWNS = 8


def spawn(place: Path) -> Row:
    """From the call that spawns a worker to the worker's first request, over a start of the CLI alone just before.

    A lead that spawns takes its next turn meanwhile, so the detail has a start beside such a lead too: what is left
    over that is ours, what lies between the two is the lead's.
    """
    turns: list[Turn] = []
    for number in range(SPAWNS):
        for gate in (f"alone-{number}", f"spawn-{number}"):
            os.mkfifo(place / f"go-{gate}")
            turns.append(("Bash", {"command": f"touch {place}/at-{gate} && cat {place}/go-{gate}", "description": "x"}))
        turns.append(_ours("spawn_worker", prompt="worker"))
        turns.append(_ours("wait_for_worker", task_id=f"{{{{result[{4 * number + 2}].json.task_id}}}}"))
    floors: list[float] = []
    beside: list[float] = []
    asked: list[float] = []
    with stage(place, lead=turns, worker=(), plain=()) as on, ThreadPoolExecutor(1) as pool:
        running = pool.submit(on.dispatch, "lead")
        for number in range(SPAWNS):
            _until((place / f"at-alone-{number}").exists)
            (place / f"go-alone-{number}").write_text("go")
            began = on.plain("plain")
            beside.append(on.first_request("plain", 2 * number) - began)
            _until((place / f"at-spawn-{number}").exists)
            began = on.plain("plain")
            floors.append(on.first_request("plain", 2 * number + 1) - began)
            (place / f"go-spawn-{number}").write_text("go")
            asked.append(on.first_request("worker", number))
        facts = running.result()
    spawned = [float(str(fact["at"])) for fact in facts if fact.get("fact") == "ActorSpawned"]
    spans = [first - began for began, first in zip(spawned, asked, strict=True)]
    ratio, fair = (
        statistics.median(span / floor for span, floor in zip(spans, each, strict=True)) for each in (floors, beside)
    )
    detail = (
        f"spawns {_ms(spans)} ms; the CLI alone, by turns {_ms(floors)} ms; over a start beside a lead at its turn "
        f"{fair:.2f}, {_ms(beside)} ms"
    )
    what = "spawn_worker to the worker's first request, over a cold start"
    return Row(what, "<= 1.05", f"{ratio:.2f}", ratio <= 1.05, detail)


REDIRECTS = 5


def redirect(place: Path) -> Row:
    """From the order that redirects a running worker to the worker's next request."""
    worker: list[Turn] = []
    lead = [_ours("spawn_worker", prompt="worker")]
    for number in range(REDIRECTS):
        at = place / f"at-{number}"
        worker.append(("Bash", {"command": f"touch {at}; timeout 60 tail -f /dev/null", "description": "x"}))
        lead += [
            ("Bash", {"command": f"until [ -e {at} ]; do sleep 0.05; done", "description": "wait"}),
            _ours("reprompt_worker", task_id="{{result[0].json.task_id}}", prompt=f"redirected {number}"),
        ]
    with stage(place, lead=lead, worker=worker) as on:
        facts = on.dispatch("lead")
        requests = on.requests()
    sent = [float(str(fact["at"])) for fact in facts if fact.get("fact") == "MessageSent"]
    heard = [float(str(request["at"])) for request in requests if str(request["heard"]).startswith("redirected")]
    over = [float(str(fact["at"])) for fact in facts if fact.get("fact") == "MessagesDelivered"]
    spans = [asked - told for told, asked in zip(sent, heard, strict=True)]
    first = statistics.median(ended - told for told, ended in zip(sent, over, strict=True)) * 1000
    span = statistics.median(spans) * 1000
    what, detail = "redirect a running worker, to its next request", f"{_ms(spans)} ms"
    detail += f"; {first:.0f} ms until its turn had ended"
    return Row(what, "<= 100 ms", f"{span:.0f} ms", span <= 100, detail)


# --- with hands in memory -------------------------------------------------------------------------------------------

CALLERS, CALLS_EACH = 32, 1000


class Floor:
    """Hands in memory: a lead that spawns workers, who call tools one after the other and leave."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.began = self.ended = 0.0
        self.cpu_began = self.cpu_ended = 0.0
        self.answered = 0
        self._answers: dict[tuple[str, object], asyncio.Future[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}
        self._ready = asyncio.Event()
        self._working = 0
        self._done = 0
        self._all_done = asyncio.Event()

    def hands(self) -> dict[type[Effect], Hand]:
        """One for each effect that a tree without worktrees asks for."""
        return {
            e.StartGuardian: self._guard,
            e.StartSession: self._play,
            e.AnswerCall: self._answer,
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

    async def _answer(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.AnswerCall)
        self.answered += 1
        self._answers.pop((effect.actor, effect.call_id)).set_result(None)

    async def _call(self, actor: ActorId, number: int, call: AnyCall, emit: Emit) -> None:
        answer = self._answers[actor, number] = asyncio.get_running_loop().create_future()
        minted = f"{actor[-1]}{number}"
        at = self.clock.now()
        emit(s.CallMade(at=at, actor=actor, attempt=1, call_id=number, call=call, minted=minted, session_id=minted))
        await answer

    async def _play(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.StartSession)
        actor, now = effect.session.actor, self.clock.now
        leave = self._leave[actor] = asyncio.Event()
        emit(s.ProcessUp(at=now(), actor=actor, attempt=1, pid=7))
        emit(s.SessionReady(at=now(), actor=actor, attempt=1))
        if effect.session.role == "lead":
            for number in range(CALLERS):
                await self._call(actor, number, SpawnWorker(prompt="go"), emit)
            await self._all_done.wait()
        else:
            await self._work(actor, emit)
        emit(s.TurnEnded(at=now(), actor=actor, attempt=1, result=a_result(0.0), usage=Usage(input=1)))
        await leave.wait()
        emit(s.ProcessGone(at=now(), actor=actor, attempt=1, certificate=Certificate(exit_code=0)))

    async def _work(self, actor: ActorId, emit: Emit) -> None:
        self._working += 1
        if self._working == CALLERS:
            self.began, self.cpu_began, self.answered = time.perf_counter(), time.process_time(), 0
            self._ready.set()
        await self._ready.wait()
        for number in range(CALLS_EACH):
            path = f"/shared/{actor[-4:]}/{number % 50}"
            await self._call(actor, number, KvSet(path=path, value="done") if number % 2 else KvGet(path=path), emit)
        self.ended, self.cpu_ended = time.perf_counter(), time.process_time()
        self._done += 1
        if self._done == CALLERS:
            self._all_done.set()


def _many_callers() -> RunSpec:
    return replace(a_tree(max_workers=None, budget_usd=None), max_starts=CALLERS + 1)


def calls(place: Path) -> Row:
    """Tool calls a second through the loop, from the call to its answer, every write of the store on disk first."""
    rates, costs = [], []
    for turn in range(3):
        journal = Journal.create(place / f"journal-{turn}.jsonl", {})
        floor = Floor()
        rates.append(asyncio.run(_calls(floor, journal)))
        costs.append((floor.cpu_ended - floor.cpu_began) / floor.answered * 1e6)
    rate = statistics.median(rates)
    shown, cpu = ", ".join(f"{one:,.0f}" for one in rates), f"{statistics.median(costs):.0f} us of CPU each"
    detail = f"{shown}; {CALLERS} callers, {CALLS_EACH} calls each, half of them write; {cpu}"
    return Row("tool calls per second, 32 callers", ">= 5,000", f"{rate:,.0f}", rate >= 5_000, detail)


async def _calls(floor: Floor, journal: Journal) -> float:
    first = s.Opened(at=floor.clock.now(), run=_many_callers(), pid=1, pitboss_version="bench")
    state = await Loop(journal, floor.clock, floor.hands()).run(first)
    journal.close()
    assert len(state.actors) == CALLERS + 1
    assert floor.answered >= CALLERS * CALLS_EACH
    return floor.answered / (floor.ended - floor.began)


WORKERS = 32


def memory(place: Path) -> Row:
    """The dispatcher's memory with a lead and its workers, all of them at work."""
    wait: Json = {"call": "kv_wait", "input": {"path": "/shared/never", "timeout_secs": 600}}
    spawns: list[Json] = [{"call": "spawn_worker", "input": {"prompt": "PLAY: w"}}] * WORKERS
    (place / "parts.json").write_text(json.dumps({"lead": [*spawns, wait], "w": [wait]}))
    (place / "tree.toml").write_text(
        f'[lead]\nid = "lead"\ndirectory = "{place}"\nprompt = "go"\nuse_worktree = false\n'
    )
    fake = {"PITBOSS_CLAUDE_BINARY": str(install(place)), "PITBOSS_FAKE_SCRIPT": str(place / "parts.json")}
    env = ground.environment(place / "home", **fake)
    argv = ground.pitboss("dispatch", str(place / "tree.toml"), "--run-dir", str(place / "runs"))
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline, waiting = time.monotonic() + 60, 0
        while waiting <= WORKERS and time.monotonic() < deadline:
            time.sleep(0.2)
            waiting = sum(fact.get("fact") == "WaitBegan" for fact in _whole_lines(place / "runs"))
        watched = psutil.Process(process.pid)
        rss = watched.memory_info().rss / 2**20
        guardian = sum(
            child.memory_info().rss for child in watched.children() if "guardian_main" in " ".join(child.cmdline())
        )
        process.terminate()
    assert waiting == WORKERS + 1, f"only {waiting} actors came to their wait"
    detail = f"its guardian {guardian / 2**20:.0f} MiB; no process beside the sessions"
    return Row("dispatcher memory, a lead and 32 workers", "<= 90 MiB", f"{rss:.0f} MiB", rss <= 90, detail)


def _whole_lines(base: Path) -> list[Json]:
    journals = list(base.glob("*/journal.jsonl"))
    text = journals[0].read_text() if journals else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


ROWS: dict[str, Callable[[Path], Row]] = {
    "our-tool": our_tool,
    "spawn": spawn,
    "redirect": redirect,
    "calls": calls,
    "tree-memory": memory,
}
"""Name on the command line -> measurement."""
