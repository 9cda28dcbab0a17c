"""Who may start, and when."""

from pitboss.core import admission
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Failure
from pitboss.testing.doubles import Story, a_result, a_run, a_task


def retried(story: Story, name: str, *, status: int | None = 429, delay: float = 1.0) -> None:
    story.when(s.ApiRetried(at=story.at, actor=ActorId(name), attempt=1, status=status, delay_secs=delay))


def test_nothing_starts_before_the_guardian_watches() -> None:
    story = Story(a_run("a", "b"), guarded=False)

    assert {"a": "queued", "b": "queued"} == story.phases()

    story.when(s.GuardianUp(at=story.at, pid=7))

    assert {"a": "preparing", "b": "preparing"} == story.phases()


def test_starts_in_flight_are_limited_apart_from_the_cap() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=3, max_starts=1))

    assert {"a": "preparing", "b": "queued", "c": "queued"} == story.phases()

    story.prepared("a")
    assert "queued" == story.phases()["b"]

    story.up("a")
    assert {"a": "working", "b": "preparing", "c": "queued"} == story.phases()


def test_a_freed_slot_goes_to_the_next_task_in_manifest_order() -> None:
    story = Story(a_run("a", "b", "c", "d", max_parallel=2))
    story.working("a", "b")

    story.turn_ends("b")
    assert "queued" == story.phases()["c"]

    story.gone("b")

    assert {"a": "working", "b": "tidying", "c": "preparing", "d": "queued"} == story.phases()


def test_a_task_without_a_worktree_starts_its_session_at_once() -> None:
    story = Story(a_run(a_task("a", use_worktree=False)))

    assert "starting" == story.phases()["a"]
    (start,) = story.asked(e.StartSession)
    assert ("/repo", "session-a") == (start.session.cwd, start.session.session_id)


def test_the_session_id_is_in_the_journal_before_the_process_is_asked_for() -> None:
    story = Story(a_run(a_task("a", use_worktree=False)))

    assert "session-a" == story.told(f.ActorAdmitted)[0].session_id
    assert isinstance(story.last.facts[-1], f.ActorAdmitted)
    assert isinstance(story.last.effects[-1], e.StartSession)


def test_a_push_back_of_the_api_halves_the_starts_once_for_many_sessions() -> None:
    story = Story(a_run(*"abcdefgh", max_parallel=8, max_starts=4))
    story.working("a", "b")

    retried(story, "a")
    retried(story, "b")

    assert 2 == story.state.starts_limit
    assert [2] == [fact.limit for fact in story.told(f.StartsThrottled)]


def test_starting_recovers_by_steps() -> None:
    story = Story(a_run(*"abcdefgh", max_parallel=8, max_starts=4))
    story.working("a")
    retried(story, "a")

    story.after(admission.RECOVERY_STEP_SECS)
    assert 3 == story.state.starts_limit
    story.after(admission.RECOVERY_STEP_SECS)
    assert (4, 0.0) == (story.state.starts_limit, story.state.throttled_until)


def test_one_start_in_flight_becomes_none_while_the_api_pushes_back() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, max_starts=1))
    story.working("a")
    retried(story, "a", status=529, delay=30.0)
    story.working("b")
    story.succeeds("a")

    assert "queued" == story.phases()["c"]

    story.after(30.0)

    assert "preparing" == story.phases()["c"]


def test_a_rate_limit_with_a_reset_time_pauses_starting_until_then() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    story.fails("a", Failure(kind="rate_limit", resets_at=story.at + 1000.0))

    assert (0, "queued") == (story.state.starts_limit, story.phases()["b"])

    story.after(1000.0)

    assert "preparing" == story.phases()["b"]


def test_a_refused_login_ends_a_run_in_which_nothing_has_worked() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    story.turn_ends("a", a_result(0.0, is_error=True))
    story.gone("a", code=1, failure=Failure(kind="auth_failure"))

    assert 1 == story.state.exit_code
    assert "login" in story.told(f.DrainBegan)[0].by
    assert "queued" == story.phases()["b"]


def test_halt_on_failure_starts_nobody_more_but_lets_the_running_end() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, halt_on_failure=True))
    story.working("a", "b")

    story.fails("a")

    assert {"a": "settled", "b": "working", "c": "queued"} == story.phases()
    assert story.state.exit_code is None

    story.succeeds("b")

    ended = story.told(f.RunEnded)[0]
    assert (1, False) == (ended.exit_code, ended.was_interrupted)
    (end,) = story.asked(e.PublishRun)
    assert (("a", "b"), ("c",)) == (tuple(task.task_id for task in end.record.tasks), end.record.not_started)


def test_the_budget_is_shared_among_the_slots_and_what_is_left_comes_back() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, budget_usd=4.0))

    assert [2.0, 2.0] == [fact.allotment_usd for fact in story.told(f.ActorAdmitted)]

    story.working("a", "b")
    story.turn_ends("a", a_result(0.5))
    story.gone("a")

    assert 1.5 == story.told(f.ActorAdmitted)[2].allotment_usd


def test_a_run_whose_money_is_spent_starts_nobody_more() -> None:
    story = Story(a_run("a", "b", max_parallel=1, budget_usd=1.0))
    story.working("a")
    story.turn_ends("a", a_result(1.2))
    story.gone("a")
    story.tidied("a")

    assert (1, "queued") == (story.state.exit_code, story.phases()["b"])
    assert "budget" in story.told(f.DrainBegan)[0].by


def test_who_waits_for_money_that_others_hold_is_not_given_up() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=3, max_starts=3, budget_usd=0.025))

    assert [0.01, 0.01] == [fact.allotment_usd for fact in story.told(f.ActorAdmitted)]
    assert "queued" == story.phases()["c"]
    assert story.state.draining is None

    story.working("a", "b")
    story.turn_ends("a", a_result(0.001))
    story.gone("a")

    assert "preparing" == story.phases()["c"]
