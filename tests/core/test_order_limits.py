"""An operator raises and lowers limits: whose they are, out of what they come, and whether anything has changed."""

from __future__ import annotations

from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId
from pitboss.testing.doubles import Story, a_run, a_tree


def ordered(story: Story, **limits: object) -> Answer | Refused:
    """What the operator is answered."""
    order = o.ChangeLimits(**limits)  # type: ignore[arg-type]  # fields of it
    outcome = story.when(s.OrderGiven(at=story.at, order=order, via="ann", order_id="", reply_to="r"))
    (answer,) = [effect.answer for effect in outcome.effects if isinstance(effect, e.AnswerOrder)]
    return answer


def told(answer: Answer | Refused, *keys: str) -> tuple[object, ...]:
    assert isinstance(answer, Answer), answer
    return tuple(answer.content[key] for key in keys)


def a_sublead(**tree: object) -> tuple[Story, ActorId]:
    """A tree with ten dollars, and a sub-lead that three are set apart for."""
    story = Story(a_tree(**tree))
    story.working("lead")
    answer = story.calls("lead", c.SpawnSublead(prompt="x", model="m", budget_usd=3.0, max_workers=2))
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return story, ActorId(name)


def test_a_subleads_money_comes_out_of_its_parents() -> None:
    story, name = a_sublead()
    assert (9.5, True) == told(ordered(story, actor=name, budget_usd=9.5), "budget_usd", "changed")

    refused = ordered(story, actor=name, budget_usd=10.5)

    assert isinstance(refused, Refused)
    assert ("budget_exceeded", "lead cannot set $1.00 more apart: $0.50 is left there") == (
        refused.code,
        refused.message,
    )


def test_the_leads_money_and_its_time_out_are_changed_by_one_order() -> None:
    story, _ = a_sublead()

    answer = ordered(story, actor=ActorId("lead"), budget_usd=20.0, timeout_secs=900)

    assert (20.0, 900) == told(answer, "budget_usd", "timeout_secs")
    assert story.state.tree.budget_usd == 20.0
    assert 900 == story.state.actors[ActorId("lead")].spec.timeout_secs


def test_limits_that_hold_already_are_no_change_and_not_written_down() -> None:
    story = Story(a_run("a", budget_usd=2.0))
    assert (False,) == told(ordered(story, budget_usd=2.0), "changed")
    assert not [fact for fact in story.facts if isinstance(fact, of.LimitsChanged)]
    assert (True,) == told(ordered(story, budget_usd=3.0), "changed")
