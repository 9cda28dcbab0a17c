from __future__ import annotations

import pytest
from hypothesis import given
from msgspec.structs import replace

from pitboss.core.attention import BUDGET_NEAR, DISK_LOW_BYTES, GUARDIAN_SECS, URGENCY, Need, attention
from pitboss.model.run import ActorId, Failure, Phase, Status
from pitboss.model.views import ApprovalView, LayerView, RunView
from support import sights
from support.pictures import RUN, START, picture, settled, waiting, working

NOW = START + 600


def kinds(view: RunView, *, free: int | None = None, live: bool = True) -> list[str]:
    return [need.kind for need in attention(view, NOW, free, live=live)]


def only(view: RunView, *, free: int | None = None) -> Need:
    (need,) = attention(view, NOW, free)
    return need


def asked(actor: str, request_id: str = "req-1", *, at: float = 60.0, until: float | None = None) -> ApprovalView:
    return ApprovalView(
        request_id=request_id,
        actor=ActorId(actor),
        kind="action",
        summary="push to main",
        asked_at=START + at,
        expires_at=None if until is None else START + until,
    )


def test_a_run_that_goes_well_needs_nobody() -> None:
    assert () == attention(picture(working("a"), waiting("b"), settled("c")), NOW, DISK_LOW_BYTES)


# --- approvals --------------------------------------------------------------------------------------------------------


def test_an_approval_tells_who_asks_since_when_until_when_and_how_to_answer() -> None:
    view = replace(picture(working("a")), approvals=(asked("a", until=3600),))
    assert Need(
        kind="approval",
        about="req-1",
        actor=ActorId("a"),
        since=START + 60,
        until=START + 3600,
        until_by="expiry",
        text="a asks for approval: push to main",
        behind=(ActorId("a"),),
        command=("approve", RUN, "req-1"),
    ) == only(view)


def test_an_approval_ends_with_the_time_of_whoever_asks_but_only_while_a_dispatcher_keeps_it() -> None:
    asks = replace(asked("a", until=3600), ends_at=START + 90, ends_by="timeout")
    view = replace(picture(working("a")), approvals=(asks,))
    assert [(START + 90, "timeout")] == [(need.until, need.until_by) for need in attention(view, NOW)]
    (_, need) = attention(view, NOW, live=False)
    assert (START + 3600, "expiry") == (need.until, need.until_by)


@pytest.mark.parametrize(("summary", "said"), [("Bash ls", "Bash ls"), ("look", "Bash: look")])
def test_a_tool_call_names_its_tool_once(summary: str, said: str) -> None:
    asks = replace(asked("a"), kind="deed", tool_name="Bash", summary=summary)
    need = only(replace(picture(working("a")), approvals=(asks,)))
    assert f"a wants to call a tool: {said}" == need.text


def test_behind_an_approval_stand_those_who_wait_for_the_asker_and_those_who_wait_for_them() -> None:
    lead = replace(working("lead"), waits_for=(ActorId("sub"),))
    sub = replace(working("sub"), waits_for=(ActorId("worker"), ActorId("other")))
    view = replace(picture(lead, sub, working("worker"), working("other")), approvals=(asked("worker"),))
    assert ("worker", "sub", "lead") == only(view).behind


def test_two_who_wait_for_each_other_are_both_behind_once() -> None:
    one, other = replace(working("a"), waits_for=(ActorId("b"),)), replace(working("b"), waits_for=(ActorId("a"),))
    assert ("a", "b") == only(replace(picture(one, other), approvals=(asked("a"),))).behind


def test_the_approval_that_expires_first_comes_first_then_the_oldest() -> None:
    some = (asked("a", "old", at=1), asked("a", "late", at=9), asked("a", "urgent", at=50, until=700))
    found = attention(replace(picture(working("a")), approvals=some), NOW)
    assert ["urgent", "old", "late"] == [need.about for need in found]


def test_a_request_of_a_run_that_was_cut_off_still_waits_and_of_one_that_ended_does_not() -> None:
    view = replace(picture(working("a")), approvals=(asked("a"),))
    assert ["cut_off", "approval"] == kinds(view, live=False)
    assert [] == kinds(replace(view, ended_at=NOW), live=False)


# --- actors -----------------------------------------------------------------------------------------------------------


def test_a_silent_agent_is_named_with_those_who_wait_for_it() -> None:
    silent = replace(working("a"), silent_secs=300.0, silent_since=START + 100)
    need = only(picture(silent, replace(working("lead"), waits_for=(ActorId("a"),))))
    assert ("stalled", START + 100, ("a", "lead"), ("attach", RUN, "a")) == (
        need.kind,
        need.since,
        need.behind,
        need.command,
    )


def test_nobody_is_silent_in_a_run_that_nobody_is_at_work_on() -> None:
    silent = replace(working("a"), silent_secs=300.0)
    assert ["cut_off"] == kinds(picture(silent), live=False)


