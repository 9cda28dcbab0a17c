from __future__ import annotations

from pathlib import Path

from pitboss.core.state import RunState, evolve
from pitboss.core.views import LONGEST_LINE, LONGEST_WORDS, Views, run_view
from pitboss.model import facts as f
from pitboss.model.approval_facts import ApprovalDecided, ApprovalRequested
from pitboss.model.approvals import Approval, Decision, Pending
from pitboss.model.run import ActorId, TurnResult, Usage
from pitboss.model.views import RunView
from support.pictures import CART, DOCS, QUALITY, START, UNIT, begun, done, grown, opened, spawned, state_of

LEAD = ActorId("coordinator")


def asked(request_id: str = "req-1", *, summary: str = "push to main") -> ApprovalRequested:
    approval = Approval(
        request_id=request_id,
        kind="action",
        actor=UNIT,
        path=(LEAD, QUALITY, UNIT),
        role="worker",
        category="tool_use",
        summary=summary,
        asked_at=START + 20,
        expires_at=START + 80,
        why="rule 1",
    )
    pending = Pending(attempt=1, call_id=3)
    return ApprovalRequested(at=START + 20, actor=UNIT, attempt=1, approval=approval, pending=pending)


def shown(state: RunState, *facts: f.AnyFact) -> tuple[RunView, RunView, Views]:
    """Two views by the same onlooker, before and after these facts."""
    views = Views()
    before = views.see(state)
    for fact in facts:
        state = evolve(state, fact)
    return before, views.see(state), views


def test_what_is_shown_is_the_same_with_and_without_an_earlier_view() -> None:
    views, state = Views(), RunState()
    for number, fact in enumerate([*grown(Path("/runs")), asked(), *done(UNIT, 30.0), *done(DOCS, 31.0)]):
        state = evolve(state, fact)
        assert run_view(state, number) == views.see(state, number)


def test_an_actor_that_has_not_changed_is_the_same_object() -> None:
    state = state_of(grown(Path("/runs")))
    usage = f.UsageCounted(at=START + 9, actor=DOCS, attempt=1, usage=Usage(input=5), cost_usd=0.5)

    before, after, _ = shown(state, usage)

    assert {DOCS} == {new.id for old, new in zip(before.actors, after.actors, strict=True) if old is not new}


def test_all_actors_together_are_the_same_object_if_none_has_changed() -> None:
    state = state_of([*grown(Path("/runs")), *begun(UNIT, 8.0), *begun(DOCS, 8.0)])
    before, after, _ = shown(state, f.StartsThrottled(at=START + 9, limit=1, until=START + 30, reason="429"))
    assert before.actors is after.actors
    assert ("", "429") == (before.throttle, after.throttle)


def test_a_name_that_is_not_unique_any_more_changes_for_whoever_had_it() -> None:
    state = state_of(grown(Path("/runs")))
    twin = ActorId("worker-019ab009-2222-7222-8333-000000000009")

    before, after, _ = shown(state, spawned(twin, "docs", at=9.0))

    assert ("docs", "worker-019ab002") == (before.names[DOCS], after.names[DOCS])
    assert next(actor for actor in after.actors if actor.id == CART) in before.actors


def test_those_who_wait_for_a_slot_are_shown_anew_when_they_wait_for_something_else() -> None:
    facts = [opened(Path("/runs"), "a", "b"), f.GuardianStarted(at=START, pid=7), *begun("a")]
    _, after, _ = shown(state_of(facts), f.DrainBegan(at=START + 2, by="signal", ordered=True))
    assert "never started: signal" == after.actors[1].doing


def test_a_view_tells_whom_somebody_waits_for() -> None:
    actors = {actor.id: actor for actor in run_view(state_of(grown(Path("/runs")))).actors}
    assert (CART, QUALITY) == actors[LEAD].waits_for
    assert () == actors[DOCS].waits_for


def test_a_request_is_in_the_view_until_it_is_answered() -> None:
    state = state_of([*grown(Path("/runs")), asked()])
    ruling = Decision(approved=True, by="operator")
    answered = ApprovalDecided(at=START + 25, actor=UNIT, attempt=1, request_id="req-1", ruling=ruling, heard=True)

    before, after, _ = shown(state, answered)

    (request,) = before.approvals
    assert ("req-1", UNIT, "push to main", START + 20) == (
        request.request_id,
        request.actor,
        request.summary,
        request.asked_at,
    )
    assert () == after.approvals


def test_a_view_says_since_when_an_actor_is_silent() -> None:
    stalled = f.ActorStalled(at=START + 400, actor=DOCS, attempt=1, secs=300.0)
    revived = f.ActorRevived(at=START + 500, actor=DOCS, attempt=1)

    _, silent, views = shown(state_of(grown(Path("/runs"))), stalled)
    heard = views.see(state_of([*grown(Path("/runs")), stalled, revived]))

    assert {DOCS: START + 100} == {actor.id: actor.silent_since for actor in silent.actors if actor.silent_since}
    assert [] == [actor.id for actor in heard.actors if actor.silent_since]


def test_what_is_long_is_cut_because_views_are_small() -> None:
    facts = [*grown(Path("/runs")), asked(summary="x" * 5000)]
    ended = f.TurnFinished(
        at=START + 30,
        actor=UNIT,
        attempt=1,
        result=TurnResult(subtype="success", is_error=False),
        usage=Usage(),
        cost_usd=0.0,
        final_message="y" * 5000,
    )
    view = run_view(state_of([*facts, ended]))
    assert LONGEST_LINE == len(view.approvals[0].summary)
    assert LONGEST_WORDS == len(next(actor for actor in view.actors if actor.id == UNIT).final_message or "")
