"""Every section and key of a manifest, once: its type, default, range, help and the mode it counts in.

The strict parser, the error texts, the JSON Schema and the reference pages all read these classes; a key is
added here and nowhere else. What comes in is only declarations: no rule that looks at two keys, at the machine
or at the environment (those are the rules' matter). Called by every module of this room.

The keys and values are those of the v0.9 schema; added are ``[run]`` ``max_starts``, ``budget_usd``,
``worktree_root``, ``stall_secs`` and ``background_grace_secs``, of ``[[approval_policy]]`` ``reason`` and in its match
``tool``, ``args`` and ``role``, and of ``[[notification]]`` ``headers``, ``secret``, ``template`` and
``allow_private``.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from pitboss.manifest.keys import Key, Mode
from pitboss.model.notices import NoticeKind, Severity
from pitboss.model.run import ApprovalAction, ApprovalCategory, CleanupMode, Effort, PermissionRouting, Role

__all__ = [
    "DEFAULT_IMAGE",
    "ApprovalMatch",
    "ApprovalPolicy",
    "Container",
    "ContainerCopy",
    "ContainerMount",
    "Defaults",
    "Key",
    "Lead",
    "Lifecycle",
    "Manifest",
    "McpServerTable",
    "Mode",
    "Notification",
    "Run",
    "Section",
    "SubleadDefaults",
    "Task",
    "Template",
]

DEFAULT_IMAGE = "ghcr.io/sds-mode/pitboss-with-claude:latest"

_U32 = 2**32 - 1
_U64 = 2**64 - 1

Count: TypeAlias = Annotated[int, Field(ge=1, le=_U32)]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=_U64)]
Dollars: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of all tables: unknown keys are errors, nothing is coerced, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Run(Section):
    """Settings of the whole run."""

    name: Annotated[str | None, Key("Label that groups runs; trimmed.", default="the manifest's file stem")] = None
    max_parallel_tasks: Annotated[
        Count | None,
        Key("Tasks that run at once.", mode=Mode.FLAT, default="`ANTHROPIC_MAX_CONCURRENT`, else 4"),
    ] = None
    halt_on_failure: Annotated[
        bool, Key("Start no further task after the first that fails; running ones finish.", mode=Mode.FLAT)
    ] = False
    run_dir: Annotated[
        str | None,
        Key(
            "Base directory of runs; each run gets `<run_dir>/<run id>`. `~` and `$VAR` are expanded; a relative path "
            "starts at the working directory.",
            form="path",
            default="`~/.local/share/pitboss/runs`",
        ),
    ] = None
    worktree_cleanup: Annotated[
        CleanupMode,
        Key("When an actor's worktree is removed; unsaved work is set aside on a private ref first."),
    ] = "on_success"
    emit_event_stream: Annotated[
        bool, Key("Kept for older manifests: every event of a run is always in its journal.")
    ] = False
    default_approval_policy: Annotated[
        ApprovalAction | None,
        Key("What becomes of a request that no `[[approval_policy]]` rule matches.", default="block"),
    ] = None
    dump_shared_store: Annotated[bool, Key("Write `shared-store.json` into the run directory at the end.")] = False
    require_plan_approval: Annotated[
        bool,
        Key("Refuse `spawn_worker` and `spawn_sublead` until a plan was approved in that layer.", Mode.HIERARCHICAL),
    ] = False
    max_starts: Annotated[
        Count | None,
        Key(
            "Sessions that may be starting up at once; starting costs CPU, running waits.",
            default="the number of cores",
        ),
    ] = None
    budget_usd: Annotated[
        Dollars | None, Key("Hard limit for the whole run: at it, running turns are stopped.", default="no limit")
    ] = None
    worktree_root: Annotated[
        str | None,
        Key(
            "Where worktrees go; expanded like `run_dir`.",
            form="path",
            default="`worktrees` in the run's own directory",
        ),
    ] = None
    stall_secs: Annotated[
        float, Field(gt=0, allow_inf_nan=False), Key("Silence of an agent after which the operator is warned.")
    ] = 300.0
    background_grace_secs: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Key("How long background shells may outlive a finished turn.", bounds=">= 0"),
    ] = 60.0


class Defaults(Section):
    """What every task and the lead have unless they say otherwise."""

    model: Annotated[str, Key("Model name, passed on as written.")] = "claude-sonnet-4-6"
    effort: Annotated[Effort, Key("Reasoning effort.")] = "high"
    tools: Annotated[list[str], Key("Built-in tools an actor has; `[]` means none of them.")] = [
        "Read",
        "Write",
        "Edit",
        "Bash",
        "Glob",
        "Grep",
    ]
    timeout_secs: Annotated[Seconds, Key("Wall clock an actor has.")] = 3600
    use_worktree: Annotated[bool, Key("Work in a git worktree of its own.")] = True
    env: Annotated[dict[str, str], Key("Environment variables of every actor.")] = {}


class Actor(Section):
    """The keys that a task and a lead share."""

    model: Annotated[str | None, Key("Model name, passed on as written.", default="`[defaults].model`")] = None
    effort: Annotated[Effort | None, Key("Reasoning effort.", default="`[defaults].effort`")] = None
    tools: Annotated[
        list[str] | None,
        Key("Built-in tools; replaces the default list. `[]` means none of them.", default="`[defaults].tools`"),
    ] = None
    timeout_secs: Annotated[Seconds | None, Key("Wall clock it has.", default="`[defaults].timeout_secs`")] = None
    use_worktree: Annotated[
        bool | None, Key("Work in a git worktree of its own.", default="`[defaults].use_worktree`")
    ] = None
    branch: Annotated[
        str | None,
        Key(
            "Branch of the worktree; made at HEAD if it does not exist.", default="a new branch named like the worktree"
        ),
    ] = None
    env: Annotated[dict[str, str], Key("Environment variables, merged over `[defaults].env` key by key.")] = {}


class Task(Actor):
    """One unit of work of a flat run; tasks start in file order."""

    id: Annotated[str, Key("Unique name: ASCII letters, digits, `_` and `-`; at most 64 characters.", Mode.FLAT)]
    directory: Annotated[str, Key("Directory the work is about; expanded like `run_dir`.", Mode.FLAT, form="path")]
    prompt: Annotated[
        str | None,
        Key("What to do, literally. Exactly one of `prompt` and `template`.", Mode.FLAT, form="long_text"),
    ] = None
    template: Annotated[str | None, Key("Id of the `[[template]]` to use instead of a prompt.", Mode.FLAT)] = None
    vars: Annotated[dict[str, str], Key("Values for the template's `{name}` places.", Mode.FLAT)] = {}


class Lead(Actor):
    """The one actor of a hierarchical run that spawns the others."""

    id: Annotated[str, Key("Name of the lead; same characters as a task's id.", Mode.HIERARCHICAL)]
    directory: Annotated[
        str, Key("Directory the work is about; expanded like `run_dir`.", Mode.HIERARCHICAL, form="path")
    ]
    prompt: Annotated[str, Key("What to do, literally.", Mode.HIERARCHICAL, form="long_text")]
    max_workers: Annotated[
        Annotated[int, Field(ge=1, le=16)] | None,
        Key(
            "Its own live workers at once.", Mode.HIERARCHICAL, bounds="between 1 and 16 inclusive", default="no limit"
        ),
    ] = None
    budget_usd: Annotated[
        Dollars | None,
        Key("Soft cap of the tree: a spawn that would cross it is refused.", Mode.HIERARCHICAL, default="no cap"),
    ] = None
    lead_timeout_secs: Annotated[
        Seconds | None,
        Key("Wall clock of the lead; used when `timeout_secs` is not set.", Mode.HIERARCHICAL, default="none"),
    ] = None
    permission_routing: Annotated[
        PermissionRouting,
        Key(
            "`path_a`: the agents ask nobody before they use a tool. `path_b`: what their own settings would ask about "
            "goes to the rules, then to the operator. Rules about tool calls hold either way.",
            Mode.HIERARCHICAL,
        ),
    ] = "path_a"
    allow_subleads: Annotated[bool, Key("Let the lead spawn sub-leads.", Mode.HIERARCHICAL)] = False
    max_subleads: Annotated[Count | None, Key("Live sub-leads at once.", Mode.HIERARCHICAL, default="no limit")] = None
    max_sublead_budget_usd: Annotated[
        Dollars | None, Key("Largest budget a sub-lead may be given.", Mode.HIERARCHICAL, default="no limit")
    ] = None
    max_total_workers: Annotated[
        Count | None, Key("Live workers of the whole tree at once.", Mode.HIERARCHICAL, default="no limit")
    ] = None


class SubleadDefaults(Section):
    """What a `spawn_sublead` call gets for arguments it leaves out."""

    budget_usd: Annotated[Dollars | None, Key("Its own budget.", Mode.HIERARCHICAL, default="none")] = None
    max_workers: Annotated[Count | None, Key("Its own live workers at once.", Mode.HIERARCHICAL, default="none")] = None
    lead_timeout_secs: Annotated[
        Seconds | None, Key("Wall clock of the sub-lead.", Mode.HIERARCHICAL, default="3600")
    ] = None
    read_down: Annotated[bool, Key("Let the lead read the sub-lead's store.", Mode.HIERARCHICAL)] = False


class ApprovalMatch(Section):
    """What a rule is about: all given keys must match. In globs `*` is any text and `?` one character.

    With `tool` or `args` it is about tool calls, seen just before they run; else about what actors ask approval for.
    """

    tool: Annotated[str | None, Key("Glob over the tool's real name: `Bash`, `mcp__docs__*`, `*`.", default="any")] = (
        None
    )
    args: Annotated[
        dict[str, str],
        Key(
            'Globs over the call\'s arguments by name: `{ command = "git push*" }`; a name with dots, in quotes, leads '
            "into nested ones. They compare the text as it is: no path is resolved, no shell line taken apart."
        ),
    ] = {}
    actor: Annotated[
        str | None,
        Key(
            "Path of the actor: `root` (the lead), a task's id, or a glob for each name, such as `root→*`; `**` is any "
            "number of names.",
            default="any",
        ),
    ] = None
    role: Annotated[Role | None, Key("What the actor is.", default="any")] = None
    category: Annotated[
        ApprovalCategory | None, Key("Kind of request.", noun="approval_policy category", default="any")
    ] = None
    tool_name: Annotated[str | None, Key("Exactly the tool that the request names.", default="any")] = None
    cost_over: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
        Key("Only requests with an estimate above this many US dollars.", bounds=">= 0", default="any"),
    ] = None


class ApprovalPolicy(Section):
    """A rule for tool calls or for requests; the first that matches decides."""

    match: Annotated[ApprovalMatch, Key("What it is about; see `[approval_policy.match]`.")] = (
        ApprovalMatch.model_construct()
    )
    action: Annotated[
        ApprovalAction,
        Key(
            "`auto_approve` lets it pass, `auto_reject` refuses it, `block` asks the operator whatever the default is.",
            noun="approval_policy action",
        ),
    ]
    reason: Annotated[
        str | None,
        Key("What the actor is told when it is refused, and the operator is shown when asked.", default="none"),
    ] = None


class McpServerTable(Section):
    """A stdio MCP server that every actor gets."""

    id: Annotated[str, Key("Unique name; `pitboss` is taken.")]
    command: Annotated[str, Key("Program to start; not expanded.")]
    args: Annotated[list[str], Key("Its arguments; not expanded.")] = []
    env: Annotated[dict[str, str], Key("Its environment variables.")] = {}


class Template(Section):
    r"""A prompt with places for values: `{name}`; `\{` and `\}` are literal braces."""

    id: Annotated[str, Key("Unique name; same characters as a task's id.", Mode.FLAT)]
    prompt: Annotated[str, Key("The text.", Mode.FLAT, form="long_text")]


class Notification(Section):
    """A place that is told about the run."""

    kind: Annotated[Literal["log", "webhook", "slack", "discord"], Key("What kind of receiver.")]
    url: Annotated[
        str | None,
        Key("Where to post; `${PITBOSS_NOTIFY_*}` is replaced. Needed unless `kind` is `log`.", default="none"),
    ] = None
    events: Annotated[list[NoticeKind] | None, Key("Which events.", noun="event", default="all")] = None
    severity_min: Annotated[Severity, Key("Least severity that is sent.")] = "info"
    request_timeout_secs: Annotated[Seconds | None, Key("Time limit of one attempt.", default="30")] = None
    headers: Annotated[dict[str, str], Key("More headers; `${PITBOSS_NOTIFY_*}` is replaced in their values.")] = {}
    secret: Annotated[
        str | None,
        Key("The variable, `${PITBOSS_NOTIFY_*}`, that holds what messages are signed with.", default="none"),
    ] = None
    template: Annotated[
        str | None,
        Key(
            "Sent instead of the usual body (webhook; it must be JSON) or text (Slack, Discord), with `{title}`, "
            "`{text}`, `{kind}`, `{severity}`, `{run_id}`, `{dedup_key}`, `{ts}` and `{event}` replaced.",
            form="long_text",
            default="none",
        ),
    ] = None
    allow_private: Annotated[
        bool, Key("Let it be on this machine or in a private network, and be spoken to without TLS.")
    ] = False


class Lifecycle(Section):
    """What becomes of the run when the program that started it goes."""

    survive_parent: Annotated[bool, Key("Announce that the run outlives its parent; needs somebody to tell.")] = False
    notify: Annotated[Notification | None, Key("One more receiver, as in `[[notification]]`.", default="none")] = None


class ContainerMount(Section):
    """A host path that is seen inside the container."""

    host: Annotated[str, Key("Absolute, or starting with `~/`.", form="path")]
    container: Annotated[str, Key("Absolute path inside.", form="path")]
    readonly: Annotated[bool, Key("Mount it read-only.")] = False


class ContainerCopy(Section):
    """A host file or directory that is baked into the derived image."""

    host: Annotated[str, Key("Absolute, or starting with `~/`.", form="path")]
    container: Annotated[str, Key("Absolute path inside.", form="path")]


class Container(Section):
    """How the `container-*` commands run this manifest."""

    image: Annotated[str, Key("Image to run, and to derive from.")] = DEFAULT_IMAGE
    runtime: Annotated[
        Literal["docker", "podman", "auto"] | None,
        Key("Container program.", default="`PITBOSS_CONTAINER_RUNTIME`, else podman, else docker"),
    ] = None
    extra_args: Annotated[list[str], Key("Arguments put before the image, verbatim.")] = []
    extra_apt: Annotated[list[str], Key("Debian packages to install.")] = []
    mount: Annotated[list[ContainerMount], Key("See `[[container.mount]]`.")] = []
    copies: Annotated[list[ContainerCopy], Key("See `[[container.copy]]`.")] = Field([], alias="copy")
    workdir: Annotated[
        str | None,
        Key("Working directory inside.", form="path", default="the first mount's path, else `/home/pitboss`"),
    ] = None


class Manifest(Section):
    """A Pitboss manifest: `[[task]]` tables for a flat run, or one `[lead]` for a hierarchical one."""

    run: Annotated[Run, Key("Settings of the whole run.")] = Run.model_construct()
    defaults: Annotated[Defaults, Key("What every actor has unless it says otherwise.")] = Defaults.model_construct()
    container: Annotated[Container | None, Key("How the `container-*` commands run this manifest.")] = None
    task: Annotated[list[Task], Key("The tasks, in starting order.", Mode.FLAT)] = []
    lead: Annotated[Lead | None, Key("The lead.", Mode.HIERARCHICAL)] = None
    sublead_defaults: Annotated[SubleadDefaults | None, Key("What sub-leads get.", Mode.HIERARCHICAL)] = None
    approval_policy: Annotated[list[ApprovalPolicy], Key("Rules for tool calls and requests, in order.")] = []
    mcp_server: Annotated[list[McpServerTable], Key("MCP servers that every actor gets.")] = []
    template: Annotated[list[Template], Key("Prompts with places for values.", Mode.FLAT)] = []
    notification: Annotated[list[Notification], Key("Who is told about the run.")] = []
    lifecycle: Annotated[Lifecycle | None, Key("What becomes of the run when its parent goes.")] = None