@pytest.mark.parametrize("phase", [Phase.FROZEN, Phase.PAUSED])
def test_whom_only_an_operator_can_let_go_on_is_named_and_whom_a_lead_can_is_not(phase: Phase) -> None:
    still = replace(working("a"), phase=phase)
    need = only(picture(still))
    assert ("paused", f"a is {phase} and goes on when it is told to", ("continue", RUN, "a")) == (
        need.kind,
        need.text,
        need.command,
    )
    assert [] == kinds(picture(replace(still, role="worker", parent=ActorId("lead"))))


def test_a_failure_is_told_with_its_reason_also_of_a_run_that_has_ended() -> None:
    failed = replace(settled("a", Status.FAILED), failure=Failure(kind="no_result", message="it said nothing"))
    view = picture(failed, settled("b", Status.CANCELLED))
    assert "a ended with Failed: it said nothing" == only(view).text
    assert ["failed"] == kinds(replace(view, ended_at=NOW), live=False)


def test_a_receiver_that_was_not_reached_is_named_also_of_a_run_that_has_ended() -> None:
    view = replace(picture(settled("a")), ended_at=NOW, unreached=("slack",))
    need = only(view)
    assert ("unreached", "Not everything that was to be told reached slack", ("notify", RUN)) == (
        need.kind,
        need.text,
        need.command,
    )


# --- the run as a whole -----------------------------------------------------------------------------------------------


def test_a_budget_is_nearly_gone_at_nine_tenths_of_it() -> None:
    view = replace(picture(working("a")), budget_usd=10.0)
    assert [] == kinds(replace(view, spent_usd=10 * BUDGET_NEAR - 0.01))
    assert "The run has spent $9.00 of $10.00" == only(replace(view, spent_usd=9.0)).text
    assert "The run has spent $0.03 of $0.0010" == only(replace(view, spent_usd=0.03, budget_usd=0.001)).text


def layer(lead: str, *, spent: float, pool: str | None = None) -> LayerView:
    return LayerView(
        lead=ActorId(lead),
        pool=ActorId(pool or lead),
        budget_usd=1.0,
        spent_usd=spent,
        reserved_usd=0.0,
        left_usd=1.0 - spent,
        live_workers=0,
        max_workers=None,
        plan_required=False,
        plan_approved=False,
        keys=0,
        leases=(),
    )


def test_of_a_tree_each_layer_that_lives_and_has_money_of_its_own_is_looked_at() -> None:
    poor = (layer("sub", spent=0.95), layer("over", spent=0.95), layer("guest", spent=0.95, pool="lead"))
    actors = (working("lead"), working("sub"), settled("over"), working("guest"))
    assert "sub" == only(replace(picture(*actors), layers=(layer("lead", spent=0.2), *poor))).actor


def test_a_refusing_api_a_missing_guardian_and_a_drain_are_needs_of_the_whole_run() -> None:
    view = replace(picture(working("a"), waiting("b")), throttle="rate limit", guarded=False, draining="signal")
    assert ["guardian", "api", "draining"] == kinds(view)


def test_a_run_that_has_just_begun_may_be_without_a_guardian() -> None:
    view = replace(picture(waiting("a")), guarded=False)
    assert () == attention(view, START + GUARDIAN_SECS)


def test_a_disk_is_low_below_a_gibibyte() -> None:
    need = only(picture(working("a")), free=DISK_LOW_BYTES - 1)
    assert ("disk", f"Only 1023 MiB are free on the disk of /runs/{RUN}") == (need.kind, need.text)


def test_a_file_that_could_not_be_written_is_named() -> None:
    view = replace(picture(working("a")), artifacts_lost=("/runs/x/summary.json: No space left on device",))
    assert "/runs/x/summary.json" == only(view).about


# --- any run ----------------------------------------------------------------------------------------------------------


@given(sights.views, sights.shape(bool))
def test_what_needs_a_person_is_in_order_told_apart_and_about_somebody_there(view: RunView, live: bool) -> None:
    found = attention(view, NOW, 5, live=live)

    assert sorted(URGENCY.index(need.kind) for need in found) == [URGENCY.index(need.kind) for need in found]
    assert all(need.text and "\n" not in need.kind for need in found)
    requests = {asked.request_id for asked in view.approvals}
    assert all(need.about in requests for need in found if need.kind == "approval")
    assert all(len(set(need.behind)) == len(need.behind) for need in found)


@given(sights.views)
def test_a_run_that_has_ended_well_needs_nobody(view: RunView) -> None:
    actors = tuple(replace(one, phase=Phase.SETTLED, status=Status.SUCCESS) for one in view.actors)
    ended = replace(view, actors=actors, ended_at=NOW, unreached=())
    assert () == attention(ended, NOW, 5, live=False)
