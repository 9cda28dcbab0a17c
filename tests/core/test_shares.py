"""A session that has spent its share of the money: it goes on with another as long as there is any."""

import pytest

from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Phase, Session, Status, TurnResult
from pitboss.testing.doubles import Story, a_result, a_run, a_tree

A = ActorId("a")


def crossing(cost: float) -> TurnResult:
    """What a session says whose process has spent all it was started with."""
    return a_result(cost, is_error=True, subtype="error_max_budget_usd")


def order(story: Story, given: o.AnyOrder) -> None:
    story.when(s.OrderGiven(at=story.at, order=given))


def two(budget: float = 1.0) -> Story:
    """Two tasks that have half of the budget each."""
    story = Story(a_run("a", "b", max_parallel=2, budget_usd=budget))
    story.working("a", "b")
    return story


def session(story: Story, name: str = "a") -> Session:
    """What its last process was started with."""
    return [start.session for start in story.asked(e.StartSession) if start.session.actor == name][-1]


def test_what_others_did_not_need_lets_it_go_on_in_its_own_place_and_session() -> None:
    story = two()
    first = session(story)
    story.turn_ends("b", a_result(0.1))
    story.gone("b")
    story.turn_ends("a", crossing(0.55))
    assert ["close_stdin"] == story.rungs("a")
    story.gone("a")
    story.prepared("a")

    then = session(story)
    assert 0.5 == first.budget_usd
    assert pytest.approx(0.35) == then.budget_usd
    assert (first.session_id, first.cwd, True, 2) == (then.session_id, then.cwd, then.resume, then.attempt)
    assert then.prompt.startswith("What this session was given to spend was used up")
    story.up("a")
    story.turn_ends("a", a_result(0.2))
    story.gone("a")
    story.tidied("a")
    record = story.told(f.ActorSettled)[-1]
    assert (Status.SUCCESS, "") == (record.status, record.note)
    assert pytest.approx(0.75) == story.actor("a").all_cost_usd
    assert 0 == story.actor("a").pauses


def test_it_waits_for_what_others_hold_and_may_not_need() -> None:
    story = two()
    story.turn_ends("a", crossing(0.55))
    story.gone("a")
    assert Phase.QUEUED is story.actor("a").phase

    story.turn_ends("b", a_result(0.1))
    story.gone("b")
    story.prepared("a")

    assert pytest.approx(0.35) == session(story).budget_usd


def test_if_they_need_it_all_its_work_ends_for_want_of_money() -> None:
    story = two()
    story.turn_ends("a", crossing(0.55))
    story.gone("a")
    story.turn_ends("b", a_result(0.43))
    story.gone("b")
    story.tidied("a")

    settled = story.told(f.ActorSettled)[-1]
    assert (Status.FAILED, "budget_exceeded") == (settled.status, settled.failure and settled.failure.kind)
    assert "the run's budget of $1.00 is spent" == story.told(f.DrainBegan)[-1].by


def test_who_waits_for_money_keeps_nobody_from_starting_with_less() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, budget_usd=1.0))
    story.working("a", "b")
    story.turn_ends("a", crossing(0.55))
    story.gone("a")
    story.turn_ends("b", a_result(0.42))
    story.gone("b")
    assert (Phase.QUEUED, Phase.PREPARING) == (story.actor("a").phase, story.actor("c").phase)


def test_where_the_budget_is_spent_its_work_ends() -> None:
    story = two()
    story.turn_ends("b", a_result(0.45))
    story.turn_ends("a", crossing(0.55))
    story.gone("a", code=1)
    story.tidied("a")
    assert Status.FAILED is story.actor("a").status


def test_a_budget_that_was_raised_while_it_worked_is_there_for_it() -> None:
    story = two()
    order(story, o.ChangeLimits(budget_usd=3.0))
    story.turn_ends("a", crossing(0.55))
    story.gone("a")
    story.prepared("a")
    assert pytest.approx(3.0 - 0.55 - 0.5) == session(story).budget_usd


def test_a_few_cents_are_not_worth_another_process() -> None:
    for left, goes_on in ((0.04, False), (0.06, True)):
        story = two()
        story.turn_ends("b", a_result(0.5 - left))
        story.gone("b")
        story.turn_ends("a", crossing(0.5))
        stopping = story.actor("a").stopping
        assert stopping is not None
        assert ("share" if goes_on else "finished") == stopping.reason


@pytest.mark.parametrize("given", [o.CancelActor(actor=A), o.StopRun(), o.DrainRun()])
def test_who_is_ended_meanwhile_does_not_come_back(given: o.AnyOrder) -> None:
    story = two(4.0)
    story.turn_ends("b", a_result(0.1))
    story.gone("b")
    story.turn_ends("a", crossing(2.1))
    order(story, given)
    story.gone("a")
    story.tidied("a")
    assert Status.CANCELLED is story.actor("a").status
    assert 1 == len(story.asked(e.StartSession)) - 1, "b's and its first one, no other"


def test_what_it_is_told_meanwhile_stands_in_its_opening() -> None:
    story = two(4.0)
    order(story, o.ChangeLimits(budget_usd=9.0))
    story.turn_ends("a", crossing(2.1))
    order(story, o.NoteActor(actor=A, text="mind the gap"))
    story.gone("a")
    story.prepared("a")
    assert session(story).prompt.endswith("mind the gap")
    assert not story.asked(e.Tell)


def test_a_kill_before_its_process_has_gone_takes_nothing_from_it() -> None:
    story = two(4.0)
    order(story, o.ChangeLimits(budget_usd=9.0))
    story.turn_ends("a", crossing(2.1))
    story.killed()
    story.reopened("a", "b")
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.prepared("a")
    assert (2, True) == (session(story).attempt, session(story).resume)
    assert session(story).prompt.startswith("You were cut off")


def test_a_draining_run_starts_it_no_more() -> None:
    story = two(4.0)
    order(story, o.DrainRun())
    order(story, o.ChangeLimits(budget_usd=9.0))
    story.turn_ends("a", crossing(2.1))
    stopping = story.actor("a").stopping
    assert stopping is not None
    assert "finished" == stopping.reason


def test_whoever_leads_goes_on_with_a_raised_budget_and_its_workers_with_it() -> None:
    story = Story(a_tree(budget_usd=1.0))
    story.working("lead")
    assert 1.0 == session(story, "lead").budget_usd
    spawned = story.calls("lead", c.SpawnWorker(prompt="x"))
    worker = spawned.content["task_id"]  # type: ignore[union-attr]  # it is an answer
    story.working(str(worker))
    order(story, o.ChangeLimits(budget_usd=5.0))

    story.turn_ends("lead", crossing(1.1))
    story.gone("lead")
    story.prepared("lead")

    assert pytest.approx(3.9) == session(story, "lead").budget_usd
    assert Phase.WORKING is story.actor(str(worker)).phase
