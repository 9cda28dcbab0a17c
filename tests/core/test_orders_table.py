"""Every order against every state of an actor: what it comes to is written down here as data, without a hole.

Sub-leads have no worktree, so they are neither prepared nor tidied; a lead that has settled has ended the run.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import msgspec
import pytest

from pitboss.core import tree
from pitboss.core.decide import decide
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Phase, Rule, Usage
from pitboss.testing.doubles import Story, a_run, a_task, a_tree

A = ActorId("?")
"""Whom an order is about, until it is known."""

ORDERS: dict[str, o.AnyOrder] = {
    "cancel": o.CancelActor(actor=A, reason="why"),
    "pause": o.PauseActor(actor=A),
    "freeze": o.PauseActor(actor=A, mode="freeze"),
    "continue": o.ContinueActor(actor=A),
    "redirect": o.RedirectActor(actor=A, prompt="that way"),
    "note": o.NoteActor(actor=A, text="mind"),
    "model": o.SetModel(actor=A, model="claude-opus-4-7"),
    "timeout": o.ChangeLimits(actor=A, timeout_secs=60),
    "layer": o.ChangeLimits(actor=A, budget_usd=3.0, max_workers=5),
    "limits": o.ChangeLimits(budget_usd=4.0, max_workers=5),
    "policy": o.ReplacePolicy(rules=(Rule(action="block", tool="Bash"),)),
    "approve": o.AnswerApproval(request_id="req-?", approved=True),
    "drain": o.DrainRun(),
    "stop": o.StopRun(),
}

BEFORE: dict[str, tuple[str, ...]] = {
    "queued": (),
    "preparing": (),
    "starting": ("prepared",),
    "working": ("prepared", "up"),
    "frozen": ("prepared", "up", "freeze"),
    "finishing": ("prepared", "up", "turn_ends"),
    "stopping": ("prepared", "up", "cancel"),
    "pausing": ("prepared", "up", "pause"),
    "paused": ("prepared", "up", "pause", "gone"),
    "tidying": ("prepared", "up", "turn_ends", "gone"),
    "settled": ("prepared", "up", "turn_ends", "gone", "tidied"),
}
"""Stage -> what has happened until then. One that is being paused is ``STOPPING`` too, but means to come back."""

# What an order comes to: ``ok``, where the actor is then if it has moved, ``=`` where nothing was changed; or the
# refusal's words. Columns are the stages above.
#       |queued   |preparing|starting |working  |frozen   |finishing|stopping|pausing  |paused    |tidying  |settled
TABLE = """
cancel  |>settled |ok       |>stopping|>stopping|>stopping|=        |=       |ok       |>settled  |=        |=
pause   |pausable |pausable |not yet  |>stopping|>stopping|pausable |pausable|already  |already   |pausable |pausable
freeze  |pausable |pausable |not yet  |>frozen  |already  |pausable |pausable|already  |already   |pausable |pausable
continue|unpaused |unpaused |unpaused |unpaused |>working |unpaused |unpaused|still    |>preparing|unpaused |unpaused
redirect|pending  |pending  |not yet  |ok       |frozen   |completed|stopped |still    |>preparing|completed|completed
note    |ok       |ok       |ok       |ok       |ok       |ended    |stopped |ok       |ok        |ended    |ended
model   |ok       |ok       |ok       |ok       |ok       |ended    |stopped |ok       |ok        |ended    |ended
timeout |ok       |ok       |ok       |ok       |ok       |ended    |stopped |ok       |ok        |ended    |ended
layer   |no budget|no budget|no budget|no budget|no budget|ended    |stopped |no budget|no budget |ended    |ended
limits  |ok       |ok       |ok       |ok       |ok       |ok       |ok      |ok       |ok        |ok       |ok
policy  |ok       |ok       |ok       |ok       |ok       |ok       |ok      |ok       |ok        |ok       |ok
approve |unknown  |unknown  |unknown  |unknown  |unknown  |unknown  |unknown |unknown  |unknown   |unknown  |unknown
drain   |ok       |ok       |ok       |ok       |ok       |ok       |ok      |ok       |>settled  |ok       |ok
stop    |ok       |ok       |>stopping|>stopping|>stopping|ok       |ok      |ok       |>settled  |ok       |ok
"""

ELSE: dict[str, dict[tuple[str, str], str]] = {
    "task": {},
    "worker": {("drain", "queued"): ">settled", ("stop", "queued"): ">settled"},
    "sublead": {
        ("drain", "queued"): ">settled",
        ("stop", "queued"): ">settled",
        ("continue", "paused"): ">starting",
        ("redirect", "paused"): ">starting",
        **{("layer", stage): "ok" for stage in ("queued", "starting", "working", "frozen", "pausing", "paused")},
    },
    "lead": {
        **{("layer", stage): "ok" for stage in BEFORE if stage not in {"finishing", "stopping", "tidying", "settled"}},
        **{(order, "settled"): "the run has ended" for order in ORDERS},
    },
}
"""Role -> where it differs from a task of a flat run."""

NEVER = {("sublead", "preparing"), ("sublead", "tidying")}

EXPECTED = {
    (order.strip(), stage): outcome.strip()
    for order, *outcomes in (line.split("|") for line in TABLE.strip().splitlines())
    for stage, outcome in zip(BEFORE, outcomes, strict=True)
}


class Given(NamedTuple):
    """An order that was given to a run."""

    story: Story
    name: str
    before: Phase
    answer: Answer | Refused

    @property
    def asked(self) -> set[str]:
        """What was asked of the world about the actor."""
        about = [effect for effect in self.story.last.effects if getattr(effect, "actor", None) == self.name]
        return {type(effect).__name__ for effect in about}


def give(story: Story, order: o.AnyOrder) -> Answer | Refused:
    outcome = story.when(s.OrderGiven(at=story.at, order=order, reply_to="r", via="me"))
    (answer,) = [effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder)]
    return answer


def begin(role: str, stage: str) -> tuple[Story, str]:
    """Somebody of this role, who waits for a start or has just been admitted."""
    waits = stage == "queued"
    if role == "task":
        return Story(a_run("a", "other", max_parallel=2, max_starts=2), guarded=not waits), "a"
    lead = a_task("lead", model="claude-haiku-4-5")
    story = Story(a_tree(lead=lead), guarded=not (waits and role == "lead"))
    if role == "lead":
        return story, "lead"
    story.working("lead")
    if waits:
        story.state = msgspec.structs.replace(story.state, starts_limit=0)
    sublead = c.SpawnSublead(prompt="x", model="claude-haiku-4-5", budget_usd=2.0, max_workers=3)
    assert isinstance(story.calls("lead", c.SpawnWorker(prompt="go") if role == "worker" else sublead), Answer)
    return story, list(story.state.actors)[-1]


def brought(role: str, stage: str) -> tuple[Story, str]:
    """Somebody of this role at this stage."""
    story, name = begin(role, stage)
    bare = not story.actor(name).spec.use_worktree
    for step in BEFORE[stage]:
        if step in ORDERS:
            assert isinstance(give(story, about(ORDERS[step], name)), Answer)
        elif not (bare and step in {"prepared", "tidied"}):
            getattr(story, step)(name)
    expected = "stopping" if stage == "pausing" else stage
    assert expected == story.actor(name).phase
    return story, name


def about(order: o.AnyOrder, name: str) -> o.AnyOrder:
    return msgspec.structs.replace(order, actor=ActorId(name)) if getattr(order, "actor", None) == A else order


def given(role: str, stage: str, order: str) -> Given:
    story, name = brought(role, stage)
    before = story.actor(name).phase
    return Given(story, name, before, give(story, about(ORDERS[order], name)))


CASES = [(role, stage, order) for role in ELSE for stage in BEFORE if (role, stage) not in NEVER for order in ORDERS]


@pytest.mark.parametrize(("role", "stage", "order"), CASES)
def test_what_an_order_comes_to(role: str, stage: str, order: str) -> None:
    outcome = ELSE[role].get((order, stage), EXPECTED[order, stage])
    story, name, before, answer = given(role, stage, order)

    after = story.actor(name).phase
    if outcome == "ok" or outcome.startswith((">", "=")):
        assert isinstance(answer, Answer), answer
        assert (outcome[1:] if outcome.startswith(">") else before) == after
        assert (outcome != "=") == answer.content.get("changed", True)
    else:
        assert isinstance(answer, Refused), answer
        assert {"unpaused": "not paused"}.get(outcome, outcome) in answer.message
        assert before is after
        if isinstance(ORDERS[order], get_args(o.ActorOrder)) and "run has ended" not in answer.message:
            assert tree.stage_of(story.actor(name)) == answer.extra["state"]


@pytest.mark.parametrize("role", ELSE)
@pytest.mark.parametrize("stage", BEFORE)
def test_a_model_and_rules_reach_every_process_that_can_still_use_them(role: str, stage: str) -> None:
    if (role, stage) in NEVER:
        return
    hears = {"starting", "working", "frozen"}
    assert ("SetModel" in given(role, stage, "model").asked) == (stage in hears)
    assert ("JudgeDeeds" in given(role, stage, "policy").asked) >= (stage in hears)


def test_the_table_has_no_hole() -> None:
    assert {phase.value for phase in Phase} == set(BEFORE) - {"pausing"}, "a phase nobody has tried orders in"
    assert {*get_args(o.AnyOrder)} == {type(order) for order in ORDERS.values()}, "an order nobody has tried"
    assert EXPECTED.keys() == {(order, stage) for order in ORDERS for stage in BEFORE}


KEPT = {"note", "model", "timeout", "limits", "policy"}
"""What is taken although nobody is there to carry it out; a layer's limits too, of whoever leads one."""


