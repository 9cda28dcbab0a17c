"""A tool call of an actor, and the rule book it belongs to. Each role has its own tools, whatever was announced."""

from __future__ import annotations

from typing import assert_never

from pitboss.core import approvals, coordination, looking, spawning, steering, tree, waiting
from pitboss.core.decision import Decision
from pitboss.model import calls as c
from pitboss.model import signals as s
from pitboss.model.answers import refused


def handle(d: Decision, signal: s.CallMade) -> None:
    """Answer a call, or have it wait."""
    caller, call = d.actor(signal.actor), signal.call
    if isinstance(call, c.TreeCall | c.ProposePlan) and caller.role not in {"lead", "sublead"}:
        word = type(call).__name__
        message = f"this tool ({word}) is not available to workers: depth-2 is the deepest"
        d.answer(signal, refused("forbidden", message))
        return
    match call:
        case c.SpawnWorker():
            spawning.spawn_worker(d, signal, call)
        case c.SpawnSublead():
            spawning.spawn_sublead(d, signal, call)
        case c.WorkerStatus():
            d.answer(signal, looking.status(d.state, caller, call))
        case c.ListWorkers():
            d.answer(signal, looking.workers(d.state, caller, call))
        case c.WaitForWorker() | c.WaitActor() | c.WaitForAny():
            waiting.wait_for_actors(d, signal, call)
        case c.CancelWorker() | c.PauseWorker() | c.ContinueWorker() | c.RepromptWorker():
            steering.handle(d, signal, call)
        case c.RequestApproval() | c.ProposePlan() | c.PermissionPrompt():
            approvals.handle(d, signal, call)
        case c.KvGet() | c.KvSet() | c.KvCas() | c.KvDelete() | c.KvList() | c.KvWait():
            coordination.handle_store(d, signal, tree.layer_of(caller), call)
        case c.LeaseAcquire() | c.LeaseRelease() | c.LeaseList() | c.RunLeaseAcquire() | c.RunLeaseRelease():
            waiting.free_expired(d)
            coordination.handle_lease(d, signal, tree.layer_of(caller), call)
        case _:
            assert_never(call)
