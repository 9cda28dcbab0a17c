"""Orders about an actor that lives: stop it, pause it, let it go on, tell it something."""

import msgspec
import pytest

from pitboss.core import ledger
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Certificate, Phase, Status, Usage
from pitboss.testing.doubles import Story, a_result, a_run, a_task, a_tree

INTERRUPTED = a_result(0.1, is_error=True, subtype="error_during_execution")


def at_work(**tree: object) -> Story:
    """A tree whose lead is at work, in which two start at a time."""
    story = Story(a_tree(lead=a_task("lead", model="claude-haiku-4-5"), **tree))
    story.working("lead")
    return story


def leads(story: Story) -> str:
    call = c.SpawnSublead(prompt="x", model="claude-haiku-4-5", budget_usd=2.0, max_workers=3)
    answer = story.calls("lead", call)
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return name


def queued(story: Story, who: str = "lead") -> str:
    """The last of three workers that are spawned at once: it waits for a start."""
    story.state = msgspec.structs.replace(story.state, starts_limit=1)
    answers = [story.calls(who, c.SpawnWorker(prompt="go")) for _ in range(2)]
    assert all(isinstance(answer, Answer) for answer in answers)
    name = list(story.state.actors)[-1]
    assert Phase.QUEUED is story.actor(name).phase
    return name


def said(answer: object) -> str:
    assert isinstance(answer, Refused), answer
    return answer.message


def told(story: Story, who: str) -> list[str]:
    return [tell.text for tell in story.asked(e.Tell) if tell.actor == who]


def interrupts(story: Story, who: str) -> int:
    return sum(ask.actor == who for ask in story.asked(e.Interrupt))


OK = Answer({"ok": True})


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_a_cancelled_worker_is_stopped_by_the_ladder_and_its_record_says_who_and_why() -> None:
    story = at_work()
    one = story.spawns("lead")

    assert OK == story.calls("lead", c.CancelWorker(target=one, reason="wrong file"))
    assert (Phase.STOPPING, ["interrupt"]) == (story.actor(one).phase, story.rungs(one))
    story.turn_ends(one, INTERRUPTED)
    story.gone(one)

    failure = story.actor(one).failure
    assert failure is not None
    assert (Status.CANCELLED, "cancelled by lead: wrong file") == (story.actor(one).status, failure.message)


def test_both_names_of_the_target_mean_it() -> None:
    story = at_work()
    one = story.spawns("lead")

    assert OK == story.calls("lead", c.CancelWorker(task_id=one))
    assert Phase.STOPPING is story.actor(one).phase


def test_the_lead_is_not_called_unknown_when_it_means_itself() -> None:
    story = at_work()

    assert "'lead' is the lead, whom only the operator steers" in said(
        story.calls("lead", c.CancelWorker(target="lead"))
    )
    assert "unknown task_id 'x'; list_workers" in said(story.calls("lead", c.CancelWorker(target="x")))


def test_the_reason_reaches_whoever_leads_the_target_and_not_who_gave_it() -> None:
    story = at_work()
    sub = leads(story)
    below, mine = story.spawns(sub), story.spawns("lead")

    story.calls("lead", c.CancelWorker(target=below, reason="too slow"))
    story.calls("lead", c.CancelWorker(target=mine, reason="too slow"))

    (text,) = told(story, sub)
    assert text.startswith(f"[SYSTEM] Actor {below} was killed by lead.\nReason: too slow\n")
    assert not told(story, "lead")


def test_cancelling_what_has_ended_or_is_ending_is_fine_and_tells_nobody() -> None:
    story = at_work()
    sub = leads(story)
    ended, ending = story.spawns(sub), story.spawns(sub)
    story.succeeds(ended)
    story.turn_ends(ending)

    for one in (ended, ending):
        assert OK == story.calls("lead", c.CancelWorker(target=one, reason="why"))
    story.gone(ending)
    story.tidied(ending)

    assert not told(story, sub)
    assert {Status.SUCCESS} == {story.actor(one).status for one in (ended, ending)}


def test_a_cancelled_sub_lead_takes_its_workers_with_it() -> None:
    story = at_work()
    sub = leads(story)
    below = story.spawns(sub)

    story.calls("lead", c.CancelWorker(target=sub))

    assert {Phase.STOPPING} == {story.actor(name).phase for name in (sub, below)}
    story.gone(below)
    story.gone(sub)
    assert {Status.CANCELLED} == {story.actor(name).status for name in (sub, below)}


def test_a_cancelled_frozen_worker_is_thawed_first_so_that_it_can_hear() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one, mode="freeze"))

    story.calls("lead", c.CancelWorker(target=one))

    kinds = [type(effect) for effect in story.last.effects if isinstance(effect, e.Thaw | e.Press)]
    assert [e.Thaw, e.Press] == kinds
    story.gone(one)
    assert Status.CANCELLED is story.actor(one).status