@pytest.mark.parametrize("role", ELSE)
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_without_a_dispatcher_is_kept_for_the_resume_or_refused(role: str, order: str) -> None:
    story, name = brought(role, "working")
    story.killed()
    signal = s.OrderGiven(at=story.at, order=about(ORDERS[order], name), absent=True, reply_to="r", order_id="mine")

    outcome = decide(story.state, signal)  # the laws are about runs that somebody sees to
    (reply,) = [effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder)]
    kept = order in KEPT or (order == "layer" and role in {"lead", "sublead"})
    assert kept == isinstance(reply, Answer), reply
    assert len(outcome.facts) == 1 + kept, "what was changed, and that it was ordered"

    story.facts += outcome.facts
    story.killed()
    story.reopened(name, "lead", "other")
    again = story.when(signal)
    assert [reply] == [effect.answer for effect in again.effects if isinstance(effect, e.AnswerOrder)]
    assert not again.facts, "answered as it was, and not carried out again"


# --- what the table cannot say ----------------------------------------------------------------------------------------


def test_the_leads_time_out_and_its_layers_money_are_changed_by_one_order() -> None:
    story, _ = brought("lead", "working")

    answer = give(story, o.ChangeLimits(actor=ActorId("lead"), budget_usd=42.0, max_workers=7, timeout_secs=99))

    assert (42.0, 7, 99) == (
        story.state.tree.budget_usd,
        story.state.tree.max_workers,
        story.actor("lead").spec.timeout_secs,
    )
    assert isinstance(answer, Answer)
    assert {"budget_usd": 42.0, "max_workers": 7, "timeout_secs": 99}.items() <= answer.content.items()


