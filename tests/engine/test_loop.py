"""The loop: order of writing and doing, batches, deadlines, broken hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from pitboss.core.state import rebuilt
from pitboss.engine.clock import SystemClock
from pitboss.engine.loop import Inbox, Loop
from pitboss.errors import WorldError
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.notices import Sink
from pitboss.model.run import ActorId, Certificate, RunSpec, Status, Usage
from pitboss.testing.doubles import HandTurnedClock, a_result, a_run, a_task


class MemoryJournal:
    """A journal that remembers what was on disk when."""

    def __init__(self) -> None:
        self.facts: list[f.AnyFact] = []
        self.causes: list[int] = []
        self.synced = 0
        self.syncs = 0

    def append(self, fact: f.AnyFact, *, cause: int, by: str) -> int:
        self.facts.append(fact)
        self.causes.append(cause)
        return len(self.facts)

    async def sync(self) -> None:
        await asyncio.sleep(0)
        self.synced = len(self.facts)
        self.syncs += 1


class Hands:
    """A world in which everything goes well, unless a test replaces a hand."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.done: list[tuple[Effect, int]] = []
        self.clock = HandTurnedClock()
        self.pressed = asyncio.Event()

    def all(self) -> dict[type[Effect], Hand]:
        return {
            e.StartGuardian: self.guard,
            e.ProbeClaude: self.probe,
            e.PrepareWorktree: self.prepare,
            e.StartSession: self.session,
            e.Press: self.press,
            e.TidyWorktree: self.tidy,
            e.PublishWorktree: self.publish,
            e.PublishTask: self.publish,
            e.PublishRun: self.publish,
        }

    def saw(self, effect: Effect) -> None:
        self.done.append((effect, self.journal.synced))

    async def guard(self, effect: Effect, emit: Emit) -> None:
        self.saw(effect)
        emit(s.GuardianUp(at=self.clock.now(), pid=1))

    async def probe(self, effect: Effect, emit: Emit) -> None:
        emit(s.ClaudeProbed(at=self.clock.now(), version="test"))

    async def prepare(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.PrepareWorktree)
        self.saw(effect)
        emit(
            s.WorktreePrepared(
                at=self.clock.now(),
                actor=effect.actor,
                attempt=effect.attempt,
                path=effect.path,
                branch=effect.name,
                base="c",
            )
        )

    async def session(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.StartSession)
        self.saw(effect)
        actor, attempt, at = effect.session.actor, effect.session.attempt, self.clock.now()
        emit(s.ProcessUp(at=at, actor=actor, attempt=attempt, pid=7))
        emit(s.SessionReady(at=at, actor=actor, attempt=attempt))
        emit(s.TurnEnded(at=at, actor=actor, attempt=attempt, result=a_result(), usage=Usage(input=1)))
        await self.pressed.wait()
        emit(s.ProcessGone(at=at, actor=actor, attempt=attempt, certificate=Certificate(exit_code=0)))

    async def press(self, effect: Effect, emit: Emit) -> None:
        self.saw(effect)
        self.pressed.set()

    async def tidy(self, effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.TidyWorktree)
        self.saw(effect)
        emit(s.WorktreeTidied(at=self.clock.now(), actor=effect.actor, attempt=effect.attempt, removed=True))

    async def publish(self, effect: Effect, emit: Emit) -> None:
        self.saw(effect)
        emit(s.ArtifactWritten(at=self.clock.now(), path="x"))


def opened(run: RunSpec) -> s.Opened:
    return s.Opened(at=1_000_000.0, run=run, pid=1, pitboss_version="test")


async def test_a_run_goes_from_its_opening_to_its_end() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)

    state = await Loop(journal, hands.clock, hands.all()).run(opened(a_run("a", "b", "c", max_parallel=2)))

    assert 0 == state.exit_code
    assert rebuilt(journal.facts) == state
    assert isinstance(journal.facts[-1], f.RunEnded)


async def test_no_effect_is_begun_before_the_facts_behind_it_are_on_disk() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)
    await Loop(journal, hands.clock, hands.all()).run(opened(a_run("a", "b")))

    for effect, synced in hands.done:
        if isinstance(effect, e.StartSession):
            on_disk = journal.facts[:synced]
            admitted = [fact for fact in on_disk if isinstance(fact, f.ActorAdmitted)]
            assert effect.session.session_id in [fact.session_id for fact in admitted]


async def test_every_fact_names_an_earlier_fact_as_its_cause() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)
    await Loop(journal, hands.clock, hands.all()).run(opened(a_run("a")))

    assert all(cause < seq for seq, cause in enumerate(journal.causes, start=1))
    started = next(n for n, fact in enumerate(journal.facts) if isinstance(fact, f.ProcessStarted))
    cause = journal.facts[journal.causes[started] - 1]
    assert isinstance(cause, f.WorktreeMade)


async def test_what_waits_together_is_synced_once() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)
    tasks = [a_task(f"t{n}", use_worktree=False) for n in range(50)]
    await Loop(journal, hands.clock, hands.all()).run(opened(a_run(*tasks, max_parallel=50, max_starts=50)))

    assert journal.syncs < len(journal.facts) / 10


