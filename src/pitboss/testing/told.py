"""What holds of notifications in every state of a run; asserted by ``doubles`` after each signal of a story."""

from __future__ import annotations

from pitboss.core.state import RunState
from pitboss.model.run import Status


def check_told(state: RunState) -> None:
    """Who wants to hear everything hears of everybody who is needed, and of whatever went wrong."""
    if state.run is None or not any(sink.events is None and sink.severity_min == "info" for sink in state.run.sinks):
        return
    told = state.outbox.notices
    for name, one in state.approvals.items():
        assert one.ruling or f"{state.run.run_id}:approval_request:{name}" in told, f"nobody is called for {name}"
    for actor in state.actors.values():
        if actor.status not in {None, Status.SUCCESS, Status.CANCELLED} and not actor.adopted:
            kinds = {"sublead": "sublead_ended", "worker": "worker_failed"}
            key = f"{kinds.get(actor.role, 'task_failed')}:{actor.spec.id}:{actor.attempt}"
            assert f"{state.run.run_id}:{key}" in told, f"nobody hears that {actor.spec.id} failed"
    if state.exit_code is not None:
        assert any(notice.kind == "run_finished" for notice in told.values()), "nobody hears of the end"
