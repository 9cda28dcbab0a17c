"""What an actor can ask of the pit: one struct a tool, its arguments as fields, its description as docstring.

The model reads nothing but what stands here: ``wire.tools`` makes the JSON Schema of each tool from it, and the same
struct checks what a model sends. A field's bounds and its words are its ``Meta``. Names, arguments and their meaning
are those of Pitboss 0.9; what is ours is added. Nothing here says what follows from a call: the core does.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitboss.model.arguments import (
    MAX_COUNT,
    ActorWaitSecs,
    AnyId,
    Dollars,
    Form,
    IdempotencyKey,
    JsonValue,
    Label,
    Offset,
    StoreBytes,
    StorePath,
    SubleadStore,
    Ttl,
    Version,
    WaitSecs,
    WorkerId,
)


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all calls."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A plan, as an operator is shown it."""

    summary: Annotated[str, Meta(min_length=1, description="One line: what is going to be done.")]
    rationale: Annotated[str | None, Meta(description="Why this way.")] = None
    resources: Annotated[list[str] | None, Meta(description="What it needs or touches.")] = None
    risks: Annotated[list[str] | None, Meta(description="What can go wrong.")] = None
    rollback: Annotated[str | None, Meta(description="How it is undone.")] = None


# --- the tree -------------------------------------------------------------------------------------------------------


class SpawnWorker(Call, frozen=True, kw_only=True):
    """Start a worker: a session of its own, in a git worktree and on a branch of its own.

    Returns at once with its task_id and how much money is left; the worker starts as soon as there is room to start.
    Give it everything it needs to know in the prompt: it sees nothing of this conversation. Wait for it with
    wait_for_worker or wait_for_any. Refused when a cap, the budget, or a plan that is not approved yet forbids it.
    """

    prompt: Annotated[str, Meta(min_length=1, description="What to do, complete in itself.")]
    directory: Annotated[
        str | None, Meta(description="Directory the work is about, absolute. Default: the lead's.")
    ] = None
    branch: Annotated[str | None, Meta(description="Branch of its worktree. Default: a new one.")] = None
    tools: Annotated[list[str] | None, Meta(description="Built-in tools it has. Default: the lead's.")] = None
    timeout_secs: Annotated[
        Annotated[int, Meta(ge=1, le=604_800)] | None,
        Meta(description="Wall clock it has, in seconds. Default: the lead's."),
    ] = None
    model: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="Model name. Default: the lead's.")
    ] = None
    label: Label | None = None
    idempotency_key: IdempotencyKey | None = None


class WorkerStatus(Call, frozen=True, kw_only=True):
    """Tell where a worker or sub-lead stands: its state, tokens and money so far, and what it does or said last."""

    task_id: AnyId


class WaitForWorker(Call, frozen=True, kw_only=True):
    """Wait until a worker has ended, and get its record: status, final message, branch, tokens, money.

    Returns early, with interrupted = true, when a message for you is waiting: read it, then wait again.
    """

    task_id: WorkerId
    timeout_secs: ActorWaitSecs | None = None


class WaitActor(Call, frozen=True, kw_only=True):
    """Wait until a worker or a sub-lead has ended, and get its record.

    Returns early, with interrupted = true, when a message for you is waiting. May be repeated.
    """

    actor_id: AnyId
    timeout_secs: ActorWaitSecs | None = None


class WaitForAny(Call, frozen=True, kw_only=True):
    """Wait until the first of several workers or sub-leads has ended, and get its id and record.

    Returns early, with interrupted = true, when a message for you is waiting. May be repeated.
    """

    task_ids: Annotated[list[AnyId], Meta(min_length=1, max_length=1000, description="Whom to wait for.")]
    timeout_secs: ActorWaitSecs | None = None


class ListWorkers(Call, frozen=True, kw_only=True):
    """List your workers, those that have ended too: id, label, state, owner, first line of the prompt."""

    offset: Offset = 0


class CancelWorker(Call, frozen=True, kw_only=True):
    """Stop a worker or sub-lead now; a sub-lead's workers stop with it. What it has done so far is kept.

    Give exactly one of target and task_id. With a reason, whoever leads it gets the reason as a message. Stopping
    what has ended already changes nothing.
    """

    target: AnyId | None = None
    task_id: Annotated[AnyId | None, Meta(description="Another name of target.")] = None
    reason: Annotated[
        Annotated[str, Meta(max_length=4000)] | None, Meta(description="Why, for the one that leads it.")
    ] = None


class PauseWorker(Call, frozen=True, kw_only=True):
    """Pause a worker: freeze (its processes stand still, nothing is lost) or cancel (they end; its session is kept).

    Go on with continue_worker. The clock of a paused worker's time-out stands still.
    """

    task_id: WorkerId
    mode: Annotated[Literal["cancel", "freeze"], Meta(description="cancel frees memory, freeze goes on at once.")] = (
        "cancel"
    )


