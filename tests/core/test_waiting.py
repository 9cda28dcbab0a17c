"""Tool calls that wait: answered at once, later, early, at their deadline, or never because nobody asks any more."""

import pytest

from pitboss.core import supervision
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import SPREAD, Answer, Refused
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Phase, Status
from pitboss.testing.doubles import Story, a_task, a_tree


def at_work(**tree: object) -> Story:
    story = Story(a_tree(**({"max_workers": None} | tree)))
    story.working("lead")
    return story


def leads(story: Story) -> str:
    answer = story.calls("lead", c.SpawnSublead(prompt="x", model="m", budget_usd=2.0, max_workers=3))
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return name


def record(answer: Answer | Refused | None) -> TaskRecord:
    assert isinstance(answer, Answer), answer
    found = answer.content.get("record", answer.content.get(SPREAD))
    assert isinstance(found, TaskRecord)
    return found


def ended(story: Story) -> list[tuple[object, str]]:
    return [(fact.call_id, fact.how) for fact in story.told(t.WaitEnded)]


def test_a_wait_for_one_that_has_ended_is_answered_at_once_however_often() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.succeeds(one)

    for _ in range(2):
        answer = record(story.calls("lead", c.WaitForWorker(task_id=one)))
        assert (one, Status.SUCCESS) == (answer.task_id, answer.status)
    assert not story.told(t.WaitBegan)


def test_a_wait_is_answered_in_the_decision_in_which_the_actor_settles() -> None:
    story = at_work()
    one = story.spawns("lead")
    assert story.calls("lead", c.WaitForWorker(task_id=one)) is None
    number = story.made
    story.turn_ends(one)
    assert number not in story.answers()

    story.gone(one)

    assert one == record(story.answers()[number]).task_id
    assert [(number, "answered")] == ended(story)


def test_the_first_in_the_order_of_asking_is_told_if_several_have_ended() -> None:
    story = at_work()
    one, two, three = (story.spawns("lead") for _ in range(3))
    story.succeeds(two)
    story.succeeds(one)

    answer = story.calls("lead", c.WaitForAny(task_ids=["nobody", three, one, two]))

    assert isinstance(answer, Answer)
    assert one == answer.content["task_id"] == record(answer).task_id


def test_unknown_ids_are_borne_beside_known_ones_and_named_without() -> None:
    story = at_work()
    one = story.spawns("lead")

    assert story.calls("lead", c.WaitForAny(task_ids=["nobody", one])) is None
    answer = story.calls("lead", c.WaitForAny(task_ids=["nobody", "stranger"]))

    assert isinstance(answer, Refused)
    assert "none of the requested task_ids are known: nobody, stranger" in answer.message


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (c.WaitForWorker(task_id="worker-1", timeout_secs=30), "wait_for_actor timed out for worker-1"),
        (c.WaitActor(actor_id="worker-1", timeout_secs=30), "wait_for_actor timed out for worker-1"),
        (c.WaitForAny(task_ids=["worker-1"], timeout_secs=30), "wait_for_any timed out"),
        (c.KvWait(path="/shared/a", timeout_secs=30), "did not reach version 1"),
    ],
)
def test_a_deadline_is_absolute_whatever_happens_meanwhile(call: c.AnyCall, fragment: str) -> None:
    story = at_work()
    story.spawns("lead")
    assert story.calls("lead", call) is None
    number, due = story.made, story.at + 30.0
    other = story.spawns("lead")
    for _ in range(2):
        story.after(14.0)
    story.succeeds(other)
    story.calls("lead", c.KvSet(path="/shared/b", value="x"))
    assert number not in story.answers()
    assert due == supervision.next_deadline(story.state)

    story.after(2.0)

    answer = story.answers()[number]
    assert isinstance(answer, Refused)
    assert "timeout" == answer.code
    assert fragment in answer.message
    assert [(number, "timeout")] == ended(story)


def test_a_wait_that_does_not_say_lasts_an_hour_and_one_of_no_time_one_tick() -> None:
    story = at_work(lead=a_task("lead", timeout_secs=9000, use_worktree=False))
    one = story.spawns("lead", timeout_secs=9000)
    story.calls("lead", c.WaitForWorker(task_id=one))
    assert story.at + 3600.0 == supervision.next_deadline(story.state)
    story.calls("lead", c.WaitForWorker(task_id=one, timeout_secs=0))

    story.after(0.0)

    assert isinstance(story.answers()[story.made], Refused)
    assert 1 == len(story.state.waits)


def test_nobody_waits_for_itself() -> None:
    story = at_work()

    assert isinstance(story.calls("lead", c.WaitActor(actor_id="lead")), Refused)


