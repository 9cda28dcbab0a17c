"""Any order an operator may give, for machines that give any order at any time."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from pitboss.core.state import RunState
from pitboss.model import effects as e
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.order_facts import OrderTaken
from pitboss.model.run import ActorId, Rule
from pitboss.testing.doubles import Story

RULES = (
    (),
    (Rule(action="block", tool="Bash"),),
    (Rule(action="auto_reject", category="tool_use"), Rule(action="auto_approve")),
)


def any_order(state: RunState) -> st.SearchStrategy[o.AnyOrder]:
    """An order about a run as it stands; those that end all of it are not among them, its lead's end neither."""
    who = [*state.actors, ActorId("stranger")]
    return st.sampled_from([*(order for name in who for order in _about(name)), *_about_the_run(state)])


def _about(name: ActorId) -> Iterator[o.AnyOrder]:
    if name != "lead":
        yield o.CancelActor(actor=name, reason="why")
    yield o.PauseActor(actor=name)
    yield o.PauseActor(actor=name, mode="freeze")
    yield o.ContinueActor(actor=name)
    yield o.RedirectActor(actor=name, prompt="that way")
    yield o.RedirectActor(actor=name, prompt="")
    yield o.NoteActor(actor=name, text="mind the gap")
    yield o.SetModel(actor=name, model="claude-opus-4-7")
    yield o.SetModel(actor=name, model="claude-haiku-4-5")
    yield o.ChangeLimits(actor=name, timeout_secs=100)
    yield o.ChangeLimits(actor=name, budget_usd=3.0, max_workers=1)


def _about_the_run(state: RunState) -> Iterator[o.AnyOrder]:
    for limit in (0.05, 3.0, 50.0):
        yield o.ChangeLimits(budget_usd=limit)
    for cap in (1, 2, 6):
        yield o.ChangeLimits(max_workers=cap)
    yield o.ChangeLimits(timeout_secs=5)
    for rules in RULES:
        yield o.ReplacePolicy(rules=rules, version=state.policy_version)
    for name in [*state.approvals, "req-?"]:
        yield o.AnswerApproval(request_id=name, approved=name.endswith(("1", "3", "5", "7", "9")))


def check_order(story: Story, signal: s.OrderGiven) -> None:
    """What the last signal of a story, an order, has led to: one answer, one fact, and the same when given again."""
    replies = [effect.answer for effect in story.last.effects if isinstance(effect, e.AnswerOrder)]
    taken = [fact for fact in story.last.facts if isinstance(fact, OrderTaken)]
    assert (1, 1) == (len(replies), len(taken)), "an order has one answer, and is written down once"
    again = story.when(signal)
    assert replies == [effect.answer for effect in again.effects if isinstance(effect, e.AnswerOrder)]
    assert not again.facts, "an order was carried out twice"
