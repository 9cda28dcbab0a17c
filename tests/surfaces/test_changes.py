from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from pitboss.core.attention import attention
from pitboss.model.run import ActorId, Failure, Phase, Status
from pitboss.model.views import ActorView, ApprovalView, RunView
from pitboss.surfaces import changes
from pitboss.surfaces.bells import notification
from support import sights
from support.pictures import RUN, START, picture, settled, waiting, working

NOW = START + 600


def told(old: RunView, new: RunView) -> list[changes.Change]:
    return changes.changes(old, new, attention(old, NOW), attention(new, NOW), NOW)


def said(old: RunView, new: RunView) -> list[tuple[str, str, str]]:
    return [(change.kind, change.name, change.text) for change in told(old, new)]


def step(before: ActorView, after: ActorView) -> list[tuple[str, str]]:
    return [(kind, text) for kind, _, text in said(picture(before), picture(after))]


def asking(actor: str, summary: str = "push to main") -> ApprovalView:
    return ApprovalView(
        request_id="req-1",
        actor=ActorId(actor),
        kind="action",
        summary=summary,
        asked_at=START + 540,
        expires_at=None,
    )


def begun(actor: ActorView, attempt: int = 1) -> ActorView:
    return replace(actor, attempt=attempt)


# --- actors -----------------------------------------------------------------------------------------------------------


def test_a_start_has_the_time_at_which_it_was() -> None:
    (change,) = told(picture(waiting("a")), picture(begun(working("a", since=30.0))))
    assert (START + 30, "started", "a", "started") == (change.at, change.kind, change.name, change.text)


def test_an_end_tells_status_time_and_cost() -> None:
    failed = replace(settled("a", Status.FAILED), failure=Failure(kind="no_result", message="it said nothing"))
    (change,) = told(picture(working("a")), picture(failed))
    assert "✗ Failed, 7s, $0.12, it said nothing" == change.text
    assert ("Failed", 0.12, START + 7) == (change.status, change.cost_usd, change.at)


def test_one_who_came_and_went_between_two_views_has_both_lines() -> None:
    assert [("started", "started"), ("settled", "✓ Success, 7s, $0.12")] == step(waiting("a"), begun(settled("a")))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (Phase.WORKING, Phase.FROZEN, "frozen"),
        (Phase.FROZEN, Phase.WORKING, "thawed"),
        (Phase.STOPPING, Phase.PAUSED, "paused"),
        (Phase.PAUSED, Phase.QUEUED, "continued"),
        (Phase.WORKING, Phase.STOPPING, "stopping"),
        (Phase.SETTLED, Phase.QUEUED, "requeued"),
    ],
)
def test_each_step_that_an_operator_cares_about_has_a_line(before: Phase, after: Phase, kind: str) -> None:
    one = replace(working("a"), phase=before)
    assert [kind] == [change for change, _ in step(one, replace(one, phase=after))]


def test_steps_that_say_nothing_have_none() -> None:
    assert [] == step(working("a", "Bash ls"), replace(working("a", "Read x"), tool_calls=4))


def test_a_newcomer_is_told_with_whoever_has_spawned_it() -> None:
    new = replace(waiting("worker-1"), parent=ActorId("lead"), name="docs")
    assert [("spawned", "docs", "spawned by lead")] == said(picture(working("lead")), picture(working("lead"), new))


def test_a_later_attempt_is_a_start_again() -> None:
    assert [("started", "started again (attempt 2)")] == step(begun(working("a")), begun(working("a"), 2))


# --- needs ------------------------------------------------------------------------------------------------------------


def test_a_request_is_told_when_it_is_asked_and_when_it_is_answered() -> None:
    calm = picture(working("a"))
    asks = replace(calm, approvals=(asking("a"),))
    (asked,) = told(calm, asks)
    (answered,) = told(asks, calm)
    assert ("approval", "! a asks for approval: push to main (1m)", "req-1") == (asked.kind, asked.text, asked.about)
    assert asked.command.endswith(f"approve {RUN[:13]} req-1")
    assert ("answered", "a", "req-1") == (answered.kind, answered.name, answered.about)
    assert "its request was answered" == answered.text


def test_a_request_whose_asker_has_ended_was_not_answered() -> None:
    asks = replace(picture(working("a")), approvals=(asking("a"),))
    lines = told(asks, picture(settled("a", Status.CANCELLED)))
    closed = next(one for one in lines if one.about == "req-1")
    assert "has ended, and nobody waits for an answer to its request any more" == closed.text


def test_a_silence_is_told_and_its_end_too_but_not_if_it_was_the_end() -> None:
    silent = replace(working("a"), silent_secs=300.0, silent_since=NOW - 300)
    assert [("stalled", "! a has gone silent (5m)")] == step(working("a"), silent)
    assert [("revived", "is heard of again")] == step(silent, working("a"))
    assert ["settled"] == [kind for kind, _ in step(silent, settled("a"))]