def test_a_cancelled_paused_worker_is_settled_at_once_and_so_is_a_queued_one() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)
    two = queued(story)

    for name in (one, two):
        story.calls("lead", c.CancelWorker(target=name))
        assert Status.CANCELLED is story.actor(name).status
    assert 2 == len(story.asked(e.PublishTask))


def test_a_cancelled_preparing_worker_gets_no_process_and_its_worktree_is_put_away() -> None:
    story = at_work()
    answer = story.calls("lead", c.SpawnWorker(prompt="go"))
    assert isinstance(answer, Answer)
    one = str(answer.content["task_id"])

    story.calls("lead", c.CancelWorker(target=one))
    started = len(story.asked(e.StartSession))
    story.prepared(one)

    assert (Status.CANCELLED, started) == (story.actor(one).status, len(story.asked(e.StartSession)))


def test_a_worker_that_is_cancelled_while_it_is_being_paused_ends() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one))
    story.calls("lead", c.CancelWorker(target=one))
    story.gone(one)

    assert Status.CANCELLED is story.actor(one).status
    assert not story.told(t.ActorPaused)


# --- who may ----------------------------------------------------------------------------------------------------------


def test_a_sub_lead_steers_its_own_workers_and_nobody_else() -> None:
    story = at_work()
    sub, other = leads(story), leads(story)
    mine, theirs = story.spawns(sub), story.spawns(other)

    for target in (theirs, other, "lead", "nobody"):
        for call in (
            c.CancelWorker(target=target),
            c.PauseWorker(task_id=target),
            c.ContinueWorker(task_id=target),
            c.RepromptWorker(task_id=target, prompt="x"),
        ):
            assert f"authz: sublead {sub}" in said(story.calls(sub, call))
    assert OK == story.calls(sub, c.PauseWorker(task_id=mine, mode="freeze"))
    assert OK == story.calls("lead", c.ContinueWorker(task_id=mine))


def test_the_lead_itself_is_steered_by_nobody_in_the_tree() -> None:
    story = at_work()

    assert "only the operator" in said(story.calls("lead", c.CancelWorker(target="lead")))
    assert Phase.WORKING is story.actor("lead").phase


# --- freeze -----------------------------------------------------------------------------------------------------------


def test_a_frozen_worker_stands_still_and_so_does_its_clock() -> None:
    story = at_work()
    one = story.spawns("lead", timeout_secs=100)
    story.after(60.0)

    assert OK == story.calls("lead", c.PauseWorker(task_id=one, mode="freeze"))
    assert [one] == [freeze.actor for freeze in story.asked(e.Freeze)]
    story.after(500.0)
    assert Phase.FROZEN is story.actor(one).phase
    assert OK == story.calls("lead", c.ContinueWorker(task_id=one, prompt="ignored"))
    assert [one] == [thaw.actor for thaw in story.asked(e.Thaw)]
    story.after(39.0)
    assert Phase.WORKING is story.actor(one).phase
    story.after(1.0)

    assert Phase.STOPPING is story.actor(one).phase
    assert not told(story, one)


def test_what_came_while_a_worker_stood_still_counts_when_it_goes_on() -> None:
    story = at_work()
    one, two = story.spawns("lead"), story.spawns("lead")
    for name in (one, two):
        story.calls("lead", c.PauseWorker(task_id=name, mode="freeze"))
        story.turn_ends(name)  # it was on its way
        assert Phase.FROZEN is story.actor(name).phase

    story.calls("lead", c.ContinueWorker(task_id=one))

    assert Phase.FINISHING is story.actor(one).phase
    assert Phase.FROZEN is story.actor(two).phase


def test_a_frozen_worker_that_dies_has_died() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one, mode="freeze"))
    story.gone(one, code=137)

    assert Status.FAILED is story.actor(one).status


# --- pause and continue -----------------------------------------------------------------------------------------------


def paused(story: Story, who: str = "lead", **arguments: object) -> str:
    one = story.spawns(who, **arguments)
    assert OK == story.calls(who, c.PauseWorker(task_id=one))
    story.turn_ends(one, INTERRUPTED)
    story.gone(one)
    assert Phase.PAUSED is story.actor(one).phase
    return one


def test_the_exit_of_a_paused_worker_is_not_its_end() -> None:
    story = at_work()

    one = paused(story)

    assert not story.told(f.ActorSettled)
    assert not story.asked(e.PublishTask)
    assert one not in story.state.live


