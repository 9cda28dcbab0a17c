"""What a lead sees of those it leads: status and list. Nothing follows from looking, so nothing is written down."""

from __future__ import annotations

from pitboss.core import ledger, tree
from pitboss.core.bounds import first_that_fit
from pitboss.core.state import Actor, RunState
from pitboss.core.views import doing
from pitboss.model.answers import Answer, Instant, Refused, refused
from pitboss.model.calls import ListWorkers, WorkerStatus
from pitboss.model.run import ActorId

PAGE = 200
"""So many workers are listed at once."""

PREVIEW_CHARS = 80
"""How much of a prompt is shown, as in Pitboss 0.9."""


def status(state: RunState, caller: Actor, call: WorkerStatus) -> Answer | Refused:
    """Where one actor stands."""
    actor = state.actors.get(ActorId(call.task_id))
    if actor is None or not _sees(state, caller, actor):
        return refused("not_found", f"unknown task_id {call.task_id}; list_workers tells whom there is")
    told: dict[str, object] = {
        "state": tree.state_word(actor),
        "started_at": Instant(actor.first_at) if actor.first_at else None,
        "partial_usage": actor.all_usage,
        "cost_usd": actor.all_cost_usd,
        "last_text_preview": actor.final_message[:200] if actor.final_message else None,
        "prompt_preview": actor.spec.prompt[:PREVIEW_CHARS],
        "doing": doing(state, actor),
        "label": actor.label,
        "parent_task_id": actor.parent,
        "branch": actor.worktree.branch if actor.worktree else None,
        "budget": ledger.account(state, caller.spec.id).told(),
    }
    return Answer(told)


def workers(state: RunState, caller: Actor, call: ListWorkers) -> Answer:
    """Everyone below the caller who is no lead, in the order they were spawned."""
    seen = [actor for actor in state.actors.values() if actor.role == "worker" and _sees(state, caller, actor)]
    shown = [
        {
            "task_id": actor.spec.id,
            "state": tree.state_word(actor),
            "prompt_preview": actor.spec.prompt[:PREVIEW_CHARS],
            "started_at": Instant(actor.first_at) if actor.first_at else None,
            "label": actor.label,
            "parent_task_id": actor.parent,
        }
        for actor in seen[call.offset : call.offset + PAGE]
    ]
    page = first_that_fit(shown)
    listed: dict[str, object] = {"workers": page}
    end = call.offset + len(page)
    if len(seen) > len(page):
        listed |= {"total": len(seen), "offset": call.offset, "truncated": end < len(seen)}
    if end < len(seen):
        listed["next_offset"] = end
    return Answer(listed)


def _sees(state: RunState, caller: Actor, actor: Actor) -> bool:
    """An actor sees itself and everyone below it."""
    return caller.spec.id in tree.path_of(state, actor)