@pytest.mark.parametrize(
    ("field", "number"),
    [
        *((field, number) for field in ("max_workers", "timeout_secs") for number in (10**9 + 1, 10**400, 0, -1)),
        *(("budget_usd", number) for number in (1e9 + 1, float("inf"), float("nan"), 0.0, -1.0)),
    ],
)
def test_a_limit_that_no_clock_or_account_could_reckon_with_is_refused(field: str, number: float) -> None:
    """A time-out of 400 digits would have ended the run, and every resume of it: no float is as large."""
    story, name = brought("task", "working")

    answer = give(story, msgspec.structs.replace(o.ChangeLimits(actor=ActorId(name)), **{field: number}))

    assert isinstance(answer, Refused)
    assert "invalid_arg" == answer.code
    story.after(1.0)


@pytest.mark.parametrize("model", ["", " ", "a b", "a\0b", "a\n", "--help"])
def test_what_could_not_be_an_argument_is_no_model(model: str) -> None:
    story, name = brought("task", "working")
    assert isinstance(give(story, o.SetModel(actor=ActorId(name), model=model)), Refused)
    assert "SetModel" not in {type(effect).__name__ for effect in story.effects}


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_an_empty_direction_is_said_in_a_word_as_no_model_can_be_told_nothing(blank: str) -> None:
    story, name = brought("task", "paused")
    assert isinstance(give(story, o.ContinueActor(actor=ActorId(name), prompt=blank)), Answer)
    story.prepared(name)
    assert "continue" == story.asked(e.StartSession)[-1].session.prompt

    story, name = brought("task", "working")
    assert isinstance(give(story, o.RedirectActor(actor=ActorId(name), prompt=blank)), Answer)
    story.turn_ends(name)
    assert ["continue"] == [tell.text for tell in story.asked(e.Tell)]


def test_a_draining_run_waits_for_whoever_is_frozen_and_says_for_whom() -> None:
    story, name = brought("task", "frozen")
    story.working("other")

    answer = give(story, o.DrainRun())
    story.succeeds("other")
    story.after(1e9)

    assert isinstance(answer, Answer)
    assert name == answer.content["frozen"]
    assert story.state.exit_code is None
    assert isinstance(give(story, o.ContinueActor(actor=ActorId(name))), Answer)
    story.succeeds(name)
    assert 130 == story.state.exit_code


