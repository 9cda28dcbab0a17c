"""Whoever was cut off, or called away, before it heard the answer asks again: for the same thing, the same request."""

from __future__ import annotations

from typing import Any

import pytest

from pitboss.core.approvals import INPUT_CHARS
from pitboss.core.decide import decide
from pitboss.core.state import RunState, evolve
from pitboss.model import approval_facts as a
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.calls import RequestApproval
from pitboss.model.run import ActorId, Policy, Rule, RunSpec, Status
from pitboss.testing.doubles import Story, a_result, a_run, a_task, a_tree

ASK = RequestApproval(summary="push to main")
GUARDED = Policy(rules=(Rule(action="block", tool="Write"),))


def lead() -> Story:
    story = Story(a_tree())
    story.up("lead")
    return story


def guarded(*, name: str = "a") -> Story:
    run: RunSpec = a_run(a_task(name, use_worktree=False), policy=GUARDED)
    story = Story(run)
    story.up(name)
    return story


def rule_on(story: Story, *, approved: bool, absent: bool = False, reason: str | None = None) -> Answer | Refused:
    name = next(reversed(story.state.approvals))
    said = o.AnswerApproval(request_id=name, approved=approved, reason=reason)
    order = s.OrderGiven(at=story.at, order=said, reply_to="o", absent=absent)
    (told,) = [effect.answer for effect in story.when(order).effects if isinstance(effect, e.AnswerOrder)]
    return told


def deed(story: Story, content: str, hook: str) -> list[e.AnswerDeed]:
    """``a`` is about to write a file; what it is told at once."""
    outcome = story.when(
        s.DeedAsked(
            at=story.at,
            actor=ActorId("a"),
            attempt=story.actor("a").attempt,
            request_id=hook,
            tool="Write",
            input={"file_path": "x", "content": content},
            summary="x",
            minted=hook,
        )
    )
    return [effect for effect in outcome.effects if isinstance(effect, e.AnswerDeed)]


def next_dispatcher(story: Story, name: str) -> None:
    story.reopened(name)
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.up(name)


# --- tool calls that were held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("approved", [True, False])
def test_a_tool_call_that_was_held_hears_what_was_decided_meanwhile(approved: bool) -> None:
    story = guarded()
    assert [] == deed(story, "hello", "h1")
    story.killed()
    rule_on(story, approved=approved, absent=True, reason="because")
    next_dispatcher(story, "a")

    (told,) = deed(story, "hello", "h2")

    assert ("h2", approved) == (told.request_id, told.allowed)
    assert 1 == len(story.state.approvals)
    assert ("allow" if approved else "deny") == story.told(f.ToolUsed)[-1].verdict
    assert [] == deed(story, "hello", "h3"), "it was heard: the next one is another request"


def test_a_tool_call_that_is_still_undecided_waits_on_at_its_new_hook() -> None:
    story = guarded()
    deed(story, "hello", "h1")
    story.killed()
    next_dispatcher(story, "a")
    assert [] == deed(story, "hello", "h2")
    assert 1 == len(story.state.approvals)

    rule_on(story, approved=True)

    (told,) = story.asked(e.AnswerDeed)
    assert ("h2", True) == (told.request_id, told.allowed)


def test_another_call_does_not_profit_from_what_was_approved() -> None:
    """Not even one that differs only in what is too long to be shown."""
    story = guarded()
    long = "x" * INPUT_CHARS
    deed(story, long + "good", "h1")
    story.killed()
    rule_on(story, approved=True, absent=True)
    next_dispatcher(story, "a")

    assert [] == deed(story, long + "evil", "h2")
    assert 2 == len(story.state.approvals)
    (told,) = deed(story, long + "good", "h3")
    assert told.allowed


def test_two_calls_alike_at_the_same_time_are_two_requests() -> None:
    story = guarded()
    deed(story, "hello", "h1")
    deed(story, "hello", "h2")
    assert 2 == len(story.state.approvals)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_one_that_was_called_away_from_its_question_takes_the_same_one_up_again() -> None:
    story = lead()
    story.calls("lead", ASK)
    story.when(s.CallDropped(at=story.at, actor=ActorId("lead"), attempt=1, call_id=story.made))

    assert None is story.calls("lead", ASK)

    assert 1 == len(story.state.approvals)
    rule_on(story, approved=True)
    told = story.answers()[story.made]
    assert isinstance(told, Answer)
    assert True is told.content["approved"]


@pytest.mark.parametrize("other", [{"cost_estimate": 500.0}, {"category": "cost"}])
def test_a_request_at_another_price_or_of_another_kind_is_another_request(other: dict[str, Any]) -> None:
    story = lead()
    story.calls("lead", RequestApproval(summary="push to main", cost_estimate=1.0))
    story.killed()
    rule_on(story, approved=True, absent=True)
    next_dispatcher(story, "lead")

    known: dict[str, Any] = {"summary": "push to main", "cost_estimate": 1.0}
    assert None is story.calls("lead", RequestApproval(**(known | other)))
    assert 2 == len(story.state.approvals)

    assert isinstance(story.calls("lead", RequestApproval(**known)), Answer)


def test_a_refusal_that_is_heard_after_a_resume_is_how_its_asker_ended() -> None:
    story = lead()
    story.calls("lead", ASK)
    story.killed()
    rule_on(story, approved=False, absent=True)
    next_dispatcher(story, "lead")
    assert isinstance(story.calls("lead", ASK), Answer)

    story.turn_ends("lead")
    story.gone("lead")

    assert Status.APPROVAL_REJECTED is story.actor("lead").status


def test_whoever_ended_while_it_asked_asks_anew_if_it_is_taken_up_again() -> None:
    story = lead()
    story.calls("lead", ASK)
    story.turn_ends("lead", a_result(is_error=True))
    story.gone("lead", code=1)
    assert "caller ended" == story.told(a.ApprovalDecided)[-1].ruling.by
    story.reopened("lead", scope="failed")
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.up("lead")

    assert None is story.calls("lead", ASK)
    assert 2 == len(story.state.approvals)


# --- answers without a dispatcher -------------------------------------------------------------------------------------


def test_nothing_but_the_answer_follows_where_nobody_is_there_to_do_it() -> None:
    """A torn journal may leave somebody who could be admitted: that is for the next dispatcher."""
    story = Story(a_run("a", "b", policy=GUARDED))
    story.working("a")
    deed(story, "hello", "h1")
    torn = RunState()
    for fact in story.facts:
        if getattr(fact, "actor", None) != "b":
            torn = evolve(torn, fact)

    said = o.AnswerApproval(request_id="req-h1", approved=True)
    order = s.OrderGiven(at=story.at, order=said, reply_to="o", absent=True)
    outcome = decide(torn, order)
    assert ("b",) == torn.waiting

    assert [a.ApprovalDecided, of.OrderTaken] == [type(fact) for fact in outcome.facts]
    assert [e.AnswerOrder] == [type(effect) for effect in outcome.effects]


def test_in_a_run_that_has_ended_there_is_nothing_to_answer() -> None:
    story = guarded()
    deed(story, "hello", "h1")
    story.turn_ends("a")
    story.gone("a")
    assert story.state.exit_code is not None

    told = rule_on(story, approved=True)

    assert isinstance(told, Refused)
    assert "the run has ended" in told.message
