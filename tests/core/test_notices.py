"""Which fact tells whom what, once; and what a resume sends again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pitboss.core.notices import QUIET_SECS
from pitboss.model import effects as e
from pitboss.model import notice_facts as n
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Refused
from pitboss.model.calls import RequestApproval, SpawnWorker
from pitboss.model.notices import Notice, Sink
from pitboss.model.run import ActorId, Failure, Policy, Rule, RunSpec, Usage
from pitboss.testing.doubles import RUN, Story, a_result, a_run, a_task, a_tree

ALL = Sink(id="log", kind="log")


def told_to(run: RunSpec, *sinks: Sink) -> RunSpec:
    return msgspec.structs.replace(run, sinks=sinks or (ALL,))


def sent(story: Story, sink: str = "log") -> list[Notice]:
    """Every message that a sink was to be sent, in order."""
    return [ask.notice for ask in story.asked(e.Notify) if ask.sink.id == sink]


def kinds(story: Story, sink: str = "log") -> list[str]:
    return [notice.kind for notice in sent(story, sink)]


def the(story: Story, kind: str) -> Notice:
    (notice,) = [notice for notice in sent(story) if notice.kind == kind]
    return notice


def arrives(story: Story, notice: Notice, sink: str = "log", outcome: str = "delivered") -> None:
    story.when(
        s.NoticeReported(at=story.at, key=notice.key, sink=sink, outcome=outcome, tries=1)  # type: ignore[arg-type]
    )


def test_a_run_without_sinks_tells_nobody_and_writes_nothing_of_it_down() -> None:
    story = Story(a_run("a"))
    story.working("a")
    story.succeeds("a")

    assert ([], []) == (story.asked(e.Notify), story.told(n.NoticeRaised))


def test_the_five_kinds_of_0_9_have_its_fields_and_its_keys() -> None:
    run = told_to(a_run("a", survive_parent=True, parent_run_id="p"))
    story = Story(run)
    story.working("a")
    story.after(2.5)
    story.succeeds("a")

    first, last = sent(story)
    assert (f"{RUN}:run_dispatched", "info") == (first.key, first.severity)
    assert {
        "kind": "run_dispatched",
        "run_id": RUN,
        "parent_run_id": "p",
        "manifest_path": "pit.toml",
        "mode": "flat",
        "survive_parent": True,
        "name": None,
    } == first.event
    assert (f"{RUN}:run_finished", "info") == (last.key, last.severity)
    assert (1, 0, 2500, 0.5, "success") == tuple(
        last.event[key] for key in ("tasks_total", "tasks_failed", "duration_ms", "spent_usd", "outcome")
    )


def test_dispatched_is_asked_for_before_any_agent_is_started() -> None:
    story = Story(told_to(a_run(a_task("a", use_worktree=False))))

    kinds_of_effects = [type(effect) for effect in story.effects]
    assert kinds_of_effects.index(e.Notify) < kinds_of_effects.index(e.StartSession)


def test_a_failed_task_is_told_and_makes_the_end_an_error() -> None:
    story = Story(told_to(a_run("a", "b")))
    story.working("a", "b")
    story.turn_ends("a", a_result(is_error=True))
    story.gone("a", code=1, failure=Failure(kind="context_exceeded", message="too long"))
    story.tidied("a")
    story.succeeds("b")

    failed = the(story, "task_failed")
    assert ("error", "a", "Failed", "context_exceeded", "too long") == (
        failed.severity,
        *(failed.event[key] for key in ("task_id", "status", "reason", "message")),
    )
    assert ("error", "failed", 1) == (
        the(story, "run_finished").severity,
        the(story, "run_finished").event["outcome"],
        the(story, "run_finished").event["tasks_failed"],
    )


def test_a_run_that_was_stopped_says_so_and_not_that_each_task_failed() -> None:
    story = Story(told_to(a_run("a", "b")))
    story.working("a", "b")
    story.when(s.Stop(at=story.at, by="SIGTERM"))
    for name in ("a", "b"):
        story.gone(name)
        story.tidied(name)

    assert ["run_dispatched", "run_stopped", "run_finished"] == kinds(story)
    assert {"how": "stop", "by": "SIGTERM"}.items() <= the(story, "run_stopped").event.items()
    assert ("warning", "interrupted") == (
        the(story, "run_finished").severity,
        the(story, "run_finished").event["outcome"],
    )


def test_filters_are_both_to_be_passed() -> None:
    sinks = (
        Sink(id="few", kind="webhook", events=("run_finished",)),
        Sink(id="bad", kind="slack", severity_min="error"),
        Sink(id="none", kind="discord", events=()),
    )
    story = Story(told_to(a_run("a", "b"), *sinks))
    story.working("a", "b")
    story.turn_ends("a", a_result(is_error=True))
    story.gone("a", code=1, failure=Failure(kind="unknown"))
    story.tidied("a")
    story.succeeds("b")

    assert (["run_finished"], ["task_failed", "run_finished"], []) == (
        kinds(story, "few"),
        kinds(story, "bad"),
        kinds(story, "none"),
    )


# --- approvals --------------------------------------------------------------------------------------------------------

ASK = RequestApproval(summary="push to main", tool_name="Bash")


def asking(*sinks: Sink, policy: Policy | None = None) -> Story:
    run = told_to(a_tree(), *sinks)
    story = Story(msgspec.structs.replace(run, policy=policy or Policy()))
    story.up("lead")
    story.calls("lead", ASK)
    return story


def answers(story: Story, via: str = "", *, absent: bool = False, **words: Any) -> None:
    (name,) = story.state.approvals
    order = o.AnswerApproval(request_id=name, approved=True, **words)
    story.when(s.OrderGiven(at=story.at, order=order, via=via, absent=absent))


def test_who_is_needed_is_called_once_and_told_when_it_was_answered() -> None:
    story = asking()
    answers(story, via="ann with pitboss")

    asked, answered = the(story, "approval_request"), the(story, "approval_answered")
    name = asked.event["request_id"]
    assert (f"{RUN}:approval_request:{name}", "warning", RUN) == (asked.key, asked.severity, asked.event["run_id"])
    assert ("lead", "push to main", ["lead"]) == tuple(asked.event[key] for key in ("task_id", "summary", "path"))
    assert story.at + 3600 == asked.event["expires_at"]
    assert (True, "operator", "ann with pitboss") == tuple(answered.event[key] for key in ("approved", "by", "via"))
    assert [] == [kind for kind in kinds(story) if kind == "approval_pending"]


def test_a_sink_that_knows_only_the_other_name_is_called_by_that() -> None:
    story = asking(Sink(id="old", kind="slack", events=("approval_pending",)), ALL)

    assert (["approval_pending"], ["run_dispatched", "approval_request"]) == (kinds(story, "old"), kinds(story))


@pytest.mark.parametrize(
    "policy",
    [Policy(rules=(Rule(action="auto_approve"),)), Policy(default_action="auto_reject")],
)
def test_what_needs_nobody_calls_nobody(policy: Policy) -> None:
    assert ["run_dispatched"] == kinds(asking(policy=policy))


def test_a_request_that_expires_is_told_as_that() -> None:
    story = asking()
    story.after(3600.0)

    assert ["run_dispatched", "approval_request", "approval_expired"] == kinds(story)


def test_an_answer_given_while_nobody_was_at_work_is_told_by_the_resume() -> None:
    story = asking()
    story.killed()
    answers(story, absent=True)
    assert "approval_answered" not in kinds(story)

    story.reopened("lead")

    assert "approval_answered" in kinds(story)


# --- money, the API, silence ------------------------------------------------------------------------------------------


def spends(story: Story, name: str, usd: float) -> None:
    attempt = story.actor(name).attempt
    result = a_result(usd)
    usage = Usage(input=1)
    story.when(s.TurnEnded(at=story.at, actor=ActorId(name), attempt=attempt, result=result, usage=usage))


@pytest.mark.parametrize(
    ("usd", "expected"),
    [(0.89, []), (0.9, ["budget_near"]), (0.95, ["budget_near"]), (1.0, ["budget_exceeded"])],
)
def test_a_budget_is_told_when_it_is_nearly_spent_and_when_it_is(usd: float, expected: list[str]) -> None:
    story = Story(told_to(a_run("a", budget_usd=1.0)))
    story.working("a")
    spends(story, "a", usd)

    assert expected == kinds(story)[1:]


def test_a_refused_spawn_tells_of_the_layer_whose_money_it_is_once() -> None:
    story = Story(told_to(a_tree(budget_usd=0.05)))
    story.up("lead")

    refusals = [story.calls("lead", SpawnWorker(prompt="go")) for _ in range(2)]

    assert all(isinstance(each, Refused) for each in refusals)
    told = the(story, "budget_exceeded")
    assert (f"{RUN}:budget_exceeded:first", "error", 0.05) == (told.key, told.severity, told.event["budget_usd"])


def test_a_failed_worker_and_the_end_of_a_sub_lead_are_told() -> None:
    from pitboss.model.answers import Answer
    from pitboss.model.calls import SpawnSublead

    story = Story(told_to(a_tree()))
    story.up("lead")
    worker = story.spawns("lead")
    story.gone(worker, code=1, failure=Failure(kind="process_died", message="it died"))
    led = story.calls("lead", SpawnSublead(prompt="go", model="m", budget_usd=1.0, max_workers=1))
    assert isinstance(led, Answer), led
    sublead = str(led.content["sublead_id"])
    story.working(sublead)
    story.turn_ends(sublead)
    story.gone(sublead)

    assert (worker, "warning") == (the(story, "worker_failed").event["task_id"], the(story, "worker_failed").severity)
    assert (sublead, "info", "Success") == (
        the(story, "sublead_ended").event["task_id"],
        the(story, "sublead_ended").severity,
        the(story, "sublead_ended").event["status"],
    )


def test_a_swarm_of_refusals_is_told_once_in_a_while() -> None:
    story = Story(told_to(a_run("a")))
    story.working("a")

    def pushed_back() -> None:
        story.when(s.ApiRetried(at=story.at, actor=ActorId("a"), attempt=1, status=429, delay_secs=1.0))

    for _ in range(3):
        pushed_back()
    story.clock.turn(QUIET_SECS)
    pushed_back()

    assert [f"{RUN}:rate_limited", f"{RUN}:rate_limited:2"] == [notice.key for notice in sent(story)[1:]]


def test_a_refused_login_is_critical() -> None:
    story = Story(told_to(a_run("a"), Sink(id="log", kind="log", severity_min="critical")))
    story.working("a")
    story.gone("a", code=1, failure=Failure(kind="auth_failure", message="log in"))

    assert [("auth_failed", "critical")] == [(notice.kind, notice.severity) for notice in sent(story)]


def test_a_silent_agent_is_told_once_an_attempt() -> None:
    story = Story(told_to(a_run("a")))
    story.working("a")
    about: Any = {"at": story.at, "actor": ActorId("a"), "attempt": 1}
    story.when(s.Silent(**about, secs=300.0))
    story.when(s.Spoke(**about))
    story.when(s.Silent(**about, secs=300.0))

    assert ["run_dispatched", "agent_stalled"] == kinds(story)


# --- the outbox -------------------------------------------------------------------------------------------------------


def ended(*sinks: Sink) -> Story:
    story = Story(told_to(a_run("a"), *sinks))
    story.working("a")
    story.succeeds("a")
    return story


def test_the_end_waits_for_what_is_on_the_way_and_for_nothing_else() -> None:
    assert 1 == len(ended().asked(e.FinishNotices))

    story = Story(told_to(a_run("a"), Sink(id="log", kind="log", events=("run_dispatched",))))
    arrives(story, sent(story)[0])
    story.working("a")
    story.succeeds("a")
    assert [] == story.asked(e.FinishNotices)


def test_what_arrives_after_the_end_is_written_down_and_published() -> None:
    story = ended()
    for notice in sent(story):
        arrives(story, notice)

    assert ({}, 2) == (story.state.outbox.due, len(story.told(n.NoticeSettled)))
    assert ["run_dispatched", "run_finished"] == [
        one.kind for ask in story.asked(e.PublishNotices) for one in ask.settled
    ]


def test_an_operator_who_will_not_wait_ends_the_waiting() -> None:
    story = ended()
    story.when(s.Interrupted(at=story.at, by="SIGINT"))

    assert [15.0, 0.0] == [ask.within_secs for ask in story.asked(e.FinishNotices)]


def test_a_second_report_changes_nothing() -> None:
    story = ended()
    notice = sent(story)[0]
    arrives(story, notice)
    before = story.state.outbox
    arrives(story, notice)

    assert before == story.state.outbox


def test_a_resume_sends_what_did_not_arrive_once_and_under_the_same_key() -> None:
    story = Story(told_to(a_run("a"), ALL, Sink(id="two", kind="log"), Sink(id="three", kind="log")))
    first = sent(story)[0]
    arrives(story, first)
    arrives(story, first, "two", "undelivered")
    arrives(story, first, "three", "refused")
    story.working("a")
    story.killed()
    story.effects.clear()

    story.reopened("a")

    assert ["run_resumed"] == kinds(story)
    assert [first, first] != sent(story, "two")
    assert ["run_dispatched", "run_resumed"] == kinds(story, "two")
    assert ["run_resumed"] == kinds(story, "three")
    assert 3 == len(story.asked(e.PublishNotices)[0].settled)


def test_what_the_old_dispatcher_came_no_more_to_is_told_by_the_next() -> None:
    story = Story(told_to(a_run("a", "b")))
    story.working("a", "b")
    story.turn_ends("a", a_result(is_error=True))
    story.gone("a", code=1, failure=Failure(kind="unknown"))
    story.tidied("a")
    # The last line of the journal is lost: it said that the failure is to be told.
    story.facts = [fact for fact in story.facts if not (isinstance(fact, n.NoticeRaised) and "task" in fact.notice.key)]
    story.killed()
    story.effects.clear()

    story.reopened("b")

    assert ["run_dispatched", "task_failed", "run_resumed"] == kinds(story)


def test_a_second_end_is_news_under_a_key_of_its_own() -> None:
    story = ended()
    story.killed()
    story.reopened(scope="all")
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.working("a")
    story.succeeds("a")

    assert [f"{RUN}:run_finished", f"{RUN}:run_finished:2"] == [
        raised.notice.key for raised in story.told(n.NoticeRaised) if raised.notice.kind == "run_finished"
    ]