def test_a_layer_whose_limit_is_lowered_below_what_it_has_spent_is_stopped_as_if_it_had_reached_it() -> None:
    story, name = brought("worker", "working")
    story.when(s.UsageGrew(at=story.at, actor=ActorId(name), attempt=1, usage=Usage(input=1_000_000)))

    give(story, o.ChangeLimits(budget_usd=0.01))

    assert {Phase.STOPPING} == {story.actor(each).phase for each in ("lead", name)}
    assert {"budget"} == {story.actor(each).stopping.reason for each in ("lead", name)}  # type: ignore[union-attr]


def test_a_flat_run_with_less_money_than_is_spent_starts_nobody_more_and_those_at_work_end_their_work() -> None:
    story = Story(a_run("a", "b", max_parallel=1, budget_usd=5.0))
    story.working("a")
    story.when(s.UsageGrew(at=story.at, actor=ActorId("a"), attempt=1, usage=Usage(input=1_000_000)))

    give(story, o.ChangeLimits(budget_usd=0.01))

    assert Phase.WORKING is story.actor("a").phase
    story.succeeds("a")
    assert (1, Phase.QUEUED) == (story.state.exit_code, story.actor("b").phase)


def test_a_cap_that_is_lowered_ends_nobody_and_admits_nobody_until_there_is_room() -> None:
    story = Story(a_run("a", "b", "c", max_parallel=2, max_starts=3))
    story.working("a", "b")

    give(story, o.ChangeLimits(max_workers=1))
    story.succeeds("a")
    assert Phase.QUEUED is story.actor("c").phase
    story.succeeds("b")
    assert Phase.PREPARING is story.actor("c").phase


def test_a_paused_lead_has_its_workers_go_on_and_hears_of_them_when_it_does() -> None:
    story, name = brought("worker", "working")
    story.calls("lead", c.WaitForWorker(task_id=name))
    give(story, o.PauseActor(actor=ActorId("lead")))
    story.gone("lead")

    give(story, o.CancelActor(actor=ActorId(name), reason="why"))
    story.gone(name)
    story.tidied(name)
    assert (Phase.PAUSED, None) == (story.actor("lead").phase, story.state.exit_code)
    give(story, o.ContinueActor(actor=ActorId("lead")))
    story.working("lead")

    assert f"Actor {name} was killed by operator.\nReason: why" in story.prompt("lead")


def test_a_frozen_lead_is_answered_what_it_waits_for_while_it_stands_still() -> None:
    story, name = brought("worker", "working")
    story.calls("lead", c.WaitForWorker(task_id=name))
    give(story, o.PauseActor(actor=ActorId("lead"), mode="freeze"))

    story.succeeds(name)

    assert isinstance(story.answers()[story.made], Answer)
    assert Phase.FROZEN is story.actor("lead").phase
    give(story, o.ContinueActor(actor=ActorId("lead")))
    assert Phase.WORKING is story.actor("lead").phase


def test_a_cancelled_lead_takes_everyone_with_it_and_no_resume_takes_it_back() -> None:
    story, name = brought("worker", "paused")
    give(story, o.CancelActor(actor=ActorId("lead")))
    story.gone("lead")
    story.tidied("lead")

    assert {"Cancelled"} == {str(story.actor(each).status) for each in ("lead", name)}
    assert 1 == story.state.exit_code


def test_of_two_who_answer_one_request_the_first_is_heard_and_the_second_is_told_who_that_was() -> None:
    story, _ = brought("lead", "working")
    story.calls("lead", c.RequestApproval(summary="push"))
    (name,) = story.state.approvals
    answers = [give(story, o.AnswerApproval(request_id=name, approved=yes)) for yes in (False, True)]

    assert isinstance(answers[0], Answer)
    assert isinstance(answers[1], Refused)
    assert f"unknown request_id: {name}" in answers[1].message
    assert "already answered by operator" in answers[1].message


def test_an_answer_in_the_moment_a_request_expires_comes_first_or_is_told_that_it_does_not() -> None:
    for late, approved in ((False, True), (True, False)):
        story, _ = brought("lead", "working")
        story.calls("lead", c.RequestApproval(summary="push", timeout_secs=5))
        (name,) = story.state.approvals
        story.clock.turn(5)
        order = s.OrderGiven(at=story.at, order=o.AnswerApproval(request_id=name, approved=True))
        for signal in (s.Tick(at=story.at), order) if late else (order, s.Tick(at=story.at)):
            story.when(signal)
        answer = story.answers()[story.made]
        assert isinstance(answer, Answer)
        assert approved is answer.content["approved"]
