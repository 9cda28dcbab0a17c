"""What follows from what a driver says about one attempt of one actor.

Late news changes nothing (law 9): a report of another attempt, or of a phase that is past, is recorded as ignored.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import assert_never

from pitboss.core import admission, approvals, calls, lifecycle, prices, waiting
from pitboss.core.decision import Decision
from pitboss.core.state import Actor
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.money import dollars
from pitboss.model.run import ActorId, Certificate, Failure, Phase, Usage

EXPECTED = MappingProxyType(
    {
        s.WorktreePrepared: frozenset({Phase.PREPARING}),
        s.WorktreeRefused: frozenset({Phase.PREPARING}),
        s.ProcessUp: lifecycle.HAS_PROCESS,
        s.SpawnRefused: lifecycle.HAS_PROCESS,
        s.SessionReady: lifecycle.HAS_PROCESS,
        s.ToolCalled: lifecycle.HAS_PROCESS,
        s.DeedAsked: lifecycle.HAS_PROCESS,
        s.CallMade: lifecycle.HAS_PROCESS,
        s.CallDropped: lifecycle.HAS_PROCESS,
        s.SeatGiven: lifecycle.HAS_PROCESS,
        s.UsageGrew: lifecycle.HAS_PROCESS,
        s.ApiRetried: lifecycle.HAS_PROCESS,
        s.BackgroundChanged: lifecycle.HAS_PROCESS,
        s.TurnEnded: lifecycle.HAS_PROCESS,
        s.Silent: lifecycle.HAS_PROCESS,
        s.Spoke: lifecycle.HAS_PROCESS,
        s.ProcessGone: lifecycle.HAS_PROCESS,
        s.WorktreeTidied: frozenset({Phase.TIDYING}),
    }
)
"""Report -> the phases in which it is news."""


def handle(d: Decision, report: s.AnyReport) -> None:
    """Take a report in, or record why not."""
    actor = d.state.actors.get(report.actor)
    if actor is None:
        _ignore(d, report, "no such actor")
    elif report.attempt != actor.attempt:
        _ignore(d, report, f"attempt {report.attempt} is not the present one, {actor.attempt}")
    elif actor.phase not in EXPECTED[type(report)]:
        _ignore(d, report, f"not news for an actor that is {actor.phase}")
    else:
        _take(d, report, actor)


def _ignore(d: Decision, report: s.AnyReport, reason: str) -> None:
    name = type(report).__name__
    d.note(f.NewsIgnored(at=d.at, signal=name, reason=reason, actor=report.actor, attempt=report.attempt))


def _take(d: Decision, report: s.AnyReport, actor: Actor) -> None:  # noqa: C901 - a flat match
    who, about = report.actor, d.about(report.actor)
    match report:
        case s.WorktreePrepared():
            _worktree_prepared(d, report)
        case s.WorktreeRefused(message=message):
            d.note(f.WorktreeFailed(**about, message=f"worktree error: {message}"))
            d.tidy(who)
        case s.ProcessUp(pid=pid):
            d.note(f.ProcessStarted(**about, pid=pid))
        case s.SpawnRefused(message=message):
            d.note(f.SpawnFailed(**about, message=message))
            d.tidy(who)
        case s.SessionReady():
            d.note(f.SessionOpened(**about))
        case s.ToolCalled(tool=tool, summary=summary):
            d.note(
                f.ToolUsed(
                    **about,
                    tool=tool,
                    summary=summary,
                    tool_use_id=report.tool_use_id,
                    subagent=report.subagent,
                    verdict="allow",
                )
            )
        case s.DeedAsked():
            approvals.judge(d, report)
        case s.CallMade():
            calls.handle(d, report)
        case s.CallDropped():
            waiting.drop(d, report)
        case s.SeatGiven(via=via):
            d.note(t.SeatOpened(**about, taken_by=via))
        case s.UsageGrew(usage=usage):
            cost = _live_cost(actor, usage)
            d.note(f.UsageCounted(**about, usage=usage, cost_usd=cost))
        case s.ApiRetried():
            _api_retried(d, report)
        case s.BackgroundChanged(tasks=tasks):
            d.note(f.BackgroundNoted(**about, tasks=tasks))
        case s.TurnEnded():
            _turn_ended(d, report, actor)
        case s.Silent(secs=secs):
            d.note(f.ActorStalled(**about, secs=secs))
        case s.Spoke():
            d.note(f.ActorRevived(**about))
        case s.ProcessGone():
            _process_gone(d, report, actor)
        case s.WorktreeTidied():
            d.note(
                f.WorktreeLeft(
                    **about,
                    removed=report.removed,
                    set_aside=report.set_aside,
                    branch_deleted=report.branch_deleted,
                    message=report.message,
                )
            )
            d.settle(who)
        case _:
            assert_never(report)


def _worktree_prepared(d: Decision, report: s.WorktreePrepared) -> None:
    d.note(
        f.WorktreeMade(
            **d.about(report.actor),
            path=report.path,
            branch=report.branch,
            base=report.base,
            created_branch=report.created_branch,
            cwd=report.cwd or report.path,
            brought_back=report.brought_back,
            set_aside=report.set_aside,
            message=report.message,
        )
    )
    d.ask(e.PublishWorktree(actor=report.actor, path=report.path))
    if d.actor(report.actor).phase is Phase.TIDYING:
        d.tidy(report.actor)
    else:
        d.start_session(report.actor)


def _live_cost(actor: Actor, usage: Usage) -> float:
    """Money so far: exact up to the last turn's end, estimated for what came after it."""
    since = prices.estimate(usage - actor.settled_usage, actor.spec.model)
    return max(actor.settled_cost_usd + since, actor.cost_usd or 0.0)


