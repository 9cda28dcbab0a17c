"""What follows from a signal: facts to write down, effects to ask for. Pure; the only place with opinions.

A decision is built step by step: each noted fact is evolved at once, so the next step sees its consequences;
admission and the run's end are asked for after every signal, in the same decision.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from pitboss.core import (
    admission,
    approvals,
    ledger,
    notices,
    orders,
    reopening,
    reports,
    spawning,
    steering,
    supervision,
    tree,
    waiting,
)
from pitboss.core.decision import Decision
from pitboss.core.state import RunState
from pitboss.core.views import run_record
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.money import dollars
from pitboss.model.run import ActorId, Phase

GUARDIAN_TRIES = 5
"""So many losses of the guardian, and the run starts nothing more."""


class Outcome(NamedTuple):
    """What a signal leads to."""

    state: RunState
    facts: tuple[f.AnyFact, ...]
    effects: tuple[e.Effect, ...]


def decide(state: RunState, signal: s.AnySignal) -> Outcome:
    """What ``signal`` leads to in ``state``. Never raises for anything the world may say."""
    d = Decision(state, signal.at)
    if state.exit_code is not None and not isinstance(signal, s.Reopened):
        _after_the_end(d, signal)
        return Outcome(d.state, tuple(d.facts), tuple(d.effects))
    if isinstance(signal, s.Report):
        reports.handle(d, signal)
    else:
        _handle(d, signal)
    if not (isinstance(signal, s.OrderGiven) and signal.absent):  # nobody is there to do what would follow
        _follow(d)
    return Outcome(d.state, tuple(d.facts), tuple(d.effects))


def _follow(d: Decision) -> None:
    """What follows from what was noted, and from what follows from that; admission and the run's end come last."""
    seen = 0
    while d.state.run is not None:
        while seen < len(d.facts):
            seen += 1
            _consequence(d, d.facts[seen - 1])
            notices.heed(d, d.facts[seen - 1])
        if d.state.spec.tree is not None:
            spawning.stop_the_led(d)
            _stop_the_overdrawn(d)
        _admit(d)
        _end(d)
        if seen == len(d.facts):
            return


def _consequence(d: Decision, fact: f.AnyFact) -> None:
    """Rules that hold whatever brought a fact about."""
    match fact:
        case f.ActorSettled(actor=who):
            waiting.actor_ended(d, who)
            waiting.released_by(d, who)
            approvals.caller_ended(d, who)
            if d.actor(who).role == "sublead":
                d.ask(e.PublishSubleads(sessions=tree.sublead_sessions(d.state)))
        case f.SessionOpened(actor=who):
            steering.deliver(d, who)
        case t.ActorThawed(actor=who):
            steering.deliver(d, who)
            reports.after_turn(d, who)
        case t.StoreWritten(layer=layer, entry=entry):
            waiting.key_written(d, layer, entry)
        case t.LeaseOver(ended=ended):
            waiting.lease_freed(d, ended.scope, ended.name)
        case f.DrainBegan():
            _stop_the_unstarted(d)
        case t.ActorPaused(actor=who) if d.state.draining:
            steering.stop(d, who, supervision.NEVER_CONTINUED, "stop")
        case _:
            pass


def _stop_the_unstarted(d: Decision) -> None:
    """Nothing more is started: whoever has begun is accounted for, and nobody waits for ever for a worker's start."""
    for name, actor in d.state.actors.items():
        if actor.phase is Phase.PAUSED or (actor.phase is Phase.QUEUED and actor.attempt):
            steering.stop(d, name, supervision.NEVER_CONTINUED, "stop")
        elif actor.phase is Phase.QUEUED and actor.parent is not None:
            steering.stop(d, name, "never started: the run is draining")


def _stop_the_overdrawn(d: Decision) -> None:
    """The hard limit: a layer that has spent all of its money is stopped, whoever leads it and everyone below."""
    for leader in ledger.overdrawn(d.state):
        money = ledger.account(d.state, leader.spec.id)
        note = f"budget exceeded: {dollars(money.spent)} spent of {dollars(money.budget or 0.0)}"
        for actor in [leader, *tree.below(d.state, leader.spec.id)]:
            steering.stop(d, actor.spec.id, note, "budget")


def _handle(d: Decision, signal: s.RunSignal) -> None:  # noqa: C901 - a flat match
    match signal:
        case s.Opened():
            d.note(f.RunOpened(at=d.at, run=signal.run, pid=signal.pid, pitboss_version=signal.pitboss_version))
            d.ask(e.StartGuardian(run_id=signal.run.run_id))
            d.ask(e.ProbeClaude(binary=signal.run.claude_binary))
        case s.Reopened():
            reopening.reopen(d, signal)
        case s.Tick():
            _tick(d)
        case s.Interrupted(by=by):
            _interrupted(d, by)
        case s.Stop(by=by):
            steering.stop_all(d, by)
        case s.OrderGiven():
            orders.handle(d, signal)
        case s.GuardianUp(pid=pid):
            d.note(f.GuardianStarted(at=d.at, pid=pid))
        case s.GuardianDown(message=message):
            _guardian_lost(d, message)
        case s.ClaudeProbed(version=version):
            d.note(f.ClaudeIdentified(at=d.at, version=version))
        case s.JournalRefused(message=message):
            if not d.state.draining:
                d.note(f.DrainBegan(at=d.at, by=message, ordered=False))
        case s.ArtifactFailed(path=path, message=message):
            d.note(f.ArtifactLost(at=d.at, path=path, message=message))
        case s.ArtifactWritten():
            pass  # the file itself is the evidence
        case s.NoticeReported():
            notices.settled(d, signal)
        case s.EffectFailed():
            _effect_failed(d, signal)
        case _:
            assert_never(signal)