class ContinueWorker(Call, frozen=True, kw_only=True):
    """Let a paused worker go on, in its own worktree and session."""

    task_id: WorkerId
    prompt: Annotated[
        str | None, Meta(description="What to tell a worker that was paused with mode cancel. Default: continue.")
    ] = None


class RepromptWorker(Call, frozen=True, kw_only=True):
    """Redirect a worker that runs or is paused: what it does is interrupted, and it reads your message in its session.

    Nothing it has done is lost.
    """

    task_id: WorkerId
    prompt: Annotated[str, Meta(min_length=1, description="The message it gets.")]


class SpawnSublead(Call, frozen=True, kw_only=True):
    """Start a sub-lead: a session that leads workers of its own, with its own money, caps and store.

    Give it a whole phase of the work. Wait for it with wait_actor. Its unspent money comes back when it ends.
    """

    prompt: Annotated[str, Meta(min_length=1, description="What to do, complete in itself.")]
    model: Annotated[str, Meta(min_length=1, description="Model name.")]
    budget_usd: Annotated[
        Dollars | None, Meta(description="Money of its own, taken from yours. Default: the manifest's.")
    ] = None
    max_workers: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None,
        Meta(description="Live workers it may have at once. Default: the manifest's."),
    ] = None
    lead_timeout_secs: Annotated[
        Annotated[int, Meta(ge=1, le=604_800)] | None, Meta(description="Wall clock it has, in seconds.")
    ] = None
    initial_ref: Annotated[
        dict[str, JsonValue] | None, Meta(description="Written to its store before it starts: /ref/<key> for each key.")
    ] = None
    read_down: Annotated[bool, Meta(description="You may read its store; without an envelope it shares yours.")] = False
    env: Annotated[dict[str, str] | None, Meta(description="Environment variables of its own.")] = None
    tools: Annotated[list[str] | None, Meta(description="Built-in tools it has. Default: none.")] = None
    resume_session_id: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$")] | None,
        Meta(description="Go on with this session of an earlier sub-lead."),
    ] = None
    label: Label | None = None
    idempotency_key: IdempotencyKey | None = None


# --- approvals ------------------------------------------------------------------------------------------------------


class RequestApproval(Call, frozen=True, kw_only=True):
    """Ask the operator before you do something, and wait for the answer.

    The answer says approved true or false, who decided, and often why. Do not go ahead without approval.
    """

    summary: Annotated[str, Meta(min_length=1, max_length=4000, description="What you want to do, in one line.")]
    timeout_secs: WaitSecs | None = None
    plan: Annotated[Plan | None, Meta(description="More about it, for the operator.")] = None
    tool_name: Annotated[str | None, Meta(description="The tool it is about, for the policy rules.")] = None
    cost_estimate: Annotated[Dollars | None, Meta(description="What it may cost, for the policy rules.")] = None
    category: Annotated[
        Literal["tool_use", "plan", "cost", "other"], Meta(description="What kind of request it is.")
    ] = "tool_use"
    ttl_secs: Annotated[WaitSecs | None, Meta(description="Another name of timeout_secs; give one of them.")] = None
    fallback: Annotated[
        Literal["auto_reject", "auto_approve", "block"],
        Meta(description="What holds when nobody answers in time; block waits on."),
    ] = "auto_reject"


class ProposePlan(Call, frozen=True, kw_only=True):
    """Show the operator your plan and wait for approval. Some runs let you spawn only after that."""

    plan: Plan
    timeout_secs: WaitSecs | None = None
    cost_estimate: Annotated[Dollars | None, Meta(description="What it may cost, for the policy rules.")] = None


class PermissionPrompt(Call, frozen=True, kw_only=True):
    """Answers the permission questions of Claude Code itself; not for you to call."""

    tool_name: Annotated[str, Meta(min_length=1, description="The tool.")]
    tool_input: Annotated[JsonValue, Meta(description="Its arguments.")] = None
    input: Annotated[JsonValue, Meta(description="The same, as Claude Code names it.")] = None
    tool_use_id: Annotated[str | None, Meta(description="Which call it is.")] = None
    cost_estimate: Annotated[Dollars | None, Meta(description="What it may cost, for the policy rules.")] = None


# --- the store ------------------------------------------------------------------------------------------------------


class KvGet(Call, frozen=True, kw_only=True):
    """Read a key of the shared store; entry is null if it is not there."""

    path: StorePath
    form: Annotated[
        Form | None, Meta(description="Only this form of the value. Default: bytes, and text if it is.")
    ] = None
    offset: Annotated[
        int,
        Meta(ge=0, le=MAX_COUNT, description="Leave out so many bytes of the value, to get the rest of a long one."),
    ] = 0
    sublead_id: SubleadStore = None


