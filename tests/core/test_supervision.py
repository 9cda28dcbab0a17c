"""How actors end: the ladder, deadlines, the verdict."""

import pytest

from pitboss.core import supervision
from pitboss.core.lifecycle import NEXT, IllegalStep, check
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Certificate, Failure, Phase, Status, Usage
from pitboss.testing.doubles import Story, a_result, a_run, a_task


def one(**changes: object) -> Story:
    """A run with one task without a worktree, at work."""
    story = Story(a_run(a_task("a", use_worktree=False, **changes)))
    story.up("a")
    return story


def background(story: Story, *tasks: str) -> None:
    story.when(s.BackgroundChanged(at=story.at, actor=ActorId("a"), attempt=1, tasks=tasks))


def test_a_result_without_background_work_ends_the_session() -> None:
    story = one()

    story.turn_ends("a")

    assert ("finishing", ["close_stdin"]) == (story.phases()["a"], story.rungs("a"))


def test_a_result_is_not_the_end_while_a_subagent_works() -> None:
    story = one()
    background(story, "local_agent: sub")

    story.turn_ends("a")
    story.after(3000.0)
    assert "working" == story.phases()["a"]

    background(story)
    story.turn_ends("a")

    assert "finishing" == story.phases()["a"]


def test_a_session_that_says_nothing_after_its_last_background_task_is_done() -> None:
    story = one()
    background(story, "local_agent: sub")
    story.turn_ends("a")
    background(story)

    story.after(supervision.QUIET_AFTER_BACKGROUND_SECS)

    assert "finishing" == story.phases()["a"]


def test_a_shell_that_never_ends_gets_a_grace_and_the_record_says_so() -> None:
    story = one()
    background(story, "local_bash: dev server")
    story.turn_ends("a")

    story.after(59.0)
    assert "working" == story.phases()["a"]

    story.after(1.0)
    story.after(3.0)
    story.gone("a", code=143, failure=Failure(kind="process_died"))

    assert ["close_stdin", "term"] == story.rungs("a")
    assert Status.SUCCESS is story.actor("a").status
    assert "dev server" in story.actor("a").note


def test_of_two_deadlines_that_a_long_sleep_has_passed_the_earlier_counts() -> None:
    """A laptop was closed: the grace of a shell and the time limit of its actor are both over."""
    story = one(timeout_secs=100)
    background(story, "local_bash: dev server")
    story.turn_ends("a")

    story.after(1000.0)

    assert ("finishing", ["close_stdin"]) == (story.phases()["a"], story.rungs("a"))


def test_a_time_out_interrupts_first_so_that_the_account_is_exact() -> None:
    story = one(timeout_secs=60)

    story.after(60.0)
    assert ["interrupt"] == story.rungs("a")

    story.turn_ends("a", a_result(0.25, is_error=True, subtype="error_during_execution"))
    assert ["interrupt", "close_stdin"] == story.rungs("a")

    story.gone("a")

    actor = story.actor("a")
    assert (Status.TIMED_OUT, 0.25) == (actor.status, actor.cost_usd)


def test_the_time_out_counts_from_the_process_and_not_from_the_admission() -> None:
    story = Story(a_run(a_task("a", timeout_secs=60)))
    story.after(500.0)
    story.working("a")

    story.after(59.0)
    assert "working" == story.phases()["a"]

    story.after(1.0)
    assert "stopping" == story.phases()["a"]


def test_a_process_that_ignores_everything_is_killed_and_then_declared_unverifiable() -> None:
    story = one(timeout_secs=60)
    story.after(60.0)

    for _ in range(3 + supervision.KILL_TRIES):
        due = supervision.next_deadline(story.state)
        assert due is not None
        story.after(due - story.at)

    assert ["interrupt", "close_stdin", "term", "kill", "kill", "kill"] == story.rungs("a")
    assert (Status.TIMED_OUT, True) == (story.actor("a").status, "unverifiable" in story.actor("a").note)
    assert supervision.next_deadline(story.state) is None


def test_one_interrupt_drains_and_a_second_within_five_seconds_stops() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")

    story.when(s.Interrupted(at=story.at, by="SIGINT"))
    assert ("working", []) == (story.phases()["a"], story.rungs("a"))

    story.clock.turn(4.9)
    story.when(s.Interrupted(at=story.at, by="SIGINT"))

    assert ("stopping", ["interrupt"]) == (story.phases()["a"], story.rungs("a"))


def test_a_later_interrupt_opens_a_new_window() -> None:
    story = one()
    story.when(s.Interrupted(at=story.at, by="SIGINT"))
    story.clock.turn(5.1)
    story.when(s.Interrupted(at=story.at, by="SIGINT"))

    assert "working" == story.phases()["a"]

    story.clock.turn(1.0)
    story.when(s.Interrupted(at=story.at, by="SIGINT"))

    assert "stopping" == story.phases()["a"]


