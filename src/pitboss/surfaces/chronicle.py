"""Facts as sentences: what ``pitboss why`` tells, in plain words and without a table of our terms.

Every kind of fact has its sentence; the ``match`` is exhaustive, so a new kind cannot be forgotten. Which facts
belong to a story is decided by ``core.story``. Called by ``commands``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

import msgspec

from pitboss.core.story import Recorded, story
from pitboss.core.words import NO_NAMES
from pitboss.model import approval_facts as a
from pitboss.model import facts as f
from pitboss.model import notice_facts as n
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.effects import Rung
from pitboss.model.run import ActorId, Certificate, Usage
from pitboss.surfaces import words
from pitboss.surfaces.chronicle_orders import about_an_order
from pitboss.surfaces.chronicle_tree import about_an_approval, about_shared, about_the_tree

__all__ = ["sentence", "story_json", "story_lines"]

_RUNGS = {
    Rung.CLOSE_STDIN: "told it that nothing more will be said",
    Rung.INTERRUPT: "interrupted its turn",
    Rung.TERM: "sent SIGTERM to all its processes",
    Rung.KILL: "sent SIGKILL to all its processes",
}

_REASONS = {
    "finished": "its work is done",
    "background": "its work is done, but something it left in the background goes on",
    "timeout": "its time is up",
    "stop": "it was told to stop",
    "failed": "it does not answer",
    "cancel": "it is cancelled",
    "pause": "it is to pause",
    "budget": "its money is spent",
    "share": "its share of the money is spent",
}


def story_lines(entries: Iterable[Recorded], actor: ActorId, names: Mapping[ActorId, str] = NO_NAMES) -> Iterator[str]:
    """The story of one actor, a line each: when, which, because of which, and what.

    Args:
        entries: Every fact of the run.
        actor: Whose story it is.
        names: What actors are called for short.
    """
    told = story(list(entries), actor)
    start = told[0].fact.at if told else 0.0
    size = len(str(told[-1].seq)) if told else 1
    for entry in told:
        because = f"<- #{entry.cause}" if entry.cause else ""
        other = getattr(entry.fact, "actor", None) or actor
        about = "" if other == actor else f"[{names.get(other, other)}] "
        number = f"#{entry.seq}".ljust(size + 1)
        said = words.renamed(sentence(entry.fact), names)
        yield f"{entry.fact.at - start:+10.3f}s  {number} {because:<{size + 5}} {about}{said}".rstrip()


def story_json(entries: Iterable[Recorded], actor: ActorId, run_id: str) -> bytes:
    """The same as JSON: the facts themselves, each with its sentence."""
    told = story(list(entries), actor)
    start = told[0].fact.at if told else 0.0
    facts = [
        {
            "seq": entry.seq,
            "cause": entry.cause or None,
            "elapsed_secs": round(entry.fact.at - start, 6),
            "sentence": sentence(entry.fact),
            "fact": entry.fact,
        }
        for entry in told
    ]
    shape = {"version": 1, "run_id": run_id, "actor": actor, "facts": facts}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2)


def sentence(fact: f.AnyFact) -> str:
    """What happened, in one line."""
    text = _about_an_actor(fact) if isinstance(fact, f.ActorFact) else _about_the_run(fact)
    return words.clean(text)


def _about_the_run(fact: f.RunFact) -> str:  # noqa: C901 - a flat match
    match fact:
        case f.RunOpened():
            who = f"dispatcher {fact.pid}" if fact.pid else f"by Pitboss {fact.pitboss_version}"
            return f"the run began: {_actors(fact)}, {_caps(fact)} ({who})"
        case f.RunReopened():
            whom = {"unsettled": "what was not settled", "failed": "what did not succeed", "all": "everything"}
            stopped = f"; stopped {len(fact.stopped)} left over from the old one" if fact.stopped else ""
            return f"dispatcher {fact.pid} took the run over and goes on with {whom[fact.scope]}{stopped}"
        case f.GuardianStarted():
            return f"a guardian watches over the run (process {fact.pid})"
        case f.GuardianLost():
            return f"the guardian was lost: {fact.message}; starting waits for a new one"
        case f.ClaudeIdentified():
            return f"claude is version {fact.version}" if fact.version else "claude did not tell its version"
        case f.StartsThrottled(limit=0):
            return f"starting was paused: {fact.reason}"
        case f.StartsThrottled():
            return f"starting was slowed to {fact.limit} at once: {fact.reason}"
        case f.StartsRecovered():
            return f"starting recovered {'to' if fact.until else 'fully, to'} {fact.limit} at once"
        case f.DrainBegan():
            return f"nothing more is started: {fact.by}" + (" (ordered)" if fact.ordered else "")
        case f.StopOrdered():
            return f"everything is to stop: {fact.by}"
        case f.ArtifactLost():
            return f"{fact.path} could not be written: {fact.message}"
        case f.HandFailed():
            return f"{fact.effect} broke: {fact.message}"
        case f.NewsIgnored():
            return f"a late {fact.signal} was ignored: {fact.reason}"
        case n.NoticeRaised():
            return f"{fact.notice.kind} is to be told to {', '.join(fact.sinks)}"
        case n.NoticeSettled():
            why = f" after try {fact.tries}: {fact.error}" if fact.error else ""
            return f"{fact.key.partition(':')[2]}, to {fact.sink}: {fact.outcome}{why}"
        case f.RunEnded():
            return f"the run ended{' early' if fact.was_interrupted else ''}, exit code {fact.exit_code}"
        case t.StoreWritten() | t.StoreRemoved() | t.LeaseTaken() | t.LeaseOver():
            return about_shared(fact)
        case of.OrderTaken() | of.PolicyReplaced() | of.LimitsChanged():
            return about_an_order(fact)
        case _:
            assert_never(fact)


def _about_an_actor(fact: f.AnyActorFact) -> str:  # noqa: C901 - a flat match, one sentence a kind
    match fact:
        case f.ActorAdmitted():
            return _admitted(fact)
        case f.AttemptLost():
            return f"it was cut off with its dispatcher; its next attempt {_next(resume=fact.resume, fresh=fact.fresh)}"
        case f.ActorRequeued():
            return f"it is taken up again; its next attempt {_next(resume=fact.resume, fresh=fact.fresh)}"
        case f.ActorAdopted():
            return _adopted(fact)
        case f.WorktreeMade():
            return _made(fact)
        case f.WorktreeFailed():
            return f"no worktree could be made: {fact.message}"
        case f.ProcessStarted():
            return f"claude runs as process {fact.pid}"
        case f.SpawnFailed():
            return f"claude could not be started: {fact.message}"
        case f.SessionOpened():
            return "the session answered and has its prompt"
        case f.ToolUsed():
            who = "its subagent" if fact.subagent else "it"
            verdict = "" if fact.verdict == "allow" else f" ({fact.verdict})"
            return f"{who} called {fact.tool}: {fact.summary or 'no input'}{verdict}"
        case f.UsageCounted():
            return f"it has used {_account(fact.usage, fact.cost_usd)} so far"
        case f.ApiPushedBack():
            said = f"{fact.status or 'no answer'}{f' ({fact.error})' if fact.error else ''}"
            return f"the API pushed back: {said}; it tries again in {fact.delay_secs:.1f} s"
        case f.BackgroundNoted():
            return f"in its background: {', '.join(fact.tasks)}" if fact.tasks else "nothing is in its background now"
        case f.TurnFinished():
            outcome = f"failed ({_why_failed(fact)})" if fact.result.is_error else "ended"
            return f"a turn {outcome}; exactly {_account(fact.usage, fact.cost_usd)}"
        case f.ActorStalled():
            return f"nothing has been heard of it for {fact.secs:.0f} s"
        case f.ActorRevived():
            return "it was heard again"
        case f.StopBegan():
            note = f" ({fact.note})" if fact.note else ""
            return f"its end began: {_REASONS.get(fact.reason, fact.reason)}{note}"
        case f.RungReached():
            return f"Pitboss {_RUNGS[fact.rung]}, and gives it {fact.patience_secs:g} s"
        case f.ProcessEnded():
            said = f"; {fact.failure.kind}: {fact.failure.message}" if fact.failure else ""
            return f"{_death(fact.certificate)}{said}"
        case f.WorktreeLeft():
            return _left(fact)
        case f.ActorSettled():
            said = (fact.failure.message or fact.failure.kind) if fact.failure else ""
            note = f" ({fact.note})" if fact.note and fact.note != said else ""
            return f"settled as {fact.status}{f': {said}' if said else ''}{note}"
        case a.ApprovalRequested() | a.ApprovalTakenUp() | a.ApprovalDecided():
            return about_an_approval(fact)
        case of.ModelSet(model=model):
            return f"it goes on with {model}"
        case _:
            return about_the_tree(fact)


def _actors(fact: f.RunOpened) -> str:
    return words.plural(len(fact.run.tasks), "task") if fact.run.tree is None else f"lead {fact.run.tree.lead.id}"


def _caps(fact: f.RunOpened) -> str:
    run = fact.run
    if run.tree is not None:
        most = "any number of workers" if run.tree.max_workers is None else f"at most {run.tree.max_workers} workers"
        money = "" if run.tree.budget_usd is None else f", at most {words.money(run.tree.budget_usd)}"
        return f"{most}{money}{', a rehearsal' if run.rehearsal else ''}"
    money = "" if run.budget_usd is None else f", at most {words.money(run.budget_usd)}"
    return f"at most {run.max_parallel} at once{money}{', a rehearsal' if run.rehearsal else ''}"


def _next(*, resume: bool, fresh: bool = False) -> str:
    if fresh:
        return "begins again from the start, with what it has done set aside"
    return "continues its session" if resume else "starts afresh"


def _adopted(fact: f.ActorAdopted) -> str:
    place = ""
    if fact.worktree is not None:
        place = f"; its worktree {fact.worktree} " + ("was removed" if fact.worktree_removed else "is still there")
    if fact.status is None:
        before = "it was cut off under Pitboss 0.9" if fact.attempt else "Pitboss 0.9 never started it"
        return f"{before}; its next attempt {_next(resume=fact.resume)}{place}"
    said = f": {fact.failure.message or fact.failure.kind}" if fact.failure else ""
    account = _account(fact.usage, fact.cost_usd)
    whose = f"{fact.parent} had spawned it; " if fact.parent else ""
    if fact.unrecorded:
        return f"{whose}it was cut off under Pitboss 0.9, for good, having used {account}{place}"
    return f"{whose}by the record of Pitboss 0.9, it ended as {fact.status}{said}, having used {account}{place}"


def _admitted(fact: f.ActorAdmitted) -> str:
    share = "" if fact.allotment_usd is None else f", may spend {words.money(fact.allotment_usd)}"
    return f"it got a slot (attempt {fact.attempt}), session {fact.session_id}{share}"


def _account(usage: Usage, cost_usd: float | None) -> str:
    money = "" if cost_usd is None else f", {words.money(cost_usd)}"
    return f"{words.tokens(usage)} tokens (in/out/cache){money}"


def _why_failed(fact: f.TurnFinished) -> str:
    status = f"API status {fact.result.api_error_status}" if fact.result.api_error_status else ""
    return ": ".join(filter(None, [status or fact.result.subtype, fact.result.text]))


def _death(certificate: Certificate) -> str:
    if certificate.signal is not None:
        how = f"by signal {certificate.signal}"
    else:
        how = "in an unknown way" if certificate.exit_code is None else f"with exit code {certificate.exit_code}"
    left = f", {words.plural(len(certificate.stopped), 'left-over')} stopped" if certificate.stopped else ""
    proof = "nothing of it is left" if certificate.complete else "that nothing of it is left could not be shown"
    return f"its process ended {how}{left}; {proof}"


def _made(fact: f.WorktreeMade) -> str:
    made = "new branch" if fact.created_branch else "branch"
    parts = [f"its worktree stands at {fact.path}, on {made} {fact.branch} from {fact.base[:10]}"]
    if fact.brought_back:
        parts.append(f"with what was set aside as {fact.brought_back.ref} uncommitted in it")
    if fact.message:
        parts.append(fact.message)
    return ", ".join(parts)


def _left(fact: f.WorktreeLeft) -> str:
    parts = ["its worktree was removed" if fact.removed else "its worktree was kept"]
    if fact.set_aside:
        parts.append(f"{words.plural(fact.set_aside.files, 'file')} set aside as {fact.set_aside.ref}")
    if fact.branch_deleted:
        parts.append("its branch, still empty, was deleted")
    if fact.message:
        parts.append(fact.message)
    return ", ".join(parts)
