"""What reaches us: orders, reports of drivers, the clock. Each carries the time it happened.

A report names the attempt it is about, so that late news of an older attempt can be told apart (law 9).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pitboss.model.calls import AnyCall
from pitboss.model.notices import Outcome
from pitboss.model.orders import AnyOrder
from pitboss.model.run import ActorId, Certificate, Failure, Heard, ResumeScope, RunSpec, SetAside, TurnResult, Usage
from pitboss.model.tree import CallId


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="signal"):
    """Base of all signals."""

    at: float
    """When it happened: seconds since the epoch, never running backwards within one dispatcher."""


class Report(Signal, frozen=True, kw_only=True):
    """Base of what a driver says about one attempt of one actor."""

    actor: ActorId
    attempt: int


class Opened(Signal, frozen=True, kw_only=True):
    """The first signal of a run."""

    run: RunSpec
    pid: int
    pitboss_version: str


class Reopened(Signal, frozen=True, kw_only=True):
    """The first signal of a dispatcher that takes over a run; its survey of what really exists is in it."""

    pid: int
    pitboss_version: str
    epoch: int
    """Which dispatcher of this run it is, from 1."""
    scope: ResumeScope | None = None
    """Whom to take up; ``None`` leaves it to how the run stands: cut off, or ended."""
    stopped: tuple[int, ...] = ()
    """Pids of the old dispatcher's processes that still lived and were stopped; none is left."""
    transcripts: tuple[ActorId, ...] = ()
    """Actors whose session can be continued: its transcript is there."""
    fresh_ids: dict[ActorId, str] = {}
    """A session id for each actor, for those who start afresh although their old id is taken."""
    fresh: tuple[ActorId, ...] = ()
    """Actors who are to begin again from the start, with what they have done so far set aside."""
    heard: dict[ActorId, Heard] = {}
    """What the attempts that were cut off have used until then, by their logs."""
    log_sizes: dict[ActorId, int] = {}
    """How long each ``stdout.log`` is, in bytes: where the next attempt's stream begins in it."""


class Tick(Signal, frozen=True, kw_only=True):
    """A deadline has been reached."""


class Stop(Signal, frozen=True, kw_only=True):
    """The system wants us to end: stop everything now, in order."""

    by: str
    """What it has said, such as ``SIGTERM``."""


class Interrupted(Signal, frozen=True, kw_only=True):
    """Someone pressed Ctrl-C: once means drain, twice within five seconds means stop."""

    by: str


class GuardianUp(Signal, frozen=True, kw_only=True):
    """The guardian process watches over us."""

    pid: int


class GuardianDown(Signal, frozen=True, kw_only=True):
    """The guardian could not be started or has died."""

    message: str


class ClaudeProbed(Signal, frozen=True, kw_only=True):
    """``claude --version`` has answered, or has not."""

    version: str | None


class WorktreePrepared(Report, frozen=True, kw_only=True):
    """A worktree stands ready."""

    path: str
    branch: str
    base: str
    """Commit it started from."""
    created_branch: bool = True
    cwd: str = ""
    """Where the agent works in it: differs from ``path`` for a sub-directory of a repository."""
    brought_back: SetAside | None = None
    """What had been set aside and lies in it again, uncommitted."""
    set_aside: SetAside | None = None
    """What was found in its place and set aside before it was made."""
    message: str = ""
    """What became of earlier work, if it does not simply lie in it."""


class WorktreeRefused(Report, frozen=True, kw_only=True):
    """No worktree could be made; nothing of it is left."""

    message: str


class ProcessUp(Report, frozen=True, kw_only=True):
    """The agent's process exists."""

    pid: int


class SpawnRefused(Report, frozen=True, kw_only=True):
    """The agent's process could not be started."""

    message: str


class SessionReady(Report, frozen=True, kw_only=True):
    """The session has answered ``initialize`` and was given its prompt."""

    claude_version: str | None = None


class ToolCalled(Report, frozen=True, kw_only=True):
    """A tool call of the actor or of one of its subagents passed the hook."""

    tool: str
    summary: str
    """Its input, shortened."""
    tool_use_id: str = ""
    subagent: str | None = None


class DeedAsked(Report, frozen=True, kw_only=True):
    """A tool call of the actor, or of one of its subagents, is about to run, and waits to be let."""

    request_id: str
    """What the driver knows the question by."""
    tool: str
    input: dict[str, Any]
    """Its arguments."""
    summary: str
    """Its arguments, shortened."""
    minted: str
    """A fresh id (a UUID version 7), for the request it may become."""
    tool_use_id: str = ""
    subagent: str | None = None
    is_permission: bool = False
    """The agent's own settings ask, after the policy has let the call pass."""


