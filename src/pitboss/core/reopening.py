"""What follows when another dispatcher takes a run over: compare what was believed with what was found, and go on.

The survey in the signal says that nothing of the old dispatcher runs any more, and whose session can be continued.
Every actor is then taken up from where the journal left it, exactly once: who was cut off gets another attempt in its
own worktree and session; whose work had ended is settled; who was being put away is put away again, which is
idempotent; who is settled stays so, unless the operator wants more. Whom the operator wants fresh begins again from the
start, however far it had come.
"""

from __future__ import annotations

from collections.abc import Collection

from pitboss.core import prices, waiting
from pitboss.core.decision import Decision
from pitboss.core.lifecycle import HAS_PROCESS, HOLDS_SLOT
from pitboss.core.state import Actor, RunState
from pitboss.core.views import task_record
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.run import ActorId, Certificate, Heard, Phase, ResumeScope, Status


def worth_resuming(state: RunState, scope: ResumeScope | None, fresh: Collection[ActorId] = ()) -> bool:
    """True unless the run had ended and nobody in it is to be taken up again."""
    return (
        state.exit_code is None
        or scope == "all"
        or bool(fresh)
        or bool(state.waiting)
        or any(_is_unfinished(state, actor) for actor in state.actors.values())
    )


def without_beginning(state: RunState, fresh: Collection[ActorId]) -> list[ActorId]:
    """Those of ``fresh`` who cannot begin again from the start, as nobody knows where that was."""
    return [name for name in fresh if name not in state.actors or state.actors[name].beginning_unknown]


def reopen(d: Decision, signal: s.Reopened) -> None:
    """Take the run over."""
    # Who names the one to begin again has chosen; the others that failed were not meant.
    rest: ResumeScope = "unsettled" if d.state.exit_code is None or signal.fresh else "failed"
    scope = signal.scope or rest
    d.note(
        f.RunReopened(
            at=d.at,
            pid=signal.pid,
            pitboss_version=signal.pitboss_version,
            epoch=signal.epoch,
            scope=scope,
            stopped=signal.stopped,
        )
    )
    d.ask(e.StartGuardian(run_id=d.state.spec.run_id))
    d.ask(e.ProbeClaude(binary=d.state.spec.claude_binary))
    for actor in list(d.state.actors.values()):
        _take_up(d, actor, signal, scope)
    # The whole file is written anew: what settled in this very decision is in it, and is not to be added again.
    d.effects = [effect for effect in d.effects if not isinstance(effect, e.PublishTask)]
    d.ask(e.PublishTasks(records=tuple(task_record(d.state, name) for name in d.state.order)))


def _take_up(d: Decision, actor: Actor, signal: s.Reopened, scope: ResumeScope) -> None:
    if actor.spec.id in signal.heard:
        actor = _count_again(d, actor, signal.heard[actor.spec.id])
    named = actor.spec.id in signal.fresh
    match actor.phase:
        case Phase.QUEUED | Phase.PAUSED:
            if named and actor.attempt:
                d.note(_requeued(d, actor, signal, again=True))
        case Phase.SETTLED:
            waiting.released_by(d, actor.spec.id)  # if the old dispatcher came no more to it
            if named or _is_wanted(d.state, actor, scope):
                d.note(_requeued(d, actor, signal, again=actor.status is Status.SUCCESS))
        case Phase.TIDYING if not named:
            d.tidy(actor.spec.id)
        case _ if _was_pausing(actor) and not named:
            d.note(_paused(d, actor, signal))
        case _ if _was_over(actor) and not named:
            _end(d, actor)
        case _:
            resume = not named and _can_resume(actor, signal)
            d.note(
                f.AttemptLost(
                    **d.about(actor.spec.id),
                    certificate=Certificate(exit_code=None),
                    session_id=_next_session(actor, signal, resume=resume),
                    resume=resume,
                    fresh=named or actor.fresh,
                    log_offset=signal.log_sizes.get(actor.spec.id, 0),
                )
            )


def _count_again(d: Decision, actor: Actor, heard: Heard) -> Actor:
    """What the attempt used between its last report and its end is in its log, if anywhere."""
    if actor.phase in HAS_PROCESS and heard.usage != actor.usage:
        since = prices.estimate(heard.usage - heard.exact_usage, actor.spec.model)
        cost = max(heard.exact_cost_usd + since, actor.cost_usd or 0.0)
        d.note(f.UsageCounted(**d.about(actor.spec.id), usage=heard.usage, cost_usd=cost))
    return d.actor(actor.spec.id)


def _is_wanted(state: RunState, actor: Actor, scope: ResumeScope) -> bool:
    """A settled actor that is wanted again; in a tree, ``all`` leaves it to the lead to spawn anew."""
    if scope == "all" and (state.spec.tree is None or actor.role == "lead"):
        return True
    return scope in {"failed", "all"} and _is_unfinished(state, actor)


def _is_unfinished(state: RunState, actor: Actor) -> bool:
    """A settled actor that is worth another attempt.

    In a tree that is the lead, and whom an operator's stop has cut short: how a worker ended, whoever leads it has
    been told, and has answered for in its own way.
    """
    if actor.status is Status.SUCCESS:
        return False
    cut_short = actor.stopping is not None and actor.stopping.reason == "stop"
    return state.spec.tree is None or actor.role == "lead" or cut_short


def _was_pausing(actor: Actor) -> bool:
    """Its order to pause outlives the dispatcher that carried it out."""
    return actor.phase is Phase.FROZEN or actor.is_pausing


def _paused(d: Decision, actor: Actor, signal: s.Reopened) -> t.ActorPaused:
    return t.ActorPaused(
        **d.about(actor.spec.id),
        certificate=Certificate(exit_code=None),
        usage=actor.usage,
        cost_usd=actor.cost_usd,
        log_offset=signal.log_sizes.get(actor.spec.id, 0),
        resume=_can_resume(actor, signal),
    )


def _was_over(actor: Actor) -> bool:
    """Its work had ended, or its time was up, or it was cancelled: only its process was still being ended, or made."""
    return actor.phase in HOLDS_SLOT and actor.stopping is not None and actor.stopping.reason not in {"stop", "share"}


def _end(d: Decision, actor: Actor) -> None:
    d.note(
        f.ProcessEnded(
            **d.about(actor.spec.id),
            certificate=Certificate(exit_code=None),
            usage=actor.usage,
            cost_usd=actor.cost_usd,
            final_message=actor.final_message,
        )
    )
    d.tidy(actor.spec.id)


def _requeued(d: Decision, actor: Actor, signal: s.Reopened, *, again: bool) -> f.ActorRequeued:
    """``again``: its work was done and is wanted once more, so its session is not continued."""
    named = actor.spec.id in signal.fresh
    resume = not again and not named and _can_resume(actor, signal)
    return f.ActorRequeued(
        **d.about(actor.spec.id),
        session_id=_next_session(actor, signal, resume=resume),
        resume=resume,
        # Who was stopped before it began has left nothing: a branch of that name is somebody else's.
        fresh=bool(actor.attempt) and (named or actor.fresh),
        log_offset=signal.log_sizes.get(actor.spec.id, 0),
    )


def _can_resume(actor: Actor, signal: s.Reopened) -> bool:
    return actor.spec.id in signal.transcripts


def _next_session(actor: Actor, signal: s.Reopened, *, resume: bool) -> str:
    """The same session where it goes on, or where its id is still free; else a fresh one."""
    named = actor.spec.id in signal.fresh
    if resume or not (named or _can_resume(actor, signal)):
        return actor.session_id
    return signal.fresh_ids[actor.spec.id]
