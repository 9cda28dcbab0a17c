"""A dispatcher that can be killed at any point, and the machine that outlives it: worktrees, sessions, money, a disk.

Everything between the loop and the outside is real: the journal, the public files, the run's directory, on a disk
with a will of its own. Agents and git are data here, so that every point can be tried in milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from pitboss.core import prices
from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.core.state import RunState, evolve
from pitboss.engine.loop import Loop
from pitboss.errors import WorldError
from pitboss.journal.log import Journal, replay
from pitboss.journal.notice_lines import NoticeLines
from pitboss.journal.publish import ArtifactHand
from pitboss.journal.rundir import RunDir
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Refused
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.notices import Sink
from pitboss.model.run import ActorId, Certificate, Failure, Heard, Rule, RunSpec, TurnResult, Usage
from pitboss.testing.doubles import RUN, a_run, a_task
from pitboss.testing.faulty_disk import Call, Dead, FaultyDisk

STEPS = ("one", "two", "three")
STEP = Usage(input=1000, output=100)
FAILS = ActorId("c")

ORDERS: dict[str, o.AnyOrder] = {
    "note": o.NoteActor(actor=ActorId("d"), text="mind the gap"),
    "model": o.SetModel(actor=ActorId("d"), model="claude-opus-4-7"),
    "limits": o.ChangeLimits(actor=ActorId("a"), timeout_secs=4321),
    "rules": o.ReplacePolicy(rules=(Rule(action="auto_approve"),)),
    "nobody": o.CancelActor(actor=ActorId("nobody")),
}
"""What an operator orders as soon as the run is up, each under an id of its own."""

DEEDS = (t.MessageSent, of.ModelSet, of.LimitsChanged, of.PolicyReplaced, of.OrderTaken)


class Knife:
    """Counts the points at which a dispatcher can be killed, and strikes at one of them."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        """Which point, from 1; 0 for none."""
        self.passed = 0
        self.struck = ""
        """Where it struck; empty as long as it has not."""
        self.kill: Callable[[], None] = lambda: None

    def point(self, where: str) -> None:
        """Pass a point, or die there."""
        if self.struck:
            raise Dead
        self.passed += 1
        if self.passed == self.at:
            self.struck = where
            self.kill()
            raise Dead

    def on_disk(self, call: Call, when: str) -> None:
        """Each call of the disk has a point before it and one after it."""
        self.point(f"{when} {call.deed} {call.path.name}")


class MortalJournal:
    """A journal with a point before and after each fact."""

    def __init__(self, journal: Journal, knife: Knife) -> None:
        self._journal = journal
        self._knife = knife

    def append(self, fact: f.AnyFact, *, cause: int, by: str) -> int:
        self._knife.point(f"before {type(fact).__name__} is appended")
        seq = self._journal.append(fact, cause=cause, by=by)
        self._knife.point(f"after {type(fact).__name__} was appended")
        return seq

    async def sync(self) -> None:
        await self._journal.sync()


class End(NamedTuple):
    """How a run ended: what must be the same whatever happened on the way."""

    statuses: dict[str, str]
    costs: dict[str, float]
    tokens: dict[str, int]
    branches: dict[str, list[str]]
    told: set[str]
    """Which kinds of messages have arrived."""
    sessions: dict[str, int]
    """How many steps each session has done: nobody started a second one."""
    lines: dict[str, str]
    """What ``summary.jsonl`` says."""
    orders: dict[str, str]
    """What each order was answered, as a word."""
    deeds: dict[str, int]
    """How often each order was carried out, by the fact it leads to."""
    exit_code: int | None


class Machine:
    """What is there before, between and after dispatchers."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.disk = FaultyDisk()
        self.knife = Knife()
        self.run_spec = _spec(place / RUN)
        self.at = itertools.count(1_000_000)
        self.branches: dict[str, list[str]] = {}
        self.worktrees: dict[str, str] = {}
        self.transcripts: dict[str, int] = {}
        self.processes: set[tuple[str, int]] = set()
        self.started: list[tuple[str, int]] = []
        self.answered: dict[str, str] = {}
        """What an operator was answered, by the order's id; it asks again until it is."""
        self.logs: dict[tuple[str, int], Usage] = {}
        """What each attempt of each actor has used."""
        self.told: Counter[str] = Counter()
        """How often each message has arrived."""
        self.lives = 0
        self.rundir = RunDir.create(place, RUN, snapshot=b"", resolved=b"{}", meta=b"{}", disk=self.disk)

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: float(next(self.at))

    def now(self) -> float:
        return float(next(self.at))

    # dispatchers

    def dispatch(self, kill_at: int = 0) -> bool:
        """Run from the opening; true if it came to its end."""
        self.lives += 1
        first = s.Opened(at=self.now(), run=self.run_spec, pid=1, pitboss_version="test")
        return self._live(lambda: Journal.create(self.rundir.journal, {}, disk=self.disk), first, RunState(), kill_at)

    def resume(self, kill_at: int = 0) -> bool:
        """Take the run over; true if it came to its end, or was there."""
        self.lives += 1
        past, state = replay(self.rundir.journal), RunState()
        try:
            for entry in past:
                state = evolve(state, entry.fact)
        except WorldError:
            assert past.seq == 0, "the power cut has damaged what was synced"
        if state.run is None:  # nothing had been begun, so nothing is lost by beginning again
            assert not self.started, "something was begun before the run was on disk"
            self.rundir.journal.unlink(missing_ok=True)
            return self.dispatch(kill_at)
        on_disk = {(fact.actor, fact.attempt) for fact in self.facts() if isinstance(fact, f.ActorAdmitted)}
        assert set(self.started) <= on_disk, "something was begun that was not on disk"
        if state.exit_code is not None and self.rundir.summary.exists() and not state.waiting:
            self.told.update(notice.key for notice, _ in state.outbox.owed)  # as the next command does
            return True
        first = s.Reopened(
            at=self.now(),
            pid=2,
            pitboss_version="test",
            epoch=2,
            scope="unsettled",
            transcripts=tuple(name for name, actor in state.actors.items() if actor.session_id in self.transcripts),
            fresh_ids={name: f"fresh-{name}" for name in state.actors},
            heard={
                name: Heard(usage=self.logs.get((name, actor.attempt), Usage()))
                for name, actor in state.actors.items()
                if actor.phase in HAS_PROCESS
            },
        )
        return self._live(lambda: Journal.reopen(self.rundir.journal, past, disk=self.disk), first, state, kill_at)

    def _live(
        self, journal: Callable[[], Journal], first: s.Opened | s.Reopened, state: RunState, kill_at: int
    ) -> bool:
        self.processes.clear()
        self.disk.revive()
        self.knife = Knife(kill_at)
        self.disk.strike = self.knife.on_disk
        try:
            return asyncio.run(self._hold(journal, first, state))
        except (WorldError, OSError, ExceptionGroup) as problem:
            if self.knife.struck:
                return False
            if isinstance(problem, WorldError):  # the disk's doing
                return False
            raise

    async def _hold(self, journal: Callable[[], Journal], first: s.Opened | s.Reopened, state: RunState) -> bool:
        events, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def kill() -> None:
            self.disk.die()
            events.call_soon_threadsafe(task.cancel)

        self.knife.kill = kill
        if self.rundir.summary.exists():
            self.rundir.summary.unlink()
        book = journal()
        artifacts = ArtifactHand(self.rundir, self.now)
        loop = Loop(MortalJournal(book, self.knife), self, self._hands(artifacts), [], state)
        try:
            state = await loop.run(first)
        except asyncio.CancelledError:
            return False
        finally:
            book.close()
            artifacts.close()
        return state.exit_code is not None and not self.knife.struck

    # hands

    def _hands(self, artifacts: ArtifactHand) -> dict[type[Effect], Hand]:
        hands: dict[type[Effect], Callable[..., Awaitable[None]]] = {
            e.StartGuardian: self._guard,
            e.ProbeClaude: self._probe,
            e.PrepareWorktree: self._prepare,
            e.StartSession: self._session,
            e.Press: self._press,
            e.TidyWorktree: self._tidy,
            e.PublishWorktree: artifacts.publish_worktree,
            e.PublishTask: artifacts.publish_task,
            e.PublishTasks: artifacts.publish_tasks,
            e.PublishRun: artifacts.publish_run,
            e.Tell: self._tell,
            e.AnswerOrder: self._answer,
            e.Notify: self._notify,
            e.FinishNotices: self._finish,
            e.PublishNotices: NoticeLines(self.rundir, self.now).publish,
        }
        self._leave: dict[str, asyncio.Event] = {}
        return {kind: self._mortal(kind.__name__, hand) for kind, hand in hands.items()}

    def _mortal(self, name: str, hand: Callable[..., Awaitable[None]]) -> Hand:
        async def mortal(effect: Effect, emit: Emit) -> None:
            def say(signal: s.Signal) -> None:
                self.knife.point(f"before {type(signal).__name__} is heard")
                emit(signal)

            self.knife.point(f"before {name}")
            await hand(effect, say)
            self.knife.point(f"after {name}")

        return mortal

    async def _guard(self, _: e.StartGuardian, emit: Emit) -> None:
        emit(s.GuardianUp(at=self.now(), pid=9))
        for name, order in ORDERS.items():
            if name not in self.answered:
                emit(s.OrderGiven(at=self.now(), order=order, order_id=name, reply_to=name))

    async def _tell(self, effect: e.Tell, _: Emit) -> None:
        assert effect.text.endswith("mind the gap")

    async def _answer(self, effect: e.AnswerOrder, _: Emit) -> None:
        answer = effect.answer
        if not isinstance(answer, Refused):
            self.answered[effect.reply_to] = "ok"
        elif answer.code != "unavailable":  # the run has ended: a resume takes it up, and then it is ordered again
            self.answered[effect.reply_to] = answer.code

    async def _probe(self, _: e.ProbeClaude, emit: Emit) -> None:
        emit(s.ClaudeProbed(at=self.now(), version="test"))

    async def _prepare(self, effect: e.PrepareWorktree, emit: Emit) -> None:
        branch = effect.branch or effect.name
        created = branch not in self.branches
        self.branches.setdefault(branch, [])
        self.worktrees[effect.path] = branch
        await asyncio.sleep(0)
        emit(
            s.WorktreePrepared(
                at=self.now(),
                actor=effect.actor,
                attempt=effect.attempt,
                path=effect.path,
                branch=branch,
                base="c0ffee",
                created_branch=created,
            )
        )

    async def _session(self, effect: e.StartSession, emit: Emit) -> None:
        session = effect.session
        who, attempt = session.actor, session.attempt
        assert not any(name == who for name, _ in self.processes), "law 1: two attempts of one actor at once"
        assert (who, attempt) not in self.started, "an attempt was started twice"
        self.processes.add((who, attempt))
        self.started.append((who, attempt))
        log = self.logs
        log[who, attempt] = Usage()
        leave = self._leave[who] = asyncio.Event()
        emit(s.ProcessUp(at=self.now(), actor=who, attempt=attempt, pid=7))
        emit(s.SessionReady(at=self.now(), actor=who, attempt=attempt))
        self.transcripts.setdefault(session.session_id, 0)
        for number, word in enumerate(STEPS):
            await asyncio.sleep(0)
            if self.transcripts[session.session_id] > number:
                continue  # it remembers having done that
            self.knife.point(f"before {who} does step {word}")
            self.branches.setdefault(self.worktrees.get(session.cwd, who), []).append(word)
            self.transcripts[session.session_id] += 1
            log[who, attempt] += STEP
            self.knife.point(f"after {who} has done step {word}")
            emit(s.UsageGrew(at=self.now(), actor=who, attempt=attempt, usage=log[who, attempt]))
        failed = who == FAILS
        cost = prices.estimate(log[who, attempt], session.model)
        result = TurnResult(subtype="success", is_error=failed, cost_usd=cost, session_cost_usd=cost, text="done")
        emit(s.TurnEnded(at=self.now(), actor=who, attempt=attempt, result=result, usage=log[who, attempt]))
        await leave.wait()
        self.processes.discard((who, attempt))
        emit(
            s.ProcessGone(
                at=self.now(),
                actor=who,
                attempt=attempt,
                certificate=Certificate(exit_code=int(failed)),
                usage=log[who, attempt],
                failure=Failure(kind="unknown", message="broke") if failed else None,
            )
        )

    async def _press(self, effect: e.Press, _: Emit) -> None:
        if effect.actor in self._leave:
            self._leave[effect.actor].set()

    async def _tidy(self, effect: e.TidyWorktree, emit: Emit) -> None:
        assert not any(name == effect.actor for name, _ in self.processes), "a worktree was taken from a living actor"
        self.worktrees.pop(effect.path, None)
        await asyncio.sleep(0)
        emit(s.WorktreeTidied(at=self.now(), actor=effect.actor, attempt=effect.attempt, removed=True))

    async def _notify(self, effect: e.Notify, emit: Emit) -> None:
        key = effect.notice.key
        await asyncio.sleep(0)
        self.knife.point(f"before {key} arrives")
        self.told[key] += 1
        self.knife.point(f"after {key} has arrived")
        emit(s.NoticeReported(at=self.now(), key=key, sink=effect.sink.id, outcome="delivered", tries=1))

    async def _finish(self, _effect: e.FinishNotices, _emit: Emit) -> None:
        pass  # nobody is slow here

    # how it ended

    def facts(self) -> list[f.AnyFact]:
        """Every fact on disk."""
        return [entry.fact for entry in replay(self.rundir.journal)]

    def end(self) -> End:
        """The end, from what is on disk and in the world."""
        summary = json.loads(self.rundir.summary.read_bytes())
        lines = [json.loads(line) for line in self.rundir.summary_lines.read_bytes().splitlines()]
        exits = [fact.exit_code for fact in self.facts() if isinstance(fact, f.RunEnded)]
        assert len(lines) == len({line["task_id"] for line in lines}), "a record is there twice"
        assert max(self.told.values()) <= self.lives, "a message was sent again without need"
        return End(
            statuses={task["task_id"]: task["status"] for task in summary["tasks"]},
            costs={task["task_id"]: round(task["cost_usd"], 9) for task in summary["tasks"]},
            tokens={task["task_id"]: task["token_usage"]["input"] for task in summary["tasks"]},
            branches=self.branches,
            told={key.split(":")[1] for key in self.told} - {"run_resumed", "run_stopped"},
            sessions=self.transcripts,
            lines={line["task_id"]: line["status"] for line in lines},
            orders=self.answered,
            deeds={kind.__name__: sum(isinstance(fact, kind) for fact in self.facts()) for kind in DEEDS},
            exit_code=exits[-1] if exits else None,
        )


def _spec(path: Path) -> RunSpec:
    """Three tasks that work and one that fails, two at a time; one without a worktree, one with a long prompt."""
    tasks = [a_task("a"), a_task("b", use_worktree=False), a_task(FAILS, prompt="x" * 5000), a_task("d")]
    sink = Sink(id="webhook", kind="webhook")
    return a_run(*tasks, max_parallel=2, run_dir=str(path), worktree_cleanup="on_success", sinks=(sink,))


def power_cut(machine: Machine, chance: random.Random | None) -> None:
    """The machine goes down: what was not synced is gone, or partly so."""
    machine.disk.revive()
    machine.disk.lose_power(chance)
