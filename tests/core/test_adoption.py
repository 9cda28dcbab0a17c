"""A run of Pitboss 0.9 that was adopted goes through the core like any other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pitboss.core import ledger
from pitboss.core.reopening import without_beginning
from pitboss.core.views import run_view, task_record
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, EarlierWork, Failure, Phase, ResumeScope, Status, Usage
from pitboss.testing.doubles import RUN, Story, a_run, a_task, a_tree
from pitboss.testing.laws import check_laws

TREE = "/repos/x-pitboss-a"
FAILED = f.ActorAdopted(
    at=1060.0,
    actor=ActorId("a"),
    attempt=1,
    status=Status.FAILED,
    started_at=1000.0,
    session_id="session-of-old",
    worktree=TREE,
    branch="pitboss-a",
    exit_code=3,
    usage=Usage(input=7, output=1),
    cost_usd=0.25,
    failure=Failure(kind="unknown", message="broke"),
    final_message="no",
)


def adopted(*facts: f.AnyFact, **run: object) -> Story:
    """A run whose journal was written by an adoption, ended unless it is said otherwise."""
    story = Story()
    opened = f.RunOpened(at=1000.0, run=a_run("a", "b", **run), pid=0, pitboss_version="0.9.2")
    story.facts = [opened, *facts]
    story.killed()
    return story


def ended(*facts: f.AnyFact, **run: object) -> Story:
    return adopted(*facts, f.RunEnded(at=1100.0, exit_code=1, was_interrupted=False), **run)


def test_a_record_comes_out_as_it_went_in() -> None:
    story = ended(FAILED)
    assert TaskRecord(
        task_id=ActorId("a"),
        status=Status.FAILED,
        exit_code=3,
        started_at=1000.0,
        ended_at=1060.0,
        worktree_path=TREE,
        log_path=f"/runs/{RUN}/tasks/a/stdout.log",
        usage=Usage(input=7, output=1),
        session_id="session-of-old",
        final_message="no",
        model="claude-sonnet-4-6",
        failure=Failure(kind="unknown", message="broke"),
        cost_usd=0.25,
        branch="pitboss-a",
    ) == task_record(story.state, ActorId("a"))
    view = run_view(story.state)
    assert [Phase.SETTLED, Phase.QUEUED] == [actor.phase for actor in view.actors]
    assert (1100.0, 0.25) == (view.ended_at, view.spent_usd)


def test_who_failed_is_taken_up_in_its_worktree_and_session_and_who_never_ran_is_started() -> None:
    story = ended(FAILED)
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))

    first, second = story.asked(e.PrepareWorktree)
    assert (TREE, True, f"/runs/{RUN}/worktrees/b", False) == (first.path, first.adopt, second.path, second.adopt)
    story.prepared("a")
    session = story.asked(e.StartSession)[-1].session
    assert ("session-of-old", True, 2) == (session.session_id, session.resume, session.attempt)
    assert 0.25 == story.actor("a").all_cost_usd


def test_a_worktree_that_cannot_be_taken_over_is_not_put_away_either() -> None:
    story = ended(FAILED, worktree_cleanup="always")
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.when(s.WorktreeRefused(at=story.at, actor=ActorId("a"), attempt=2, message="not on its branch"))
    assert Status.SPAWN_FAILED is story.actor("a").status
    assert [] == story.asked(e.TidyWorktree)


def test_one_that_was_removed_is_made_where_ours_are() -> None:
    story = ended(f.ActorAdopted(at=1.0, actor=ActorId("a"), attempt=1, worktree=TREE, worktree_removed=True))
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=2))
    assert (f"/runs/{RUN}/worktrees/a", False) == (
        story.asked(e.PrepareWorktree)[0].path,
        story.asked(e.PrepareWorktree)[0].adopt,
    )


def test_who_was_cut_off_goes_on_in_its_session_and_its_past_counts() -> None:
    cut_off = f.ActorAdopted(
        at=1000.0, actor=ActorId("a"), attempt=1, session_id="old", resume=True, usage=Usage(input=5), cost_usd=0.1
    )
    story = adopted(cut_off)
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.prepared("a")

    session = story.asked(e.StartSession)[-1].session
    assert ("old", True) == (session.session_id, session.resume)
    assert session.prompt.startswith("You were cut off")
    assert (5, 0.1) == (story.actor("a").past_usage.input, story.actor("a").past_cost_usd)


def test_what_its_next_worktree_may_be_made_from_has_no_beginning_until_it_was_taken_over() -> None:
    story = ended(FAILED)
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    first = story.asked(e.PrepareWorktree)[0]
    assert EarlierWork(cookie=f"{RUN}/a/1", base="", created_branch=False) == first.earlier

    story.prepared("a", created_branch=False)
    story.killed()
    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    again = next(effect for effect in story.asked(e.PrepareWorktree) if effect.attempt == 3)
    assert EarlierWork(cookie=f"{RUN}/a/2", base="c0ffee", created_branch=False) == again.earlier
    assert not again.adopt


def test_what_was_begun_under_0_9_cannot_begin_again_neither_now_nor_after_it_was_taken_over() -> None:
    story = ended(FAILED)
    named = [ActorId("a"), ActorId("b"), ActorId("no-task")]
    assert ["a", "no-task"] == without_beginning(story.state, named), "b never began, so it simply begins"

    story.reopened("a")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.prepared("a", created_branch=False)
    story.killed()
    assert ["a"] == without_beginning(story.state, named[:2]), "where it was taken over is not where it began"


def test_without_a_worktree_there_is_nothing_to_go_back_to_and_a_fresh_session_is_all() -> None:
    story = Story()
    run = a_run(a_task("a", use_worktree=False))
    opened = f.RunOpened(at=1000.0, run=run, pid=0, pitboss_version="0.9.2")
    past = f.ActorAdopted(at=1.0, actor=ActorId("a"), attempt=1, status=Status.SUCCESS, session_id="old")
    story.facts = [opened, past, f.RunEnded(at=1100.0, exit_code=0, was_interrupted=False)]
    story.killed()
    assert [] == without_beginning(story.state, [ActorId("a")])

    story.reopened("a", fresh=["a"])
    story.when(s.GuardianUp(at=story.at, pid=2))
    session = story.asked(e.StartSession)[-1].session
    assert ("fresh-a", False) == (session.session_id, session.resume)


# --- trees ------------------------------------------------------------------------------------------------------------


def member(name: str, parent: str = "lead", **changes: Any) -> f.ActorAdopted:
    """One that a lead had spawned under 0.9, and that has a record."""
    plain = f.ActorAdopted(
        at=1050.0,
        actor=ActorId(name),
        attempt=1,
        status=Status.FAILED,
        started_at=1010.0,
        cost_usd=0.5,
        spec=a_task(name, prompt="", model=""),
        role="sublead" if name.startswith("sub") else "worker",
        parent=ActorId(parent),
    )
    return msgspec.structs.replace(plain, **changes)


LEAD = f.ActorAdopted(
    at=1060.0,
    actor=ActorId("lead"),
    attempt=1,
    status=Status.FAILED,
    started_at=1000.0,
    session_id="session-of-old",
    cost_usd=0.25,
    briefing="Something is gone.",
)


def led(*facts: f.AnyFact) -> Story:
    story = Story()
    story.facts = [f.RunOpened(at=1000.0, run=a_tree(), pid=0, pitboss_version="0.9.2"), *facts]
    story.facts.append(f.RunEnded(at=1100.0, exit_code=1, was_interrupted=False))
    story.killed()
    check_laws(story.state)
    return story


def test_whom_a_lead_had_spawned_is_a_settled_member_of_its_tree_and_counts_once() -> None:
    counted: dict[str, Any] = {"pauses": 1, "reprompts": 2, "asked": 3, "approved": 2, "rejected": 1}
    story = led(member("w1", **counted), member("w2", "sub"), member("sub", status=Status.SUCCESS), LEAD)
    story.reopened("lead")
    story.when(s.GuardianUp(at=story.at, pid=2))

    assert 1.75 == story.state.spent_usd == ledger.account(story.state, "lead").spent
    assert ["lead", "w1", "sub", "w2"] == [actor.id for actor in run_view(story.state).actors]
    assert ["lead"] == [effect.session.actor for effect in story.asked(e.StartSession)]
    record = task_record(story.state, ActorId("w1"))
    assert ("lead", None, 1, 2) == (record.parent_task_id, record.model, record.pause_count, record.reprompt_count)
    assert (3, 2, 1) == (record.approvals_requested, record.approvals_approved, record.approvals_rejected)


@pytest.mark.parametrize("scope", ["unsettled", "failed", "all"])
def test_no_scope_takes_them_up_and_they_cannot_begin_again(scope: ResumeScope) -> None:
    story = led(member("w1", spec=a_task("w1", prompt="", use_worktree=False)), LEAD)
    assert ["w1"] == without_beginning(story.state, [ActorId("w1"), ActorId("lead")])
    story.reopened(scope=scope)
    wanted = [] if scope == "unsettled" else ["lead"]
    assert wanted == [fact.actor for fact in story.told(f.ActorRequeued)]


def test_a_lead_is_told_of_the_change_at_each_attempt_but_not_if_it_begins_again() -> None:
    story = led(LEAD)
    for _ in range(2):
        story.reopened("lead")
        story.when(s.GuardianUp(at=story.at, pid=2))
        session = story.asked(e.StartSession)[-1].session
        assert session.prompt.startswith("You were cut off")
        assert session.prompt.endswith("Something is gone. Your task was:\n\ndo lead")
        story.up("lead")
        story.killed()
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=2))
    assert "do lead\n\nSomething is gone." == story.asked(e.StartSession)[-1].session.prompt

    story.killed()
    story.reopened(fresh=["lead"])
    story.when(s.GuardianUp(at=story.at, pid=2))
    assert "do lead" == story.asked(e.StartSession)[-1].session.prompt


def test_a_worker_of_0_9_is_waited_for_and_listed_like_any_other_that_has_ended() -> None:
    story = led(member("w1", final_message="broke"), LEAD)
    story.reopened("lead")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.up("lead")
    answer = story.calls("lead", c.WaitForWorker(task_id="w1"))
    assert isinstance(answer, Answer), "it is answered at once"
    assert isinstance(story.calls("lead", c.ContinueWorker(task_id="w1")), Refused)
    assert isinstance(story.calls("lead", c.RepromptWorker(task_id="w1", prompt="go on")), Refused)
