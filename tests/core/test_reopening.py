"""A run that is taken over by another dispatcher: killed anywhere, it comes to the same end."""

import pytest

from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Failure, Heard, Phase, ResumeScope, SetAside, Status, Usage
from pitboss.testing.doubles import Story, a_result, a_run, a_task


def finish(story: Story) -> None:
    """A world in which everything goes well from here on."""
    for _ in range(60):
        if story.state.exit_code is not None:
            return
        if story.state.guardian_pid is None:
            story.when(s.GuardianUp(at=story.at, pid=2))
        for actor in list(story.state.actors.values()):
            step(story, actor.spec.id, actor.phase)
    raise AssertionError(f"it does not end: {story.phases()}")


def step(story: Story, name: ActorId, phase: Phase) -> None:
    match phase:
        case Phase.PREPARING:
            story.prepared(name)
        case Phase.STARTING:
            story.up(name)
        case Phase.WORKING:
            story.turn_ends(name, a_result(0.25), Usage(input=10))
        case Phase.FINISHING | Phase.STOPPING:
            story.gone(name)
        case Phase.TIDYING:
            story.tidied(name)
        case _:
            pass


def working(*names: str, **run: object) -> Story:
    story = Story(a_run(*names, **run))
    story.working(*[name for name in names if story.actor(name).phase is Phase.PREPARING])
    return story


def test_killed_after_any_fact_a_run_comes_to_the_same_end_exactly_once() -> None:
    whole = Story(a_run("a", a_task("b", use_worktree=False), "c", max_parallel=2))
    finish(whole)
    facts = list(whole.facts)

    for point in range(1, len(facts)):
        story = Story()
        story.facts = facts[:point]
        story.killed()
        began = [fact.actor for fact in story.told(f.SessionOpened)]
        story.reopened(*began)
        finish(story)

        assert whole.state.exit_code == story.state.exit_code, point
        assert {Status.SUCCESS} == {actor.status for actor in story.state.actors.values()}, point
        settled = [fact.actor for fact in story.told(f.ActorSettled)]
        assert sorted(settled) == sorted(whole.state.actors), f"killed after fact {point}: settled {settled}"


def test_who_was_cut_off_goes_on_in_its_own_session_and_place() -> None:
    story = working("a")
    story.when(s.UsageGrew(at=story.at, actor=ActorId("a"), attempt=1, usage=Usage(input=100)))
    spent = story.actor("a").cost_usd
    story.killed()

    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))

    prepare = story.asked(e.PrepareWorktree)
    assert prepare[0].path == prepare[1].path
    story.prepared("a")
    again = story.asked(e.StartSession)[-1].session
    assert ("session-a", True, 2) == (again.session_id, again.resume, again.attempt)
    assert again.prompt.startswith("You were cut off")
    assert again.prompt.endswith("do a")
    assert spent == story.actor("a").past_cost_usd


def test_a_session_without_a_transcript_starts_afresh_under_its_own_id() -> None:
    story = working("a")
    story.killed()
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.prepared("a")

    again = story.asked(e.StartSession)[-1].session
    assert ("session-a", False, "do a") == (again.session_id, again.resume, again.prompt)


def test_money_and_tokens_of_all_attempts_add_up() -> None:
    story = working("a")
    story.turn_ends("a", a_result(0.5), Usage(input=7))
    story.killed()
    story.facts = [fact for fact in story.facts if not isinstance(fact, f.StopBegan | f.RungReached)]
    story.killed()
    story.reopened("a")
    finish(story)

    (record,) = [effect.record for effect in story.asked(e.PublishTask)]
    assert (0.75, 17) == (record.cost_usd, record.usage.input)


def test_whose_work_had_ended_is_settled_and_not_run_again() -> None:
    story = working("a")
    story.turn_ends("a")
    story.killed()
    story.reopened("a")

    assert Phase.TIDYING is story.actor("a").phase
    story.tidied("a")
    assert (Status.SUCCESS, 1) == (story.actor("a").status, story.actor("a").attempt)