def test_a_failure_is_told_once_although_it_is_a_need() -> None:
    assert 1 == len(told(picture(working("a")), picture(settled("a", Status.FAILED))))


def test_what_is_newly_needed_is_known_by_its_key() -> None:
    one, two = (attention(replace(picture(working("a")), throttle=why), NOW) for why in ("429", "529"))
    assert [] == changes.newly_needed(one, two)
    assert ["api"] == [need.kind for need in changes.newly_needed((), one)]


# --- the run ----------------------------------------------------------------------------------------------------------


def test_the_end_is_the_last_line() -> None:
    old, new = picture(settled("a"), working("b")), picture(settled("a"), settled("b", Status.FAILED, took=90.0))
    ended = told(old, replace(new, ended_at=START + 100, exit_code=1))
    assert ["settled", "ended"] == [change.kind for change in ended]
    assert "ended: 1 of 2 tasks successful, 1m40s, $0.24" == ended[-1].text


def test_who_tunes_in_is_told_how_the_run_stands_and_what_needs_somebody() -> None:
    view = replace(picture(working("a"), waiting("b")), approvals=(asking("a"),))
    first, second = changes.tune_in(view, attention(view, NOW), NOW)
    assert ("run", "nightly · 10m00s · 1 running · 1 queued · 0 done · $0.0042") == (first.kind, first.text)
    assert "approval" == second.kind


def test_a_status_bar_has_the_needs_in_a_word_each() -> None:
    silent = replace(working("a"), silent_secs=300.0, silent_since=NOW - 300)
    view = replace(picture(silent), approvals=(asking("a"),), throttle="429")
    line = changes.summary_line(view, attention(view, NOW), NOW)
    assert line.endswith(" · ! 1 approval, silent, API refuses")


def test_two_approvals_are_approvals() -> None:
    view = replace(picture(working("a"), working("b")), approvals=(asking("a"), asking("b")))
    assert changes.summary_line(view, attention(view, NOW), NOW).endswith(" · ! 2 approvals")


def test_in_a_run_that_was_cut_off_nobody_runs_and_no_time_passes() -> None:
    view = picture(working("a"), waiting("b"))
    needs = attention(view, NOW, live=False)
    stands = "nightly · 1 interrupted · 1 queued · 0 done · $0.0042"
    assert f"{stands} · ! cut off" == changes.summary_line(view, needs, NOW)
    assert stands == next(changes.tune_in(view, needs, NOW)).text


def test_a_line_has_the_time_the_name_and_what_happened() -> None:
    (change,) = told(picture(waiting("a")), picture(begun(working("a", since=30.0))))
    assert "16:00:30  a                 started" == changes.change_line(change)


@given(sights.changes(), sights.shape(str))
def test_no_line_steers_the_terminal_whatever_agents_wrote(pair: tuple[RunView, RunView], wild: str) -> None:
    old, new = (replace(view, approvals=(*view.approvals, asking("a", f"\x1b]0;x\x07{wild}\n"))) for view in pair)
    seen = (*told(old, new), *changes.tune_in(new, attention(new, NOW), NOW))
    lines = [changes.change_line(change) for change in seen]
    assert all(line.isprintable() or not set(line) & {"\x1b", "\x07", "\n", "\r", "\x9b"} for line in lines)


def test_a_change_as_json_leaves_out_what_it_has_not() -> None:
    (change,) = told(picture(waiting("a")), picture(begun(working("a", since=30.0))))
    assert {"at": START + 30, "kind": "started", "actor": "a", "name": "a", "text": "started"} == json.loads(
        msgspec.json.encode(change)
    )


# --- calling a person -------------------------------------------------------------------------------------------------


def test_a_notification_is_the_one_that_the_terminal_knows() -> None:
    assert "\x1b]9;nightly: a asks\x1b\\" == notification("nightly", "a asks", {"TERM": "xterm-kitty"})
    assert "\x1b]777;notify;nightly;a asks\x1b\\" == notification("nightly", "a asks", {"VTE_VERSION": "7600"})
    assert "\x1b]777;notify;a,b;x;y\x1b\\" == notification("a;b", "x;y", {"TERM": "foot"})


def test_a_notification_goes_through_tmux() -> None:
    assert "\x1bPtmux;\x1b\x1b]9;n: x\x1b\x1b\\\x1b\\" == notification("n", "x", {"TMUX": "/tmp/tmux-0/default,1,0"})


@given(sights.shape(str), sights.shape(str))
def test_nobody_else_writes_to_the_terminal_through_a_notification(title: str, text: str) -> None:
    said = notification(f"{title}\x1b\\", f"\x07{text}\x9c", {})
    assert 2 == said.count("\x1b")
    assert not set(said) & {"\x07", "\x9c", "\n"}
