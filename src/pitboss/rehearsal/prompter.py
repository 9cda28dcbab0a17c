"""Who says what next: a request in, an answer or a refusal out. No IO, no clock.

Where an actor stands is read from the request (see ``conversation``). The one thing remembered is how often a scripted
error has been given, because a refused request leaves no trace in the conversation; it is kept per session, so a
fork or a parallel session meets the error too. Called by ``server``.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pitboss.model.run import Frozen
from pitboss.rehearsal import conversation
from pitboss.rehearsal.messages import Call, Reply, Request
from pitboss.rehearsal.references import ReferenceFailed, Scene, render_table, render_text
from pitboss.rehearsal.script import ApiError, Script, Turn

__all__ = ["Answer", "Caller", "Prompter"]

CLOSING = "Done: the script has no more turns."


class Caller(NamedTuple):
    """Who asks, from the address and the headers of the request."""

    actor: str
    session: str = ""
    """Claude's session id."""
    subagent: str = ""
    """The id of the subagent that asks; empty for the actor itself."""


class Answer(Frozen, frozen=True, kw_only=True):
    """What to do about a request: exactly one of ``reply`` and ``error`` is there."""

    kind: str
    """``turn``, ``subagent`` or ``side``, for the log."""
    position: int
    """How many replies the conversation had already."""
    reply: Reply | None = None
    error: ApiError | None = None
    delay_ms: int = 0
    chunk_ms: int = 0


class _Step(NamedTuple):
    """One place in a script: what stands before a reply, and the reply; ``None`` once the script is over."""

    errors: list[Turn]
    reply: Turn | None


class Prompter:
    """Gives every actor its lines."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._refusals: Counter[tuple[Caller, int]] = Counter()

    def answer(self, caller: Caller, request: Request, reply_id: str) -> Answer:
        """What the model answers; ``reply_id`` must never have been used before."""
        position = conversation.replies(request)
        if conversation.is_side_question(request):
            reply = Reply(id=reply_id, model=request.model, text=conversation.side_answer(request))
            return Answer(kind="side", position=position, reply=reply)
        prompt = conversation.prompt(request)
        turns_of = self._script.subagents_turns if caller.subagent else self._script.turns_of
        turns = turns_of(caller.actor, prompt)
        turn = self._next(_step(turns or (), position), caller, position)
        if turn is None:
            turn = Turn(text=CLOSING if turns is not None else _read_back(request))
        return self._perform(turn, caller, request, reply_id, position)

    def _next(self, step: _Step, caller: Caller, position: int) -> Turn | None:
        """The step's next error while there is one, then its reply."""
        given = self._refusals[caller, position]
        for obstacle in step.errors:
            given -= _times(obstacle)
            if given < 0:
                self._refusals[caller, position] += 1
                return obstacle
        return step.reply

    def _perform(self, turn: Turn, caller: Caller, request: Request, reply_id: str, position: int) -> Answer:
        defaults = self._script.defaults
        error, reply = turn.error, None
        if error is None:
            try:
                reply = self._reply(turn, caller, request, reply_id)
            except ReferenceFailed as problem:
                error = ApiError(status=400, message=f"The script of {caller.actor}, reply {position}: {problem}.")
        return Answer(
            kind="subagent" if caller.subagent else "turn",
            position=position,
            reply=reply,
            error=error,
            delay_ms=defaults.delay_ms if turn.delay_ms is None else turn.delay_ms,
            chunk_ms=defaults.chunk_ms if turn.chunk_ms is None else turn.chunk_ms,
        )

    def _reply(self, turn: Turn, caller: Caller, request: Request, reply_id: str) -> Reply:
        scene = Scene(
            actor=caller.actor,
            cwd=conversation.working_directory(request),
            model=request.model,
            prompt=conversation.prompt(request),
            results=conversation.results(request),
        )
        return Reply(
            id=reply_id,
            model=request.model,
            text=render_text(turn.text, scene),
            calls=tuple(Call(name=call.name, input=render_table(call.input, scene)) for call in turn.tools),
            usage=turn.usage or self._script.defaults.usage,
        )


def _step(turns: tuple[Turn, ...], position: int) -> _Step:
    """The reply at ``position`` and the errors between it and the reply before."""
    errors: list[Turn] = []
    for turn in turns:
        if turn.error is not None:
            errors.append(turn)
        elif position == 0:
            return _Step(errors, turn)
        else:
            position -= 1
            errors = []
    return _Step(errors if position == 0 else [], None)


def _times(turn: Turn) -> int:
    return turn.error.times if turn.error is not None else 0


def _read_back(request: Request) -> str:
    first_line, *_ = conversation.heard(request).splitlines() or [""]
    return f"Rehearsal: {first_line}"
