"""Operators' orders: each is a fact with what came of it, a named one is carried out once, and what changes holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pitboss.core import ledger
from pitboss.core.admission import unreserved_usd
from pitboss.core.views import run_view
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Phase, Rule, Status, Usage
from pitboss.testing.doubles import Story, a_run, a_task, a_tree

A, B = ActorId("a"), ActorId("b")
LEAD = ActorId("lead")
NO_SHELL = Rule(action="auto_reject", tool="Bash")


def ordered(story: Story, order: o.AnyOrder, *, order_id: str = "", absent: bool = False) -> Answer | Refused:
    """Give an order; what its giver is answered."""
    signal = s.OrderGiven(at=story.at, order=order, via="ann", order_id=order_id, reply_to="r", absent=absent)
    (told,) = [effect.answer for effect in story.when(signal).effects if isinstance(effect, e.AnswerOrder)]
    return told


def done(story: Story, order: o.AnyOrder, **about: Any) -> dict[str, object]:
    answer = ordered(story, order, **about)
    assert isinstance(answer, Answer), answer
    return answer.content


def refusal(story: Story, order: o.AnyOrder, **about: Any) -> Refused:
    answer = ordered(story, order, **about)
    assert isinstance(answer, Refused), answer
    return answer


def flat(**changes: object) -> Story:
    story = Story(msgspec.structs.replace(a_run(a_task("a"), a_task("b")), **changes))
    story.working("a")
    story.working("b")
    return story


def tree(**changes: object) -> Story:
    story = Story(a_tree(**changes))
    story.working("lead")
    return story


# --- every order ------------------------------------------------------------------------------------------------------


def test_an_order_and_what_came_of_it_are_a_fact_with_who_gave_it() -> None:
    story = flat()

    answer = done(story, o.CancelActor(actor=A, reason="wrong file"))

    (taken,) = story.told(of.OrderTaken)
    assert (o.CancelActor(actor=A, reason="wrong file"), "ann", answer) == (taken.order, taken.given_by, taken.answer)
    assert {"ok": True, "task_id": "a", "state": "ending", "changed": True, "spent_usd": 0.0} == answer


def test_a_refusal_is_a_fact_too_and_changes_nothing() -> None:
    story = flat()
    before = story.state

    said = refusal(story, o.ContinueActor(actor=A))

    (taken,) = story.told(of.OrderTaken)
    assert ("conflict", said.message, {"state": "running"}) == (taken.code, taken.message, taken.extra)
    assert before == story.state


def test_what_has_a_name_is_carried_out_once_and_answered_again() -> None:
    story = flat()
    note = o.NoteActor(actor=A, text="mind the tests")

    first = ordered(story, note, order_id="n1")
    second = ordered(story, note, order_id="n1")

    assert first == second
    assert 1 == len(story.told(t.MessageSent)) == len(story.told(of.OrderTaken))


def test_a_refused_order_is_refused_again_though_it_could_be_carried_out_by_now() -> None:
    story = flat()
    order = o.ContinueActor(actor=A)
    first = ordered(story, order, order_id="c1")
    ordered(story, o.PauseActor(actor=A, mode="freeze"))

    assert first == ordered(story, order, order_id="c1")
    assert Phase.FROZEN is story.actor("a").phase


def test_a_name_is_not_used_twice() -> None:
    story = flat()
    ordered(story, o.DrainRun(), order_id="x")
    assert "was used for another order" in refusal(story, o.StopRun(), order_id="x").message


def test_what_was_answered_before_a_crash_is_answered_after_it() -> None:
    story = flat()
    order = o.NoteActor(actor=A, text="mind")
    first = ordered(story, order, order_id="n1")

    story.killed()
    story.reopened()

    assert first == ordered(story, order, order_id="n1")


def test_nobody_is_unknown_to_no_order() -> None:
    orders: list[o.AnyOrder] = [
        o.CancelActor(actor=ActorId("x")),
        o.PauseActor(actor=ActorId("x")),
        o.ContinueActor(actor=ActorId("x")),
        o.RedirectActor(actor=ActorId("x"), prompt="p"),
        o.NoteActor(actor=ActorId("x"), text="p"),
        o.SetModel(actor=ActorId("x"), model="m"),
        o.ChangeLimits(actor=ActorId("x"), timeout_secs=5),
    ]
    for order in orders:
        assert ("not_found", "unknown task_id: x") == refusal(flat(), order)[:2]


# --- one actor --------------------------------------------------------------------------------------------------------


def test_a_second_cancel_says_that_nothing_has_changed() -> None:
    story = flat()
    done(story, o.CancelActor(actor=A))
    assert (False, "ending") == tuple(done(story, o.CancelActor(actor=A))[key] for key in ("changed", "state"))


def test_a_cancelled_task_says_who_and_why() -> None:
    story = flat()
    done(story, o.CancelActor(actor=A, reason="wrong file"))
    story.gone("a")
    story.tidied("a")
    assert (Status.CANCELLED, "cancelled by operator: wrong file") == (story.actor("a").status, story.actor("a").note)


def test_a_paused_task_gives_its_slot_away_and_gets_one_again() -> None:
    story = Story(msgspec.structs.replace(a_run(a_task("a"), a_task("b")), max_parallel=1))
    story.working("a")
    done(story, o.PauseActor(actor=A))
    story.gone("a")
    assert (Phase.PAUSED, Phase.PREPARING) == (story.actor("a").phase, story.actor("b").phase)

    done(story, o.ContinueActor(actor=A, prompt="go on"))
    assert Phase.QUEUED is story.actor("a").phase
    story.working("b")
    story.succeeds("b")
    assert Phase.PREPARING is story.actor("a").phase


def test_who_was_paused_is_shown_to_have_begun_when_it_did() -> None:
    story = flat()
    begun = story.actor("a").admitted_at
    story.clock.turn(100)
    done(story, o.PauseActor(actor=A))
    story.gone("a")
    assert begun == run_view(story.state).actors[0].started_at
    story.clock.turn(100)
    done(story, o.ContinueActor(actor=A))
    story.working("a")
    assert begun == run_view(story.state).actors[0].started_at
    story.killed()
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.working("a")
    assert begun < run_view(story.state).actors[0].started_at, "what a dead dispatcher did is another stretch"


def test_a_note_is_woven_in_and_says_whose_it_is() -> None:
    story = flat()
    done(story, o.NoteActor(actor=A, text="mind the tests"))
    (tell,) = story.asked(e.Tell)
    assert ("a", True) == (
        tell.actor,
        tell.text.endswith("operator of this run; go on with your work, and mind it:\nmind the tests"),
    )
    assert not story.asked(e.Interrupt)


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_note_has_words(text: str) -> None:
    assert "invalid_arg" == refusal(flat(), o.NoteActor(actor=A, text=text)).code


def test_another_model_holds_for_the_session_that_runs_and_for_the_next() -> None:
    story = flat()
    assert done(story, o.SetModel(actor=A, model="claude-opus-4-6"))["changed"]
    assert not done(story, o.SetModel(actor=A, model="claude-opus-4-6"))["changed"]
    (asked,) = story.asked(e.SetModel)
    assert ("a", 1, "claude-opus-4-6") == (asked.actor, asked.attempt, asked.model)
    assert "claude-opus-4-6" == story.actor("a").spec.model
    assert "invalid_arg" == refusal(story, o.SetModel(actor=A, model="--dangerous")).code


# --- the rules --------------------------------------------------------------------------------------------------------


def test_other_rules_hold_at_once_and_sessions_are_told_whether_their_calls_are_judged() -> None:
    story = flat()

    assert {"ok": True, "version": 1, "rules": 1, "changed": True} == done(story, o.ReplacePolicy(rules=(NO_SHELL,)))

    assert {("a", True), ("b", True)} == {(ask.actor, ask.judged) for ask in story.asked(e.JudgeDeeds)}
    story.when(
        s.DeedAsked(
            at=story.at,
            actor=A,
            attempt=1,
            request_id="h",
            tool="Bash",
            input={"command": "ls"},
            summary="ls",
            minted="m",
        )
    )
    (answer,) = story.asked(e.AnswerDeed)
    assert not answer.allowed
    done(story, o.ReplacePolicy(rules=()))
    assert {("a", False), ("b", False)} == {(ask.actor, ask.judged) for ask in story.asked(e.JudgeDeeds)[2:]}


def test_rules_that_were_changed_meanwhile_are_not_replaced() -> None:
    story = flat()
    done(story, o.ReplacePolicy(rules=(NO_SHELL,), version=0))
    said = refusal(story, o.ReplacePolicy(rules=(), version=0))
    assert ("conflict", {"version": 1}) == (said.code, said.extra)
    assert (NO_SHELL,) == story.state.spec.policy.rules


def test_the_same_rules_again_change_nothing() -> None:
    story = flat()
    done(story, o.ReplacePolicy(rules=(NO_SHELL,)))
    assert not done(story, o.ReplacePolicy(rules=(NO_SHELL,)))["changed"]
    assert 1 == len(story.told(of.PolicyReplaced))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Rule(action="block", tool="Bash", category="plan"), "tool is about tool calls, category about requests"),
        (Rule(action="block", args={"a": "b"}, cost_over=1.0), "args is about tool calls, cost_over about requests"),
        (Rule(action="block", actor="root -> *"), "is no path"),
        (Rule(action="block", tool="Bash(rm:*)"), "is a pattern of the agent's settings"),
    ],
)
def test_a_rule_that_can_never_match_is_refused(rule: Rule, why: str) -> None:
    said = refusal(flat(), o.ReplacePolicy(rules=(NO_SHELL, rule)))
    assert ("invalid_arg", 2) == (said.code, said.extra["rule"])
    assert "rule 2 can never match: " in said.message
    assert why in said.message


def test_the_default_for_requests_is_changed_alone_too() -> None:
    story = tree()
    done(story, o.ReplacePolicy(rules=(), default_action="auto_approve"))
    answer = story.calls("lead", c.RequestApproval(summary="push"))
    assert isinstance(answer, Answer)
    assert answer.content["approved"]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_higher_cap_starts_more_at_once() -> None:
    story = Story(msgspec.structs.replace(a_run(a_task("a"), a_task("b")), max_parallel=1))
    story.working("a")
    assert Phase.QUEUED is story.actor("b").phase
    done(story, o.ChangeLimits(max_workers=2))
    assert Phase.PREPARING is story.actor("b").phase


def test_a_higher_budget_is_there_for_whoever_starts_next() -> None:
    story = flat(budget_usd=1.0)
    told = done(story, o.ChangeLimits(budget_usd=3.0))
    assert (3.0, unreserved_usd(story.state)) == (told["budget_usd"], told["left_usd"])


def test_a_budget_below_what_a_tree_has_spent_stops_it() -> None:
    story = tree()
    usage = Usage(output=400_000)
    story.when(s.UsageGrew(at=story.at, actor=LEAD, attempt=1, usage=usage, model="claude-haiku-4-5"))
    told = done(story, o.ChangeLimits(budget_usd=1.0))
    assert (1.0, 2.0) == (told["budget_usd"], told["spent_usd"])
    assert Phase.STOPPING is story.actor("lead").phase


def test_a_sub_lead_gets_more_if_its_parent_has_it() -> None:
    story = tree()
    answer = story.calls("lead", c.SpawnSublead(prompt="x", model="claude-haiku-4-5", budget_usd=2.0, max_workers=3))
    assert isinstance(answer, Answer)
    sub = ActorId(str(answer.content["sublead_id"]))

    told = done(story, o.ChangeLimits(actor=sub, budget_usd=5.0, max_workers=1))

    assert (5.0, 1) == (told["budget_usd"], told["max_workers"])
    assert 5.0 == ledger.account(story.state, "lead").reserved
    assert "budget_exceeded" == refusal(story, o.ChangeLimits(actor=sub, budget_usd=50.0)).code
    assert 5.0 == story.actor(sub).envelope.budget_usd


def test_a_longer_time_out_lets_an_actor_work_on() -> None:
    story = Story(a_run(a_task("a", timeout_secs=100)))
    story.working("a")
    assert 500 == done(story, o.ChangeLimits(actor=A, timeout_secs=500))["timeout_secs"]
    story.after(200)
    assert Phase.WORKING is story.actor("a").phase
    story.after(400)
    assert Phase.STOPPING is story.actor("a").phase


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (o.ChangeLimits(), "nothing is to be changed"),
        (o.ChangeLimits(budget_usd=0.0), "above 0"),
        (o.ChangeLimits(budget_usd=float("inf")), "above 0"),
        (o.ChangeLimits(max_workers=0), "at least 1"),
        (o.ChangeLimits(actor=A, timeout_secs=0), "at least 1 second"),
        (o.ChangeLimits(timeout_secs=5), "name the actor"),
        (o.ChangeLimits(actor=A, budget_usd=1.0), "no budget and no cap of its own"),
    ],
)
def test_limits_that_make_no_sense_are_refused(order: o.ChangeLimits, why: str) -> None:
    said = refusal(flat(), order)
    assert "invalid_arg" == said.code
    assert why in said.message


# --- the run ----------------------------------------------------------------------------------------------------------


def test_a_drained_run_starts_nobody_and_says_who_wanted_it() -> None:
    story = Story(msgspec.structs.replace(a_run(a_task("a"), a_task("b")), max_parallel=1))
    story.working("a")
    assert {"ok": True, "changed": True, "running": 1} == done(story, o.DrainRun(reason="lunch"))
    assert not done(story, o.DrainRun())["changed"]
    assert story.state.draining is not None
    assert "operator: lunch" == story.state.draining.by
    story.succeeds("a")
    assert (130, Phase.QUEUED) == (story.state.exit_code, story.actor("b").phase)


@pytest.mark.parametrize("order", [o.DrainRun(), o.StopRun()])
def test_a_task_that_waits_to_go_on_when_the_run_drains_has_an_account(order: o.AnyOrder) -> None:
    story = Story(msgspec.structs.replace(a_run(a_task("a"), a_task("b"), a_task("c")), max_parallel=1))
    story.working("a")
    usage = Usage(output=1000)
    story.when(s.UsageGrew(at=story.at, actor=A, attempt=1, usage=usage, model="claude-haiku-4-5"))
    done(story, o.PauseActor(actor=A))
    story.gone("a")
    done(story, o.ContinueActor(actor=A))
    assert Phase.QUEUED is story.actor("a").phase

    done(story, order)
    story.tidied("a")

    assert Status.CANCELLED is story.actor("a").status
    assert (ActorId("c"),) == story.state.waiting, "who has never begun is told as not started"


def test_a_stopped_run_stops_everyone() -> None:
    story = flat()
    assert done(story, o.StopRun())["changed"]
    assert {"stopping"} == set(story.phases().values())
    assert not done(story, o.StopRun())["changed"]
    for name in ("a", "b"):
        story.gone(name)
        story.tidied(name)
    assert 130 == story.state.exit_code


def test_one_that_is_about_to_end_cannot_be_paused_and_is_not_called_running() -> None:
    story = flat()
    story.turn_ends("a")
    assert Phase.FINISHING is story.actor("a").phase
    why = "a has done its work and is about to end: not in a pausable state"
    assert ("conflict", why) == refusal(story, o.PauseActor(actor=A))[:2]


@pytest.mark.parametrize("ends", [Story.succeeds, Story.fails])
def test_a_stop_asks_nothing_of_who_has_ended_before(ends: Callable[[Story, str], None]) -> None:
    story = flat()
    ends(story, "a")
    before, pressed = story.actor("a"), len(story.asked(e.Press))
    done(story, o.StopRun())
    assert before is story.actor("a")
    assert {"b"} == {press.actor for press in story.asked(e.Press)[pressed:]}


def test_a_run_that_has_ended_takes_no_orders() -> None:
    story = Story(a_run(a_task("a")))
    note = o.NoteActor(actor=A, text="mind")
    story.working("a")
    first = ordered(story, note, order_id="n")
    story.succeeds("a")
    assert 0 == story.state.exit_code
    assert ("unavailable", "the run has ended; nothing runs in it") == refusal(story, o.CancelActor(actor=A))[:2]
    assert first == ordered(story, note, order_id="n")


# --- while no dispatcher lives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        o.CancelActor(actor=A),
        o.PauseActor(actor=A),
        o.ContinueActor(actor=A),
        o.RedirectActor(actor=A, prompt="x"),
        o.DrainRun(),
        o.StopRun(),
    ],
)
def test_what_needs_a_dispatcher_is_refused_while_there_is_none(order: o.AnyOrder) -> None:
    story = flat()
    assert ("unavailable", 1) == (refusal(story, order, absent=True).code, len(story.told(of.OrderTaken)))
    assert "working" == story.phases()["a"]


def test_what_is_only_to_be_remembered_is_left_for_the_resume() -> None:
    story = flat()
    story.effects.clear()

    done(story, o.NoteActor(actor=A, text="mind"), absent=True)
    done(story, o.ReplacePolicy(rules=(NO_SHELL,)), absent=True)
    done(story, o.ChangeLimits(max_workers=1), absent=True)

    assert {e.AnswerOrder} == {type(effect) for effect in story.effects if not isinstance(effect, e.JudgeDeeds)}
    story.killed()
    story.reopened()
    story.when(s.GuardianUp(at=story.at, pid=3))
    story.working("a")
    assert story.prompt("a").endswith("\nmind")
    assert (NO_SHELL,) == story.state.spec.policy.rules
    assert 1 == story.state.spec.max_parallel
