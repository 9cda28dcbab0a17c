"""A run that is taken over by another dispatcher: killed anywhere, it comes to the same end."""

from collections.abc import Callable

import pytest

from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.run import ActorId, EarlierWork, Failure, Heard, Phase, ResumeScope, SetAside, Status, Usage
from pitboss.testing.doubles import RUN, Story, a_result, a_run, a_task


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


ASIDE = SetAside(ref=f"refs/pitboss/{RUN}/a", commit="5a7ed", files=2)


def put_away(set_aside: SetAside | None = ASIDE) -> Story:
    """One task has failed; its worktree was removed, and what it had left in it set aside."""
    story = working("a", worktree_cleanup="always")
    story.fails("a")
    story.tidied("a", set_aside=set_aside)
    story.killed()
    return story


def taken_up(story: Story) -> e.PrepareWorktree:
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    return story.asked(e.PrepareWorktree)[-1]


def test_what_was_set_aside_is_wanted_back_in_the_next_worktree() -> None:
    effect = taken_up(put_away())
    assert f"refs/pitboss/{RUN}/a" == effect.ref
    assert EarlierWork(cookie=f"{RUN}/a/1", base="c0ffee", created_branch=True, set_aside=ASIDE) == effect.earlier


def test_nothing_is_wanted_back_while_its_worktree_stands() -> None:
    story = working("a", worktree_cleanup="never")
    story.fails("a")
    story.killed()
    effect = taken_up(story)
    assert EarlierWork(cookie=f"{RUN}/a/1", base="c0ffee", created_branch=True) == effect.earlier
    assert [None] == [first.earlier for first in story.asked(e.PrepareWorktree)[:1]]


def test_it_is_wanted_back_until_the_worktree_is_made_and_not_after() -> None:
    story = put_away()
    taken_up(story)
    story.killed()
    again = taken_up(story)
    assert (3, ASIDE) == (again.attempt, again.earlier and again.earlier.set_aside)

    story.prepared("a", brought_back=ASIDE)
    assert [ASIDE] == [fact.brought_back for fact in story.told(f.WorktreeMade)[1:]]
    story.killed()
    last = taken_up(story)
    assert EarlierWork(cookie=f"{RUN}/a/3", base="c0ffee", created_branch=True) == last.earlier


def test_a_worktree_that_could_not_be_made_again_leaves_what_is_set_aside_in_the_record() -> None:
    story = put_away()
    effect = taken_up(story)
    tidied = len(story.asked(e.TidyWorktree))
    story.when(s.WorktreeRefused(at=story.at, actor=ActorId("a"), attempt=effect.attempt, message="no"))
    record = story.asked(e.PublishTask)[-1].record
    assert (Status.SPAWN_FAILED, ASIDE) == (record.status, record.set_aside)
    assert tidied == len(story.asked(e.TidyWorktree)), "there is none to be put away"
    assert taken_up(story).earlier == effect.earlier


def test_what_could_not_be_brought_back_is_said_in_the_record() -> None:
    story = put_away()
    taken_up(story)
    story.prepared("a", message="the ref is gone")
    finish(story)
    assert "the ref is gone" == story.asked(e.PublishTask)[-1].record.note


def test_what_was_found_in_a_worktrees_place_is_in_the_record_of_one_who_was_cut_off() -> None:
    story = working("a")
    story.killed()
    taken_up(story)
    story.prepared("a", set_aside=ASIDE)
    assert ASIDE == story.actor("a").set_aside


def begun_again(story: Story, *names: str, transcripts: tuple[str, ...] = ("a", "b")) -> None:
    story.killed()
    story.reopened(*transcripts, fresh=names)
    story.when(s.GuardianUp(at=story.at, pid=2))


def cut_off() -> Story:
    return working("a", "b")


def finishing() -> Story:
    story = working("a", "b")
    story.turn_ends("a")
    return story


def tidying() -> Story:
    story = finishing()
    story.gone("a")
    assert Phase.TIDYING is story.actor("a").phase
    return story


def failed() -> Story:
    story = working("a", "b", worktree_cleanup="always")
    story.fails("a")
    story.tidied("a", set_aside=ASIDE)
    return story


def succeeded() -> Story:
    story = working("a", "b")
    story.succeeds("a")
    return story


@pytest.mark.parametrize("before", [cut_off, finishing, tidying, failed, succeeded])
def test_however_far_a_task_had_come_it_can_begin_again_from_the_start(before: Callable[[], Story]) -> None:
    story = before()
    spent = story.actor("a").all_cost_usd or 0.0
    begun_again(story, "a")

    (effect,) = [asked for asked in story.asked(e.PrepareWorktree) if asked.actor == "a" and asked.attempt == 2]
    assert EarlierWork(cookie=f"{RUN}/a/1", base="c0ffee", created_branch=True) == effect.earlier
    assert effect.fresh
    story.prepared("a")
    session = story.asked(e.StartSession)[-1].session
    assert ("fresh-a", False, "do a") == (session.session_id, session.resume, session.prompt)
    story.up("a")
    story.turn_ends("a", a_result(0.25))
    assert spent + 0.25 == story.actor("a").all_cost_usd


