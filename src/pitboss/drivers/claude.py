"""The sessions of a run: the hands of everything that is asked of one, and a look at what Claude Code has left.

What one session is while it lives is ``drivers.claude_session``'s. Nothing here decides when a session ends: the core
does, rung by rung.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from pitboss.drivers.claude_session import Clock, LiveSession, Minted
from pitboss.drivers.cookies import Census
from pitboss.drivers.process import Child
from pitboss.drivers.session_log import Scribe
from pitboss.errors import WorldError
from pitboss.model import signals as s
from pitboss.model.effects import (
    AnswerCall,
    AnswerDeed,
    Emit,
    Freeze,
    Interrupt,
    JudgeDeeds,
    Press,
    ProbeClaude,
    SetModel,
    StartSession,
    Tell,
    Thaw,
)
from pitboss.model.run import ActorId
from pitboss.wire import claude as wire

__all__ = ["ClaudeSessions", "Minted", "has_transcript", "probe"]

PROBE_SECS = 20.0
"""How long ``claude --version`` may take."""


class ClaudeSessions:
    """Holds every live session of a run."""

    def __init__(self, clock: Clock, census: Census, inherited: Mapping[str, str], mint: Callable[[], Minted]) -> None:
        """Prepare to hold sessions.

        Args:
            clock: What time it is.
            census: Who runs on this machine.
            inherited: The environment of every session, before its own.
            mint: Gives fresh ids, for what a tool call may bring into being.
        """
        self._clock = clock
        self._census = census
        self._inherited = inherited
        self._mint = mint
        self._scribe = Scribe()
        self._live: dict[tuple[ActorId, int], LiveSession] = {}

    async def start(self, effect: StartSession, emit: Emit) -> None:
        """Start a session, hold it, and report everything of it until its processes are gone."""
        session = effect.session
        key = (session.actor, session.attempt)
        if key in self._live:
            return  # asked twice: it is being held already
        live = LiveSession(session, self._clock, emit, self._mint)
        self._live[key] = live
        try:
            environment = wire.environment(session, self._inherited, is_root=os.geteuid() == 0)
            await live.hold(environment, self._census, self._scribe)
        finally:
            del self._live[key]

    async def press(self, effect: Press, _emit: Emit) -> None:
        """Climb one rung of the stop ladder; a session that is gone already needs nothing."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.press(effect.rung)

    async def answer(self, effect: AnswerCall, _emit: Emit) -> None:
        """Answer a tool call; the answer of one that is not waited for any more is dropped."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.answer(effect)

    async def answer_deed(self, effect: AnswerDeed, _emit: Emit) -> None:
        """Let a tool call of a session run, or refuse it."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.answer_deed(effect)

    async def tell(self, effect: Tell, _emit: Emit) -> None:
        """Say something in a session."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.tell(effect.text)

    async def interrupt(self, effect: Interrupt, _emit: Emit) -> None:
        """End a session's turn."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.interrupt()

    async def set_model(self, effect: SetModel, _emit: Emit) -> None:
        """Have a session use another model from its next request on."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.set_model(effect.model)

    async def judge(self, effect: JudgeDeeds, _emit: Emit) -> None:
        """Have the tool calls of a session put to the run from now on, or no longer."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            live.judged = effect.judged

    async def freeze(self, effect: Freeze, _emit: Emit) -> None:
        """Have the processes of a session stand still."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            await live.stand_still(self._census)

    async def thaw(self, effect: Thaw, _emit: Emit) -> None:
        """Have the processes of a session go on."""
        live = self._live.get((effect.actor, effect.attempt))
        if live is not None:
            await live.go_on(self._census)

    def close(self) -> None:
        """End what works for all sessions; none lives any more."""
        self._scribe.close()


def has_transcript(session_id: str, env: Mapping[str, str]) -> bool:
    """True if Claude Code can continue the session: it has written its transcript below its own folder.

    Args:
        session_id: The session.
        env: The actor's own environment, which may have moved that folder.
    """
    where = os.environ | dict(env)
    home = Path(where.get("CLAUDE_CONFIG_DIR") or Path(where.get("HOME", ""), ".claude"))
    return bool(session_id) and any(home.glob(f"projects/*/{session_id}.jsonl"))


async def probe(effect: ProbeClaude, emit: Emit, *, clock: Clock) -> str | None:
    """Ask the binary for its version; ``None`` if it does not say within ``PROBE_SECS``. Never fails."""
    heard = bytearray()
    version: str | None = None
    try:
        child = await Child.start(
            [effect.binary, "--version"], cwd="/", env=os.environ, on_stdout=heard.extend, on_stderr=lambda _: None
        )
        child.close_stdin()
        try:
            async with asyncio.timeout(PROBE_SECS):
                ending = await child.wait()
                await child.drain(1.0)
            version = heard.decode(errors="replace").strip() or None if ending.exit_code == 0 else None
        except TimeoutError:
            child.signal(signal.SIGKILL)
            await child.wait()
            await child.drain(1.0)
    except WorldError:
        version = None  # the first session will say what is wrong with it
    emit(s.ClaudeProbed(at=clock(), version=version))
    return version