async def test_a_broken_hand_takes_nobody_else_down() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)

    async def broken(effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.PrepareWorktree)
        if effect.actor == "a":
            raise RuntimeError("boom")
        await hands.prepare(effect, emit)

    table: Mapping[type[Effect], Hand] = {**hands.all(), e.PrepareWorktree: broken}
    state = await Loop(journal, hands.clock, table).run(opened(a_run("a", "b")))

    assert [Status.SPAWN_FAILED, Status.SUCCESS] == [actor.status for actor in state.actors.values()]
    assert any(isinstance(fact, f.HandFailed) and "boom" in fact.message for fact in journal.facts)


async def test_a_deadline_wakes_the_loop_although_nothing_is_said() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)
    hands.clock = clock = SystemClock()  # type: ignore[assignment]

    async def mute(effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.StartSession)
        actor, attempt = effect.session.actor, effect.session.attempt
        emit(s.ProcessUp(at=clock.now() - 3599.95, actor=actor, attempt=attempt, pid=7))
        await hands.pressed.wait()
        emit(s.ProcessGone(at=clock.now(), actor=actor, attempt=attempt, certificate=Certificate(exit_code=None)))

    table: dict[type[Effect], Hand] = {**hands.all(), e.StartSession: mute}
    run = a_run(a_task("a", use_worktree=False))
    first = s.Opened(at=clock.now(), run=run, pid=1, pitboss_version="test")
    state = await asyncio.wait_for(Loop(journal, clock, table).run(first), timeout=40)

    assert [Status.TIMED_OUT] == [actor.status for actor in state.actors.values()]


def is_session(fact: f.AnyFact) -> bool:
    return isinstance(fact, f.SessionOpened)


class Full(MemoryJournal):
    """A disk that is full from a certain fact on, for so many tries."""

    def __init__(self, when: Callable[[f.AnyFact], bool], tries: int = 1_000_000) -> None:
        super().__init__()
        self.when = when
        self.tries = tries

    async def sync(self) -> None:
        if self.tries and any(self.when(fact) for fact in self.facts):
            self.tries -= 1
            raise WorldError("cannot write the journal: the disk is full")
        await super().sync()


async def test_a_run_whose_journal_takes_no_more_drains_and_gives_up_when_nothing_is_at_work() -> None:
    """What runs may end its turn; nothing new is begun, and no worktree is touched."""
    journal = Full(is_session)
    hands = Hands(journal)

    with pytest.raises(WorldError, match="the disk is full"):
        await asyncio.wait_for(Loop(journal, hands.clock, hands.all()).run(opened(a_run("a", "b", max_parallel=1))), 40)

    assert ["a"] == [effect.session.actor for effect, _ in hands.done if isinstance(effect, e.StartSession)]
    assert hands.pressed.is_set()
    assert not any(isinstance(effect, e.TidyWorktree | e.PublishTask) for effect, _ in hands.done)
    on_disk = rebuilt(journal.facts[: journal.synced])
    assert on_disk.draining is None, "nothing of it is on disk: a resume takes the run as one that was cut off"


async def test_a_journal_that_takes_facts_again_has_all_of_them_and_what_waited_is_done() -> None:
    journal = Full(is_session, tries=3)
    hands = Hands(journal)

    state = await Loop(journal, hands.clock, hands.all()).run(opened(a_run("a", "b", max_parallel=1)))

    assert rebuilt(journal.facts) == state
    assert journal.synced == len(journal.facts)
    assert state.draining is not None
    assert "the disk is full" in state.draining.by
    assert (1, Status.SUCCESS, ("b",)) == (state.exit_code, state.actors[ActorId("a")].status, state.waiting)
    assert any(isinstance(effect, e.PublishRun) for effect, _ in hands.done)


async def test_a_run_that_cannot_even_be_opened_says_so_at_once() -> None:
    journal = Full(lambda _: True)
    hands = Hands(journal)

    with pytest.raises(WorldError, match="the disk is full"):
        await Loop(journal, hands.clock, hands.all()).run(opened(a_run("a")))

    assert [] == hands.done


async def test_an_inbox_hands_over_everything_that_waits() -> None:
    inbox = Inbox()
    inbox.post(s.Tick(at=1.0))
    inbox.post(s.Tick(at=2.0), 5)

    assert [(1.0, 0), (2.0, 5)] == [(arrived.signal.at, arrived.cause) for arrived in await inbox.take(None)]
    assert [] == await inbox.take(0.0)


async def test_what_is_told_is_the_cause_of_nothing_but_the_telling() -> None:
    journal = MemoryJournal()
    hands = Hands(journal)
    told: list[int] = []

    async def notify(effect: Effect, emit: Emit) -> None:
        assert isinstance(effect, e.Notify)
        told.append(journal.synced)
        key, sink = effect.notice.key, effect.sink.id
        emit(s.NoticeReported(at=hands.clock.now(), key=key, sink=sink, outcome="delivered", tries=1))

    async def nothing(_effect: Effect, _emit: Emit) -> None:
        pass

    more: dict[type[Effect], Hand] = {e.Notify: notify, e.FinishNotices: nothing, e.PublishNotices: nothing}
    run = a_run("a", sinks=(Sink(id="log", kind="log"),))
    state = await Loop(journal, hands.clock, hands.all() | more).run(opened(run))

    kinds = [type(fact).__name__ for fact in journal.facts]
    causes = {kind: kinds[cause - 1] for kind, cause in zip(kinds, journal.causes, strict=True) if cause}
    assert ("RunOpened", "NoticeRaised") == (causes["GuardianStarted"], causes["NoticeSettled"])
    assert 2 == len(told)
    assert "NoticeSettled" == kinds[-1]
    assert {} == state.outbox.due
