"""What we ask of the world, in the imperative; and the one type of a hand.

An effect is asked for only after the facts behind it are on disk, and may be asked twice (after a crash):
hands are idempotent. Every effect comes home as at least one signal.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from pitboss.model.answers import Answer, Refused
from pitboss.model.notices import Notice, Settled, Sink
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, EarlierWork, RunId, Session
from pitboss.model.signals import Signal
from pitboss.model.store import Entry, Lease
from pitboss.model.tree import CallId


class Effect(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="effect"):
    """Base of all effects."""


class Rung(enum.StrEnum):
    """One step of the stop ladder, mildest first."""

    CLOSE_STDIN = "close_stdin"
    """Nothing more will be said: the session finishes its turn and leaves."""
    INTERRUPT = "interrupt"
    """End the turn now; the session answers with a result, so the account is exact."""
    TERM = "term"
    """SIGTERM to the process group."""
    KILL = "kill"
    """SIGKILL to the process group and to everything with the cookie."""


class StartGuardian(Effect, frozen=True, kw_only=True):
    """Have a small process stop everything of this run when we are gone."""

    run_id: RunId


class ProbeClaude(Effect, frozen=True, kw_only=True):
    """Ask the agent's binary for its version."""

    binary: str


class PrepareWorktree(Effect, frozen=True, kw_only=True):
    """Make a worktree for an attempt."""

    actor: ActorId
    attempt: int
    directory: str
    """The repository, or a folder inside it."""
    path: str
    """Where the worktree goes."""
    name: str
    """The worktree's name, and its branch's if ``branch`` is ``None``."""
    branch: str | None
    ref: str
    """Where unsaved state goes, should the place hold any that is in the way: ``refs/pitboss/<run>/<actor>``."""
    cookie: str
    earlier: EarlierWork | None = None
    """What earlier attempts left, if there were any; a worktree that vanished is made again from it."""
    fresh: bool = False
    """Set everything aside that earlier attempts did, and begin where the first one began."""
    adopt: bool = False
    """Pitboss 0.9 made the worktree at ``path``: take it over as it is, if it is one of this repository's and on its
    branch."""


class StartSession(Effect, frozen=True, kw_only=True):
    """Start the agent's process and hand it the prompt."""

    session: Session


class Press(Effect, frozen=True, kw_only=True):
    """Climb one rung of the stop ladder."""

    actor: ActorId
    attempt: int
    rung: Rung


class AnswerCall(Effect, frozen=True, kw_only=True):
    """Answer a tool call of ours that an actor has made."""

    actor: ActorId
    attempt: int
    call_id: CallId
    answer: Answer | Refused


class AnswerDeed(Effect, frozen=True, kw_only=True):
    """Let a tool call run that waits for our word, or refuse it."""

    actor: ActorId
    attempt: int
    request_id: str
    allowed: bool
    reason: str = ""
    """What the model reads if it was refused."""


class AnswerOrder(Effect, frozen=True, kw_only=True):
    """Tell an operator what came of an order."""

    reply_to: str
    """``OrderGiven.reply_to``."""
    answer: Answer | Refused


class Tell(Effect, frozen=True, kw_only=True):
    """Say something in an actor's session; while it works, it hears that after the tool that runs."""

    actor: ActorId
    attempt: int
    text: str


class Interrupt(Effect, frozen=True, kw_only=True):
    """End an actor's turn, not its session."""

    actor: ActorId
    attempt: int


class SetModel(Effect, frozen=True, kw_only=True):
    """Have an actor's session use another model from its next request on."""

    actor: ActorId
    attempt: int
    model: str


class JudgeDeeds(Effect, frozen=True, kw_only=True):
    """Have every tool call of an actor put to the run before it is made, or no longer."""

    actor: ActorId
    attempt: int
    judged: bool


class Freeze(Effect, frozen=True, kw_only=True):
    """Have an actor's processes stand still."""

    actor: ActorId
    attempt: int


class Thaw(Effect, frozen=True, kw_only=True):
    """Have an actor's processes go on."""

    actor: ActorId
    attempt: int


class TidyWorktree(Effect, frozen=True, kw_only=True):
    """Keep a worktree, or set its state aside and remove it."""

    actor: ActorId
    attempt: int
    directory: str
    path: str
    branch: str
    base: str
    created_branch: bool
    remove: bool
    ref: str
    """Where unsaved state goes: ``refs/pitboss/<run>/<actor>``."""
    cookie: str


class PublishWorktree(Effect, frozen=True, kw_only=True):
    """Say in the actor's folder where its worktree is (``worktree.path``), for tools that do not read journals."""

    actor: ActorId
    path: str


class PublishTask(Effect, frozen=True, kw_only=True):
    """Append one actor's record to ``summary.jsonl``."""

    record: TaskRecord


class PublishTasks(Effect, frozen=True, kw_only=True):
    """Write ``summary.jsonl`` anew from what is known: a resume makes true again what a crash left half done."""

    records: tuple[TaskRecord, ...]


class PublishRun(Effect, frozen=True, kw_only=True):
    """Write ``summary.json``."""

    record: RunRecord


class PublishStore(Effect, frozen=True, kw_only=True):
    """Write ``shared-store.json``: what every layer's store and every lease was at the end, as one picture."""

    at: float
    root: str
    """The layer whose entries stand first: the lead's, or a flat run's only one."""
    entries: dict[str, tuple[Entry, ...]]
    """By layer."""
    leases: tuple[Lease, ...]


class PublishSubleads(Effect, frozen=True, kw_only=True):
    """Write ``subleads.jsonl``: the session of every sub-lead that has ended."""

    sessions: dict[ActorId, str]


class Notify(Effect, frozen=True, kw_only=True):
    """Tell one sink something."""

    notice: Notice
    sink: Sink
    run_id: RunId


class FinishNotices(Effect, frozen=True, kw_only=True):
    """Bring what is being told to an end: who has not been reached by then is told another time."""

    within_secs: float


class PublishNotices(Effect, frozen=True, kw_only=True):
    """Add to ``notifications.jsonl`` how telling went, or write it anew from what is known."""

    settled: tuple[Settled, ...]
    anew: bool = False


Emit: TypeAlias = Callable[[Signal], None]
"""Posts a signal to the loop; never blocks."""

Hand: TypeAlias = Callable[[Effect, Emit], Awaitable[None]]
"""Carries out an effect and posts what came of it."""
