"""How actors come into being at run time: what is checked, what is inherited, what is set apart for them.

The checks and the registration are one decision, so no cap can be passed by two calls at once. A spawn that is
refused changes nothing; one that is repeated under the same idempotency key gives the same actor.
"""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace

from pitboss.core import ledger, notices, steering, store, tree
from pitboss.core.decision import Decision
from pitboss.core.state import Actor, RunState
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Instant, Refused, refused
from pitboss.model.calls import SpawnSublead, SpawnWorker
from pitboss.model.money import dollars
from pitboss.model.run import ActorId, Phase, Role, TaskSpec
from pitboss.model.store import Entry, Value
from pitboss.model.tree import Envelope

SUBLEAD_SECS = 3600
"""Wall clock of a sub-lead with an envelope, if nothing says otherwise; as in Pitboss 0.9."""


def spawn_worker(d: Decision, signal: s.CallMade, call: SpawnWorker) -> None:
    """Bring a worker into being, or say why not."""
    caller = d.actor(signal.actor)
    if (same := _repeated(d.state, caller, "worker", call.idempotency_key)) is not None:
        d.answer(signal, _spawned(d.state, caller, same))
        return
    spec = _worker_spec(d.state, caller, signal, call)
    refusal = refuse_spawning(d.state, caller) or _refuse_worker(d.state, caller, spec)
    if refusal is not None:
        _refuse(d, signal, refusal)
        return
    d.note(
        t.ActorSpawned(
            at=d.at,
            actor=spec.id,
            attempt=0,
            spec=spec,
            role="worker",
            parent=caller.spec.id,
            label=call.label or "",
            reserved_usd=ledger.estimate(d.state, caller.spec.id, spec.model),
            idempotency_key=call.idempotency_key or "",
        )
    )
    d.answer(signal, _spawned(d.state, caller, d.actor(spec.id)))


def _refuse(d: Decision, signal: s.CallMade, refusal: Refused) -> None:
    d.answer(signal, refusal)
    if refusal.code == "budget_exceeded":
        notices.budget_spent(d, signal.actor)


def _spawned(state: RunState, caller: Actor, worker: Actor) -> Answer:
    money = ledger.account(state, caller.spec.id).told()
    return Answer({"task_id": worker.spec.id, "worktree_path": None, "budget": money})


def _repeated(state: RunState, caller: Actor, role: Role, key: str | None) -> Actor | None:
    """What an earlier call of the same tool with the same key has brought into being."""
    if not key:
        return None
    spawned = tree.members(state, caller.spec.id)
    return next((actor for actor in spawned if (actor.role, actor.idempotency_key) == (role, key)), None)


def refuse_spawning(state: RunState, caller: Actor) -> Refused | None:
    """What forbids any spawn at all: the run is ending, the API refuses, the plan is not approved."""
    if caller.role not in {"lead", "sublead"}:
        return refused("forbidden", "spawning is not available to workers: depth-2 is the deepest")
    if state.draining is not None or caller.stopping is not None:
        why = state.draining.by if state.draining else "its lead is being stopped"
        return refused("draining", f"run is draining: no new workers accepted ({why})")
    if state.starts_limit == 0 and state.throttled_until:
        kind = "api auth failed" if "login" in state.throttle_reason else "api rate-limited"
        return refused(
            "api_unavailable",
            f"{kind}: {state.throttle_reason}; spawn again later",
            retry_after=Instant(state.throttled_until),
        )
    if state.tree.require_plan_approval and tree.layer_of(caller) not in state.plans_approved:
        return refused("plan_required", "plan approval required: call propose_plan first, then spawn")
    return None


def _refuse_worker(state: RunState, caller: Actor, spec: TaskSpec) -> Refused | None:
    pool = tree.pool_of(state, caller.spec.id)
    live, cap = tree.live_workers(state, pool), tree.worker_cap(state, pool)
    if cap is not None and live >= cap:
        message = f"worker cap reached: {live} active (max {cap}); wait for one to end, then spawn again"
        return refused("cap_reached", message)
    total, most = _all_live_workers(state), state.tree.max_total_workers
    if most is not None and total >= most:
        return refused("cap_reached", f"max_total_workers cap reached: {total} active (max {most})")
    money, expected = ledger.account(state, caller.spec.id), ledger.estimate(state, caller.spec.id, spec.model)
    return None if money.affords(expected) else _too_dear(money, expected)