def _api_retried(d: Decision, report: s.ApiRetried) -> None:
    d.note(
        f.ApiPushedBack(
            **d.about(report.actor),
            status=report.status,
            delay_secs=report.delay_secs,
            error=report.error,
        )
    )
    what = f"the API answers {report.status}" if report.status else "the API cannot be reached"
    _throttle(d, report.delay_secs, f"{what} ({report.error})" if report.error else what)


def _throttle(d: Decision, delay_secs: float, reason: str) -> None:
    limit, until = admission.after_push_back(d.state, d.at, delay_secs)
    if limit != d.state.starts_limit or until > d.state.throttled_until + 1.0:
        d.note(f.StartsThrottled(at=d.at, limit=limit, until=until, reason=reason))


def _turn_ended(d: Decision, report: s.TurnEnded, actor: Actor) -> None:
    exact = report.result.cost_usd
    d.note(
        f.TurnFinished(
            **d.about(report.actor),
            result=report.result,
            usage=report.usage,
            cost_usd=exact if exact is not None else _live_cost(actor, report.usage),
            final_message=report.final_message,
            heard=report.heard,
        )
    )
    if actor.phase is Phase.STOPPING and actor.stopping and actor.stopping.rung is e.Rung.INTERRUPT:
        d.climb(report.actor)  # the interrupt has been answered: no need to wait its patience out
    elif actor.phase is Phase.WORKING and actor.interrupting:
        d.say_inbox(report.actor)  # also if a message said before is about to have its turn
    else:
        after_turn(d, report.actor)


def after_turn(d: Decision, who: ActorId) -> None:
    """What follows when a session rests: it is told what waits for it, or its work has ended."""
    actor = d.actor(who)
    if actor.phase not in {Phase.STARTING, Phase.WORKING} or actor.turn is None:
        return
    if actor.turn.is_out_of_money and admission.affords_more(d.state, actor):
        d.begin_end(who, "share", f"the {dollars(actor.allotment_usd or 0.0)} it was started with are spent")
    elif actor.inbox:
        d.say_inbox(who)
    elif not actor.background:
        d.begin_end(who, "finished")


def _process_gone(d: Decision, report: s.ProcessGone, actor: Actor) -> None:
    cost = actor.cost_usd if report.usage == actor.usage else _live_cost(actor, report.usage)
    if actor.comes_back and report.certificate.complete:
        about = d.about(report.actor)
        d.note(
            t.ActorPaused(
                **about,
                certificate=report.certificate,
                usage=report.usage,
                cost_usd=cost,
                log_offset=report.log_size,
                resume=True,
                goes_on=not actor.is_pausing,
            )
        )
        return
    d.note(
        f.ProcessEnded(
            **d.about(report.actor),
            certificate=report.certificate,
            usage=report.usage,
            cost_usd=cost,
            final_message=report.final_message,
            stderr_tail=report.stderr_tail,
            failure=report.failure,
            oddities=report.oddities,
        )
    )
    ordered = actor.stopping is not None and actor.stopping.reason in {"stop", "cancel", "pause", "budget", "timeout"}
    if report.failure is not None and not ordered:
        _heed(d, report.failure)
    d.tidy(report.actor)


def _heed(d: Decision, failure: Failure) -> None:
    """A failure that would meet the next actor too slows or ends the starting of others."""
    if d.state.draining:
        return
    if failure.kind == "auth_failure":
        worked = any(actor.cost_usd for actor in d.state.actors.values())
        if worked:  # the login has served this run before: it may come back
            until = d.at + admission.AUTH_PAUSE_SECS
            d.note(f.StartsThrottled(at=d.at, limit=0, until=until, reason="the API refuses the login"))
        else:
            d.note(f.DrainBegan(at=d.at, by="the API refuses the login: log in and run it again", ordered=False))
    elif failure.kind == "rate_limit":
        until = failure.resets_at or d.at + admission.RATE_LIMIT_PAUSE_SECS
        until = min(until, d.at + admission.LONGEST_PAUSE_SECS)
        if until > d.state.throttled_until:
            d.note(f.StartsThrottled(at=d.at, limit=0, until=until, reason="the API's rate limit is reached"))
    elif failure.kind in {"overloaded", "network_error"}:
        _throttle(d, admission.RECOVERY_STEP_SECS, f"a session ended with {failure.kind}")


def session_hand_failed(d: Decision, who: ActorId, attempt: int, message: str) -> None:
    """The driver of a session broke: whatever it held is taken as unproven, never as gone."""
    actor = d.state.actors.get(who)
    if actor is None or actor.attempt != attempt or actor.phase not in lifecycle.HAS_PROCESS:
        return
    if actor.process_at == 0.0:
        handle(d, s.SpawnRefused(at=d.at, actor=who, attempt=attempt, message=message))
        return
    certificate = Certificate(exit_code=None, group_empty=False, cookie_empty=False)
    failure = Failure(kind="unknown", message=message)
    handle(
        d,
        s.ProcessGone(at=d.at, actor=who, attempt=attempt, certificate=certificate, usage=actor.usage, failure=failure),
    )
