"""One ledger over the whole tree: promised, spent, given back, and what happens when nothing is left."""

import msgspec
import pytest

from pitboss.core import ledger
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Phase, Status, Usage
from pitboss.testing.doubles import Story, a_result, a_task, a_tree


def at_work(**tree: object) -> Story:
    story = Story(a_tree(**tree))
    story.working("lead")
    return story


def leads(story: Story, budget: float | None = 3.0, workers: int | None = 2) -> str:
    """A sub-lead at work; without numbers it shares the lead's pool."""
    call = c.SpawnSublead(prompt="x", model="m", budget_usd=budget, max_workers=workers, read_down=budget is None)
    answer = story.calls("lead", call)
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return name


def ends(story: Story, name: str, usd: float) -> None:
    """An actor ends well after it has spent so much."""
    story.turn_ends(name, a_result(usd))
    story.gone(name)


def money(story: Story, layer: str = "lead") -> tuple[float, float]:
    account = ledger.account(story.state, layer)
    return round(account.spent, 6), round(account.reserved, 6)


def budget(answer: Answer | Refused | None) -> dict[str, object]:
    assert isinstance(answer, Answer), answer
    told = answer.content["budget"]
    assert isinstance(told, dict)
    return told


def test_a_spawn_sets_the_estimate_apart_and_the_end_settles_it_exactly() -> None:
    story = at_work()

    told = budget(story.calls("lead", c.SpawnWorker(prompt="x", model="claude-opus-4-7")))
    assert {"spent_usd": 0.0, "reserved_usd": 2.0, "left_usd": 8.0, "budget_usd": 10.0} == told
    story.working("worker-1")
    story.turn_ends("worker-1", a_result(0.5))
    assert (0.5, 1.5) == money(story), "what it spends comes out of what was set apart for it"
    story.gone("worker-1")
    assert (0.5, 0.0) == money(story), "what it did not need is free again"


def test_who_spends_more_than_was_set_apart_is_counted_in_full_while_it_runs() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.when(s.UsageGrew(at=story.at, actor=ActorId(one), attempt=1, usage=Usage(input=1_000_000)))

    assert (1.0, 0.0) == money(story)


def test_the_leads_own_money_counts() -> None:
    story = at_work(budget_usd=1.0)
    story.when(s.UsageGrew(at=story.at, actor=ActorId("lead"), attempt=1, usage=Usage(input=950_000)))

    answer = story.calls("lead", c.SpawnWorker(prompt="x"))

    assert isinstance(answer, Refused)
    assert ("budget_exceeded", "$0.95 spent + $0.00 reserved + $0.10 estimated > $1.00 budget") == (
        answer.code, answer.message.removeprefix("budget exceeded: "),
    )  # fmt: skip
    assert 0.05 == answer.extra["budget"]["left_usd"]  # type: ignore[index]


def test_what_fits_exactly_fits() -> None:
    story = at_work(budget_usd=0.3, max_workers=None)
    for _ in range(3):  # 0.1 + 0.1 + 0.1 is more than 0.3 to a computer
        story.spawns("lead")

    assert isinstance(story.calls("lead", c.SpawnWorker(prompt="x")), Refused)


def test_an_envelope_may_be_all_there_is_and_not_a_cent_more() -> None:
    story = at_work(budget_usd=3.0)
    call = c.SpawnSublead(prompt="x", model="m", budget_usd=3.01, max_workers=1)

    answer = story.calls("lead", call)
    assert isinstance(answer, Refused)
    assert answer.message.startswith("spawn_sublead: budget exceeded")
    leads(story, 3.0)


@pytest.mark.parametrize(
    ("ended", "model", "expected"),
    [
        ([], "claude-opus-4-7", 2.0),
        ([], "claude-opus-9-2-20270101", 2.0),
        ([], "claude-sonnet-4-6", 0.5),
        ([], "haiku", 0.1),
        ([0.3], "haiku", 0.3),
        ([0.1, 0.4], "haiku", 0.4),
        ([0.4, 0.1, 0.2], "haiku", 0.2),
        ([0.3], "sonnet", 0.5),
        ([0.0], "haiku", 0.1),
    ],
)
def test_a_worker_is_expected_to_cost_what_those_of_its_family_have_cost(
    ended: list[float], model: str, expected: float
) -> None:
    story = at_work()
    for usd in ended:
        ends(story, story.spawns("lead", model="claude-haiku-4-5"), usd)

    assert expected == ledger.estimate(story.state, "lead", model)


def test_an_envelope_is_held_whole_and_only_what_was_spent_of_it_is_kept() -> None:
    story = at_work()
    sub = leads(story, 3.0)
    assert (0.0, 3.0) == money(story)

    ends(story, story.spawns(sub, model="haiku"), 0.5)
    assert (0.5, 0.0) == money(story, sub)
    assert (0.5, 2.5) == money(story)
    ends(story, sub, 0.25)

    assert (0.75, 0.0) == money(story)
    assert 0.75 == story.state.spent_usd


