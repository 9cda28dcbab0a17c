"""What was asked for and what an actor is: specifications, phases, money and tokens.

Only frozen data lives here. Times are seconds since the epoch as ``float`` (``at`` everywhere);
money is US dollars as ``float``; durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import enum
from typing import Literal, NewType

import msgspec

from pitboss.model.notices import Sink

RunId = NewType("RunId", str)
"""A run's name on disk: a lower-case, hyphenated UUID version 7."""

ActorId = NewType("ActorId", str)
"""An actor's name inside its run: a task's or lead's id from the manifest."""

Effort = Literal["low", "medium", "high", "xhigh", "max"]
CleanupMode = Literal["always", "on_success", "never"]
Role = Literal["task", "lead", "sublead", "worker"]
"""What an actor is: of a flat run a task; of a tree its one lead, a sub-lead, or a worker of either."""
ApprovalAction = Literal["block", "auto_approve", "auto_reject"]
ApprovalCategory = Literal["tool_use", "plan", "cost", "other"]
PermissionRouting = Literal["path_a", "path_b"]
ResumeScope = Literal["unsettled", "failed", "all"]
"""Which actors a resume takes up: those without a record, also those that did not succeed, or everyone."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all plain data: immutable, keyword-only, encodable as JSON."""


class Phase(enum.StrEnum):
    """Where an actor stands between being asked for and being accounted for."""

    QUEUED = "queued"
    """Waiting for a slot, or for the run's permission to start anything at all."""
    PREPARING = "preparing"
    """Admitted: its worktree is being made."""
    STARTING = "starting"
    """Its process is being started; the session has not answered yet."""
    WORKING = "working"
    """Its session has answered and has the prompt."""
    FROZEN = "frozen"
    """Its processes stand still, by order; so does the clock of its time-out."""
    FINISHING = "finishing"
    """Its work has ended; the process was asked to leave."""
    STOPPING = "stopping"
    """It is being stopped against its will: cancelled, timed out, or out of budget."""
    PAUSED = "paused"
    """Its processes are gone for now, by order; its place and its session are kept."""
    TIDYING = "tidying"
    """Its processes are gone; its worktree is being kept or set aside."""
    SETTLED = "settled"
    """It has a record. Nothing about it changes any more."""


class Status(enum.StrEnum):
    """How an actor ended, in the words of the public record (``summary.json``)."""

    SUCCESS = "Success"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    SPAWN_FAILED = "SpawnFailed"
    APPROVAL_REJECTED = "ApprovalRejected"
    APPROVAL_TIMED_OUT = "ApprovalTimedOut"


class Usage(Frozen, frozen=True, kw_only=True):
    """Tokens, as Anthropic bills them. Addition and subtraction work field by field."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_creation=self.cache_creation + other.cache_creation,
        )

    def __sub__(self, other: Usage) -> Usage:
        """The difference, never below zero in any field."""
        return Usage(
            input=max(0, self.input - other.input),
            output=max(0, self.output - other.output),
            cache_read=max(0, self.cache_read - other.cache_read),
            cache_creation=max(0, self.cache_creation - other.cache_creation),
        )


class McpServer(Frozen, frozen=True, kw_only=True):
    """One ``[[mcp_server]]`` of the manifest: a stdio server given to every actor."""

    id: str
    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


class TaskSpec(Frozen, frozen=True, kw_only=True):
    """One unit of work, with every default already applied."""

    id: ActorId
    directory: str
    """Absolute path the work is about."""
    prompt: str
    """The prompt, templates rendered."""
    session_id: str = ""
    """Claude's session id, minted by us before the process exists (a UUID)."""
    branch: str | None = None
    model: str = "claude-sonnet-4-6"
    effort: Effort = "high"
    tools: tuple[str, ...] = ("Read", "Write", "Edit", "Bash", "Glob", "Grep")
    """Built-in tools this actor has; all others are out of its reach."""
    timeout_secs: int = 3600
    use_worktree: bool = True
    env: dict[str, str] = {}
    resume_session_id: str | None = None