def _too_dear(money: ledger.Account, expected: float, prefix: str = "") -> Refused:
    message = (
        f"{prefix}budget exceeded: {dollars(money.spent)} spent + {dollars(money.reserved)} reserved "
        f"+ {dollars(expected)} estimated > {dollars(money.budget or 0.0)} budget"
    )
    return refused("budget_exceeded", message, budget=money.told())


def _all_live_workers(state: RunState) -> int:
    return sum(actor.role == "worker" and actor.phase not in tree.OVER for actor in state.actors.values())


def _worker_spec(state: RunState, caller: Actor, signal: s.CallMade, call: SpawnWorker) -> TaskSpec:
    """What it is not told, a worker has from whoever spawns it; a sub-lead's own place is the lead's."""
    own, lead = caller.spec, state.tree.lead
    return TaskSpec(
        id=ActorId(f"worker-{signal.minted}"),
        directory=call.directory or own.directory,
        prompt=call.prompt,
        session_id=signal.session_id,
        branch=call.branch,
        model=call.model or own.model,
        effort=own.effort,
        tools=tuple(call.tools) if call.tools is not None else own.tools or lead.tools,
        timeout_secs=call.timeout_secs or lead.timeout_secs,
        use_worktree=lead.use_worktree,
        env=own.env,
    )


# --- sub-leads --------------------------------------------------------------------------------------------------------


def spawn_sublead(d: Decision, signal: s.CallMade, call: SpawnSublead) -> None:
    """Bring a sub-lead into being with its own layer, or say why not."""
    caller = d.actor(signal.actor)
    if (same := _repeated(d.state, caller, "sublead", call.idempotency_key)) is not None:
        d.answer(signal, _led(d.state, caller, same))
        return
    name = ActorId(f"sublead-{signal.minted}")
    refusal = _refuse_sublead(d.state, caller)
    envelope = refusal or _envelope(d.state, call)
    if not isinstance(envelope, Refused):
        refusal = _refuse_envelope(d.state, caller, envelope)
    seeds = refusal or _seeds(name, call, d.at)
    if isinstance(envelope, Refused) or isinstance(seeds, Refused):
        _refuse(d, signal, envelope if isinstance(envelope, Refused) else seeds)  # type: ignore[arg-type]
        return
    for entry in seeds:  # before it is there: a kill in between must not leave one without what it was given
        d.note(t.StoreWritten(at=d.at, layer=name, entry=entry))
    d.note(
        t.ActorSpawned(
            at=d.at,
            actor=name,
            attempt=0,
            spec=_sublead_spec(d.state, name, signal, call, envelope),
            role="sublead",
            parent=caller.spec.id,
            label=call.label or "",
            envelope=envelope,
            idempotency_key=call.idempotency_key or "",
        )
    )
    d.answer(signal, _led(d.state, caller, d.actor(name)))


def _led(state: RunState, caller: Actor, sublead: Actor) -> Answer:
    return Answer({"sublead_id": sublead.spec.id, "budget": ledger.account(state, caller.spec.id).told()})


def _refuse_sublead(state: RunState, caller: Actor) -> Refused | None:
    if not state.tree.allow_subleads:
        return refused("forbidden", "spawn_sublead requires allow_subleads=true in the manifest's [lead]")
    if caller.role != "lead":
        return refused("forbidden", "spawn_sublead is only available to the root lead: depth-2")
    return refuse_spawning(state, caller)


def _envelope(state: RunState, call: SpawnSublead) -> Envelope | Refused:
    defaults = state.tree.sublead_defaults
    budget = defaults.budget_usd if call.budget_usd is None else call.budget_usd
    workers = defaults.max_workers if call.max_workers is None else call.max_workers
    read_down = call.read_down or defaults.read_down
    if read_down and budget is None and workers is None:
        return Envelope(read_down=True)
    for value, word in ((budget, "budget_usd"), (workers, "max_workers")):
        if value is None:
            message = f"{word} required: give it, or leave out both with read_down = true to share the lead's pool"
            return refused("invalid_arg", message)
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        return refused("invalid_arg", f"budget_usd must be above 0, not {budget}")
    return Envelope(budget_usd=budget, max_workers=workers, read_down=read_down)