def _after_the_end(d: Decision, signal: s.AnySignal) -> None:
    """The run has ended: news is only what becomes of its last public files, and of what is still being told."""
    if isinstance(signal, s.ArtifactFailed):
        d.note(f.ArtifactLost(at=d.at, path=signal.path, message=signal.message))
    elif isinstance(signal, s.OrderGiven):
        orders.too_late(d, signal)
    elif isinstance(signal, s.NoticeReported):
        notices.settled(d, signal)
    elif isinstance(signal, s.Interrupted | s.Stop):
        notices.hurry(d)


def _tick(d: Decision) -> None:
    if d.state.throttled_until and d.at >= d.state.throttled_until:
        limit, until = admission.after_recovery_step(d.state, d.at)
        d.note(f.StartsRecovered(at=d.at, limit=limit, until=until))
    waiting.expire(d)
    approvals.expire(d)
    # After a long sleep several may be due for one actor: the earliest counts, the others are void with it.
    met: set[ActorId] = set()
    for deadline in sorted(supervision.deadlines(d.state), key=lambda deadline: deadline.at):
        actor = d.state.actors[deadline.actor.spec.id]
        if deadline.at > d.at or actor.spec.id in met:
            continue
        met.add(actor.spec.id)
        match deadline.kind:
            case "rung":
                d.climb(actor.spec.id)
            case "timeout":
                d.begin_end(actor.spec.id, "timeout")
            case "background":
                left = ", ".join(actor.background)
                d.begin_end(actor.spec.id, "background", f"stopped background work that did not end: {left}")
            case _:
                d.begin_end(actor.spec.id, "finished")


def _interrupted(d: Decision, by: str) -> None:
    draining = d.state.draining
    again = draining and draining.ordered and d.at - draining.at <= supervision.INTERRUPT_WINDOW_SECS
    if again:
        steering.stop_all(d, by)
    elif not d.state.stop_ordered:
        d.note(f.DrainBegan(at=d.at, by=by, ordered=True))  # also again: the next window begins


def _guardian_lost(d: Decision, message: str) -> None:
    d.note(f.GuardianLost(at=d.at, message=message))
    if d.state.guardian_losses < GUARDIAN_TRIES:
        d.ask(e.StartGuardian(run_id=d.state.spec.run_id))
    elif not d.state.draining:
        d.note(f.DrainBegan(at=d.at, by=f"the guardian cannot be kept alive ({message})", ordered=False))


def _effect_failed(d: Decision, signal: s.EffectFailed) -> None:
    """A hand broke. Whatever it was to do is taken as refused, so that nobody waits for it for ever."""
    d.note(
        f.HandFailed(at=d.at, effect=signal.effect, message=signal.message, actor=signal.actor, attempt=signal.attempt)
    )
    if signal.effect == "StartGuardian":
        _guardian_lost(d, signal.message)
    if signal.actor is None or signal.attempt is None:
        return
    at, who, attempt, message = signal.at, signal.actor, signal.attempt, signal.message
    match signal.effect:
        case "PrepareWorktree":
            reports.handle(d, s.WorktreeRefused(at=at, actor=who, attempt=attempt, message=message))
        case "StartSession":
            reports.session_hand_failed(d, who, attempt, message)
        case "TidyWorktree":
            reports.handle(d, s.WorktreeTidied(at=at, actor=who, attempt=attempt, removed=False, message=message))
        case _:
            pass  # a rung that could not be pressed is followed by the next one when its patience ends


def _admit(d: Decision) -> None:
    while (admitted := admission.next_admission(d.state)) is not None:
        d.admit(admitted.actor, admitted.allotment_usd)
    if admission.out_of_money(d.state) and not d.state.draining:
        spent = f"the run's budget of {dollars(d.state.spec.budget_usd or 0.0)} is spent"
        for name in d.state.waiting:
            if d.actor(name).has_more:  # it waited for what others would not need, and they needed it
                steering.stop(d, name, spent, "budget")
        d.note(f.DrainBegan(at=d.at, by=spent, ordered=False))
        notices.budget_spent(d)


def _end(d: Decision) -> None:
    never = len(d.state.waiting) if d.state.draining else 0
    if d.state.exit_code is not None or len(d.state.order) + never < len(d.state.actors):
        return
    everything = not never and not tree.failed(d.state)
    code = 130 if d.state.interrupted else 0 if everything else 1
    d.note(f.RunEnded(at=d.at, exit_code=code, was_interrupted=d.state.interrupted))
    d.ask(e.PublishRun(record=run_record(d.state)))
    if d.state.spec.dump_shared_store:
        d.ask(_store_picture(d))


def _store_picture(d: Decision) -> e.PublishStore:
    leader = tree.root(d.state)
    return e.PublishStore(
        at=d.at,
        root=leader.spec.id if leader else tree.FLAT,
        entries={layer: tuple(held.entries.values()) for layer, held in d.state.stores.items()},
        leases=tuple(d.state.leases.held.values()),
    )
