"""Any order of anything in a tree: random actors call random tools, a small world answers effects as it likes.

Deaths, kills and resumes, time and orders come in between. After every signal the laws are checked (``Story``), the
journal alone rebuilds the state, what runs is what is believed to run, and every call has one answer or waits. From
anywhere, a stop leads to an end at which every actor and every cent is accounted for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pitboss.core import ledger, lifecycle, prices, tree
from pitboss.core.state import Actor, RunState, Wait, rebuilt
from pitboss.core.views import Views, run_view
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.notices import Sink
from pitboss.model.records import TaskRecord
from pitboss.model.run import (
    ActorId,
    Certificate,
    Failure,
    Frozen,
    Phase,
    ResumeScope,
    SetAside,
    SubleadDefaults,
    TurnResult,
    Usage,
)
from pitboss.model.tree import CallId, ForLease
from pitboss.testing.doubles import Story, a_task, a_tree
from support.orders import any_order, check_order

FAILURES = st.sampled_from(
    [None] * 6 + [Failure(kind="rate_limit"), Failure(kind="auth_failure"), Failure(kind="process_died")]
)
MODELS = st.sampled_from(["claude-haiku-4-5", "claude-opus-4-7", "sonnet", "who?"])
KEYS = st.sampled_from([None, None, None, "k1", "k2"])
SECS = st.sampled_from([0, 1, 5, 60, 1000])
PATHS = st.sampled_from(["/shared/a", "/shared/b/c", "/ref/x", "/peer/self/y", "/peer/lead/z", "bad", "/shared/*"])
NAMES = st.sampled_from(["disk", "branch"])
BUDGETS = st.sampled_from([None, -1.0, 0.0, 0.05, 0.5, 3.0, float("nan"), float("inf")])
T = TypeVar("T")

SEEDS = st.sampled_from([None, {}, {"a": 1}, {"a/b": "text", "c": [None]}, {"../x": 1}])


def made(kind: Callable[..., T], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[T]:
    """Structs whose fields are drawn; ``builds`` would look at the type hints of each, each time."""
    return st.fixed_dictionaries(fields).map(lambda drawn: kind(**drawn))


def spawns() -> st.SearchStrategy[c.AnyCall]:
    """Calls that bring workers and sub-leads into being."""
    return st.one_of(
        made(c.SpawnWorker, prompt=st.just("go"), model=st.none() | MODELS, idempotency_key=KEYS),
        made(c.SpawnWorker, prompt=st.just("go")),
        made(
            c.SpawnSublead,
            prompt=st.just("lead"),
            model=MODELS,
            budget_usd=st.none() | st.just(0.5) | BUDGETS,
            max_workers=st.sampled_from([None, 0, 1, 3]),
            read_down=st.booleans(),
            initial_ref=st.none() | SEEDS,
            idempotency_key=KEYS,
        ),
        made(
            c.SpawnSublead,
            prompt=st.just("lead"),
            model=st.just("sonnet"),
            budget_usd=st.just(0.6),
            max_workers=st.just(2),
        ),
    )


def waits(ids: st.SearchStrategy[str]) -> st.SearchStrategy[c.AnyCall]:
    """Calls that wait for others."""
    secs = st.none() | SECS
    return st.one_of(
        made(c.WaitForWorker, task_id=ids, timeout_secs=secs),
        made(c.WaitActor, actor_id=ids, timeout_secs=secs),
        made(c.WaitForAny, task_ids=st.lists(ids, min_size=1, max_size=3), timeout_secs=secs),
    )


def orders(ids: st.SearchStrategy[str]) -> st.SearchStrategy[c.AnyCall]:
    """Calls that look at others and steer them."""
    mode = st.sampled_from(["cancel", "freeze"])
    return st.one_of(
        made(c.WorkerStatus, task_id=ids),
        made(c.ListWorkers, offset=st.integers(0, 3)),
        made(c.CancelWorker, target=ids, reason=st.sampled_from([None, "why"])),
        made(c.PauseWorker, task_id=ids, mode=mode),
        made(c.PauseWorker, task_id=ids, mode=mode),
        made(c.ContinueWorker, task_id=ids, prompt=st.sampled_from([None, "on"])),
        made(c.ContinueWorker, task_id=ids),
        made(c.RepromptWorker, task_id=ids, prompt=st.just("that way")),
        made(c.RepromptWorker, task_id=ids, prompt=st.just("no, this way")),
    )


def shared_calls() -> st.SearchStrategy[c.AnyCall]:
    """Any call about the store and about leases."""
    version = st.integers(0, 2)
    return st.one_of(
        made(c.KvGet, path=PATHS),
        made(c.KvSet, path=PATHS, value=st.sampled_from(["v", [1, 255]]), override_flag=st.booleans()),
        made(c.KvCas, path=PATHS, expected_version=version, json=st.just({"a": 1})),
        made(c.KvDelete, path=PATHS),
        made(c.KvList, glob=PATHS),
        made(c.KvWait, path=PATHS, timeout_secs=SECS, min_version=st.none() | version),
        made(c.LeaseAcquire, name=NAMES, ttl_secs=SECS.filter(bool), wait_secs=st.none() | SECS),
        made(c.LeaseRelease, lease_id=st.integers(1, 60).map(str)),
        made(c.LeaseList),
        made(c.RunLeaseAcquire, key=NAMES, ttl_secs=SECS.filter(bool), wait_secs=st.none() | SECS),
        made(c.RunLeaseRelease, key=NAMES),
        made(c.RequestApproval, summary=st.just("may I?"), timeout_secs=st.none() | st.sampled_from([1, 60])),
    )


class Spent(Frozen, frozen=True, kw_only=True):
    """What one attempt has used, by the world's own account."""

    model: str
    usage: Usage = Usage()
    exact_usage: Usage = Usage()
    exact: float = 0.0
    usd: float = 0.0