def test_an_interrupt_counts_although_the_run_was_halting_by_itself() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, halt_on_failure=True))
    story.working("a", "b")
    story.fails("a")
    story.when(s.Interrupted(at=story.at, by="SIGINT"))
    assert "working" == story.phases()["b"]

    story.succeeds("b")

    assert (130, True) == (story.state.exit_code, story.state.was_interrupted)


def test_a_stop_before_the_process_exists_never_starts_it() -> None:
    story = Story(a_run("a"))
    story.when(s.Stop(at=story.at, by="SIGTERM"))
    story.prepared("a")

    assert [] == story.asked(e.StartSession)
    assert Status.CANCELLED is story.actor("a").status
    assert 130 == story.state.exit_code


def test_a_stop_does_not_turn_finished_work_into_a_cancellation() -> None:
    story = one()
    story.turn_ends("a")
    story.when(s.Stop(at=story.at, by="SIGTERM"))

    assert ["close_stdin", "term"] == story.rungs("a")

    story.gone("a", code=143, failure=Failure(kind="process_died"))

    assert Status.SUCCESS is story.actor("a").status


def test_an_exit_without_a_result_is_a_failure() -> None:
    story = one()
    story.gone("a", code=0, failure=Failure(kind="no_result", message="nothing came"))

    assert Status.FAILED is story.actor("a").status


def test_a_result_with_an_error_is_a_failure_whatever_its_subtype() -> None:
    story = one()
    story.turn_ends("a", a_result(is_error=True, subtype="success"))
    story.gone("a", code=1, failure=Failure(kind="overloaded"))

    failure = story.actor("a").failure
    assert failure is not None
    assert (Status.FAILED, "overloaded") == (story.actor("a").status, failure.kind)


def test_a_worktree_of_an_unproven_end_is_never_removed() -> None:
    story = Story(a_run("a", worktree_cleanup="always"))
    story.working("a")
    story.turn_ends("a")
    story.gone("a", certificate=Certificate(exit_code=0, cookie_empty=False))

    assert [] == story.asked(e.TidyWorktree)
    assert "unverifiable" in story.actor("a").note


@pytest.mark.parametrize(
    ("mode", "success", "removes"),
    [
        ("always", True, True),
        ("always", False, True),
        ("on_success", True, True),
        ("on_success", False, False),
        ("never", True, False),
        ("never", False, False),
    ],
)
def test_worktrees_are_removed_as_the_manifest_says(mode: str, success: bool, removes: bool) -> None:
    story = Story(a_run("a", worktree_cleanup=mode))
    story.working("a")
    story.turn_ends("a", a_result(is_error=not success))
    story.gone("a", failure=None if success else Failure(kind="unknown"))

    assert removes == bool(story.asked(e.TidyWorktree))


def test_late_news_is_recorded_and_changes_nothing() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    story.succeeds("a")
    before = story.state

    story.when(s.UsageGrew(at=story.at, actor=ActorId("a"), attempt=1, usage=Usage(input=9)))
    story.when(s.ProcessUp(at=story.at, actor=ActorId("b"), attempt=7, pid=1))
    story.when(s.ProcessUp(at=story.at, actor=ActorId("nobody"), attempt=1, pid=1))

    assert before == story.state
    assert 3 == len(story.told(f.NewsIgnored))


def test_money_is_exact_at_a_turns_end_and_estimated_after_it() -> None:
    story = one(model="claude-haiku-4-5")
    background(story, "local_agent: sub")
    story.turn_ends("a", a_result(0.5), Usage(input=1000))
    story.when(s.UsageGrew(at=story.at, actor=ActorId("a"), attempt=1, usage=Usage(input=1_001_000)))

    assert 1.5 == story.actor("a").cost_usd

    background(story)
    story.turn_ends("a", a_result(1.4), Usage(input=1_001_000))

    assert 1.4 == story.actor("a").cost_usd


def test_an_actor_whose_driver_broke_is_unverifiable_and_not_forgotten() -> None:
    story = one()
    story.when(s.EffectFailed(at=story.at, effect="StartSession", message="boom", actor=ActorId("a"), attempt=1))

    assert (Status.FAILED, True) == (story.actor("a").status, "unverifiable" in story.actor("a").note)


def test_a_guardian_that_cannot_be_kept_ends_the_starting() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    for _ in range(5):
        story.when(s.GuardianDown(at=story.at, message="no memory"))

    assert "guardian" in story.told(f.DrainBegan)[0].by
    story.succeeds("a")
    assert 1 == story.state.exit_code


def test_an_illegal_step_raises_and_says_which() -> None:
    with pytest.raises(IllegalStep, match="cannot go from settled to working"):
        check(ActorId("a"), Phase.SETTLED, Phase.WORKING)


def test_every_phase_but_the_last_leads_to_the_end() -> None:
    reachable = {Phase.SETTLED}
    for _ in Phase:
        reachable |= {phase for phase, following in NEXT.items() if following & reachable}

    assert set(Phase) == reachable