def test_one_beside_it_goes_on_in_its_own_session() -> None:
    story = working("a", "b")
    begun_again(story, "a")
    asked = {effect.actor: effect.fresh for effect in story.asked(e.PrepareWorktree)[2:]}
    assert {"a": True, "b": False} == asked
    assert story.actor("b").resume


def test_a_fresh_session_has_an_id_of_its_own_even_if_the_old_one_left_no_transcript() -> None:
    story = working("a")
    begun_again(story, "a", transcripts=())
    assert "fresh-a" == story.actor("a").session_id


@pytest.mark.parametrize(
    ("scope", "again"), [(None, ["b"]), ("unsettled", ["b"]), ("failed", ["a", "b"]), ("all", ["a", "b", "c"])]
)
def test_of_a_run_that_had_ended_only_those_named_begin_again(scope: ResumeScope | None, again: list[str]) -> None:
    story = working("a", "b", "c", max_parallel=3, max_starts=3)
    story.fails("a")
    story.fails("b")
    story.succeeds("c")
    story.killed()

    story.reopened("a", "b", "c", scope=scope, fresh=["b"])

    requeued = story.told(f.ActorRequeued)
    assert again == [fact.actor for fact in requeued]
    assert ["b"] == [fact.actor for fact in requeued if fact.fresh]


def test_it_is_asked_again_until_the_worktree_is_made_and_not_after() -> None:
    story = working("a")
    begun_again(story, "a")
    begun_again(story, transcripts=())
    effect = story.asked(e.PrepareWorktree)[-1]
    assert (3, True, "fresh-a") == (effect.attempt, effect.fresh, story.actor("a").session_id)
    assert effect.earlier is not None
    assert f"{RUN}/a/1" == effect.earlier.cookie, "the work is that of the first attempt"

    story.prepared("a", set_aside=ASIDE, message=f"kept as {ASIDE.ref}")
    begun_again(story)
    again = story.asked(e.PrepareWorktree)[-1]
    assert (4, False, True) == (again.attempt, again.fresh, story.actor("a").resume)


def test_killed_before_it_got_a_slot_it_is_still_to_begin_again() -> None:
    story = working("a")
    story.killed()
    story.reopened("a", fresh=["a"])
    story.killed()
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=2))
    assert story.asked(e.PrepareWorktree)[-1].fresh


def test_one_that_waits_for_its_next_attempt_can_be_told_to_begin_again() -> None:
    story = working("a")
    story.killed()
    story.reopened("a")
    assert (Phase.QUEUED, True) == (story.actor("a").phase, story.actor("a").resume)
    begun_again(story, "a")
    assert (True, False) == (story.asked(e.PrepareWorktree)[-1].fresh, story.actor("a").resume)


def test_one_that_never_began_simply_begins() -> None:
    story = working("a", "b", max_parallel=1)
    begun_again(story, "b")
    assert [] == story.told(f.ActorRequeued)
    assert Phase.QUEUED is story.actor("b").phase


def test_refused_it_is_asked_for_again_when_the_task_is_taken_up_again() -> None:
    story = working("a")
    begun_again(story, "a")
    story.when(s.WorktreeRefused(at=story.at, actor=ActorId("a"), attempt=2, message="checked out elsewhere"))
    assert Status.SPAWN_FAILED is story.actor("a").status
    begun_again(story, transcripts=())
    assert (True, "fresh-a") == (story.asked(e.PrepareWorktree)[-1].fresh, story.actor("a").session_id)


def test_without_a_worktree_only_the_session_is_fresh() -> None:
    story = Story(a_run(a_task("a", use_worktree=False)))
    story.up("a")
    begun_again(story, "a")
    session = story.asked(e.StartSession)[-1].session
    assert ("fresh-a", False, "do a") == (session.session_id, session.resume, session.prompt)
    assert not story.actor("a").fresh
    story.up("a")
    begun_again(story)
    assert story.asked(e.StartSession)[-1].session.resume


def test_a_task_that_was_stopped_before_it_began_has_nothing_to_leave_behind() -> None:
    story = Story(a_run("a", "b", max_parallel=1))
    story.working("a")
    story.when(s.OrderGiven(at=story.at, order=o.CancelActor(actor=ActorId("b"))))
    assert (Status.CANCELLED, 0) == (story.actor("b").status, story.actor("b").attempt)
    story.succeeds("a")
    begun_again(story, "b")
    assert (1, False) == (story.actor("b").attempt, story.asked(e.PrepareWorktree)[-1].fresh)


def test_a_task_that_continues_a_session_of_another_run_begins_again_without_it() -> None:
    story = Story(a_run(a_task("a", resume_session_id="theirs")))
    story.working("a")
    first = story.asked(e.StartSession)[-1].session
    assert ("theirs", True) == (first.session_id, first.resume)
    begun_again(story, "a")
    story.prepared("a")
    session = story.asked(e.StartSession)[-1].session
    assert ("fresh-a", False) == (session.session_id, session.resume)


def test_where_its_old_work_is_kept_is_said_in_the_record() -> None:
    story = working("a")
    begun_again(story, "a")
    story.prepared("a", set_aside=ASIDE, message=f"kept as {ASIDE.ref}")
    finish(story)
    assert f"kept as {ASIDE.ref}" == story.asked(e.PublishTask)[-1].record.note


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
