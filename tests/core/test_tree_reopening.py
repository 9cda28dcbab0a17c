"""A tree that another dispatcher takes over: killed anywhere, it comes to the same end, and nobody is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from pitboss.core.reopening import worth_resuming
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer
from pitboss.model.run import ActorId, Phase, ResumeScope, RunSpec, Status, Usage
from pitboss.testing.doubles import Story, a_result, a_task, a_tree

USD = 0.25
"""What every attempt's turn costs."""


def a_forest() -> RunSpec:
    return msgspec.structs.replace(a_tree(lead=a_task("lead"), max_workers=4), max_starts=2)


class Play:
    """A lead that goes on from wherever it stands: two workers, a sub-lead with one, a store, a lease, a pause.

    Each step is taken as soon as it can be and only if it was not taken yet, which is what a model does that looks at
    how things stand. Its keys make a spawn that is repeated the same spawn.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.asked: set[tuple[str, int, str]] = set()

    def finish(self) -> None:
        """A world in which everything goes well from here on."""
        for _ in range(80):
            if self.story.state.exit_code is not None:
                return
            if self.story.state.guardian_pid is None:
                self.story.when(s.GuardianUp(at=self.story.at, pid=2))
            for name in list(self.story.state.actors):
                self.step(name)
        raise AssertionError(f"it does not end: {self.story.phases()}")

    def step(self, name: ActorId) -> None:
        story, actor = self.story, self.story.actor(name)
        match actor.phase:
            case Phase.PREPARING:
                story.prepared(name)
            case Phase.STARTING:
                story.up(name)
            case Phase.WORKING:
                self.work(name)
            case Phase.FINISHING | Phase.STOPPING:
                story.gone(name)
            case Phase.TIDYING:
                story.tidied(name)
            case _:
                pass

    def work(self, name: ActorId) -> None:
        if any(wait.actor == name for wait in self.story.state.waits.values()):
            return
        scripts: dict[str, Callable[[], bool]] = {"lead": self.lead, "sublead": self.sublead, "worker": lambda: True}
        if scripts[self.story.actor(name).role]() and self.story.actor(name).phase is Phase.WORKING:
            self.story.turn_ends(name, a_result(USD), Usage(input=10))

    def named(self, key: str) -> ActorId | None:
        return next((name for name, one in self.story.state.actors.items() if one.idempotency_key == key), None)

    def over(self, key: str) -> bool:
        name = self.named(key)
        return name is not None and self.story.actor(name).phase is Phase.SETTLED

    def lead(self) -> bool:
        """True when all is done."""
        story, call = self.story, self.story.calls
        for key in ("one", "two"):
            call("lead", c.SpawnWorker(prompt=key, idempotency_key=key))
        call(
            "lead", c.SpawnSublead(prompt="sub", model="m", budget_usd=3.0, max_workers=1, idempotency_key="sub",
                                   initial_ref={"plan": "a"})
        )  # fmt: skip
        call("lead", c.KvCas(path="/shared/begun", expected_version=0, new_value="yes"))
        call("lead", c.RunLeaseAcquire(key="push", ttl_secs=10_000))
        two = self.named("two")
        assert two is not None
        if not story.actor(two).pauses:
            call("lead", c.PauseWorker(task_id=two))
            return False  # look again later
        if story.actor(two).phase is Phase.PAUSED:
            call("lead", c.ContinueWorker(task_id=two, prompt="go on"))
            return False
        waiting = [self.named(key) for key in ("one", "two", "sub") if not self.over(key)]
        if waiting:
            call("lead", c.WaitForAny(task_ids=[str(name) for name in waiting]))
        return not waiting

    def sublead(self) -> bool:
        name = self.named("sub")
        assert name is not None
        self.story.calls(name, c.SpawnWorker(prompt="below", idempotency_key="below"))
        self.story.calls(name, c.KvCas(path="/shared/below", expected_version=0, new_value="yes"))
        if self.over("below"):
            return True
        self.story.calls(name, c.WaitForWorker(task_id=str(self.named("below"))))
        return False


def test_killed_after_any_fact_a_tree_comes_to_the_same_end_exactly_once() -> None:
    whole = Story(a_forest())
    Play(whole).finish()
    facts = list(whole.facts)
    assert {Status.SUCCESS} == {actor.status for actor in whole.state.actors.values()}
    assert (0, 5) == (whole.state.exit_code, len(whole.state.actors))
    kinds = {type(fact) for fact in facts}
    assert {t.ActorPaused, t.ActorContinued, t.WaitBegan, t.WaitEnded, t.LeaseTaken, t.StoreWritten} <= kinds

    for point in range(1, len(facts)):
        story = Story()
        story.facts = facts[:point]
        story.killed()
        story.made = 1000  # ids are never minted twice
        story.reopened(*{fact.actor for fact in story.told(f.SessionOpened)})
        Play(story).finish()

        assert whole.state.exit_code == story.state.exit_code, point
        statuses = {str(name): actor.status for name, actor in story.state.actors.items()}
        assert {Status.SUCCESS} == set(statuses.values()), f"killed after fact {point}: {statuses}"
        keys = sorted(actor.idempotency_key for actor in story.state.actors.values())
        assert ["", "below", "one", "sub", "two"] == keys, f"killed after fact {point}"
        settled = [fact.actor for fact in story.told(f.ActorSettled)]
        assert sorted(set(settled)) == sorted(settled), f"killed after fact {point}: settled {settled}"
        assert story.state.store("lead").entries["/shared/begun"].version == 1, point
        sub = next(name for name, actor in story.state.actors.items() if actor.role == "sublead")
        assert {"/ref/plan", "/shared/below"} == set(story.state.store(sub).entries), point
        assert not story.state.leases.held, point
        assert not story.state.waits, point


def at_work(**tree: object) -> Story:
    story = Story(a_tree(**tree))
    story.working("lead")
    return story


def killed(story: Story, scope: ResumeScope | None = None) -> None:
    """The dispatcher dies; the next one takes over and has its guardian."""
    story.killed()
    began = {fact.actor for fact in story.told(f.SessionOpened)}
    story.reopened(*began, scope=scope)
    if story.state.exit_code is None:
        story.when(s.GuardianUp(at=story.at, pid=2))


def test_a_lead_cut_off_while_it_waited_is_told_what_for() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.WaitForWorker(task_id=one))
    story.calls("lead", c.KvWait(path="/shared/a", timeout_secs=5))
    killed(story)

    assert f"You were waiting for the end of {one} and for the key /shared/a" in story.prompt("lead")
    assert not story.state.waits


def test_what_it_waited_for_is_not_forgotten_when_it_is_cut_off_again_before_it_hears() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.WaitForWorker(task_id=one))
    killed(story)
    killed(story)
    assert f"You were waiting for the end of {one}" in story.prompt("lead")

    story.up("lead")
    killed(story)
    assert "waiting" not in story.prompt("lead"), "it has heard, and waited for nothing since"


def test_what_a_session_was_told_last_is_told_again() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))
    story.turn_ends(one, a_result(0.1, is_error=True))
    killed(story)
    story.working("lead")

    assert "The last thing you were told was:\n\nthis way" in story.prompt(one)
    assert story.prompt(one).endswith("go")


def test_a_message_that_was_not_told_yet_is_told_when_the_session_begins_again() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))
    killed(story)
    story.working("lead", one)

    assert story.prompt(one).endswith("Your task was:\n\ngo\n\nthis way")
    assert ([], ()) == (story.asked(e.Tell), story.actor(one).inbox)
    killed(story)
    story.working("lead", one)
    assert "The last thing you were told was:\n\nthis way" in story.prompt(one)


def test_paused_and_frozen_ones_stay_paused_and_go_on_when_they_are_to() -> None:
    story = at_work()
    paused, pausing, frozen = (story.spawns("lead", timeout_secs=100) for _ in range(3))
    story.after(10.0)
    for name, mode in ((paused, "cancel"), (pausing, "cancel"), (frozen, "freeze")):
        story.calls("lead", c.PauseWorker(task_id=name, mode=mode))  # type: ignore[arg-type]
    story.gone(paused)
    story.clock.turn(5000.0)
    killed(story)
    story.working("lead")

    assert {Phase.PAUSED} == {story.actor(name).phase for name in (paused, pausing, frozen)}
    assert {1} == {story.actor(name).pauses for name in (paused, pausing, frozen)}
    for name in (paused, pausing, frozen):
        assert story.actor(name).worked_secs == pytest.approx(10.0, abs=3.0), name
        story.calls("lead", c.ContinueWorker(task_id=name))
        story.working(name)
        assert (2, True) == (story.actor(name).attempt, story.asked(e.StartSession)[-1].session.resume)


def test_a_frozen_one_that_never_had_a_transcript_gets_its_task_when_it_goes_on() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one, mode="freeze"))
    story.killed()
    story.reopened("lead")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.working("lead")
    story.calls("lead", c.ContinueWorker(task_id=one))
    story.working(one)

    session = story.asked(e.StartSession)[-1].session
    assert (False, True) == (session.resume, session.prompt.startswith("go"))


def test_store_and_leases_survive_and_those_of_the_ended_do_not() -> None:
    story = at_work()
    one, two = story.spawns("lead"), story.spawns("lead")
    story.calls(one, c.KvSet(path="/shared/a", value="x"))
    story.calls(one, c.LeaseAcquire(name="mine", ttl_secs=1000))
    story.calls(two, c.LeaseAcquire(name="theirs", ttl_secs=1000))
    story.succeeds(two)
    story.facts = [fact for fact in story.facts if not isinstance(fact, t.LeaseOver)]  # torn off by the kill
    killed(story)

    assert [one] == [lease.holder for lease in story.state.leases.held.values()]
    assert "x" == story.state.store("lead").entries["/shared/a"].value.text


def test_cancelled_ones_stay_cancelled_wherever_the_order_met_them() -> None:
    story = Story(a_forest())
    story.working("lead")
    working = story.spawns("lead")
    answers = [story.calls("lead", c.SpawnWorker(prompt="x")) for _ in range(3)]
    preparing, starting, queued = (str(answer.content["task_id"]) for answer in answers if isinstance(answer, Answer))
    assert Phase.QUEUED is story.actor(queued).phase
    story.prepared(starting)
    names = (working, preparing, starting, queued)
    for name in names:
        story.calls("lead", c.CancelWorker(target=name))
    killed(story)

    assert {Status.CANCELLED} == {story.actor(name).status for name in names}
    assert {"cancelled by lead"} == {story.actor(name).note for name in names}


def test_an_operators_stop_is_forgotten_by_a_resume_for_everyone_it_met() -> None:
    story = Story(a_forest())
    story.working("lead")
    sub = story.calls("lead", c.SpawnSublead(prompt="x", model="m", budget_usd=1.0, max_workers=2))
    assert isinstance(sub, Answer)
    name = str(sub.content["sublead_id"])
    story.working(name)
    below, paused, failed = story.spawns(name), story.spawns("lead"), story.spawns("lead")
    story.fails(failed)
    story.calls("lead", c.PauseWorker(task_id=paused))
    story.gone(paused)
    answers = [story.calls("lead", c.SpawnWorker(prompt="x")) for _ in range(3)]
    late = [str(answer.content["task_id"]) for answer in answers if isinstance(answer, Answer)]
    story.when(s.Stop(at=story.at, by="SIGTERM"))
    for who in ("lead", name, below):
        story.gone(who)
    for who in late:
        if story.actor(who).phase is Phase.PREPARING:
            story.prepared(who)
    assert 130 == story.state.exit_code
    assert worth_resuming(story.state, None)

    killed(story)

    queued = {who for who, actor in story.state.actors.items() if actor.phase is not Phase.SETTLED}
    assert {"lead", name, below, paused, *late} == queued
    assert (Status.FAILED, 1) == (story.actor(failed).status, story.actor(failed).attempt)
    for _ in range(20):
        for who, actor in list(story.state.actors.items()):
            Play(story).step(who) if actor.phase is not Phase.WORKING else None
    for who in (below, paused, *late, name, "lead"):
        story.succeeds(who)
    assert 1 == story.state.exit_code, "the one that failed has still failed"


@pytest.mark.parametrize(("scope", "again"), [(None, []), ("failed", []), ("all", ["lead"]), ("unsettled", [])])
def test_of_a_tree_that_succeeded_only_the_lead_is_run_again_and_only_on_demand(
    scope: ResumeScope | None, again: list[str]
) -> None:
    story = at_work()
    for _ in range(6):  # more than may live at once
        story.succeeds(story.spawns("lead"))
    story.succeeds("lead")
    story.killed()
    story.reopened("lead", scope=scope)

    assert again == [fact.actor for fact in story.told(f.ActorRequeued)]


def test_a_lead_that_failed_is_taken_up_again_and_its_workers_are_not() -> None:
    story = at_work()
    one, two = story.spawns("lead"), story.spawns("lead")
    story.succeeds(one)
    story.fails("lead")
    story.gone(two)
    killed(story)

    assert ["lead"] == [fact.actor for fact in story.told(f.ActorRequeued)]
    story.up("lead")
    answer = story.calls("lead", c.WaitForWorker(task_id=two))
    assert isinstance(answer, Answer)


def test_nobody_waits_for_a_lead_that_will_not_be_started_again() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)
    story.killed()
    story.reopened("lead", one)
    story.when(s.OrderGiven(at=story.at, order=o.DrainRun()))  # before there is a guardian

    assert 130 == story.state.exit_code
    killed(story)
    assert {Phase.STARTING, Phase.QUEUED} >= {story.actor(name).phase for name in ("lead", one)}


def test_reports_of_the_old_dispatchers_attempts_change_nothing() -> None:
    story = at_work()
    one = story.spawns("lead")
    killed(story)
    before = story.state

    for late in (
        s.CallMade(
            at=story.at, actor=ActorId("lead"), attempt=1, call_id=1, call=c.SpawnWorker(prompt="x"), minted="m",
            session_id="s",
        ),
        s.TurnEnded(at=story.at, actor=ActorId(one), attempt=1, result=a_result(9.0), usage=Usage()),
    ):  # fmt: skip
        story.when(late)
        assert before == story.state
