"""Any order of anything: a Hypothesis state machine over the core, with a small world that answers its effects.

The laws that the state alone can show are checked after every signal by ``Story``; here the world is held
against the state as well: what really runs is what is believed to run, and every run can be brought to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pitboss.core import lifecycle
from pitboss.core.state import RunState, rebuilt
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.notices import Sink
from pitboss.model.run import (
    ActorId,
    Certificate,
    Failure,
    Phase,
    ResumeScope,
    RunSpec,
    SetAside,
    Status,
    TurnResult,
    Usage,
)
from pitboss.testing.doubles import Story, a_run, a_task
from support.orders import any_order, check_order

FAILURES = st.sampled_from(
    [
        None,
        Failure(kind="rate_limit", resets_at=1_000_500.0),
        Failure(kind="rate_limit"),
        Failure(kind="overloaded"),
        Failure(kind="auth_failure"),
        Failure(kind="network_error"),
        Failure(kind="process_died"),
    ]
)


class World(RuleBasedStateMachine):
    """A run, and the world it is carried out in."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.seen = 0
        self.preparing: dict[ActorId, e.PrepareWorktree] = {}
        self.spawning: dict[ActorId, e.StartSession] = {}
        self.running: dict[ActorId, e.StartSession] = {}
        self.tidying: dict[ActorId, e.TidyWorktree] = {}
        self.ever_started: set[tuple[str, int]] = set()
        self.cost: dict[ActorId, float] = {}
        self.frozen: set[ActorId] = set()
        self.most = 0
        """The highest cap so far: whoever is at work when it is lowered stays."""
        self.ordered = 0
        self.fresh: set[ActorId] = set()
        """Who is to begin again from the start, and has not got the worktree for it."""

    @initialize(
        tasks=st.integers(1, 6),
        cap=st.integers(1, 4),
        starts=st.integers(1, 3),
        halt=st.booleans(),
        budget=st.none() | st.floats(0.02, 5.0),
        cleanup=st.sampled_from(["always", "on_success", "never"]),
        bare=st.integers(0, 6),
        old=st.none() | st.lists(st.sampled_from([None, *Status]), max_size=6),
    )
    def open(
        self,
        tasks: int,
        cap: int,
        starts: int,
        halt: bool,
        budget: float | None,
        cleanup: str,
        bare: int,
        old: list[Status | None] | None,
    ) -> None:
        specs = [a_task(f"t{n}", use_worktree=n >= bare, timeout_secs=100) for n in range(tasks)]
        run = a_run(
            *specs,
            max_parallel=cap,
            max_starts=starts,
            halt_on_failure=halt,
            budget_usd=budget,
            worktree_cleanup=cleanup,
            sinks=(Sink(id="log", kind="log"),),
        )
        if old is None:
            self.story.when(s.Opened(at=self.at, run=run, pid=1, pitboss_version="test"))
        else:
            self.adopt(run, old)
        self.take_effects()

    def adopt(self, run: RunSpec, statuses: list[Status | None]) -> None:
        """The run began under Pitboss 0.9, and this is how it left the first of its actors."""
        self.story.facts.append(f.RunOpened(at=self.at, run=run, pid=0, pitboss_version="0.9.2"))
        for spec, status in zip(run.tasks, statuses, strict=False):
            place = f"/old/{spec.id}" if spec.use_worktree else None
            self.story.facts.append(
                f.ActorAdopted(at=self.at, actor=spec.id, attempt=1, status=status, session_id="s", worktree=place)
            )
        self.story.killed()
        self.story.reopened(*(spec.id for spec in run.tasks), scope="failed")

    @property
    def at(self) -> float:
        return self.story.at

    @property
    def state(self) -> RunState:
        return self.story.state

    def give(self, signal: s.AnySignal) -> None:
        self.story.when(signal)
        self.take_effects()

    def take_effects(self) -> None:
        """The world takes up what was asked since the last time."""
        for effect in self.story.effects[self.seen :]:
            match effect:
                case e.PrepareWorktree():
                    assert effect.actor not in self.preparing
                    assert effect.fresh == (effect.actor in self.fresh), "whom the operator wants fresh, no other"
                    assert not (effect.fresh and effect.earlier and effect.earlier.set_aside), "old work stays away"
                    self.preparing[effect.actor] = effect
                case e.StartSession(session=session):
                    key = (str(session.actor), session.attempt)
                    assert key not in self.ever_started, "law 1: an attempt was started twice"
                    self.ever_started.add(key)
                    assert session.actor not in self.fresh, "it began in what it was to leave behind"
                    self.spawning[session.actor] = effect
                case e.TidyWorktree():
                    made = self.state.actors[effect.actor].worktree
                    assert made is not None
                    assert not made.foreign, "a worktree that was not taken over was put away"
                    assert effect.actor not in self.running, "a worktree was taken from a living actor"
                    self.tidying[effect.actor] = effect
                case e.Freeze(actor=who):
                    assert who in self.running
                    assert who not in self.frozen, "frozen twice"
                    self.frozen.add(who)
                case e.Thaw(actor=who):
                    assert who in self.frozen, "thawed, but it was not frozen"
                    self.frozen.discard(who)
                case e.Tell(actor=who) | e.Interrupt(actor=who):
                    assert who in self.running, f"{effect} reaches nobody"
                    assert who not in self.frozen, "told while it cannot hear"
                case _:
                    pass
        self.seen = len(self.story.effects)

    def pick(self, data: st.DataObject, among: Mapping[ActorId, object]) -> ActorId:
        return data.draw(st.sampled_from(sorted(among)))

    @rule()
    def the_guardian_comes_up(self) -> None:
        self.give(s.GuardianUp(at=self.at, pid=9))

    @rule()
    def the_guardian_dies(self) -> None:
        self.give(s.GuardianDown(at=self.at, message="killed"))

    @precondition(lambda self: self.preparing)
    @rule(data=st.data(), ok=st.booleans())
    def a_worktree_comes(self, data: st.DataObject, ok: bool) -> None:
        who = self.pick(data, self.preparing)
        effect = self.preparing.pop(who)
        if ok:
            self.fresh.discard(who)
            signal: s.AnySignal = s.WorktreePrepared(
                at=self.at, actor=who, attempt=effect.attempt, path=effect.path, branch="b", base="c"
            )
        else:
            signal = s.WorktreeRefused(at=self.at, actor=who, attempt=effect.attempt, message="no")
        self.give(signal)

    @precondition(lambda self: self.spawning)
    @rule(data=st.data(), ok=st.booleans(), ready=st.booleans())
    def a_process_comes(self, data: st.DataObject, ok: bool, ready: bool) -> None:
        who = self.pick(data, self.spawning)
        effect = self.spawning.pop(who)
        attempt = effect.session.attempt
        if not ok:
            self.give(s.SpawnRefused(at=self.at, actor=who, attempt=attempt, message="no"))
            return
        self.running[who] = effect
        self.give(s.ProcessUp(at=self.at, actor=who, attempt=attempt, pid=100))
        if ready:
            self.give(s.SessionReady(at=self.at, actor=who, attempt=attempt))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(), kind=st.sampled_from(["ready", "tool", "usage", "retry", "tasks", "quiet", "silent", "spoke"])
    )
    def a_session_speaks(self, data: st.DataObject, kind: str) -> None:
        who = self.pick(data, self.running)
        at, attempt = self.at, self.running[who].session.attempt
        said: dict[str, s.AnySignal] = {
            "ready": s.SessionReady(at=at, actor=who, attempt=attempt),
            "tool": s.ToolCalled(at=at, actor=who, attempt=attempt, tool="Bash", summary="ls"),
            "usage": s.UsageGrew(at=at, actor=who, attempt=attempt, usage=Usage(input=100_000)),
            "retry": s.ApiRetried(at=at, actor=who, attempt=attempt, status=529, delay_secs=2.0),
            "tasks": s.BackgroundChanged(at=at, actor=who, attempt=attempt, tasks=("local_bash: x",)),
            "quiet": s.BackgroundChanged(at=at, actor=who, attempt=attempt, tasks=()),
            "silent": s.Silent(at=at, actor=who, attempt=attempt, secs=300.0),
            "spoke": s.Spoke(at=at, actor=who, attempt=attempt),
        }
        self.give(said[kind])

    @precondition(lambda self: self.running)
    @rule(data=st.data(), error=st.sampled_from(["", "", "error", "error_max_budget_usd"]), cost=st.floats(0.0, 1.0))
    def a_turn_ends(self, data: st.DataObject, error: str, cost: float) -> None:
        who = self.pick(data, self.running)
        self.cost[who] = self.cost.get(who, 0.0) + cost
        result = TurnResult(subtype=error or "success", is_error=bool(error), cost_usd=self.cost[who])
        attempt = self.running[who].session.attempt
        self.give(
            s.TurnEnded(at=self.at, actor=who, attempt=attempt, result=result, usage=self.state.actors[who].usage)
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failure=FAILURES, proven=st.booleans())
    def a_process_goes(self, data: st.DataObject, failure: Failure | None, proven: bool) -> None:
        who = self.pick(data, self.running)
        self.end_process(who, failure, proven)

    def end_process(self, who: ActorId, failure: Failure | None, proven: bool) -> None:
        attempt = self.running.pop(who).session.attempt
        self.frozen.discard(who)
        certificate = Certificate(exit_code=0 if failure is None else 1, cookie_empty=proven)
        usage = self.state.actors[who].usage
        self.give(
            s.ProcessGone(at=self.at, actor=who, attempt=attempt, certificate=certificate, usage=usage, failure=failure)
        )

    @precondition(lambda self: self.tidying)
    @rule(data=st.data(), removed=st.booleans())
    def a_worktree_is_put_away(self, data: st.DataObject, removed: bool) -> None:
        who = self.pick(data, self.tidying)
        effect = self.tidying.pop(who)
        aside = SetAside(ref=effect.ref, commit="c", files=1) if removed else None
        self.give(s.WorktreeTidied(at=self.at, actor=who, attempt=effect.attempt, removed=removed, set_aside=aside))

    @precondition(lambda self: self.preparing or self.running or self.spawning or self.tidying)
    @rule(data=st.data())
    def a_hand_breaks(self, data: st.DataObject) -> None:
        places: list[tuple[str, dict[ActorId, object]]] = [
            ("PrepareWorktree", self.preparing),  # type: ignore[list-item]
            ("StartSession", self.spawning),  # type: ignore[list-item]
            ("TidyWorktree", self.tidying),  # type: ignore[list-item]
        ]
        name, place = data.draw(st.sampled_from(places))
        if place:
            who = self.pick(data, place)
            del place[who]
            attempt = self.state.actors[who].attempt
            self.give(s.EffectFailed(at=self.at, effect=name, message="boom", actor=who, attempt=attempt))

    @rule(data=st.data(), attempt=st.integers(0, 2))
    def late_or_foreign_news_comes(self, data: st.DataObject, attempt: int) -> None:
        who = data.draw(st.sampled_from([*self.state.actors, ActorId("stranger")]))
        actor = self.state.actors.get(who)
        if actor is not None and actor.attempt == attempt and actor.phase in lifecycle.HAS_PROCESS:
            return  # that would be news
        before = self.state
        self.give(s.ProcessGone(at=self.at, actor=who, attempt=attempt, certificate=Certificate(exit_code=0)))
        assert before == self.state, "law 9: late news changed something"

    @rule(secs=st.sampled_from([0.5, 1.0, 3.0, 10.0, 61.0, 101.0]))
    def time_passes(self, secs: float) -> None:
        self.story.after(secs)
        self.take_effects()

    @rule(data=st.data(), many=st.integers(1, 3))
    def an_operator_gives_any_order(self, data: st.DataObject, many: int) -> None:
        for _ in range(many):
            self.order(data.draw(any_order(self.state)))

    @rule(data=st.data())
    def an_operator_lets_one_go_on(self, data: st.DataObject) -> None:
        if standing := self.standing():
            self.order(o.ContinueActor(actor=data.draw(st.sampled_from(standing))))

    def standing(self) -> list[ActorId]:
        return [who for who, actor in self.state.actors.items() if actor.phase in {Phase.PAUSED, Phase.FROZEN}]

    def order(self, order: o.AnyOrder) -> None:
        self.ordered += 1
        if self.state.exit_code is None:
            signal = s.OrderGiven(at=self.at, order=order, order_id=str(self.ordered), reply_to="r")
            self.give(signal)
            if self.state.exit_code is None:
                check_order(self.story, signal)

    @rule(order=st.sampled_from(["ctrl-c", "drain", "stop", "halt"]), really=st.integers(0, 5))
    def an_operator_orders(self, order: str, really: int) -> None:
        if really:  # most runs go on
            return
        orders: dict[str, s.AnySignal] = {
            "ctrl-c": s.Interrupted(at=self.at, by="SIGINT"),
            "drain": s.OrderGiven(at=self.at, order=o.DrainRun()),
            "stop": s.Stop(at=self.at, by="SIGTERM"),
            "halt": s.OrderGiven(at=self.at, order=o.StopRun()),
        }
        self.give(orders[order])

    @rule(
        data=st.data(),
        really=st.integers(0, 4),
        scope=st.sampled_from([None, "unsettled", "failed", "all"]),
        some_fresh=st.booleans(),
    )
    def the_dispatcher_is_killed_and_the_run_resumed(
        self, data: st.DataObject, really: int, scope: ResumeScope | None, some_fresh: bool
    ) -> None:
        if really:
            return
        fresh = data.draw(st.sets(st.sampled_from(sorted(self.state.actors)))) if some_fresh else set()
        self.story.killed()
        began = [who for who in self.state.actors if any(key[0] == who for key in self.ever_started)]
        for place in (self.preparing, self.spawning, self.running, self.tidying):
            place.clear()
        self.frozen.clear()
        spent = {who: actor.all_cost_usd or 0.0 for who, actor in self.state.actors.items()}
        actors = [self.state.actors[who] for who in fresh]
        self.fresh |= {actor.spec.id for actor in actors if actor.attempt and actor.spec.use_worktree}
        self.story.reopened(*began, scope=scope, fresh=fresh)
        for actor in (self.state.actors[who] for who in fresh):
            waits_or_works = actor.phase in {Phase.QUEUED, *lifecycle.IN_FLIGHT}
            assert waits_or_works or self.starts_nobody, "it is to begin again, however far it had come"
            assert not actor.resume, "not in the session it had"
            assert spent[actor.spec.id] == (actor.all_cost_usd or 0.0), "what it cost is not forgotten"
        self.take_effects()

    @property
    def starts_nobody(self) -> bool:
        """The run drains, as after a failure that halts it, or there is no money."""
        budget = self.state.run.budget_usd if self.state.run else None
        spent = sum(actor.all_cost_usd or 0.0 for actor in self.state.actors.values())
        return self.state.draining is not None or (budget is not None and spent >= budget)

    @invariant()
    def what_runs_is_what_is_believed_to_run(self) -> None:
        if self.state.run is None:
            return
        self.most = max(self.most, self.state.run.max_parallel)
        assert len(self.running) + len(self.spawning) <= self.most + self.given_up()
        believed = {who for who, actor in self.state.actors.items() if actor.phase is Phase.FROZEN}
        assert believed == {who for who in self.frozen if self.state.actors[who].phase in lifecycle.HAS_PROCESS}
        for who in self.preparing:
            assert self.state.actors[who].phase is Phase.PREPARING

    def given_up(self) -> int:
        """Processes that did not die of SIGKILL: said to be unverifiable, no longer counted."""
        return sum("unverifiable" in actor.note or actor.phase is Phase.TIDYING for actor in self.state.actors.values())

    @invariant()
    def the_journal_alone_rebuilds_the_state(self) -> None:
        assert rebuilt(self.story.facts) == self.state

    def teardown(self) -> None:
        """From anywhere, a stop and a world that answers lead to the end, and everyone is accounted for."""
        if self.state.run is None:
            return
        if self.state.exit_code is None:
            self.give(s.Stop(at=self.at, by="teardown"))
        for _ in range(40):
            self.answer_everything()
            if self.state.exit_code is not None:
                break
            self.story.after(20.0)
            self.take_effects()
        assert self.state.exit_code is not None, f"the run does not end: {self.story.phases()}"
        for who in self.state.actors:
            ends = [x for x in self.story.facts if isinstance(x, f.ActorSettled | f.ActorRequeued) and x.actor == who]
            twice = [pair for pair in pairwise(ends) if all(isinstance(one, f.ActorSettled) for one in pair)]
            assert not twice, f"{who} settled twice"
        assert list(self.state.order) == self.published(), "the public records are not those of the settled"
        end = self.story.asked(e.PublishRun)[-1]
        assert set(self.state.actors) == {*end.record.not_started, *(task.task_id for task in end.record.tasks)}

    def published(self) -> list[ActorId]:
        """Whose records are in ``summary.jsonl`` after everything that was asked of it."""
        names: list[ActorId] = []
        for effect in self.story.effects:
            if isinstance(effect, e.PublishTask):
                names.append(effect.record.task_id)
            elif isinstance(effect, e.PublishTasks):
                names = [record.task_id for record in effect.records]
        return names

    def answer_everything(self) -> None:
        for who in list(self.preparing):
            effect = self.preparing.pop(who)
            self.give(s.WorktreeRefused(at=self.at, actor=who, attempt=effect.attempt, message="no"))
        for who in list(self.spawning):
            start = self.spawning.pop(who)
            self.give(s.SpawnRefused(at=self.at, actor=who, attempt=start.session.attempt, message="no"))
        for who in list(self.running):
            self.end_process(who, None, proven=True)
        for who in list(self.tidying):
            tidy = self.tidying.pop(who)
            self.give(s.WorktreeTidied(at=self.at, actor=who, attempt=tidy.attempt, removed=False))


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
