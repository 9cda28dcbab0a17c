"""When an order has come true, and what came of it in a line: what happened, the cost, where the work is, what next.

Knows runs and orders, not how orders are given. What agents wrote is cleaned before it is in a line. Called by
``commands``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from pitboss.model.run import ActorId, Phase, Status
from pitboss.model.views import ActorView, RunView
from pitboss.surfaces import words
from pitboss.surfaces.notice import typed
from pitboss.surfaces.ordering import Outcome
from pitboss.surfaces.outcomes_of_rules import limits_line, model_line, policy_line
from pitboss.wire import control as wire

__all__ = ["Report", "facts", "is_so", "report", "still_to_come"]

Goal: TypeAlias = Callable[[RunView], bool]

_NOT_PAUSED = {"running": "is at work", "pending": "waits to be started", "spawning": "is being started"}
"""What an actor does that cannot be continued because nothing holds it, by its state."""


class Report(NamedTuple):
    """What the operator is told."""

    line: str
    ok: bool = True
    """It was carried out, or was so already."""
    hint: str = ""
    code: str = ""
    """Why not, as a word a program may match on."""


# --- what is waited for -----------------------------------------------------------------------------------------------


def is_so(op: wire.OrderOp) -> Goal | None:
    """When an order that was taken has come true; ``None`` for one that is true as soon as it is taken."""
    match op:
        case wire.CancelWorker(task_id=name):
            return lambda view: all(actor.phase is Phase.SETTLED for actor in _with_those_below(view, name))
        case wire.PauseWorker(task_id=name):
            return lambda view: _actor(view, name).phase in {Phase.PAUSED, Phase.FROZEN, Phase.SETTLED}
        case wire.CancelRun() | wire.Drain():
            return lambda view: bool(view.ended_at)
        case _:
            return None


def still_to_come(op: wire.OrderOp, view: RunView) -> str:
    """What is waited for, as a phrase."""
    if isinstance(op, wire.CancelWorker | wire.PauseWorker):
        live = [actor for actor in _with_those_below(view, op.task_id) if actor.phase is not Phase.SETTLED]
        return ", ".join(f"{words.name(actor)}: {words.label(actor)[2:].lower()}" for actor in live[:3])
    going = [actor for actor in view.actors if actor.phase not in {Phase.SETTLED, Phase.QUEUED}]
    verb = "draining" if isinstance(op, wire.Drain) else "stopping"
    frozen = [words.name(actor) for actor in going if actor.phase is Phase.FROZEN and isinstance(op, wire.Drain)]
    held = f", held up by {', '.join(frozen[:3])}: frozen" if frozen else ""
    return f"{verb}: {words.plural(len(going), 'actor')} to go{held}"


# --- what came of it --------------------------------------------------------------------------------------------------


def report(outcome: Outcome, before: RunView, after: RunView, runs_dir: str | None, *, waited: bool) -> Report:
    """What came of an order.

    Args:
        outcome: What the run said.
        before: The run as it was before the order.
        after: As it is now; if it was waited for, as it was when the waiting ended.
        runs_dir: The runs base to name in commands, ``None`` for the usual one.
        waited: It was waited until the order had come true, or could not any more.
    """
    told = _Told(outcome, before, after, runs_dir, waited)
    if outcome.error:
        return told.refusal()
    match outcome.op:
        case wire.CancelWorker(task_id=name):
            return told.cancelled(name)
        case wire.PauseWorker(task_id=name):
            return told.paused(name)
        case wire.ContinueWorker(task_id=name):
            return Report(told.continued(name))
        case wire.NoteWorker(task_id=name):
            return Report(f"{told.name(name)} hears it {told.when_heard(name)}")
        case wire.RepromptWorker(task_id=name):
            does = "goes on" if outcome.told.get("state") == "pending" else "drops what it does"  # it was paused
            return Report(f"{told.name(name)} {does} and hears this next, in the same session and place")
        case wire.SetModel(task_id=name, model=model):
            return Report(model_line(outcome, told.name(name), model))
        case wire.SetLimits():
            return Report(limits_line(outcome, told.name(outcome.op.task_id) if outcome.op.task_id else told.run))
        case wire.UpdatePolicy():
            return Report(policy_line(outcome, told.run))
        case wire.CancelRun() | wire.Drain():
            return told.ended()
        case wire.Approve():
            word = "approved" if outcome.op.approved else "rejected"
            return Report(f"{word} {outcome.op.request_id}: {told.asker_hears(outcome.op.request_id)}")


def facts(outcome: Outcome, after: RunView) -> dict[str, object]:
    """How things stand now, for programs."""
    op = outcome.op
    name = getattr(op, "task_id", None)
    found = next((actor for actor in after.actors if actor.id == name), None)
    if found is None:
        if not isinstance(op, wire.CancelRun | wire.Drain):
            return {}
        state = "ended" if after.ended_at else "stopping" if after.stopping else "draining" if after.draining else None
        return {
            **({"state": state} if state else {}),
            "spent_usd": round(after.spent_usd, 6),
            "exit_code": after.exit_code,
        }
    aside = found.set_aside
    has_run = found.started_at and found.ended_at
    stands = {Phase.SETTLED: "done", Phase.PAUSED: "paused", Phase.FROZEN: "frozen"}.get(found.phase)
    return {
        **({"state": stands} if stands else {}),
        "status": found.status,
        "duration_secs": round(found.ended_at - found.started_at, 3) if has_run else None,
        "spent_usd": round(sum(actor.cost_usd or 0.0 for actor in _with_those_below(after, found.id)), 6),
        "branch": found.branch,
        "worktree": found.worktree,
        "set_aside": aside and {"ref": aside.ref, "commit": aside.commit, "files": aside.files},
        "note": found.note or None,
    }


class _Told(NamedTuple):
    """An outcome and the run around it, in sentences."""

    outcome: Outcome
    before: RunView
    after: RunView
    runs_dir: str | None
    waited: bool

    @property
    def run(self) -> str:
        """The run, by its short id."""
        return f"run {words.short_id(self.after.run_id)}"

    def name(self, actor: str) -> str:
        """What an actor is called."""
        return words.name(_actor(self.after, actor))

    def asker_hears(self, request_id: str) -> str:
        """Who has asked, and when it hears the answer."""
        asker = next((one.actor for one in self.before.approvals if one.request_id == request_id), None)
        name = self.name(asker) if asker is not None else "its asker"
        if self.outcome.in_journal:
            return f"{name} hears it when the run is resumed"
        stands = next((actor.phase for actor in self.after.actors if actor.id == asker), None)
        if stands in {Phase.FROZEN, Phase.PAUSED}:
            return f"{name} is {stands} and hears it when it is let go on, with: {self.typed('continue', name)}"
        return f"{name} is told"

    def typed(self, *parts: str) -> str:
        """A command about this run."""
        return typed(self.after, self.runs_dir, *parts)

    def refusal(self) -> Report:
        """Why nothing was done; where it was so already, that is all there is to say."""
        outcome, op, stands = self.outcome, self.outcome.op, self.outcome.told.get("state")
        over = bool(self.after.ended_at)
        if over and isinstance(op, wire.CancelRun | wire.Drain):
            return Report(f"{self.run} has ended already; nothing was changed")
        if over and isinstance(op, wire.CancelWorker) and _all_settled(self.after, op.task_id):
            return self.cancelled(op.task_id)
        if outcome.code == "conflict" and isinstance(op, wire.PauseWorker) and stands in {"paused", "frozen"}:
            return Report(f"{self.name(op.task_id)} is {stands} already; nothing was changed")
        if outcome.code == "conflict" and isinstance(op, wire.ContinueWorker) and stands in _NOT_PAUSED:
            what = f"{self.name(op.task_id)} is not paused: it {_NOT_PAUSED[str(stands)]}; nothing was changed"
            return Report(what + self._unsaid(op))
        hint = outcome.hint
        if outcome.code == "unavailable" and outcome.in_journal and not over:
            hint = hint or f"take it up again with: {self.typed('resume')}"
        if outcome.code == "conflict" and isinstance(op, wire.UpdatePolicy):
            hint = f"see which rules are in force with: {self.typed('policy')}"
        if isinstance(op, wire.RepromptWorker) and stands == "frozen":
            hint = f"let it go on first: {self.typed('continue', op.task_id)}"
        line = words.clean(words.renamed(outcome.error, self.after.names))
        return Report(line, ok=False, hint=hint, code=outcome.code)

    def cancelled(self, name: str) -> Report:
        """An actor, and everyone below it, was ended."""
        actor, called = _actor(self.after, name), self.name(name)
        if actor.status is None or not _all_settled(self.after, name):
            if not self.waited:
                return Report(f"{called} is being cancelled; see: {self.typed('status')}")
            return self._cut_off(f"{called} is to be cancelled")
        if not self.outcome.changed and _actor(self.before, name).status is not None:
            how = f"was cancelled already{_by(actor)}" if actor.status is Status.CANCELLED else "had ended already"
            return Report(f"{called} {how}{_as_what(actor)}; nothing was changed; {self._cost(actor)}")
        if actor.status is not Status.CANCELLED:
            how = f"{called} ended before it could be cancelled{_as_what(actor)}"
        else:
            below = len(_with_those_below(self.after, name)) - 1
            how = f"cancelled {called}" + (f" and {below} below it" if below else "") + _after(actor)
        return Report("; ".join(filter(None, [how, self._cost(actor), self._work(actor)])))

    def paused(self, name: str) -> Report:
        """An actor stands still."""
        actor, called = _actor(self.after, name), self.name(name)
        if actor.phase is Phase.SETTLED:
            return Report(f"{called} ended before it could be paused{_as_what(actor)}", ok=False, code="conflict")
        if actor.phase not in {Phase.PAUSED, Phase.FROZEN}:
            if self.waited:
                return self._cut_off(f"{called} is to be paused")
            return Report(f"{called} is being paused; see: {self.typed('status')}")
        how = "its processes stand still" if actor.phase is Phase.FROZEN else "its place and its session are kept"
        word = "froze" if actor.phase is Phase.FROZEN else "paused"
        next_ = f"let it go on with: {self.typed('continue', called)}"
        return Report(f"{word} {called}; {self._cost(actor)} so far; {how}; {next_}")

    def continued(self, name: str) -> str:
        """An actor goes on."""
        op = self.outcome.op
        if _actor(self.before, name).phase is Phase.FROZEN:
            return f"{self.name(name)} goes on where it stood{self._unsaid(op)}"
        how = f"{self.name(name)} goes on in its own place and session"
        if _actor(self.after, name).phase is Phase.QUEUED:
            how += " as soon as there is room for one more"
        return how + (" and hears what you wrote" if isinstance(op, wire.ContinueWorker) and op.prompt else "")

    def when_heard(self, name: str) -> str:
        """When an actor hears a note, as things stand with it."""
        stands = self.outcome.told.get("state")
        if self.outcome.in_journal:
            also = " and it is let go on" if stands in {"paused", "frozen"} else ""
            return f"when the run is resumed{also}; nothing is interrupted"
        if stands in {"paused", "frozen"}:
            return f"when it is let go on, with: {self.typed('continue', self.name(name))}"
        when = (
            "as soon as it is at work" if stands in {"pending", "spawning"} else "as soon as the tool it runs has ended"
        )
        return f"{when}; nothing is interrupted"

    def _unsaid(self, op: wire.OrderOp) -> str:
        """That what was given with `continue` did not reach the actor, if something was."""
        if not isinstance(op, wire.ContinueWorker) or not op.prompt:
            return ""
        return f"; what you wrote was not said, use: {self.typed('tell', self.name(op.task_id), 'TEXT')}"

    def ended(self) -> Report:
        """The run is over, or on its way there."""
        is_drain, after = isinstance(self.outcome.op, wire.Drain), self.after
        doing, done = ("draining", "drained") if is_drain else ("stopping", "stopped")
        already = "" if self.outcome.changed else " already"
        if not after.ended_at:
            if self.waited:
                return self._cut_off(f"{self.run} was {doing}")
            goes_on = "nothing more is started; what runs goes on to its end" if is_drain else "everything is ended"
            held = self._held_up() if is_drain else ""
            return Report(f"{self.run} is {doing}{already}: {goes_on}; {held}see: {self.typed('status')}")
        left = sum(actor.status is not Status.SUCCESS for actor in after.actors)
        next_ = f"go on with: {self.typed('resume')}" if left else ""
        parts = [f"{done} {self.run} after {words.duration(after.ended_at - after.started_at)}", _tally(after)]
        return Report("; ".join(filter(None, [*parts, f"{words.money(after.spent_usd)} spent", next_])))

    def _held_up(self) -> str:
        """Who stands still, so that a run that drains does not end by itself."""
        frozen = [actor for actor in self.after.actors if actor.phase is Phase.FROZEN]
        if not frozen:
            return ""
        names, verb = ", ".join(map(words.name, frozen[:3])), "is" if len(frozen) == 1 else "are"
        more = f" and {len(frozen) - 3} more" if len(frozen) > 3 else ""
        go_on = self.typed("continue", words.name(frozen[0]))
        return f"it does not end while {names}{more} {verb} frozen: {go_on}; "

    def _cut_off(self, what: str) -> Report:
        hint = f"take it up again with: {self.typed('resume')}"
        line = f"{what}, but the dispatcher has ended before that; nobody is at work on the run"
        return Report(line, ok=False, hint=hint, code="unavailable")

    def _cost(self, actor: ActorView) -> str:
        spent = [one.cost_usd for one in _with_those_below(self.after, actor.id) if one.cost_usd is not None]
        return f"{words.money(sum(spent))} spent"

    def _work(self, actor: ActorView) -> str:
        """Where its work is, and how to have what was set aside."""
        places = [f"on branch {actor.branch}" if actor.branch else "", f"in {actor.worktree}" if actor.worktree else ""]
        found = words.clean(", ".join(filter(None, places)))
        aside = ""
        if actor.set_aside is not None:
            restore = self.typed("restore", words.name(actor), "--into", "DIR")
            aside = f"{words.plural(actor.set_aside.files, 'file')} set aside: {restore}"
        if found:
            return f"its work is {found}" + (f" ({aside})" if aside else "")
        return aside


def _actor(view: RunView, name: str) -> ActorView:
    return next(actor for actor in view.actors if actor.id == name)


def _with_those_below(view: RunView, name: str) -> list[ActorView]:
    """An actor and everyone below it; in a view everyone stands behind whoever leads them."""
    found: dict[ActorId, ActorView] = {}
    for actor in view.actors:
        if actor.id == name or actor.parent in found:
            found[actor.id] = actor
    return list(found.values())


def _all_settled(view: RunView, name: str) -> bool:
    return all(actor.phase is Phase.SETTLED for actor in _with_those_below(view, name))


def _by(actor: ActorView) -> str:
    """Who has cancelled it and why, if that was written down."""
    by = actor.note.removeprefix("cancelled")
    return words.clean(by) if by != actor.note else ""


def _as_what(actor: ActorView) -> str:
    return f" ({actor.status}{_after(actor)})"


def _after(actor: ActorView) -> str:
    took = actor.ended_at - actor.started_at if actor.started_at else 0.0
    return f" after {words.duration(took)}" if took > 0 else " before it began"


def _tally(view: RunView) -> str:
    never = view.count(Phase.QUEUED)
    others = len(view.actors) - view.succeeded - never
    parts: Mapping[str, int] = {"successful": view.succeeded, "not": others, "never started": never}
    return ", ".join(f"{count} {word}" for word, count in parts.items() if count or word == "successful")