class OrderGiven(Signal, frozen=True, kw_only=True):
    """An operator orders something."""

    order: AnyOrder
    via: str = ""
    """Who that is on this machine, and with what program."""
    order_id: str = ""
    """What the one who gives it knows it by: given again under this id, it is not carried out again."""
    reply_to: str = ""
    """By what the one who waits for the answer is found; empty if nobody does."""
    absent: bool = False
    """No dispatcher lives: only what is to be remembered can be ordered."""


class CallMade(Report, frozen=True, kw_only=True):
    """An actor calls a tool of ours, and waits for the answer."""

    call_id: CallId
    call: AnyCall
    minted: str
    """A fresh id (a UUID version 7), for what the call may bring into being: an actor, a lease, a request."""
    session_id: str
    """A fresh session id, for an actor it may bring into being."""


class CallDropped(Report, frozen=True, kw_only=True):
    """An actor does not want the answer to a call any more: it was interrupted."""

    call_id: CallId


class SeatGiven(Report, frozen=True, kw_only=True):
    """An operator lets a program of theirs call an actor's tools in its name."""

    via: str
    """Who it was, as far as is known."""


class UsageGrew(Report, frozen=True, kw_only=True):
    """Tokens spent by this attempt so far, while its turn still runs."""

    usage: Usage
    model: str | None = None


class ApiRetried(Report, frozen=True, kw_only=True):
    """The API pushed back and the session will ask again."""

    status: int | None
    delay_secs: float
    error: str = ""


class BackgroundChanged(Report, frozen=True, kw_only=True):
    """Which background tasks the session has now."""

    tasks: tuple[str, ...]
    """One ``<type>: <description>`` each."""


class TurnEnded(Report, frozen=True, kw_only=True):
    """The session has written a ``result``."""

    result: TurnResult
    usage: Usage
    """Tokens of this attempt as counted from the stream."""
    final_message: str | None = None
    heard: int | None = None
    """How many of the messages said to it, the opening one included, the session had begun to read; None if it does not
    tell."""


class Silent(Report, frozen=True, kw_only=True):
    """Nothing has come from the agent for longer than its silence limit."""

    secs: float


class Spoke(Report, frozen=True, kw_only=True):
    """A silent agent is heard again."""


class ProcessGone(Report, frozen=True, kw_only=True):
    """The attempt is over: reaped, and what was left of it looked for."""

    certificate: Certificate
    usage: Usage = Usage()
    final_message: str | None = None
    stderr_tail: str = ""
    failure: Failure | None = None
    """What stream, exit status and stderr together say went wrong; ``None`` for a clean end."""
    log_size: int = 0
    """How long its ``stdout.log`` is now, in bytes."""
    oddities: dict[str, int] = {}
    """How many lines of the stream were of an unknown kind or unreadable, by kind."""


class WorktreeTidied(Report, frozen=True, kw_only=True):
    """A worktree was kept, or removed after its state was set aside."""

    removed: bool
    set_aside: SetAside | None = None
    branch_deleted: bool = False
    message: str = ""
    """Why it was kept although its removal was asked for."""


class JournalRefused(Signal, frozen=True, kw_only=True):
    """Facts cannot be written down for now: the disk is full or fails. They are kept, and tried again."""

    message: str


class ArtifactFailed(Signal, frozen=True, kw_only=True):
    """A public file could not be written."""

    path: str
    message: str


class ArtifactWritten(Signal, frozen=True, kw_only=True):
    """A public file is on disk."""

    path: str


class NoticeReported(Signal, frozen=True, kw_only=True):
    """A sink was told something, or could not be."""

    key: str
    sink: str
    outcome: Outcome
    tries: int
    error: str = ""


class EffectFailed(Signal, frozen=True, kw_only=True):
    """A hand broke: our bug or the world's. Nothing of it reaches the loop but this."""

    effect: str
    message: str
    actor: ActorId | None = None
    attempt: int | None = None


RunSignal = (
    Opened
    | Reopened
    | Tick
    | Stop
    | Interrupted
    | GuardianUp
    | GuardianDown
    | ClaudeProbed
    | JournalRefused
    | OrderGiven
    | ArtifactFailed
    | ArtifactWritten
    | NoticeReported
    | EffectFailed
)
"""Signals about the run as a whole."""

AnyReport = (
    WorktreePrepared
    | WorktreeRefused
    | ProcessUp
    | SpawnRefused
    | SessionReady
    | ToolCalled
    | DeedAsked
    | CallMade
    | CallDropped
    | SeatGiven
    | UsageGrew
    | ApiRetried
    | BackgroundChanged
    | TurnEnded
    | Silent
    | Spoke
    | ProcessGone
    | WorktreeTidied
)
"""What drivers say about one attempt of one actor."""

AnySignal = RunSignal | AnyReport
"""Every kind of signal; ``match`` over it ends in ``assert_never``."""
