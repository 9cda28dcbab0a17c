"""Asking before doing: rules, then the default, then a person; every answer once, and heard by whoever asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pitboss.core.views import Views, run_view
from pitboss.model import approval_facts as a
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.calls import (
    ContinueWorker,
    PauseWorker,
    PermissionPrompt,
    Plan,
    ProposePlan,
    RequestApproval,
    SpawnSublead,
    SpawnWorker,
)
from pitboss.model.run import ActorId, Phase, Policy, Rule, RunSpec, Status
from pitboss.testing.doubles import Story, a_result, a_run, a_task, a_tree

ASK = RequestApproval(summary="push to main", tool_name="Bash")
PLAN = ProposePlan(plan=Plan(summary="three workers", risks=["none"]))


def with_policy(*rules: Rule, default: str = "block", **tree: object) -> RunSpec:
    policy = Policy(rules=rules, default_action=default)  # type: ignore[arg-type]  # one of its three words
    return msgspec.structs.replace(a_tree(**tree), policy=policy)


def leading(run: RunSpec) -> Story:
    story = Story(run)
    story.up("lead")
    return story


def answer(story: Story, *, approved: bool = True, order: str = "o1", **words: Any) -> Answer | Refused:
    """The operator answers the only request there is; what the operator is told."""
    names = list(story.state.approvals)
    name = next((one for one in names if story.state.approvals[one].ruling is None), names[-1])
    about = {key: words.pop(key) for key in ("via", "absent") if key in words}
    said = o.AnswerApproval(request_id=name, approved=approved, **words)
    outcome = story.when(s.OrderGiven(at=story.at, order=said, reply_to=order, **about))
    return next(effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder))


def content(story: Story, number: int) -> dict[str, object]:
    told = story.answers()[number]
    assert isinstance(told, Answer), told
    return told.content


def test_a_request_waits_for_the_operator_and_the_answer_reaches_the_one_who_asked() -> None:
    story = leading(with_policy())
    assert story.calls("lead", ASK) is None

    told = answer(story, comment="go", edited_summary="push to dev")

    assert Answer({"ok": True, "approved": True}) == told
    said = content(story, story.made)
    assert (True, "go", "push to dev", "operator") == (
        said["approved"],
        said["comment"],
        said["edited_summary"],
        said["decided_by"],
    )
    assert (1, 1, 0) == (story.actor("lead").asked, story.actor("lead").approved, story.actor("lead").rejected)


def test_a_second_answer_is_told_who_was_first_and_changes_nothing() -> None:
    story = leading(with_policy())
    story.calls("lead", ASK)
    answer(story, approved=False, reason="not today")
    before = story.state

    second = answer(story, approved=True)

    assert isinstance(second, Refused)
    assert "unknown request_id" in second.message
    assert "already answered by operator" in second.message
    assert before == story.state


def test_an_answer_to_nothing_is_refused() -> None:
    story = leading(with_policy())
    said = o.AnswerApproval(request_id="req-9", approved=True)
    outcome = story.when(s.OrderGiven(at=story.at, order=said, reply_to="o"))

    (told,) = [effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder)]
    assert isinstance(told, Refused)


@pytest.mark.parametrize(
    ("rules", "default", "approved", "by"),
    [
        ((Rule(action="auto_approve", tool_name="Bash"),), "block", True, "rule 1"),
        ((Rule(action="auto_approve", tool_name="Read"), Rule(action="auto_reject")), "auto_approve", False, "rule 2"),
        ((), "auto_approve", True, "default"),
        ((), "auto_reject", False, "default"),
    ],
)
def test_what_the_rules_or_the_default_decide_is_answered_at_once_and_written_down(
    rules: tuple[Rule, ...], default: str, approved: bool, by: str
) -> None:
    story = leading(with_policy(*rules, default=default))

    told = story.calls("lead", ASK)

    assert isinstance(told, Answer)
    assert (approved, by) == (told.content["approved"], told.content["decided_by"])
    (ruled,) = story.told(a.ApprovalDecided)
    assert (approved, by, True) == (ruled.ruling.approved, ruled.ruling.by, ruled.heard)


def test_a_rule_that_blocks_asks_a_person_whatever_the_default_says() -> None:
    story = leading(with_policy(Rule(action="block"), default="auto_approve"))

    assert story.calls("lead", ASK) is None
    (asked,) = story.told(a.ApprovalRequested)
    assert "block" in asked.approval.why


def test_at_its_expiry_a_request_is_refused_and_that_is_how_its_asker_ended() -> None:
    story = leading(with_policy())
    story.calls("lead", RequestApproval(summary="push", timeout_secs=60))

    story.after(59.0)
    assert story.made not in story.answers()
    story.after(1.0)

    said = content(story, story.made)
    assert (False, "TTL expired", "TTL expired: fallback=AutoReject", "expiry") == (
        said["approved"],
        said["comment"],
        said["reason"],
        said["decided_by"],
    )
    story.succeeds("lead")
    assert Status.APPROVAL_TIMED_OUT is story.actor("lead").status
    failure = story.actor("lead").failure
    assert failure is not None
    assert "it gave up when its request for approval was not answered in time" == failure.message


def test_a_fallback_can_approve_and_one_that_blocks_never_expires() -> None:
    story = leading(with_policy())
    story.calls("lead", RequestApproval(summary="a", timeout_secs=60, fallback="auto_approve"))
    opened = story.made
    story.calls("lead", RequestApproval(summary="b", timeout_secs=60, fallback="block"))

    story.after(3000.0)

    assert content(story, opened)["approved"]
    assert story.made not in story.answers()


def test_who_gives_up_at_a_refusal_ended_by_it_and_who_works_on_did_not() -> None:
    refused, worked_on = leading(with_policy(default="auto_reject")), leading(with_policy(default="auto_reject"))
    for story in (refused, worked_on):
        story.calls("lead", ASK)
    about = {"at": worked_on.at, "actor": ActorId("lead"), "attempt": 1}
    worked_on.when(s.ToolCalled(**about, tool="Bash", summary="another way"))  # type: ignore[arg-type]

    refused.succeeds("lead")
    worked_on.succeeds("lead")

    assert Status.APPROVAL_REJECTED is refused.actor("lead").status
    assert Status.SUCCESS is worked_on.actor("lead").status


def test_a_plan_opens_the_gate_of_its_own_layer_and_of_no_other() -> None:
    story = leading(with_policy(require_plan_approval=True))
    gated = story.calls("lead", SpawnWorker(prompt="go"))
    assert isinstance(gated, Refused)
    assert "plan approval required" in gated.message
    assert isinstance(story.calls("lead", SpawnSublead(prompt="go", model="m", budget_usd=1.0, max_workers=1)), Refused)

    story.calls("lead", PLAN)
    answer(story)

    assert isinstance(story.calls("lead", SpawnWorker(prompt="go")), Answer)
    led = story.calls("lead", SpawnSublead(prompt="go", model="m", budget_usd=1.0, max_workers=1))
    assert isinstance(led, Answer)
    sublead = str(led.content["sublead_id"])
    story.working(sublead)
    assert isinstance(story.calls(sublead, SpawnWorker(prompt="go")), Refused)


def test_a_refused_plan_opens_nothing_and_workers_cannot_propose() -> None:
    story = leading(with_policy(require_plan_approval=False))
    worker = story.spawns("lead")
    assert isinstance(story.calls(worker, PLAN), Refused)

    strict = leading(with_policy(require_plan_approval=True, default="auto_reject"))
    strict.calls("lead", PLAN)
    assert isinstance(strict.calls("lead", SpawnWorker(prompt="go")), Refused)


def test_a_question_of_the_agent_itself_is_answered_in_its_own_words() -> None:
    story = leading(with_policy(default="auto_approve"))
    told = story.calls("lead", PermissionPrompt(tool_name="Bash", tool_input={"command": "ls"}))

    assert isinstance(told, Answer)
    assert ("allow", "allow_once") == (told.content["decision"], told.content["behavior"])


# --- deeds ------------------------------------------------------------------------------------------------------------


def deed(story: Story, tool: str, name: str = "lead", **arguments: object) -> list[e.AnswerDeed]:
    """A tool call that is about to run; the answers it gets at once."""
    story.made += 1
    outcome = story.when(
        s.DeedAsked(
            at=story.at,
            actor=ActorId(name),
            attempt=story.actor(name).attempt,
            request_id=f"hook-{story.made}",
            tool=tool,
            input=dict(arguments),
            summary=str(next(iter(arguments.values()), "")),
            minted=str(story.made),
        )
    )
    return [effect for effect in outcome.effects if isinstance(effect, e.AnswerDeed)]


NO_PUSH = Rule(action="auto_reject", tool="Bash", args={"command": "git push*"}, reason="nobody pushes here")


def test_a_deed_that_no_rule_is_about_runs_and_one_that_is_forbidden_does_not() -> None:
    story = leading(with_policy(NO_PUSH))

    assert [(True, "")] == [(one.allowed, one.reason) for one in deed(story, "Bash", command="git status")]
    assert [(False, "nobody pushes here")] == [
        (one.allowed, one.reason) for one in deed(story, "Bash", command="git push -f")
    ]
    used = story.told(f.ToolUsed)
    assert [("allow", False), ("deny", True)] == [(fact.verdict, "#1" in fact.rule) for fact in used]


def test_deeds_are_judged_in_flat_runs_too_and_only_where_a_rule_is_about_them() -> None:
    run = msgspec.structs.replace(a_run(a_task("a", use_worktree=False)), policy=Policy(rules=(NO_PUSH,)))
    story = Story(run)
    story.up("a")

    assert story.asked(e.StartSession)[0].session.judged
    assert not Story(a_run(a_task("a", use_worktree=False))).asked(e.StartSession)[0].session.judged
    assert not deed(story, "Bash", "a", command="git push")[0].allowed


@pytest.mark.parametrize("approved", [True, False])
def test_a_deed_can_wait_for_a_person(approved: bool) -> None:
    story = leading(with_policy(Rule(action="block", tool="Bash")))
    assert [] == deed(story, "Bash", command="make deploy")

    answer(story, approved=approved, reason=None if approved else "not on a Friday")

    (let,) = story.asked(e.AnswerDeed)
    assert (approved, "allow" if approved else "deny") == (let.allowed, story.told(f.ToolUsed)[-1].verdict)
    assert approved or "not on a Friday" == let.reason


def test_a_question_dies_with_its_asker() -> None:
    story = leading(with_policy())
    worker = story.spawns("lead")
    story.calls(worker, ASK)
    story.fails(worker)
    if story.actor(worker).phase is Phase.TIDYING:
        story.tidied(worker)

    (ruled,) = story.told(a.ApprovalDecided)
    assert (False, "caller ended", False) == (ruled.ruling.approved, ruled.ruling.by, ruled.heard)


# --- durable ----------------------------------------------------------------------------------------------------------


def cut_off_while_asking() -> Story:
    story = leading(with_policy())
    story.calls("lead", ASK)
    story.killed()
    return story


def taken_up_again(story: Story) -> None:
    story.reopened("lead")
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.up("lead")


def test_a_request_survives_the_dispatcher_and_is_the_same_one_when_asked_again() -> None:
    story = cut_off_while_asking()
    taken_up_again(story)

    prompt = story.asked(e.StartSession)[-1].session.prompt
    assert "You were waiting for the decision on req-1" in prompt
    assert story.calls("lead", ASK) is None
    assert 1 == len(story.state.approvals)
    answer(story)
    assert content(story, story.made)["approved"]


def test_an_answer_given_while_nobody_was_there_is_heard_when_it_is_asked_again() -> None:
    story = cut_off_while_asking()
    answer(story, comment="fine", absent=True)
    taken_up_again(story)

    told = story.calls("lead", ASK)

    assert isinstance(told, Answer)
    assert (True, "fine") == (told.content["approved"], told.content["comment"])
    assert story.calls("lead", ASK) is None, "it was heard: asked once more, it is another request"
    assert 2 == len(story.state.approvals)


def test_a_failed_turn_says_more_than_a_refusal() -> None:
    story = leading(with_policy(default="auto_reject"))
    story.calls("lead", ASK)
    story.turn_ends("lead", a_result(is_error=True))
    story.gone("lead", code=1)

    assert Status.FAILED is story.actor("lead").status


# --- when it is over if nobody answers --------------------------------------------------------------------------------


def test_a_request_ends_with_the_time_of_whoever_asks_if_that_is_sooner_and_its_clock_may_stand_still() -> None:
    story, views = leading(with_policy()), Views()
    worker = story.spawns("lead", timeout_secs=100)
    assert story.calls(worker, RequestApproval(summary="push", timeout_secs=3600)) is None
    expiry = story.at + 3600

    def end() -> tuple[float | None, str | None]:
        (asked,) = views.see(story.state).approvals
        assert run_view(story.state).approvals == (asked,), "what is kept of the last view is not shown again"
        assert expiry == asked.expires_at
        return asked.ends_at, asked.ends_by

    times_out_at = story.actor(worker).process_at + 100
    assert (times_out_at, "timeout") == end()

    story.after(60.0)
    story.calls("lead", PauseWorker(task_id=worker, mode="freeze"))
    assert (expiry, "expiry") == end()
    story.after(500.0)
    story.calls("lead", ContinueWorker(task_id=worker))
    assert (times_out_at + 500, "timeout") == end()

    more = o.ChangeLimits(actor=ActorId(worker), timeout_secs=5000)
    story.when(s.OrderGiven(at=story.at, order=more, reply_to="more"))
    assert (expiry, "expiry") == end()


def test_at_the_end_that_is_shown_whoever_asks_times_out() -> None:
    story = leading(with_policy())
    worker = story.spawns("lead", timeout_secs=8)
    story.calls(worker, ASK)
    (asked,) = run_view(story.state).approvals
    assert asked.ends_at is not None

    story.after(asked.ends_at - story.at)

    stopping = story.actor(worker).stopping
    assert stopping is not None
    assert "timeout" == stopping.reason