class KvSet(Call, frozen=True, kw_only=True):
    """Write a key of the shared store, whatever is there. Give exactly one of value and json."""

    path: StorePath
    value: StoreBytes | None = None
    json: Annotated[JsonValue, Meta(description="The value as JSON; stored as its compact text.")] = None
    override_flag: Annotated[bool, Meta(description="A lead writes another actor's /peer slot.")] = False


class KvCas(Call, frozen=True, kw_only=True):
    """Write a key only if its version is still the one you know; 0 means it must not exist yet.

    On a mismatch ok is false, nothing is written, and current_version tells what is there. Give exactly one of
    new_value and json.
    """

    path: StorePath
    expected_version: Annotated[Version, Meta(description="The version you have read; 0 for a new key.")]
    new_value: StoreBytes | None = None
    json: Annotated[JsonValue, Meta(description="The new value as JSON, in place of new_value.")] = None
    override_flag: Annotated[bool, Meta(description="A lead writes another actor's /peer slot.")] = False


class KvDelete(Call, frozen=True, kw_only=True):
    """Remove a key of the shared store, with the rights of a write. Its versions go on where they were."""

    path: StorePath
    expected_version: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_COUNT)] | None, Meta(description="Only if its version is still this one.")
    ] = None
    override_flag: Annotated[bool, Meta(description="A lead removes from another actor's /peer slot.")] = False


class KvList(Call, frozen=True, kw_only=True):
    """List keys by pattern, without their values: path, version, who wrote it when, size.

    * and ? stay within one part of a path, ** crosses parts, [a-z] and [!a-z] are classes.
    """

    glob: Annotated[str, Meta(min_length=1, max_length=1024, description="Pattern over whole paths: /shared/**.")]
    offset: Offset = 0
    sublead_id: SubleadStore = None


class KvWait(Call, frozen=True, kw_only=True):
    """Wait until a key has at least a version, and get its entry. A pattern waits for any key that fits it.

    To wait for the next change, pass the version you know plus 1. Returns early, with interrupted = true, when a
    message for you is waiting.
    """

    path: StorePath
    timeout_secs: WaitSecs
    min_version: Annotated[Version | None, Meta(description="The version to wait for. Default: 1, that is any.")] = None
    form: Form | None = None
    sublead_id: SubleadStore = None


# --- leases ---------------------------------------------------------------------------------------------------------


class LeaseAcquire(Call, frozen=True, kw_only=True):
    """Take a lease of your layer: nobody else of it has it until you release it, end, or its time is over.

    Without wait_secs the answer comes at once: acquired false means that somebody has it, and holder says who.
    """

    name: Annotated[str, Meta(min_length=1, max_length=256, description="What is to be yours alone.")]
    ttl_secs: Ttl
    wait_secs: Annotated[WaitSecs | None, Meta(description="How long to wait for it at most. Default: not at all.")] = (
        None
    )


class LeaseRelease(Call, frozen=True, kw_only=True):
    """Give a lease back. Only its holder can."""

    lease_id: Annotated[str, Meta(min_length=1, max_length=128, description="As lease_acquire gave it.")]


class LeaseList(Call, frozen=True, kw_only=True):
    """List the leases of your layer and of the whole run, with their holders and when they end."""

    offset: Offset = 0


class RunLeaseAcquire(Call, frozen=True, kw_only=True):
    """Take, or renew, a lease that is one for the whole run, such as the right to push or to use a device."""

    key: Annotated[str, Meta(min_length=1, max_length=256, description="What is to be yours alone, run-wide.")]
    ttl_secs: Ttl
    wait_secs: Annotated[WaitSecs | None, Meta(description="How long to wait for it at most. Default: not at all.")] = (
        None
    )


class RunLeaseRelease(Call, frozen=True, kw_only=True):
    """Give a run-wide lease back; released is false if it was not yours."""

    key: Annotated[str, Meta(min_length=1, max_length=256, description="As for run_lease_acquire.")]


TreeCall = (
    SpawnWorker
    | SpawnSublead
    | WorkerStatus
    | ListWorkers
    | WaitForWorker
    | WaitActor
    | WaitForAny
    | CancelWorker
    | PauseWorker
    | ContinueWorker
    | RepromptWorker
)
"""Calls about other actors."""

ApprovalCall = RequestApproval | ProposePlan | PermissionPrompt
"""Calls that ask for permission."""

StoreCall = KvGet | KvSet | KvCas | KvDelete | KvList | KvWait
"""Calls about the shared store."""

LeaseCall = LeaseAcquire | LeaseRelease | LeaseList | RunLeaseAcquire | RunLeaseRelease
"""Calls about leases."""

AnyCall = TreeCall | ApprovalCall | StoreCall | LeaseCall
"""Every call; ``match`` over it ends in ``assert_never``."""