class World(RuleBasedStateMachine):
    """A run with a lead, and the world it is carried out in."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.views = Views()
        self.seen = 0
        self.made = 0
        self.ordered = 0
        self.preparing: dict[ActorId, e.PrepareWorktree] = {}
        self.spawning: dict[ActorId, e.StartSession] = {}
        self.running: dict[ActorId, e.StartSession] = {}
        self.ready: set[ActorId] = set()
        self.frozen: set[ActorId] = set()
        self.tidying: dict[ActorId, e.TidyWorktree] = {}
        self.calls: dict[tuple[ActorId, CallId], s.CallMade] = {}
        """Made, and not answered yet."""
        self.ever_started: set[tuple[ActorId, int]] = set()
        self.money: dict[tuple[ActorId, int], Spent] = {}

    @initialize(
        workers=st.sampled_from([None, 1, 2, 4]),
        budget=st.sampled_from([None, 0.5, 2.0, 10.0]),
        subleads=st.sampled_from([None, 1, 2]),
        total=st.sampled_from([None, 2, 5]),
        most=st.sampled_from([None, 1.0]),
        defaults=st.sampled_from(
            [SubleadDefaults(), SubleadDefaults(budget_usd=0.5, max_workers=2), SubleadDefaults(read_down=True)]
        ),
        starts=st.integers(1, 3),
        halt=st.sampled_from([False] * 5 + [True]),
        cleanup=st.sampled_from(["always", "on_success", "never"]),
        bare=st.booleans(),
    )
    def open(
        self,
        workers: int | None,
        budget: float | None,
        subleads: int | None,
        total: int | None,
        most: float | None,
        defaults: SubleadDefaults,
        starts: int,
        halt: bool,
        cleanup: str,
        bare: bool,
    ) -> None:
        run = a_tree(
            lead=a_task("lead", use_worktree=not bare, timeout_secs=500),
            max_workers=workers,
            budget_usd=budget,
            max_subleads=subleads,
            max_total_workers=total,
            max_sublead_budget_usd=most,
            sublead_defaults=defaults,
        )
        told = (Sink(id="log", kind="log"),)
        changes = {"max_starts": starts, "halt_on_failure": halt, "worktree_cleanup": cleanup, "sinks": told}
        run = type(run)(**{name: getattr(run, name) for name in run.__struct_fields__} | changes)
        self.give(s.Opened(at=self.at, run=run, pid=1, pitboss_version="test"))
        self.the_guardian_comes_up()
        self.everything_comes_up()

    @property
    def at(self) -> float:
        return self.story.at

    @property
    def state(self) -> RunState:
        return self.story.state

    def give(self, signal: s.AnySignal) -> None:
        before = self.state
        self.story.when(signal)
        self.take_effects()
        self.check_turns(before)

    def check_turns(self, before: RunState) -> None:
        """A lease that somebody waits for goes to the first of them that can still use it."""
        for fact in self.story.last.facts:
            if isinstance(fact, t.LeaseTaken):
                key = (fact.lease.scope, fact.lease.name)
                had = next((one for one in before.leases.held.values() if (one.scope, one.name) == key), None)
                renewed = had is not None and had.holder == fact.lease.holder
                first = next((wait.actor for wait in before.waits.values() if self.can_have(wait, key)), None)
                assert renewed or first in {None, fact.lease.holder}, f"{fact.lease.holder} came before {first}"

    def can_have(self, wait: Wait, key: tuple[str, str]) -> bool:
        wanted, actor = wait.awaited, self.state.actors[wait.actor]
        fits = isinstance(wanted, ForLease) and (wanted.scope, wanted.name) == key
        return fits and actor.stopping is None and actor.phase in lifecycle.HAS_PROCESS

    def take_effects(self) -> None:
        """The world takes up what was asked since the last time."""
        for effect in self.story.effects[self.seen :]:
            match effect:
                case e.PrepareWorktree(actor=who):
                    assert who not in self.preparing
                    self.preparing[who] = effect
                case e.StartSession(session=session):
                    key = (session.actor, session.attempt)
                    assert key not in self.ever_started, "law 1: an attempt was started twice"
                    assert session.actor not in self.running, "law 1: an actor was started while it still runs"
                    assert session.budget_usd is None or session.budget_usd > 0, "started without a cent"
                    self.ever_started.add(key)
                    self.spawning[session.actor] = effect
                    self.money[key] = Spent(model=session.model)
                case e.TidyWorktree(actor=who):
                    assert who not in self.running, "a worktree was taken from a living actor"
                    self.tidying[who] = effect
                case e.AnswerCall(actor=who, attempt=attempt, call_id=call_id):
                    call = self.calls.pop((who, call_id), None)
                    assert call is not None, f"{who} is answered what it has not asked, or twice"
                    assert call.attempt == attempt, "an answer to an older attempt's call"
                case e.Tell(actor=who, attempt=attempt) | e.Interrupt(actor=who, attempt=attempt):
                    assert self.running[who].session.attempt == attempt, f"{effect} reaches nobody"
                    assert who in self.ready, "told before its session answers"
                    assert who not in self.frozen, "told while it cannot hear"
                case e.Freeze(actor=who):
                    assert who in self.running
                    assert who not in self.frozen, "frozen twice"
                    self.frozen.add(who)
                case e.Thaw(actor=who):
                    assert who in self.frozen, "thawed, but it was not frozen"
                    self.frozen.discard(who)
                case _:
                    pass
        self.seen = len(self.story.effects)

    def pick(self, data: st.DataObject, among: Mapping[ActorId, object]) -> ActorId:
        return data.draw(st.sampled_from(sorted(among)))

    def is_heard(self, who: ActorId) -> bool:
        """True unless the core has given a process up that still runs."""
        return self.state.actors[who].phase in lifecycle.HAS_PROCESS

    # --- the world ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.state.guardian_pid is None)
    @rule()
    def the_guardian_comes_up(self) -> None:
        self.give(s.GuardianUp(at=self.at, pid=9))

    @rule(really=st.integers(0, 9))
    def the_guardian_dies(self, really: int) -> None:
        if really == 1:
            self.give(s.GuardianDown(at=self.at, message="killed"))

    @precondition(lambda self: self.preparing or self.spawning)
    @rule()
    def everything_comes_up(self) -> None:
        while self.preparing or self.spawning:
            for who in list(self.preparing):
                self.comes(who, ok=True)
            for who in list(self.spawning):
                self.starts(who, ok=True, ready=True)

    @precondition(lambda self: self.preparing)
    @rule(data=st.data(), ok=st.sampled_from([True, True, True, False]))
    def a_worktree_comes(self, data: st.DataObject, ok: bool) -> None:
        self.comes(self.pick(data, self.preparing), ok=ok)

    def comes(self, who: ActorId, *, ok: bool) -> None:
        effect = self.preparing.pop(who)
        if ok:
            signal: s.AnySignal = s.WorktreePrepared(
                at=self.at, actor=who, attempt=effect.attempt, path=effect.path, branch="b", base="c"
            )
        else:
            signal = s.WorktreeRefused(at=self.at, actor=who, attempt=effect.attempt, message="no")
        self.give(signal)

    @precondition(lambda self: self.spawning)
    @rule(data=st.data(), ok=st.sampled_from([True] * 6 + [False]), ready=st.sampled_from([True, True, False]))
    def a_process_comes(self, data: st.DataObject, ok: bool, ready: bool) -> None:
        self.starts(self.pick(data, self.spawning), ok=ok, ready=ready)

    def starts(self, who: ActorId, *, ok: bool, ready: bool) -> None:
        effect = self.spawning.pop(who)
        attempt = effect.session.attempt
        if not ok:
            self.give(s.SpawnRefused(at=self.at, actor=who, attempt=attempt, message="no"))
            return
        self.running[who] = effect
        self.give(s.ProcessUp(at=self.at, actor=who, attempt=attempt, pid=100))
        if ready:
            self.is_ready(who)

    def is_ready(self, who: ActorId) -> None:
        self.ready.add(who)
        self.give(s.SessionReady(at=self.at, actor=who, attempt=self.running[who].session.attempt))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["ready", "tool", "usage", "retry", "tasks", "quiet", "quiet", "silent", "spoke"]),
    )
    def a_session_speaks(self, data: st.DataObject, kind: str) -> None:
        who = self.pick(data, self.running)
        at, attempt = self.at, self.running[who].session.attempt
        if kind == "ready":
            self.is_ready(who)
            return
        if kind == "usage":
            self.uses(who, attempt, data.draw(st.sampled_from([1_000, 10_000])))
            return
        if kind == "retry" and data.draw(st.integers(0, 7)) != 1:
            return
        said: dict[str, s.AnySignal] = {
            "tool": s.ToolCalled(at=at, actor=who, attempt=attempt, tool="Bash", summary="ls"),
            "retry": s.ApiRetried(at=at, actor=who, attempt=attempt, status=529, delay_secs=2.0),
            "tasks": s.BackgroundChanged(at=at, actor=who, attempt=attempt, tasks=("local_bash: x",)),
            "quiet": s.BackgroundChanged(at=at, actor=who, attempt=attempt, tasks=()),
            "silent": s.Silent(at=at, actor=who, attempt=attempt, secs=300.0),
            "spoke": s.Spoke(at=at, actor=who, attempt=attempt),
        }
        self.give(said[kind])

    def uses(self, who: ActorId, attempt: int, tokens: int) -> None:
        """Tokens while a turn runs: what they cost is estimated."""
        before = self.money[who, attempt]
        usage = before.usage + Usage(input=tokens)
        model = self.state.actors[who].spec.model  # an order may have changed it
        usd = max(before.exact + prices.estimate(usage - before.exact_usage, model), before.usd)
        if self.is_heard(who):
            self.money[who, attempt] = Spent(
                model=before.model, usage=usage, exact_usage=before.exact_usage, exact=before.exact, usd=usd
            )
        self.give(s.UsageGrew(at=self.at, actor=who, attempt=attempt, usage=usage))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        error=st.sampled_from(["", "", "error_during_execution", "error_max_budget_usd"]),
        cost=st.sampled_from([0.0, 0.01, 0.05, 0.3]),
    )
    def a_turn_ends(self, data: st.DataObject, error: str, cost: float) -> None:
        who = self.pick(data, self.running)
        if who == "lead" and data.draw(st.integers(0, 3)) and not self.state.actors[who].stopping:
            return  # a lead works longer than others
        attempt = self.running[who].session.attempt
        before, spent = self.state.actors[who], self.money[who, attempt]
        exact = spent.exact + cost
        if self.is_heard(who):
            self.money[who, attempt] = Spent(
                model=spent.model, usage=spent.usage, exact_usage=spent.usage, exact=exact, usd=exact
            )
        result = TurnResult(subtype=error or "success", is_error=bool(error), cost_usd=exact)
        heard = data.draw(st.none() | st.integers(0, before.said))
        self.give(s.TurnEnded(at=self.at, actor=who, attempt=attempt, result=result, usage=spent.usage, heard=heard))
        self.check_told(before)
        if before.phase is Phase.WORKING and heard is not None and heard < before.said:
            stopping = self.state.actors[who].stopping  # for want of money, maybe
            assert stopping is None or stopping.reason != "finished", "the turn that a message gets was taken from it"

    def check_told(self, before: Actor) -> None:
        """The end of a turn ends no work of one that is to be told something, whatever the result says."""
        after = self.state.actors[before.spec.id]
        if before.phase is Phase.WORKING and before.inbox and after.stopping is None:
            assert not after.inbox, "a message was not told at the end of the turn"
            assert after.phase is Phase.WORKING

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failure=FAILURES, proven=st.sampled_from([True, True, True, False]))
    def a_process_goes(self, data: st.DataObject, failure: Failure | None, proven: bool) -> None:
        stopping = {who: effect for who, effect in self.running.items() if self.state.actors[who].stopping}
        if not stopping and data.draw(st.integers(0, 7)):
            return  # few die by themselves
        self.end_process(self.pick(data, stopping or self.running), failure, proven)

    def end_process(self, who: ActorId, failure: Failure | None, proven: bool) -> None:
        attempt = self.running.pop(who).session.attempt
        self.ready.discard(who)
        self.frozen.discard(who)
        self.calls = {key: call for key, call in self.calls.items() if key[0] != who}
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

    @precondition(lambda self: self.preparing or self.spawning or self.tidying)
    @rule(data=st.data(), really=st.integers(0, 3))
    def a_hand_breaks(self, data: st.DataObject, really: int) -> None:
        places: list[tuple[str, dict[ActorId, object]]] = [
            ("PrepareWorktree", self.preparing),  # type: ignore[list-item]
            ("StartSession", self.spawning),  # type: ignore[list-item]
            ("TidyWorktree", self.tidying),  # type: ignore[list-item]
        ]
        name, place = data.draw(st.sampled_from(places))
        if place and really == 1:
            who = self.pick(data, place)
            del place[who]
            attempt = self.state.actors[who].attempt
            self.give(s.EffectFailed(at=self.at, effect=name, message="boom", actor=who, attempt=attempt))

    @rule(data=st.data(), attempt=st.integers(0, 12))
    def late_or_foreign_news_comes(self, data: st.DataObject, attempt: int) -> None:
        who = data.draw(st.sampled_from([*self.state.actors, ActorId("stranger")]))
        actor = self.state.actors.get(who)
        if actor is not None and actor.attempt == attempt and actor.phase in lifecycle.HAS_PROCESS:
            return  # that would be news
        before, self.made = self.state, self.made + 1
        for late in (
            s.ProcessGone(at=self.at, actor=who, attempt=attempt, certificate=Certificate(exit_code=0)),
            s.CallDropped(at=self.at, actor=who, attempt=attempt, call_id=1),
            self.a_call(who, attempt, c.SpawnWorker(prompt="late")),
        ):
            self.give(late)
            assert before == self.state, "law 9: late news changed something"

    # --- tools --------------------------------------------------------------------------------------------------------

    def a_call(self, who: ActorId, attempt: int, call: c.AnyCall) -> s.CallMade:
        minted = str(self.made)
        return s.CallMade(
            at=self.at, actor=who, attempt=attempt, call_id=self.made, call=call, minted=minted, session_id=f"s{minted}"
        )

    @precondition(lambda self: self.leaders())
    @rule(data=st.data(), many=st.integers(1, 3), up=st.booleans())
    def a_lead_spawns(self, data: st.DataObject, many: int, up: bool) -> None:
        self.some_call(data, self.leaders(), spawns(), many)
        if up:
            self.everything_comes_up()

    @precondition(lambda self: self.leaders() and self.led())
    @rule(data=st.data(), many=st.integers(1, 3))
    def a_lead_steers(self, data: st.DataObject, many: int) -> None:
        for _ in range(many):
            above = [who for who in self.leaders() if any(tree.below(self.state, who))]
            if above and self.led():
                who = data.draw(st.sampled_from(above))
                mine = [one.spec.id for one in tree.below(self.state, who)]
                likely = [one for one in mine if one in self.led()] or mine
                self.some_call(data, [who], orders(st.sampled_from(likely)), 1)

    @precondition(lambda self: "lead" in self.ready and self.standing())
    @rule(data=st.data())
    def a_lead_lets_one_go_on(self, data: st.DataObject) -> None:
        call = c.ContinueWorker(task_id=data.draw(st.sampled_from(self.standing())))
        self.some_call(data, [ActorId("lead")], st.just(call), 1)

    def standing(self) -> list[ActorId]:
        return [who for who, actor in self.state.actors.items() if actor.phase in {Phase.PAUSED, Phase.FROZEN}]

    def led(self) -> list[ActorId]:
        """Whoever can be steered just now."""
        phases = {Phase.WORKING, Phase.FROZEN, Phase.PAUSED, Phase.STOPPING}
        return [who for who, actor in self.state.actors.items() if actor.parent and actor.phase in phases]

    @precondition(lambda self: self.leaders() and len(self.state.actors) > 1)
    @rule(data=st.data(), many=st.integers(1, 3))
    def a_lead_waits(self, data: st.DataObject, many: int) -> None:
        led = [name for name in self.state.actors if name != "lead"]
        self.some_call(data, self.leaders(), waits(st.sampled_from(led)), many)

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), many=st.integers(1, 4))
    def tools_of_everyone_are_called(self, data: st.DataObject, many: int) -> None:
        self.some_call(data, sorted(self.ready), shared_calls(), many)

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def anything_is_called_by_anyone(self, data: st.DataObject) -> None:
        ids = st.sampled_from([*self.state.actors, "stranger", ""])
        self.some_call(data, sorted(self.ready), st.one_of(spawns(), waits(ids), orders(ids)), 1)

    def leaders(self) -> list[ActorId]:
        return [who for who in sorted(self.ready) if self.state.actors[who].role != "worker"]

    def some_call(
        self, data: st.DataObject, callers: list[ActorId], some: st.SearchStrategy[c.AnyCall], many: int
    ) -> None:
        for _ in range(many):
            who = data.draw(st.sampled_from(callers))
            if who in self.ready:
                self.call(who, data.draw(some))

    def call(self, who: ActorId, call: c.AnyCall) -> None:
        self.made += 1
        signal = self.a_call(who, self.running[who].session.attempt, call)
        if self.is_heard(who):
            self.calls[who, self.made] = signal
        known = set(self.state.actors)
        self.give(signal)
        for name in set(self.state.actors) - known:
            self.check_spawned(self.state.actors[name], who)

    def check_spawned(self, actor: Actor, caller: ActorId) -> None:
        """Nobody has come into being who may not, and the money for it is there."""
        assert actor.parent == caller
        assert self.state.actors[caller].role in {"lead", "sublead"}
        assert actor.role == "worker" or caller == "lead"
        assert self.state.draining is None or any(isinstance(x, f.DrainBegan) for x in self.story.last.facts)
        money = ledger.account(self.state, caller)
        assert money.budget is None or money.spent + money.reserved <= money.budget + 1e-6, (
            "law 6: beyond the soft limit"
        )
        assert actor.envelope.is_shared or 0 < (actor.envelope.budget_usd or 0.0) < 1e6

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_dropped(self, data: st.DataObject) -> None:
        who, call_id = data.draw(st.sampled_from(sorted(self.calls, key=str)))
        signal = self.calls.pop((who, call_id))
        self.give(s.CallDropped(at=self.at, actor=who, attempt=signal.attempt, call_id=call_id))

    # --- time and orders ----------------------------------------------------------------------------------------------

    @rule(secs=st.sampled_from([0.5, 1.0, 3.0, 10.0, 61.0, 301.0]))
    def time_passes(self, secs: float) -> None:
        self.story.after(secs)
        self.take_effects()

    @rule(data=st.data(), many=st.integers(1, 3))
    def an_operator_gives_any_order(self, data: st.DataObject, many: int) -> None:
        for _ in range(many):
            self.order(data.draw(any_order(self.state)))

    @precondition(lambda self: self.standing())
    @rule(data=st.data())
    def an_operator_lets_one_go_on(self, data: st.DataObject) -> None:
        self.order(o.ContinueActor(actor=data.draw(st.sampled_from(self.standing()))))

    def order(self, order: o.AnyOrder) -> None:
        self.ordered += 1
        if self.state.exit_code is None:
            signal = s.OrderGiven(at=self.at, order=order, order_id=str(self.ordered), reply_to="r")
            self.give(signal)
            if self.state.exit_code is None:
                check_order(self.story, signal)

    @rule(order=st.sampled_from(["ctrl-c", "drain", "stop", "halt", "the lead's end"]), really=st.integers(0, 19))
    def an_operator_orders(self, order: str, really: int) -> None:
        if really != 1:  # most runs go on
            return
        orders: dict[str, s.AnySignal] = {
            "ctrl-c": s.Interrupted(at=self.at, by="SIGINT"),
            "drain": s.OrderGiven(at=self.at, order=o.DrainRun()),
            "stop": s.Stop(at=self.at, by="SIGTERM"),
            "halt": s.OrderGiven(at=self.at, order=o.StopRun()),
            "the lead's end": s.OrderGiven(at=self.at, order=o.CancelActor(actor=ActorId("lead"))),
        }
        self.give(orders[order])

    @rule(data=st.data(), really=st.integers(0, 9), scope=st.sampled_from([None, "unsettled", "failed", "all"]))
    def the_dispatcher_is_killed_and_the_run_resumed(
        self, data: st.DataObject, really: int, scope: ResumeScope | None
    ) -> None:
        if really != 1:
            return
        torn = data.draw(st.integers(0, max(0, len(self.story.last.facts) - 1)))  # the last decision, half written down
        if torn and not any(isinstance(x, t.ActorSpawned | f.RunOpened) for x in self.story.last.facts[-torn:]):
            self.story.facts = self.story.facts[:-torn]
        self.killed(scope)

    def killed(self, scope: ResumeScope | None = None) -> None:
        self.story.killed()
        paused = [who for who, actor in self.state.actors.items() if actor.is_pausing or who in self.standing()]
        began = [who for who in self.state.actors if any(key[0] == who for key in self.ever_started)]
        for place in (self.preparing, self.spawning, self.running, self.tidying, self.calls):
            place.clear()
        self.ready.clear()
        self.frozen.clear()
        # What was spent and not written down yet is not known, and an attempt whose admission was not is made again.
        for key in list(self.money):
            actor = self.state.actors.get(key[0])
            if actor is None or key[1] > actor.attempt:
                del self.money[key]
                self.ever_started.discard(key)
        for who, actor in self.state.actors.items():
            if (who, actor.attempt) in self.money:
                spent = self.money[who, actor.attempt]
                earlier = sum(one.usd for key, one in self.money.items() if key[0] == who and key[1] < actor.attempt)
                usd = max(0.0, (actor.all_cost_usd or 0.0) - earlier)
                self.money[who, actor.attempt] = Spent(model=spent.model, usage=spent.usage, usd=usd)
        self.story.reopened(*began, scope=scope)
        self.take_effects()
        for who in paused:
            orphan = any(self.is_over(name) for name in tree.path_of(self.state, self.state.actors[who]))
            assert orphan or self.state.actors[who].phase is Phase.PAUSED, f"{who} was paused, and is not"

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def what_runs_is_what_is_believed_to_run(self) -> None:
        alive = {*self.running, *self.spawning}
        believed = {who for who, actor in self.state.actors.items() if actor.phase in lifecycle.HAS_PROCESS}
        assert believed <= alive, "believed to run, and does not"
        for who in alive - believed:
            evidence = self.state.actors[who].certificate
            assert evidence is not None, f"{who} runs and is not believed to"
            assert not evidence.complete
        preparing = {who for who, actor in self.state.actors.items() if actor.phase is Phase.PREPARING}
        assert preparing == set(self.preparing)
        frozen = {who for who, actor in self.state.actors.items() if actor.phase is Phase.FROZEN}
        assert frozen == self.frozen & believed

    @invariant()
    def every_call_has_an_answer_or_waits(self) -> None:
        assert {key for key in self.calls if self.is_heard(key[0])} == set(self.state.waits)

    @invariant()
    def no_cent_is_lost_or_counted_twice(self) -> None:
        if self.state.run is not None:
            assert self.state.spent_usd == pytest.approx(sum(spent.usd for spent in self.money.values()))

    @invariant()
    def what_is_shown_does_not_depend_on_what_was_shown_before(self) -> None:
        if self.state.run is not None:
            assert run_view(self.state) == self.views.see(self.state)

    def teardown(self) -> None:
        """From anywhere, a stop and a world that answers lead to an end that accounts for everyone.

        So it is when the run is resumed after that, or after a kill at some other point.
        """
        if self.state.run is None:
            return
        point = 1 + self.made * 7919 % len(self.story.facts)  # any: chance has no say here
        if self.state.exit_code is None:
            self.give(s.Stop(at=self.at, by="teardown"))
        self.comes_to_an_end(well=False)
        ends = {who: actor.stopping for who, actor in self.state.actors.items() if actor.stopping}
        stopped = [who for who, stopping in ends.items() if stopping.reason == "stop"]
        self.killed()
        if self.state.exit_code is None:
            self.the_guardian_comes_up()
            forgotten = [who for who in stopped if self.is_over(who) and not self.has_lost_its_lead(who)]
            assert not forgotten, f"stopped by the operator, and not taken up by the resume: {forgotten}"
            self.comes_to_an_end(well=True)
        self.story.facts = self.story.facts[:point]
        self.killed()
        if self.state.exit_code is None:
            self.the_guardian_comes_up()
            self.comes_to_an_end(well=True)

    def has_lost_its_lead(self, who: ActorId) -> bool:
        return any(self.is_over(name) for name in tree.path_of(self.state, self.state.actors[who])[:-1])

    def comes_to_an_end(self, *, well: bool) -> None:
        for _ in range(60):
            self.answer_everything(well=well)
            if self.state.exit_code is not None:
                break
            self.story.after(20.0)
            self.take_effects()
        assert self.state.exit_code is not None, f"the run does not end: {self.story.phases()}"
        self.check_end()

    def check_end(self) -> None:
        assert rebuilt(self.story.facts) == self.state, "law 4: the journal alone does not rebuild the state"
        for who in self.state.actors:
            ends = [x for x in self.story.facts if isinstance(x, f.ActorSettled | f.ActorRequeued) and x.actor == who]
            assert all(type(one) is not type(other) for one, other in pairwise(ends)), f"{who} settled twice"
            if who != "lead":
                self.check_final(who)
        assert list(self.state.order) == [record.task_id for record in self.published()]
        end = self.story.asked(e.PublishRun)[-1].record
        assert set(self.state.actors) == {*end.not_started, *(task.task_id for task in end.tasks)}
        unstarted = sum(self.state.actors[name].all_cost_usd or 0.0 for name in end.not_started)
        told = sum(record.cost_usd or 0.0 for record in self.published()) + unstarted
        assert told == pytest.approx(sum(spent.usd for spent in self.money.values())), "the records' money is not all"
        assert not self.state.waits
        assert not [lease for lease in self.state.leases.held.values() if self.is_over(lease.holder)]

    def check_final(self, who: ActorId) -> None:
        """A worker or sub-lead whose end was ordered for good is never started again."""
        about = [x for x in self.story.facts if isinstance(x, f.StopBegan | f.ActorAdmitted) and x.actor == who]
        taken_back = {"pause", "stop", "finished", "share"}
        final = [x for x in about if not isinstance(x, f.StopBegan) or x.reason not in taken_back]
        kinds = [type(x) for x in final]
        assert f.ActorAdmitted not in kinds[kinds.index(f.StopBegan) :] if f.StopBegan in kinds else True, who

    def is_over(self, name: str) -> bool:
        return self.state.actors[ActorId(name)].phase in tree.OVER

    def published(self) -> list[TaskRecord]:
        """The records in ``summary.jsonl`` after everything that was asked of it."""
        records: list[TaskRecord] = []
        for effect in self.story.effects:
            if isinstance(effect, e.PublishTask):
                records.append(effect.record)
            elif isinstance(effect, e.PublishTasks):
                records = list(effect.records)
        return records

    def answer_everything(self, *, well: bool) -> None:
        for who in list(self.preparing):
            self.comes(who, ok=well)
        for who in list(self.spawning):
            self.starts(who, ok=well, ready=True)
        for who in list(self.running):
            if well and not self.state.actors[who].stopping:
                attempt = self.running[who].session.attempt
                spent = self.money[who, attempt]
                result = TurnResult(subtype="success", is_error=False, cost_usd=spent.exact)
                self.money[who, attempt] = Spent(
                    model=spent.model, usage=spent.usage, exact_usage=spent.usage, exact=spent.exact, usd=spent.exact
                )
                self.give(s.TurnEnded(at=self.at, actor=who, attempt=attempt, result=result, usage=spent.usage))
            if self.state.actors[who].stopping or not well:
                self.end_process(who, None, proven=True)
        for who in list(self.tidying):
            tidy = self.tidying.pop(who)
            self.give(s.WorktreeTidied(at=self.at, actor=who, attempt=tidy.attempt, removed=False))
        for who in self.standing() if well else ():  # nobody else lets a lead go on
            self.order(o.ContinueActor(actor=who))


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
