"""Orders that cross with what happens, or with each other: whatever comes first holds, and the rest is told so."""

from __future__ import annotations

import pytest

from pitboss.model import effects as e
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Certificate, Phase, Status
from pitboss.testing.doubles import Story, a_result, a_run, a_task

A = ActorId("a")
INTERRUPTED = a_result(0.1, is_error=True, subtype="error_during_execution")


def at_work(**changes: object) -> Story:
    story = Story(a_run(a_task("a", timeout_secs=100), "b", max_parallel=2, max_starts=2, **changes))
    story.working("a", "b")
    return story


def give(story: Story, order: o.AnyOrder, order_id: str = "") -> Answer | Refused:
    given = s.OrderGiven(at=story.at, order=order, reply_to="r", order_id=order_id)
    (answer,) = [effect.answer for effect in story.when(given).effects if isinstance(effect, e.AnswerOrder)]
    return answer


def told(story: Story) -> list[str]:
    return [tell.text for tell in story.asked(e.Tell) if tell.actor == A]


# --- with what happens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", ["turn_ends", "gone"])
def test_a_cancel_that_comes_while_an_actor_settles_changes_nothing_of_its_success(until: str) -> None:
    story = at_work(worktree_cleanup="always")
    story.turn_ends("a")
    if until == "gone":
        story.gone("a")

    answer = give(story, o.CancelActor(actor=A))

    assert isinstance(answer, Answer)
    assert not answer.content["changed"]
    if until != "gone":
        story.gone("a")
    story.tidied("a")
    assert Status.SUCCESS is story.actor("a").status


def test_a_frozen_task_has_no_time_out_and_what_it_had_left_when_it_goes_on() -> None:
    story = at_work()
    story.after(60.0)
    give(story, o.PauseActor(actor=A, mode="freeze"))
    story.after(10_000.0)
    assert Phase.FROZEN is story.actor("a").phase

    give(story, o.ContinueActor(actor=A))
    story.after(39.0)
    assert Phase.WORKING is story.actor("a").phase
    story.after(1.0)
    story.gone("a")
    story.tidied("a")
    assert Status.TIMED_OUT is story.actor("a").status


def test_a_pause_that_comes_as_the_time_is_up_is_too_late_or_in_time() -> None:
    for late in (False, True):
        story = at_work()
        story.clock.turn(100.0)
        signals: list[s.AnySignal] = [
            s.OrderGiven(at=story.at, order=o.PauseActor(actor=A)),
            s.Tick(at=story.at),
        ]
        for signal in reversed(signals) if late else signals:
            story.when(signal)
        story.gone("a")
        assert (Phase.SETTLED if late else Phase.PAUSED) is story.actor("a").phase


def test_a_task_that_ends_by_itself_while_it_is_being_paused_is_paused_and_goes_on_when_told_to() -> None:
    story = at_work()
    give(story, o.PauseActor(actor=A))
    story.turn_ends("a")
    story.gone("a")
    assert Phase.PAUSED is story.actor("a").phase

    give(story, o.ContinueActor(actor=A, prompt="is that all?"))
    story.working("a")
    story.succeeds("a")
    assert (Status.SUCCESS, 1) == (story.actor("a").status, story.actor("a").pauses)


def test_who_could_not_be_paused_for_sure_has_ended_and_cannot_go_on() -> None:
    story = at_work()
    give(story, o.PauseActor(actor=A))
    story.gone("a", certificate=Certificate(exit_code=0, cookie_empty=False))

    answer = give(story, o.ContinueActor(actor=A))

    assert isinstance(answer, Refused)
    assert (Status.CANCELLED, "done") == (story.actor("a").status, answer.extra["state"])


def test_a_paused_task_gives_its_slot_away_and_waits_for_one_when_it_is_to_go_on() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    give(story, o.PauseActor(actor=A))
    story.gone("a")
    assert Phase.PREPARING is story.actor("b").phase

    answer = give(story, o.ContinueActor(actor=A))

    assert isinstance(answer, Answer)
    assert "pending" == answer.content["state"]
    story.working("b")
    story.succeeds("b")
    assert Phase.PREPARING is story.actor("a").phase


def test_a_time_out_that_is_lowered_below_what_has_passed_is_up_at_the_next_look() -> None:
    story = at_work()
    story.after(50.0)
    give(story, o.ChangeLimits(actor=A, timeout_secs=10))
    story.when(s.Tick(at=story.at))
    assert Phase.STOPPING is story.actor("a").phase