def test_a_sub_lead_is_waited_for_by_either_name_and_a_sub_lead_waits_for_its_own() -> None:
    story = at_work()
    sub = leads(story)
    below = story.spawns(sub)
    story.calls("lead", c.WaitActor(actor_id=sub))
    story.calls("lead", c.WaitForWorker(task_id=sub))
    story.calls(sub, c.WaitForWorker(task_id=below))
    first = story.made - 2
    story.succeeds(below)
    story.succeeds(sub)

    tagged = story.answers()[first]
    assert isinstance(tagged, Answer)
    assert ("sublead", "success") == (tagged.content["actor_type"], tagged.content["outcome"])
    assert [sub, below] == [record(story.answers()[number]).task_id for number in (first + 1, first + 2)]


def test_a_call_that_its_client_has_dropped_is_never_answered() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.WaitForWorker(task_id=one))
    number = story.made
    story.when(s.CallDropped(at=story.at, actor=ActorId("lead"), attempt=1, call_id=number))
    story.when(s.CallDropped(at=story.at, actor=ActorId("lead"), attempt=1, call_id=number))

    story.succeeds(one)

    assert number not in story.answers()
    assert [(number, "dropped")] == ended(story)


def test_a_wait_ends_with_its_caller() -> None:
    story = at_work()
    sub = leads(story)
    mine = story.spawns("lead")
    story.calls(sub, c.WaitForWorker(task_id=mine))
    story.calls(sub, c.LeaseAcquire(name="a", ttl_secs=5))
    story.gone(sub, code=1)

    assert not story.state.waits
    story.succeeds(mine)
    assert not [answer for answer in story.asked(e.AnswerCall) if answer.call_id == story.made - 1]


def test_a_wait_of_one_that_stands_still_is_answered_all_the_same() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls(one, c.KvWait(path="/shared/a", timeout_secs=60))
    number = story.made
    story.calls("lead", c.PauseWorker(task_id=one, mode="freeze"))
    story.calls("lead", c.KvSet(path="/shared/a", value="x"))

    assert isinstance(story.answers()[number], Answer)


def test_a_thousand_waits_are_each_answered_once() -> None:
    story = at_work(budget_usd=None)
    one, two = story.spawns("lead"), story.spawns("lead")
    for _ in range(500):
        story.calls("lead", c.WaitForWorker(task_id=one))
        story.calls(two, c.KvWait(path="/shared/go", timeout_secs=600))
    assert 1000 == len(story.state.waits)

    story.calls("lead", c.KvSet(path="/shared/go", value="x"))
    story.succeeds(one)

    assert not story.state.waits
    calls = [answer.call_id for answer in story.asked(e.AnswerCall)]
    assert len(calls) == len(set(calls))
    assert {"answered"} == {how for _, how in ended(story)}


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_wait_for_a_key_ends_at_the_version_it_waits_for() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.KvSet(path="/shared/a", value="1"))
    story.calls(one, c.KvWait(path="/shared//a", timeout_secs=60, min_version=3))
    number = story.made

    story.calls("lead", c.KvSet(path="/shared/a", value="2"))
    assert number not in story.answers()
    story.calls("lead", c.KvSet(path="/shared/a", value="3"))

    answer = story.answers()[number]
    assert isinstance(answer, Answer)
    assert (3, "3") == (answer.content["version"], answer.content["text"])


def test_a_wait_for_a_pattern_ends_with_any_key_that_fits_and_may_be_read() -> None:
    story = at_work()
    one, two = story.spawns("lead"), story.spawns("lead")
    story.calls(one, c.KvWait(path="/shared/results/*", timeout_secs=60))
    number = story.made
    story.calls(two, c.KvSet(path="/shared/other", value="x"))
    story.calls(two, c.KvSet(path="/peer/self/results", value="x"))
    assert number not in story.answers()

    story.calls(two, c.KvCas(path="/shared/results/b", expected_version=0, new_value="x"))

    answer = story.answers()[number]
    assert isinstance(answer, Answer)
    assert "/shared/results/b" == answer.content["path"]


def test_layers_do_not_hear_each_others_keys() -> None:
    story = at_work()
    sub = leads(story)
    below = story.spawns(sub)
    story.calls(below, c.KvWait(path="/shared/a", timeout_secs=60))
    number = story.made

    story.calls("lead", c.KvSet(path="/shared/a", value="x"))
    assert number not in story.answers()
    story.calls(sub, c.KvSet(path="/shared/a", value="x"))
    assert isinstance(story.answers()[number], Answer)


def test_a_paused_caller_waits_no_more_and_asks_again_when_it_goes_on() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls(one, c.KvWait(path="/shared/a", timeout_secs=60))
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)

    assert not story.state.waits
    assert ("the key /shared/a",) == story.actor(one).waited_for
    assert Phase.PAUSED is story.actor(one).phase