class Rule(Frozen, frozen=True, kw_only=True):
    """One ``[[approval_policy]]`` of the manifest; every part that is given must match. ``core.policy`` reads it.

    A rule with ``tool`` or ``args`` is about deeds: tool calls that are about to run, with the arguments they have.
    Any other rule is about requests: what an actor asks approval for, in its own words.
    """

    action: ApprovalAction
    actor: str | None = None
    """Glob over the actor's path; ``root`` names the lead."""
    role: Role | None = None
    category: ApprovalCategory | None = None
    tool_name: str | None = None
    """Exactly the tool that a request names."""
    cost_over: float | None = None
    tool: str | None = None
    """Glob over the real name of a tool that is about to run."""
    args: dict[str, str] = {}
    """Globs over its arguments by name; a dotted name leads into nested ones."""
    reason: str = ""
    """What the actor is told when this rule refuses."""

    @property
    def sees_deeds(self) -> bool:
        """True for a rule about tool calls, false for one about requests."""
        return self.tool is not None or bool(self.args)


class Policy(Frozen, frozen=True, kw_only=True):
    """Who may do what without a person: the rules in order, and what holds for requests that none matches."""

    rules: tuple[Rule, ...] = ()
    default_action: ApprovalAction = "block"
    """``[run].default_approval_policy``; a tool call that no rule matches simply runs."""

    @property
    def sees_deeds(self) -> bool:
        """True if a rule is about tool calls: then each is put to the run before it is made."""
        return any(rule.sees_deeds for rule in self.rules)


class SubleadDefaults(Frozen, frozen=True, kw_only=True):
    """``[sublead_defaults]``: what a ``spawn_sublead`` call gets for what it leaves out."""

    budget_usd: float | None = None
    max_workers: int | None = None
    lead_timeout_secs: int | None = None
    read_down: bool = False


class TreeSpec(Frozen, frozen=True, kw_only=True):
    """What a hierarchical run has instead of tasks: its lead, and the caps of all that grows below it.

    ``None`` is no cap.
    """

    lead: TaskSpec
    max_workers: int | None = None
    """Live workers of the lead's own layer at once."""
    budget_usd: float | None = None
    """Soft cap of the whole tree: a spawn that would cross it is refused."""
    lead_timeout_secs: int | None = None
    """As written; what the lead itself has is ``lead.timeout_secs``."""
    permission_routing: PermissionRouting = "path_a"
    """``path_b``: the agent's own permission questions go to the policy and the operator."""
    allow_subleads: bool = False
    max_subleads: int | None = None
    """Live sub-leads at once."""
    max_sublead_budget_usd: float | None = None
    max_total_workers: int | None = None
    """Live workers over all layers at once."""
    sublead_defaults: SubleadDefaults = SubleadDefaults()
    require_plan_approval: bool = False
    """No spawn in a layer before a plan of it was approved."""


class RunSpec(Frozen, frozen=True, kw_only=True):
    """A whole run as asked for: the manifest, resolved. The journal's first fact carries it."""

    run_id: RunId
    run_dir: str
    """Absolute path of this run's own directory."""
    manifest_path: str
    """As given on the command line."""
    tasks: tuple[TaskSpec, ...]
    name: str | None = None
    """``[run].name``, trimmed; ``None`` when blank."""
    max_parallel: int = 4
    """Live actors at once."""
    max_starts: int = 2
    """Actors between admission and a ready session at once: starting costs CPU, running waits."""
    halt_on_failure: bool = False
    budget_usd: float | None = None
    """Hard limit for the whole run."""
    worktree_cleanup: CleanupMode = "on_success"
    worktree_root: str | None = None
    """Where worktrees go; ``None`` means ``<run_dir>/worktrees``."""
    mcp_servers: tuple[McpServer, ...] = ()
    stall_secs: float = 300.0
    """Silence of an agent, in seconds, after which the operator is warned."""
    background_grace_secs: float = 60.0
    """How long background shells may outlive a finished turn before they are stopped."""
    claude_binary: str = "claude"
    rehearsal: bool = False
    """True when a scripted model answers instead of the real one."""
    model_url: str = ""
    """Where the scripted model listens; empty for the real one."""
    tree: TreeSpec | None = None
    """The lead and its caps; ``None`` for a flat run. ``tasks`` is empty where this is not."""
    policy: Policy = Policy()
    dump_shared_store: bool = False
    """Write ``shared-store.json`` at the end."""
    sinks: tuple[Sink, ...] = ()
    """Who is told about the run."""
    survive_parent: bool = False
    """It is announced as one that outlives whoever started it."""
    parent_run_id: str | None = None
    """The run whose agent dispatched this one."""