def test_a_paused_worker_goes_on_in_its_own_place_and_session_and_has_one_record_at_the_end() -> None:
    story = at_work()
    one = paused(story)
    first = story.asked(e.StartSession)[-1].session

    assert OK == story.calls("lead", c.ContinueWorker(task_id=one))
    prepare = [ask for ask in story.asked(e.PrepareWorktree) if ask.actor == one]
    assert prepare[0].path == prepare[1].path
    story.working(one)
    again = story.asked(e.StartSession)[-1].session
    assert (first.session_id, 2, True, "continue", first.cwd, first.tools, first.model) == (
        again.session_id, again.attempt, again.resume, again.prompt, again.cwd, again.tools, again.model,
    )  # fmt: skip
    story.turn_ends(one, a_result(0.3), Usage(input=5))
    story.gone(one)
    story.tidied(one)

    (record,) = [effect.record for effect in story.asked(e.PublishTask)]
    assert (Status.SUCCESS, 1, 105) == (record.status, record.pause_count, record.usage.input)
    assert pytest.approx(0.4) == record.cost_usd


def test_a_paused_worker_keeps_its_share_of_the_money_and_its_seat_under_the_cap() -> None:
    story = at_work(max_workers=1)
    paused(story, model="claude-opus-4-7")

    answer = story.calls("lead", c.SpawnWorker(prompt="x"))

    assert "worker cap reached: 1 active" in said(answer)
    assert pytest.approx(1.9) == ledger.account(story.state, "lead").reserved


def test_the_time_a_paused_worker_has_had_counts_when_it_goes_on() -> None:
    story = at_work()
    one = story.spawns("lead", timeout_secs=100)
    story.after(60.0)
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)
    story.after(5000.0)
    story.calls("lead", c.ContinueWorker(task_id=one))
    story.working(one)

    story.after(39.0)
    assert Phase.WORKING is story.actor(one).phase
    story.after(1.0)
    assert Phase.STOPPING is story.actor(one).phase


def test_who_cannot_be_paused_or_continued_is_told_why() -> None:
    story = at_work()
    starting, done, frozen, pausing = (story.spawns("lead") for _ in range(4))
    story.succeeds(done)
    story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze"))
    story.calls("lead", c.PauseWorker(task_id=pausing))
    story.succeeds(starting)
    answer = story.calls("lead", c.SpawnWorker(prompt="x"))
    assert isinstance(answer, Answer)
    starting = str(answer.content["task_id"])
    assert "not in a pausable state" in said(story.calls("lead", c.PauseWorker(task_id=starting)))
    story.prepared(starting)

    assert "not yet initialized" in said(story.calls("lead", c.PauseWorker(task_id=starting)))
    assert "not in a pausable state" in said(story.calls("lead", c.PauseWorker(task_id=done)))
    assert "already frozen" in said(story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze")))
    assert "already paused" in said(story.calls("lead", c.PauseWorker(task_id=pausing)))
    assert "still being paused" in said(story.calls("lead", c.ContinueWorker(task_id=pausing)))
    assert "worker not paused" in said(story.calls("lead", c.ContinueWorker(task_id=starting)))


def test_a_worker_whose_processes_cannot_be_shown_to_be_gone_is_not_paused() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one, certificate=Certificate(exit_code=0, cookie_empty=False))

    assert Status.CANCELLED is story.actor(one).status
    assert "unverifiable" in story.actor(one).note


def test_a_run_that_starts_nobody_ends_who_is_paused_and_pauses_nobody() -> None:
    story = at_work()
    one, pausing, two = paused(story), story.spawns("lead"), story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=pausing))

    story.when(s.OrderGiven(at=story.at, order=o.DrainRun()))
    story.gone(pausing)

    for each in (one, pausing):
        assert Status.CANCELLED is story.actor(each).status
        assert "never continued: the run is draining" in story.actor(each).note
    assert "could never go on" in said(story.calls("lead", c.PauseWorker(task_id=two)))
    assert OK == story.calls("lead", c.PauseWorker(task_id=two, mode="freeze"))
    assert OK == story.calls("lead", c.ContinueWorker(task_id=two))
    story.succeeds(two)
    story.succeeds("lead")
    assert 130 == story.state.exit_code


def test_a_task_that_is_not_continued_as_another_failed_was_not_stopped_by_an_operator() -> None:
    story = Story(a_run(a_task("a"), a_task("b"), halt_on_failure=True))
    story.working("a", "b")
    story.when(s.OrderGiven(at=story.at, order=o.PauseActor(actor=ActorId("a"))))
    story.gone("a")
    assert Phase.PAUSED is story.actor("a").phase

    story.fails("b")
    story.tidied("b")
    story.tidied("a")

    failure = story.actor("a").failure
    assert failure is not None
    assert (Status.CANCELLED, "never continued: the run is draining") == (story.actor("a").status, failure.message)