def test_a_budget_that_is_raised_when_it_was_spent_already_says_that_nobody_is_started_any_more() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, budget_usd=0.02))
    story.working("a")
    give(story, o.PauseActor(actor=A, mode="freeze"))
    give(story, o.DrainRun(reason="enough"))

    answer = give(story, o.ChangeLimits(budget_usd=50.0))

    assert isinstance(answer, Answer)
    assert ("operator: enough", 50.0) == (answer.content["draining"], answer.content["budget_usd"])
    assert Phase.QUEUED is story.actor("c").phase


# --- with each other --------------------------------------------------------------------------------------------------


def test_of_a_pause_and_a_cancel_the_cancel_holds_in_whatever_order_they_come() -> None:
    for first, second in (
        (o.PauseActor(actor=A), o.CancelActor(actor=A)),
        (o.CancelActor(actor=A), o.PauseActor(actor=A)),
    ):
        story = at_work()
        assert isinstance(give(story, first), Answer)
        answer = give(story, second)
        assert isinstance(answer, Answer if isinstance(second, o.CancelActor) else Refused)
        story.turn_ends("a", INTERRUPTED)
        story.gone("a")
        story.tidied("a")
        assert Status.CANCELLED is story.actor("a").status


def test_two_redirections_are_one_interrupt_and_both_are_heard_in_order() -> None:
    story = at_work()
    for words in ("left", "right"):
        assert isinstance(give(story, o.RedirectActor(actor=A, prompt=words)), Answer)
    story.turn_ends("a", INTERRUPTED)

    assert (1, ["left\n\nright"]) == (len(story.asked(e.Interrupt)), told(story))


def test_a_turn_that_ends_before_a_note_is_read_ends_no_work() -> None:
    story = at_work()
    give(story, o.NoteActor(actor=A, text="mind the gap"))

    story.turn_ends("a", heard=1)  # the opening message, not the note, which gets a turn of its own
    assert (None, None) == (story.actor("a").stopping, story.actor("a").turn)
    story.turn_ends("a", heard=2)

    stopping = story.actor("a").stopping
    assert stopping is not None
    assert "finished" == stopping.reason


def test_a_redirection_does_not_wait_for_the_turn_of_a_note_that_was_not_read_yet() -> None:
    story = at_work()
    give(story, o.NoteActor(actor=A, text="mind the gap"))
    give(story, o.RedirectActor(actor=A, prompt="left"))

    story.turn_ends("a", INTERRUPTED, heard=1)
    assert "left" == told(story)[-1]
    story.turn_ends("a", heard=2)
    assert story.actor("a").stopping is None

    story.turn_ends("a", heard=3)
    assert story.actor("a").stopping is not None


def test_a_note_during_a_pause_is_heard_once_when_the_task_goes_on() -> None:
    story = at_work()
    give(story, o.PauseActor(actor=A))
    assert isinstance(give(story, o.NoteActor(actor=A, text="mind the gap"), "n"), Answer)
    story.gone("a")
    assert isinstance(give(story, o.NoteActor(actor=A, text="mind the gap"), "n"), Answer)
    assert not told(story)

    give(story, o.ContinueActor(actor=A))
    story.working("a")

    assert 1 == story.prompt("a").count("mind the gap")
    assert not told(story)


def test_a_stop_holds_for_everyone_whatever_was_ordered_of_them_before() -> None:
    story = at_work()
    give(story, o.PauseActor(actor=A, mode="freeze"))
    give(story, o.PauseActor(actor=ActorId("b")))

    give(story, o.StopRun(reason="enough"))
    for name in ("a", "b"):
        assert isinstance(give(story, o.ContinueActor(actor=ActorId(name))), Refused)
        story.gone(name)
        story.tidied(name)

    assert (130, {Status.CANCELLED}) == (story.state.exit_code, {one.status for one in story.state.actors.values()})


def test_an_order_after_the_end_is_told_so_and_one_from_before_it_is_answered_as_it_was() -> None:
    story = at_work()
    before = give(story, o.NoteActor(actor=A, text="mind the gap"), "n")
    for name in ("a", "b"):
        story.succeeds(name)
    assert 0 == story.state.exit_code

    assert before == give(story, o.NoteActor(actor=A, text="mind the gap"), "n")
    late = give(story, o.NoteActor(actor=A, text="mind the gap"), "m")
    assert isinstance(late, Refused)
    assert "the run has ended" in late.message