def test_who_settles_in_the_reopening_itself_is_published_once() -> None:
    tasks = [a_task(name, use_worktree=False) for name in "abc"]
    story = Story(a_run(*tasks, max_parallel=3, max_starts=3))
    story.working("a", "b", "c")
    story.turn_ends("a")
    story.turn_ends("b")
    story.killed()

    outcome = story.reopened("a", "b", "c")

    published = [effect for effect in outcome.effects if isinstance(effect, e.PublishTask | e.PublishTasks)]
    assert [e.PublishTasks] == [type(effect) for effect in published]
    assert [("a", "b")] == [tuple(one.task_id for one in effect.records) for effect in published]  # type: ignore[union-attr]


def test_settled_ones_are_left_alone_when_the_run_was_cut_off() -> None:
    story = working("a", "b", max_parallel=1)
    story.fails("a", Failure(kind="unknown", message="broke"))
    story.killed()
    story.reopened("a", "b")

    assert (Status.FAILED, 1) == (story.actor("a").status, story.actor("a").attempt)


@pytest.mark.parametrize(("scope", "again"), [(None, ["a"]), ("failed", ["a"]), ("all", ["a", "b"]), ("unsettled", [])])
def test_a_run_that_had_ended_takes_up_what_did_not_succeed(scope: ResumeScope | None, again: list[str]) -> None:
    story = working("a", "b")
    story.fails("a")
    story.succeeds("b")
    story.killed()

    story.reopened("a", "b", scope=scope)

    requeued = story.told(f.ActorRequeued)
    assert again == [fact.actor for fact in requeued]
    for fact in requeued:
        expected = ("session-a", True) if fact.actor == "a" else ("fresh-b", False)
        assert expected == (fact.session_id, fact.resume)


def test_an_operators_stop_is_forgotten_by_a_resume() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    story.when(s.Stop(at=story.at, by="SIGTERM"))
    story.gone("a")
    assert 130 == story.state.exit_code
    story.killed()

    story.reopened("a")
    finish(story)

    assert 0 == story.state.exit_code
    assert {Status.SUCCESS} == {actor.status for actor in story.state.actors.values()}


def test_a_time_out_that_was_due_stays_one() -> None:
    story = Story(a_run(a_task("a", use_worktree=False, timeout_secs=10)))
    story.up("a")
    story.after(10.0)
    story.killed()
    story.reopened("a")

    assert Status.TIMED_OUT is story.actor("a").status


def test_reports_of_the_old_attempt_change_nothing() -> None:
    story = working("a")
    story.killed()
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    before = story.state

    story.when(s.ProcessUp(at=story.at, actor=ActorId("a"), attempt=1, pid=9))

    assert before == story.state


def test_what_a_log_tells_beyond_the_last_report_is_counted_with_the_attempt_that_used_it() -> None:
    story = working("a")
    story.when(s.UsageGrew(at=story.at, actor=ActorId("a"), attempt=1, usage=Usage(input=100)))
    story.killed()

    heard = Heard(usage=Usage(input=2_000_000), exact_usage=Usage(input=1_000_000), exact_cost_usd=0.5)
    story.reopened("a", heard={ActorId("a"): heard})
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.prepared("a")
    story.up("a")
    story.turn_ends("a", a_result(0.25), Usage(input=7))

    assert (0.5 + 3.0 + 0.25, 2_000_007) == (story.actor("a").all_cost_usd, story.actor("a").all_usage.input)


def test_what_an_earlier_attempt_had_set_aside_stays_named_when_a_later_one_left_nothing() -> None:
    story = working("a", worktree_cleanup="always")
    story.fails("a")
    aside = SetAside(ref="refs/pitboss/r/a", commit="c0ffee", files=2)
    story.when(s.WorktreeTidied(at=story.at, actor=ActorId("a"), attempt=1, removed=True, set_aside=aside))
    story.killed()
    story.reopened("a", scope="failed")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.working("a")
    story.succeeds("a")

    assert (Status.SUCCESS, aside) == (story.actor("a").status, story.actor("a").set_aside)
    assert aside == story.asked(e.PublishTask)[-1].record.set_aside
