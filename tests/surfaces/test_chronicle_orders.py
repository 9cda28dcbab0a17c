"""What the story of a run says of its operators' orders: every kind has its sentence."""

from typing import Any, get_args

import pytest

from pitboss.core.story import story
from pitboss.journal.entries import Entry
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model.run import ActorId, Rule
from pitboss.surfaces import chronicle

A = ActorId("a")
LONG = "x" * 200


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (o.CancelActor(actor=A), "cancel a"),
        (o.CancelActor(actor=A, reason="too\nslow"), "cancel a (too slow)"),
        (o.PauseActor(actor=A), "pause a"),
        (o.PauseActor(actor=A, mode="freeze"), "freeze a"),
        (o.ContinueActor(actor=A), "let a go on"),
        (o.ContinueActor(actor=A, prompt="now"), "let a go on: now"),
        (o.RedirectActor(actor=A, prompt=LONG), f"redirect a: {'x' * 80}…"),
        (o.NoteActor(actor=A, text="mind"), "tell a: mind"),
        (o.SetModel(actor=A, model="m"), "let a go on with m"),
        (o.AnswerApproval(request_id="r", approved=True), "approve r"),
        (o.AnswerApproval(request_id="r", approved=False), "reject r"),
        (o.ReplacePolicy(rules=(Rule(action="block"),)), "replace the rules by 1"),
        (o.ChangeLimits(budget_usd=2.0), "change the limits of the run: a budget of $2.00"),
        (
            o.ChangeLimits(actor=A, max_workers=2, timeout_secs=9),
            "change the limits of a: 2 at once, a time-out of 9 s",
        ),
        (o.DrainRun(), "drain"),
        (o.StopRun(reason="lunch"), "stop (lunch)"),
    ],
)
def test_every_order_is_told_with_who_gave_it(order: Any, words: str) -> None:
    taken = of.OrderTaken(at=1.0, order=order, given_by="ann with pitboss 0.10")
    assert f"ann with pitboss 0.10 ordered: {words}" == chronicle.sentence(taken)


def test_every_kind_of_order_is_told() -> None:
    given = test_every_order_is_told_with_who_gave_it.pytestmark[0].args[1]
    assert set(get_args(o.AnyOrder)) == {type(order) for order, _ in given}


def test_what_was_ordered_of_an_actor_is_in_its_story_and_in_nobody_elses() -> None:
    order = of.OrderTaken(at=9.0, order=o.CancelActor(actor=A), given_by="ann with pitboss")
    entries = [Entry(seq=1, cause=0, by="test", fact=order)]
    assert "ann with pitboss ordered: cancel" in list(chronicle.story_lines(entries, A))[-1]
    assert [] == story(entries, ActorId("other"))


def test_what_was_refused_says_why() -> None:
    taken = of.OrderTaken(at=1.0, order=o.DrainRun(), code="conflict", message="it is draining")
    assert "an operator ordered: drain; refused: it is draining" == chronicle.sentence(taken)


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        (
            of.PolicyReplaced(at=1.0, rules=(Rule(action="block"),), default_action="block", version=1),
            "other rules hold now: 1 rule, and block for what none is about",
        ),
        (of.LimitsChanged(at=1.0, budget_usd=2.0), "other limits hold for the run now: a budget of $2.00"),
        (of.LimitsChanged(at=1.0, actor=A, timeout_secs=9), "other limits hold for a now: a time-out of 9 s"),
        (of.ModelSet(at=1.0, actor=A, attempt=1, model="m"), "it goes on with m"),
    ],
)
def test_what_orders_change_is_told(fact: Any, sentence: str) -> None:
    assert sentence == chronicle.sentence(fact)
