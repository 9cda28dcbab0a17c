"""The words of a script: what each actor's model says, call for call. Nothing but data; TOML becomes it in ``reader``.

Names in the file are the fields' own, or the singular given beside a plural (``[[actor]]`` fills ``actors``).
Called by ``reader`` and ``prompter``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from pitboss.model.run import Frozen, Usage
from pitboss.rehearsal.messages import Call

__all__ = ["ActorScript", "ApiError", "Defaults", "Script", "SubagentScript", "Turn"]

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class ApiError(Frozen, frozen=True, kw_only=True):
    """A refusal of the API in place of an answer."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 529
    type: str = ""
    """The API's name for it; empty means the usual one of the status."""
    message: str = "Rehearsed."
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How often, before the conversation goes on."""

    @property
    def kind(self) -> str:
        """The error type to send."""
        return self.type or _ERROR_TYPES.get(self.status, "api_error")


class Turn(Frozen, frozen=True, kw_only=True):
    """One message of the model, or one error in its way."""

    text: str = ""
    tools: tuple[Call, ...] = ()
    delay_ms: Milliseconds | None = None
    """Silence before the first byte; ends early when the client hangs up."""
    chunk_ms: Milliseconds | None = None
    """Silence between two pieces of a streamed message, for onlookers."""
    usage: Usage | None = None
    """Tokens to report. A field left out is zero; no table at all means the defaults."""
    error: ApiError | None = None


class Defaults(Frozen, frozen=True, kw_only=True):
    """What a turn has that does not say otherwise."""

    delay_ms: Milliseconds = 0
    chunk_ms: Milliseconds = 0
    usage: Usage = Usage(input=100, output=20, cache_read=5000, cache_creation=1000)


class SubagentScript(Frozen, frozen=True, kw_only=True):
    """What the subagents of an actor say: those whose prompt fits the pattern."""

    prompt: str = "*"
    """A glob over the whole prompt; the first table that fits is taken."""
    turns: tuple[Turn, ...] = msgspec.field(default=(), name="turn")


class ActorScript(Frozen, frozen=True, kw_only=True):
    """What one actor says, or every actor whose id and prompt fit the patterns."""

    id: str
    prompt: str = "*"
    """A glob over the whole prompt of the session, for actors whose id nobody knows beforehand."""
    turns: tuple[Turn, ...] = msgspec.field(default=(), name="turn")
    subagents: tuple[SubagentScript, ...] = msgspec.field(default=(), name="subagent")


class Script(Frozen, frozen=True, kw_only=True):
    """A whole script. An actor it does not name reads its prompt back and is done."""

    defaults: Defaults = Defaults()
    actors: tuple[ActorScript, ...] = msgspec.field(default=(), name="actor")

    def turns_of(self, actor: str, prompt: str) -> tuple[Turn, ...] | None:
        """The turns of an actor whose session was asked this first; ``None`` if nothing is written for it.

        The exact id goes before any pattern; among patterns the first in the file does.
        """
        exact = (each for each in self.actors if each.id == actor and fnmatchcase(prompt, each.prompt))
        fitting = (each for each in self.actors if fnmatchcase(actor, each.id) and fnmatchcase(prompt, each.prompt))
        found = next(exact, None) or next(fitting, None)
        return found.turns if found else None

    def subagents_turns(self, actor: str, prompt: str) -> tuple[Turn, ...] | None:
        """The turns of an actor's subagent with this prompt; what the actor itself was asked is not known then."""
        exact = [each for each in self.actors if each.id == actor]
        fitting = [each for each in self.actors if fnmatchcase(actor, each.id)]
        script = next(iter(exact + fitting), None)
        subagents = script.subagents if script else ()
        return next((each.turns for each in subagents if fnmatchcase(prompt, each.prompt)), None)