def test_the_workers_of_a_sub_lead_are_paid_from_its_envelope() -> None:
    story = at_work()
    sub = leads(story, 0.25)

    told = budget(story.calls(sub, c.SpawnWorker(prompt="x", model="haiku")))
    assert (0.1, 0.15, 0.25) == (told["reserved_usd"], told["left_usd"], told["budget_usd"])
    story.calls(sub, c.SpawnWorker(prompt="x", model="haiku"))
    assert isinstance(story.calls(sub, c.SpawnWorker(prompt="x", model="haiku")), Refused)
    assert isinstance(story.calls("lead", c.SpawnWorker(prompt="x", model="opus")), Answer)


def test_a_shared_pool_is_one_pool_of_money_and_of_workers() -> None:
    story = at_work(max_workers=3, budget_usd=1.0)
    sub, other = leads(story, None, None), leads(story, None, None)
    assert (0.0, 0.0) == money(story)

    story.spawns(sub, model="sonnet")
    story.spawns("lead")

    assert (0.0, 0.6) == money(story) == money(story, sub) == money(story, other)
    assert isinstance(story.calls(other, c.SpawnWorker(prompt="x", model="sonnet")), Refused), "0.6 + 0.5 > 1"
    story.spawns(other, model="haiku")
    answer = story.calls(sub, c.SpawnWorker(prompt="x", model="haiku"))
    assert isinstance(answer, Refused)
    assert "worker cap reached: 3 active (max 3)" in answer.message


def test_who_dies_after_its_lead_is_charged_to_it_and_to_the_root() -> None:
    story = at_work()
    sub = leads(story, 1.0)
    below = story.spawns(sub, model="haiku")
    ends(story, sub, 0.2)

    story.turn_ends(below, a_result(0.4, is_error=True))
    story.gone(below)

    assert (0.6, 0.0) == money(story)
    ending = story.calls("lead", c.WaitActor(actor_id=sub))
    assert isinstance(ending, Answer)
    assert (0.6, 0.4) == (ending.content["spent_usd"], ending.content["unspent_usd"])


def test_the_hard_limit_stops_the_layer_that_reached_it_and_only_that() -> None:
    story = at_work()
    sub = leads(story, 0.5)
    below, mine = story.spawns(sub, model="haiku"), story.spawns("lead")

    story.turn_ends(below, a_result(0.5))
    story.gone(below)
    assert "budget" == story.actor(sub).stopping.reason  # type: ignore[union-attr]
    story.gone(sub)

    failure = story.actor(sub).failure
    assert failure is not None
    assert (Status.FAILED, "budget_exceeded") == (story.actor(sub).status, failure.kind)
    assert "$0.50 spent of $0.50" in failure.message
    assert (Phase.WORKING, Phase.WORKING) == (story.actor(mine).phase, story.actor("lead").phase)
    assert (0.5, 0.1) == money(story)


def test_the_hard_limit_of_the_root_stops_everyone_whatever_they_are_doing() -> None:
    story = Story(msgspec.structs.replace(a_tree(budget_usd=2.0, lead=a_task("lead")), max_starts=1))
    story.working("lead")
    running, paused, frozen = (story.spawns("lead", model="haiku") for _ in range(3))
    sub = leads(story, 0.5)
    story.calls("lead", c.PauseWorker(task_id=paused))
    story.gone(paused)
    story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze"))
    story.calls(sub, c.SpawnWorker(prompt="x", model="haiku"))
    preparing = story.asked(e.PrepareWorktree)[-1].actor

    story.when(s.UsageGrew(at=story.at, actor=ActorId("lead"), attempt=1, usage=Usage(input=2_000_000)))
    for name in (running, frozen, sub):
        assert Phase.STOPPING is story.actor(name).phase, name
        story.gone(name)
    story.prepared(preparing)
    story.gone("lead")

    assert {Status.FAILED} == {actor.status for actor in story.state.actors.values()}
    assert {"budget_exceeded"} == {actor.failure.kind for actor in story.state.actors.values() if actor.failure}
    assert 1 == story.state.exit_code


def test_money_adds_up_over_pauses_kills_and_both_kinds_of_layers() -> None:
    story = at_work()
    owned, shared = leads(story, 3.0), leads(story, None, None)
    one, two = story.spawns(owned, model="haiku"), story.spawns(shared, model="haiku")
    story.turn_ends(one, a_result(0.2, is_error=True))
    story.calls("lead", c.PauseWorker(task_id=two))
    story.turn_ends(two, a_result(0.3, is_error=True))
    story.gone(two)
    story.killed()
    story.reopened("lead", owned, shared, one, two)
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.working("lead", owned, shared)
    story.calls("lead", c.ContinueWorker(task_id=two))
    story.working(two)
    ends(story, two, 0.05)

    assert 0.55 == pytest.approx(story.state.spent_usd) == pytest.approx(money(story)[0])
    assert 0.35 == story.actor(two).all_cost_usd


def test_a_run_without_a_budget_refuses_nothing_for_money() -> None:
    story = at_work(budget_usd=None, max_workers=None)

    told = budget(story.calls("lead", c.SpawnWorker(prompt="x", model="opus")))

    assert (None, None) == (told["left_usd"], told["budget_usd"])
    assert all(start.session.budget_usd is None for start in story.asked(e.StartSession))