def _refuse_envelope(state: RunState, caller: Actor, envelope: Envelope) -> Refused | None:
    caps = state.tree
    subleads = [actor for actor in tree.members(state, caller.spec.id) if actor.role == "sublead"]
    live = [actor for actor in subleads if actor.phase not in tree.OVER]
    budget, workers = envelope.budget_usd or 0.0, envelope.max_workers or 0
    if caps.max_sublead_budget_usd is not None and budget > caps.max_sublead_budget_usd:
        message = (
            f"budget_usd {dollars(budget)} exceeds per-sublead cap {dollars(caps.max_sublead_budget_usd)}; ask for less"
        )
        return refused("cap_reached", message)
    if caps.max_subleads is not None and len(live) >= caps.max_subleads:
        message = f"max_subleads cap reached: {len(live)} active (max {caps.max_subleads}); wait for one to end"
        return refused("cap_reached", message)
    if envelope.is_shared:
        return None
    promised = tree.live_workers(state, caller.spec.id) + sum(actor.envelope.max_workers or 0 for actor in live)
    if caps.max_total_workers is not None and promised + workers > caps.max_total_workers:
        message = f"max_total_workers cap: {promised} promised + {workers} asked for > {caps.max_total_workers}"
        return refused("cap_reached", message)
    money = ledger.account(state, caller.spec.id)
    return None if money.affords(budget) else _too_dear(money, budget, "spawn_sublead: ")


def _seeds(name: ActorId, call: SpawnSublead, at: float) -> list[Entry] | Refused:
    """What a sub-lead's store holds before it starts: a snapshot, written as by itself."""
    fresh, seeds = store.Store(), []
    for key, value in (call.initial_ref or {}).items():
        text = msgspec.json.encode(value).decode()
        entry = store.seeded(fresh, f"/ref/{key}", Value(text=text), by=name, at=at)
        if isinstance(entry, Refused):
            return refused(entry.code, f"seeding /ref/{key}: {entry.message}", **entry.extra)
        fresh = store.evolved(fresh, entry)
        seeds.append(entry)
    return seeds


def _sublead_spec(
    state: RunState, name: ActorId, signal: s.CallMade, call: SpawnSublead, envelope: Envelope
) -> TaskSpec:
    """A sub-lead works in the lead's directory, without a worktree: it leads, its workers change files."""
    lead = state.tree.lead
    own_secs = SUBLEAD_SECS if not envelope.is_shared else state.tree.lead_timeout_secs or SUBLEAD_SECS
    return replace(
        lead,
        id=name,
        prompt=call.prompt,
        session_id=signal.session_id,
        branch=None,
        model=call.model,
        tools=tuple(dict.fromkeys(call.tools or ())),
        timeout_secs=call.lead_timeout_secs or state.tree.sublead_defaults.lead_timeout_secs or own_secs,
        use_worktree=False,
        env=lead.env | (call.env or {}),
        resume_session_id=call.resume_session_id,
    )


# --- when whoever leads them has ended ------------------------------------------------------------------------------


def stop_the_led(d: Decision) -> None:
    """A worker belongs to whoever spawned it: when that one's processes are gone, it is stopped, and accounted for.

    So it is when that one will never be started again. If the one that leads can be taken up by a resume, so can it.
    """
    for actor in list(d.state.actors.values()):
        parent = d.state.actors.get(actor.parent) if actor.parent else None
        if parent is None or actor.phase in tree.OVER:
            continue
        never = parent.phase is Phase.QUEUED and d.state.draining is not None
        if parent.phase in tree.OVER or never:
            word = "lead" if parent.role == "lead" else "sub-lead"
            cut_short = never or (parent.stopping is not None and parent.stopping.reason == "stop")
            note = f"cancelled when {word} exited"
            steering.stop(d, actor.spec.id, note, "stop" if cut_short else "cancel")