class Failure(Frozen, frozen=True, kw_only=True):
    """Why an actor failed: ``failure_reason`` of the public record, and two kinds more.

    ``overloaded`` and ``budget_exceeded`` have no upstream kind; ``wire.artifacts`` says how they appear there.
    """

    kind: Literal[
        "rate_limit",
        "overloaded",
        "auth_failure",
        "context_exceeded",
        "network_error",
        "budget_exceeded",
        "invalid_argument",
        "no_result",
        "process_died",
        "unknown",
    ]
    message: str = ""
    resets_at: float | None = None
    """When a rate limit ends, if the API said so (seconds since the epoch)."""


class TurnResult(Frozen, frozen=True, kw_only=True):
    """What a ``result`` line said, in our words."""

    subtype: str
    is_error: bool
    api_error_status: int | None = None
    text: str = ""
    """The result text, or the error prose."""
    cost_usd: float | None = None
    """Money this process has spent, whatever the session had spent before it; exact, by the session's own account."""
    session_cost_usd: float | None = None
    """``total_cost_usd``: cumulative over the session, also across resumes."""
    session_usage: Usage | None = None
    """Summed over ``modelUsage``: cumulative over the session, subagents included."""
    num_turns: int = 0
    terminal_reason: str | None = None

    @property
    def is_out_of_money(self) -> bool:
        """The process has spent what it was started with, and makes no call any more."""
        return self.subtype == "error_max_budget_usd"


class Certificate(Frozen, frozen=True, kw_only=True):
    """A death certificate: the evidence that an attempt's processes are gone (law 2)."""

    exit_code: int | None
    """The exit code, or ``None`` when a signal ended the process or its status could not be had."""
    signal: int | None = None
    """The signal that ended it, if one did."""
    group_empty: bool = True
    """No process is left in its process group."""
    cookie_empty: bool = True
    """No process with its cookie is left anywhere."""
    stopped: tuple[int, ...] = ()
    """Pids of left-over descendants that had to be stopped after it."""

    @property
    def complete(self) -> bool:
        """True if nothing of the attempt can still be running."""
        return self.group_empty and self.cookie_empty


class Heard(Frozen, frozen=True, kw_only=True):
    """What an attempt has used as its log tells it, counted again after its dispatcher was gone."""

    usage: Usage
    """All of it."""
    exact_usage: Usage = Usage()
    """What of it the last result has accounted for."""
    exact_cost_usd: float = 0.0
    """The money of that part, as the result says."""


class SetAside(Frozen, frozen=True, kw_only=True):
    """Work that was saved before its worktree was removed (law 5)."""

    ref: str
    """Full name of the private ref, ``refs/pitboss/<run>/<actor>``."""
    commit: str
    files: int
    """How many paths differ from the branch head in it."""
    ignored: int = 0
    """Ignored files that were there and were not saved."""


class EarlierWork(Frozen, frozen=True, kw_only=True):
    """What the last attempt that had a worktree left in git."""

    cookie: str
    """That attempt's cookie: what is set aside of its work is set aside in its name."""
    base: str
    """The commit its branch was made at, or stood at when Pitboss first came to it; empty if nobody knows."""
    created_branch: bool
    """We made the branch, so it goes if nothing is ever committed to it."""
    branch_deleted: bool = False
    """It went with the worktree: a branch of its name is another one now."""
    set_aside: SetAside | None = None
    """What was saved before its worktree was removed, to be uncommitted again in the next one."""


class Session(Frozen, frozen=True, kw_only=True):
    """Everything a driver needs to hold one Claude Code session; no opinion of its own is needed."""

    actor: ActorId
    attempt: int
    cookie: str
    """``<run>/<actor>/<attempt>``: put in the environment, so that all descendants can be found."""
    binary: str
    cwd: str
    prompt: str
    session_id: str
    resume: bool = False
    """Continue ``session_id`` instead of starting it."""
    model: str
    effort: Effort = "high"
    tools: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """The manifest's environment for this actor; it wins over the inherited one."""
    mcp_servers: tuple[McpServer, ...] = ()
    role: Role = "task"
    """Which of our tools it has."""
    spawns_subleads: bool = False
    judged: bool = False
    """Its tool calls wait for the run's word; else they run, and are only recorded."""
    asks_permission: bool = False
    """Its own permission questions are for the policy and the operator, not for its settings."""
    budget_usd: float | None = None
    """What this process may spend (``--max-budget-usd``)."""
    log_dir: str
    """Folder of ``stdout.log`` and ``stderr.log``."""
    silence_secs: float = 300.0
    """Silence after which the driver reports a stall."""