# --- redirect ---------------------------------------------------------------------------------------------------------


def test_a_redirected_worker_is_interrupted_once_and_then_told() -> None:
    story = at_work()
    one = story.spawns("lead")

    for prompt in ("no", "this way"):
        assert OK == story.calls("lead", c.RepromptWorker(task_id=one, prompt=prompt))
    assert (1, []) == (interrupts(story, one), told(story, one))
    story.turn_ends(one, INTERRUPTED)

    assert (["no\n\nthis way"], Phase.WORKING) == (told(story, one), story.actor(one).phase)
    story.turn_ends(one)
    story.gone(one)
    story.tidied(one)
    assert (Status.SUCCESS, 2) == (story.actor(one).status, story.actor(one).reprompts)


def test_a_worker_that_waits_in_one_of_our_tools_is_answered_early_and_told_without_an_interrupt() -> None:
    story = at_work()
    one = story.spawns("lead")
    assert story.calls(one, c.KvWait(path="/shared/a", timeout_secs=60)) is None
    number = story.made

    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))

    early = story.answers()[number]
    assert isinstance(early, Answer)
    assert early.content["interrupted"] is True
    assert (0, ["this way"]) == (interrupts(story, one), told(story, one))
    order = [type(effect) for effect in story.last.effects]
    assert order.index(e.Tell) < order.index(e.AnswerCall), "else it might wait for something else before it hears"
    story.turn_ends(one)
    assert Phase.FINISHING is story.actor(one).phase


def test_a_call_that_would_wait_while_a_message_is_coming_is_answered_at_once() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))

    answer = story.calls(one, c.KvWait(path="/shared/a", timeout_secs=60))

    assert isinstance(answer, Answer)
    assert answer.content["interrupted"] is True


def test_a_worker_that_rests_is_told_at_once() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.when(s.BackgroundChanged(at=story.at, actor=ActorId(one), attempt=1, tasks=("local_agent: x",)))
    story.turn_ends(one)

    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))

    assert (0, ["this way"]) == (interrupts(story, one), told(story, one))
    story.when(s.BackgroundChanged(at=story.at, actor=ActorId(one), attempt=1, tasks=()))
    story.after(60.0)
    assert Phase.WORKING is story.actor(one).phase, "the turn it was told in has not ended"


def test_a_redirected_paused_worker_goes_on_with_the_message() -> None:
    story = at_work()
    one = paused(story)

    assert OK == story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))
    story.working(one)

    assert ("this way", 1) == (story.asked(e.StartSession)[-1].session.prompt, story.actor(one).reprompts)


def test_who_cannot_be_redirected_is_told_why() -> None:
    story = at_work()
    frozen, done, stopping = (story.spawns("lead") for _ in range(3))
    story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze"))
    story.succeeds(done)
    story.calls("lead", c.CancelWorker(target=stopping))
    answer = story.calls("lead", c.SpawnWorker(prompt="x"))
    assert isinstance(answer, Answer)
    pending = str(answer.content["task_id"])

    for name, fragment in (
        (frozen, "worker is frozen"),
        (done, "already completed"),
        (stopping, "is being stopped"),
        (pending, "still pending"),
    ):
        assert fragment in said(story.calls("lead", c.RepromptWorker(task_id=name, prompt="x")))
    story.prepared(pending)
    assert "not yet initialized" in said(story.calls("lead", c.RepromptWorker(task_id=pending, prompt="x")))


def test_what_is_said_before_a_session_begins_stands_in_its_opening_and_what_comes_then_is_told_when_it_answers() -> (
    None
):
    story = at_work()
    sub = leads(story)
    below = story.spawns(sub)
    story.calls("lead", c.PauseWorker(task_id=sub))
    story.calls("lead", c.CancelWorker(target=below, reason="while you are being paused"))
    story.gone(sub)
    story.calls("lead", c.ContinueWorker(task_id=sub))
    if story.actor(sub).phase is Phase.PREPARING:
        story.prepared(sub)
    other = story.spawns("lead")
    story.calls("lead", c.CancelWorker(target=other))
    story.when(s.OrderGiven(at=story.at, order=o.NoteActor(actor=ActorId(sub), text="while you start")))
    assert not told(story, sub)

    story.up(sub)

    assert 1 == story.prompt(sub).count("while you are being paused")
    (late,) = told(story, sub)
    assert late.endswith("while you start")


def test_an_interrupted_turn_settles_nothing_even_if_its_end_and_the_order_cross() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.RepromptWorker(task_id=one, prompt="this way"))
    story.turn_ends(one, a_result(0.2))  # it ended by itself before the interrupt came

    assert (Phase.WORKING, ["this way"]) == (story.actor(one).phase, told(story, one))
