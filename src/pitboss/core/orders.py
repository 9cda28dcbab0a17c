"""What an operator's order comes to: carried out or refused in one decision, and written down with who gave it.

An order that its giver has named is carried out once: given again, it is answered as it was. Of two that exclude each
other the first is carried out, and the second is told how things stand. What actors may order of each other is
``steering``'s, which carries out what both can order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never, get_args

from pitboss.core import admission, approvals, ledger, lifecycle, steering, tree
from pitboss.core.decision import Decision
from pitboss.core.policy import contradiction
from pitboss.core.state import Actor, evolve
from pitboss.model import effects as e
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, RefusalCode, Refused, refused
from pitboss.model.money import dollars
from pitboss.model.run import Phase, Policy
from pitboss.model.tree import Message

OPERATOR = "operator"
"""Who has ordered something, in facts and notes; on which machine and with what program is in ``OrderTaken``."""

NOTE = "[SYSTEM] A note from the operator of this run; go on with your work, and mind it:\n"

LARGEST = 1_000_000_000
"""No limit is beyond that, in dollars, actors or seconds: times and sums are still exact with it."""

FOR_LATER = (o.AnswerApproval, o.ReplacePolicy, o.ChangeLimits, o.SetModel, o.NoteActor)
"""Orders that a run can be given while no dispatcher lives: they are only remembered."""

_CODES: dict[str, RefusalCode] = {code: code for code in get_args(RefusalCode)}


def handle(d: Decision, signal: s.OrderGiven) -> None:
    """Carry out an order, or refuse it; either way it is a fact, and whoever waits for the answer hears it."""
    if (again := _given_before(d, signal)) is not None:
        d.reply(signal.reply_to, again)
        return
    came = _refuse_absent(signal) or _carry_out(d, signal)
    taken = of.OrderTaken(
        at=d.at,
        order=signal.order,
        given_by=signal.via,
        order_id=signal.order_id,
        answer=_scalars(came.content) if isinstance(came, Answer) else {},
        code=came.code if isinstance(came, Refused) else "",
        message=came.message if isinstance(came, Refused) else "",
        extra=_scalars(came.extra) if isinstance(came, Refused) else {},
    )
    d.note(taken)
    d.reply(signal.reply_to, came)


def _scalars(content: Mapping[str, object]) -> dict[str, of.Scalar]:
    return {name: value for name, value in content.items() if value is None or isinstance(value, str | int | float)}


def outcome_of(taken: of.OrderTaken) -> Answer | Refused:
    """What was answered to an order."""
    return refused(_CODES[taken.code], taken.message, **taken.extra) if taken.code else Answer(dict(taken.answer))


def too_late(d: Decision, signal: s.OrderGiven) -> None:
    """The run has ended: nothing is left that could be ordered, but what was answered is answered again.

    Except, once its dispatcher is gone, more for the run as a whole: one that was out of money could not be resumed.
    """
    if signal.absent and isinstance(signal.order, o.ChangeLimits) and signal.order.actor is None:
        handle(d, signal)
        return
    word = "nothing waits for an answer in it" if isinstance(signal.order, o.AnswerApproval) else "nothing runs in it"
    again = _given_before(d, signal)
    d.reply(signal.reply_to, again or refused("unavailable", f"the run has ended; {word}"))


def _given_before(d: Decision, signal: s.OrderGiven) -> Answer | Refused | None:
    """What is answered to an id that was used before; ``None`` for an order that is new."""
    earlier = d.state.orders.get(signal.order_id) if signal.order_id else None
    if earlier is None or earlier.order == signal.order:
        return None if earlier is None else outcome_of(earlier)
    message = f"the order id {signal.order_id} was used for another order; give it one of its own"
    return refused("conflict", message)


def _refuse_absent(signal: s.OrderGiven) -> Refused | None:
    if not signal.absent or isinstance(signal.order, FOR_LATER):
        return None
    return refused("unavailable", "no dispatcher is at work on this run; `pitboss resume` takes it up again")


def _carry_out(d: Decision, signal: s.OrderGiven) -> Answer | Refused:
    order = signal.order
    match order:
        case o.AnswerApproval():
            return approvals.answered(d, order, signal.via, absent=signal.absent)
        case o.ReplacePolicy():
            return _replace_policy(d, order)
        case o.ChangeLimits():
            return _change_limits(d, order)
        case o.DrainRun(reason=reason):
            return _drain(d, reason)
        case o.StopRun(reason=reason):
            return _stop(d, reason)
        case o.CancelActor() | o.PauseActor() | o.ContinueActor() | o.RedirectActor() | o.NoteActor() | o.SetModel():
            return _about_actor(d, order, absent=signal.absent)
        case _:
            assert_never(order)


# --- one actor --------------------------------------------------------------------------------------------------------


def _about_actor(d: Decision, order: o.ActorOrder, *, absent: bool) -> Answer | Refused:
    target = order.actor
    if target not in d.state.actors:
        return refused("not_found", f"unknown task_id: {target}")
    before = len(d.facts)
    refusal = _steer(d, order, absent=absent)
    actor = d.actor(target)
    if refusal is not None:
        return refused(refusal.code, refusal.message, state=tree.stage_of(actor))
    return Answer(
        {
            "ok": True,
            "task_id": target,
            "state": tree.stage_of(actor),
            "changed": len(d.facts) > before,
            "spent_usd": round(actor.all_cost_usd or 0.0, 6),
        }
    )


def _steer(d: Decision, order: o.ActorOrder, *, absent: bool) -> Refused | None:
    match order:
        case o.CancelActor(actor=target, reason=reason):
            return steering.cancel(d, target, by=OPERATOR, reason=reason)
        case o.PauseActor(actor=target, mode=mode):
            return steering.pause(d, target, mode, by=OPERATOR)
        case o.ContinueActor(actor=target, prompt=prompt):
            return steering.go_on(d, target, _in_words(prompt), by=OPERATOR)
        case o.RedirectActor(actor=target, prompt=prompt):
            return steering.redirect(d, target, _in_words(prompt), by=OPERATOR)
        case o.NoteActor(actor=target, text=text):
            return _note(d, d.actor(target), text, absent=absent)
        case o.SetModel(actor=target, model=model):
            return _set_model(d, d.actor(target), model)
        case _:
            assert_never(order)


def _in_words(prompt: str) -> str:
    """What is said to a model: it cannot be told nothing, though operators may say just that, as in Pitboss 0.9."""
    return prompt if prompt.strip() else steering.CONTINUE


def _note(d: Decision, actor: Actor, text: str, *, absent: bool) -> Refused | None:
    if not text.strip():
        return refused("invalid_arg", "a note without words says nothing")
    if (refusal := _refuse_ending(actor)) is not None:
        return refusal
    message = Message(text=NOTE + text, by=OPERATOR)
    if absent:
        d.note(t.MessageSent(**d.about(actor.spec.id), message=message))
    else:
        steering.tell(d, actor.spec.id, message)
    return None


def _set_model(d: Decision, actor: Actor, model: str) -> Refused | None:
    if not model or model.startswith("-") or not model.isprintable() or " " in model:
        return refused("invalid_arg", f"{model!r} is not the name of a model")
    if (refusal := _refuse_ending(actor)) is not None:
        return refusal
    if model == actor.spec.model:
        return None
    d.note(of.ModelSet(**d.about(actor.spec.id), model=model))
    if actor.phase in {Phase.STARTING, Phase.WORKING, Phase.FROZEN}:
        d.ask(e.SetModel(actor=actor.spec.id, attempt=actor.attempt, model=model))
    return None


def _refuse_ending(actor: Actor) -> Refused | None:
    name = actor.spec.id
    if actor.phase in {*tree.OVER, Phase.FINISHING}:
        return refused("conflict", f"{name} has already ended")
    if actor.stopping is not None and not actor.comes_back:
        return refused("conflict", f"{name} is being stopped")
    return None


# --- the rules --------------------------------------------------------------------------------------------------------


def _replace_policy(d: Decision, order: o.ReplacePolicy) -> Answer | Refused:
    now, policy = d.state.policy_version, d.state.spec.policy
    if order.version is not None and order.version != now:
        message = f"the rules were changed meanwhile: version {now} is in force, not {order.version}; look at it first"
        return refused("conflict", message, version=now)
    for number, rule in enumerate(order.rules, start=1):
        if (why := contradiction(rule)) is not None:
            return refused("invalid_arg", f"rule {number} can never match: {why}", rule=number)
    default = order.default_action or policy.default_action
    after = Policy(rules=order.rules, default_action=default)
    if after != policy:
        d.note(of.PolicyReplaced(at=d.at, rules=order.rules, default_action=default, version=now + 1))
    if after.sees_deeds != policy.sees_deeds:
        for actor in d.state.live_actors:
            if actor.phase in lifecycle.HAS_PROCESS:
                d.ask(e.JudgeDeeds(actor=actor.spec.id, attempt=actor.attempt, judged=after.sees_deeds))
    return Answer(
        {"ok": True, "version": d.state.policy_version, "rules": len(order.rules), "changed": after != policy}
    )


# --- limits -----------------------------------------------------------------------------------------------------------


def _change_limits(d: Decision, order: o.ChangeLimits) -> Answer | Refused:
    refusal = _refuse_values(order) or (_refuse_of_run(order) if order.actor is None else _refuse_of_actor(d, order))
    if refusal is not None:
        return refusal
    changes = [fact for fact in _limit_facts(d, order) if evolve(d.state, fact) != d.state]
    for fact in changes:
        d.note(fact)
    ending = {"draining": d.state.draining.by} if d.state.draining else {}  # whatever there is now, nobody is started
    return Answer({"ok": True, **_limits_told(d, order), "changed": bool(changes), **ending})


def _limit_facts(d: Decision, order: o.ChangeLimits) -> Iterator[of.LimitsChanged]:
    """What is to be written down: the lead's money and cap are the run's, its time-out is its own."""
    leader = tree.root(d.state)
    layer = None if leader is not None and order.actor == leader.spec.id else order.actor
    if order.budget_usd is not None or order.max_workers is not None:
        yield of.LimitsChanged(at=d.at, actor=layer, budget_usd=order.budget_usd, max_workers=order.max_workers)
    if order.timeout_secs is not None:
        yield of.LimitsChanged(at=d.at, actor=order.actor, timeout_secs=order.timeout_secs)


def _refuse_values(order: o.ChangeLimits) -> Refused | None:
    budget = order.budget_usd
    if budget is None and order.max_workers is None and order.timeout_secs is None:
        return refused("invalid_arg", "nothing is to be changed; give a budget, a cap or a time-out")
    if budget is not None and not 0 < budget <= LARGEST:
        return refused("invalid_arg", f"a budget is an amount above 0 and not beyond {LARGEST:,}, not {budget}")
    for what, number in (("a cap", order.max_workers), ("a time-out in seconds", order.timeout_secs)):
        if number is not None and number > LARGEST:
            return refused("invalid_arg", f"{what} is not beyond {LARGEST:,}")
    if order.max_workers is not None and order.max_workers < 1:
        return refused("invalid_arg", "a cap is at least 1; `pitboss drain` starts nothing more")
    if order.timeout_secs is not None and order.timeout_secs < 1:
        return refused("invalid_arg", "a time-out is at least 1 second; `pitboss cancel` ends an actor now")
    return None


def _refuse_of_run(order: o.ChangeLimits) -> Refused | None:
    if order.timeout_secs is not None:
        return refused("invalid_arg", "a time-out is an actor's, not the run's; name the actor")
    return None


def _refuse_of_actor(d: Decision, order: o.ChangeLimits) -> Refused | None:
    actor = d.state.actors.get(order.actor) if order.actor else None
    if actor is None:
        return refused("not_found", f"unknown task_id: {order.actor}")
    if (ending := _refuse_ending(actor)) is not None:
        return refused(ending.code, ending.message, state=tree.stage_of(actor))
    wants_layer = order.budget_usd is not None or order.max_workers is not None
    if not wants_layer or actor.role == "lead":
        return None
    if actor.role != "sublead":
        return refused("invalid_arg", f"{order.actor} has no budget and no cap of its own; only a layer or the run has")
    if actor.envelope.is_shared:
        return refused("invalid_arg", f"{order.actor} shares what {actor.parent} has; change that one's limits")
    more = (order.budget_usd or 0.0) - (actor.envelope.budget_usd or 0.0)
    money = ledger.account(d.state, actor.parent or "")  # it is set apart out of what its parent has
    if order.budget_usd is not None and more > 0 and not money.affords(more):
        left = f"{dollars(money.left or 0.0)} is left there"
        return refused(
            "budget_exceeded", f"{actor.parent} cannot set {dollars(more)} more apart: {left}", **money.told()
        )
    return None


def _limits_told(d: Decision, order: o.ChangeLimits) -> dict[str, object]:
    """How the limits stand after the change."""
    run = d.state.spec
    actor = d.state.actors.get(order.actor) if order.actor else None
    told: dict[str, object] = {} if actor is None else {"task_id": order.actor, "timeout_secs": actor.spec.timeout_secs}
    if run.tree is None:
        left = None if run.budget_usd is None else round(admission.unreserved_usd(d.state), 6)
        money: dict[str, object] = {"spent_usd": round(d.state.spent_usd, 6), "left_usd": left}
        return told | money | {"budget_usd": run.budget_usd, "max_workers": run.max_parallel}
    leader = actor if actor is not None and actor.role in {"lead", "sublead"} else tree.root(d.state)
    if leader is None:
        return told
    account = ledger.account(d.state, leader.spec.id).told()
    return told | account | {"max_workers": tree.worker_cap(d.state, tree.pool_of(d.state, leader.spec.id))}


# --- the run ----------------------------------------------------------------------------------------------------------


def _drain(d: Decision, reason: str) -> Answer:
    answer = {"ok": True, "changed": steering.drain(d, _said(reason)), "running": len(d.state.live)}
    frozen = [name for name in d.state.live if d.actor(name).phase is Phase.FROZEN]
    return Answer(answer | ({"frozen": ", ".join(frozen)} if frozen else {}))  # the run's end waits for them


def _stop(d: Decision, reason: str) -> Answer:
    changed = not d.state.stop_ordered
    steering.stop_all(d, _said(reason))
    return Answer({"ok": True, "changed": changed, "running": len(d.state.live)})


def _said(reason: str) -> str:
    return f"{OPERATOR}: {reason}" if reason else OPERATOR
