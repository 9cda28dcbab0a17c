"""One agent session: a process spoken to over its own pipes, from its start to its death certificate.

The hand of ``StartSession`` and ``Press``. What is said on the pipe is ``wire.claude``'s business, how a process is
started and ended ``drivers.process``'s; this file joins them, answers what must be answered at once, and reports.
It never decides when a session ends: the core does, rung by rung.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import assert_never

from pitboss.drivers.cookies import Census
from pitboss.drivers.process import Child, bury
from pitboss.drivers.session_log import Scribe, SessionLog
from pitboss.errors import WorldError
from pitboss.model import signals as s
from pitboss.model.about import About
from pitboss.model.effects import Emit, Press, ProbeClaude, Rung, StartSession
from pitboss.model.run import ActorId, Session, TurnResult
from pitboss.wire import claude as wire
from pitboss.wire import mcp

USAGE_EVERY_SECS = 1.0
"""Tokens of a running turn are reported at most this often."""

DRAIN_SECS = 5.0
"""How long the pipes may stay open once every process that could write to them is gone."""

PROBE_SECS = 20.0
"""How long ``claude --version`` may take."""

Clock = Callable[[], float]


class ClaudeSessions:
    """Holds every live session of a run."""

    def __init__(
        self, clock: Clock, census: Census, inherited: Mapping[str, str], tools: Sequence[mcp.Tool] = ()
    ) -> None:
        self._clock = clock
        self._census = census
        self._inherited = inherited
        self._tools = tuple(tools)
        self._scribe = Scribe()
        self._live: dict[tuple[ActorId, int], _Live] = {}

    async def start(self, effect: StartSession, emit: Emit) -> None:
        """Start a session, hold it, and report everything of it until its processes are gone."""
        session = effect.session
        key = (session.actor, session.attempt)
        if key in self._live:
            return  # asked twice: it is being held already
        live = _Live(session, self._clock, emit, self._tools)
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

    def close(self) -> None:
        """End what works for all sessions; none lives any more."""
        self._scribe.close()


class _Live:
    """One session while it lives."""

    def __init__(self, session: Session, clock: Clock, emit: Emit, tools: tuple[mcp.Tool, ...]) -> None:
        self._session = session
        self._clock = clock
        self._emit = emit
        self._tools = tools
        self._talk = wire.Conversation(session)
        self._child: Child | None = None
        self._ending: Rung | None = None
        """The last rung pressed; a session that is being ended is not given its prompt any more."""
        self._result: TurnResult | None = None
        self._usage_due: asyncio.TimerHandle | None = None
        self._usage: wire.UsageSeen | None = None
        self._heard_at = clock()
        self._silence: asyncio.TimerHandle | None = None
        self._stalled = False

    async def hold(self, environment: Mapping[str, str], census: Census, scribe: Scribe) -> None:
        """From the start of the process to its death certificate."""
        try:
            log = await SessionLog.open(scribe, Path(self._session.log_dir), self._log_lost)
        except OSError as problem:
            self._emit(s.SpawnRefused(**self._about(), message=f"its log cannot be opened: {problem}"))
            return
        try:
            await self._hold_process(environment, census, log)
        finally:
            self._forget_usage()
            if self._silence is not None:
                self._silence.cancel()
            await log.close()

    async def _hold_process(self, environment: Mapping[str, str], census: Census, log: SessionLog) -> None:
        try:
            child = await Child.start(
                wire.command(self._session, tools=self._tools, mcp_config=self._write_servers()),
                cwd=self._session.cwd,
                env=environment,
                on_stdout=lambda chunk: self._hear(chunk, log),
                on_stderr=log.err,
            )
        except (WorldError, OSError) as problem:
            self._emit(s.SpawnRefused(**self._about(), message=str(problem)))
            return
        self._child = child
        try:
            self._emit(s.ProcessUp(**self._about(), pid=child.pid))
            child.write(self._talk.hello())
            if self._ending is not None:
                self.press(self._ending)
            self._watch_silence()
            await self._see_it_out(child, census, log)
        except asyncio.CancelledError:
            # The loop itself has failed: nobody will climb the ladder, so the last rung is pressed here.
            child.signal(signal.SIGKILL)
            await asyncio.shield(bury(child, self._session.cookie, census))
            raise

    def _write_servers(self) -> str | None:
        """Put the MCP servers, which may hold secrets, where only we can read them: not into the arguments."""
        servers = wire.servers(self._session, self._tools)
        if not servers:
            return None
        path = Path(self._session.log_dir, "mcp-config.json")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(servers)
        return str(path)

    async def _see_it_out(self, child: Child, census: Census, log: SessionLog) -> None:
        code, number = await child.wait()
        certificate = await bury(child, self._session.cookie, census)
        await child.drain(DRAIN_SECS)
        for event in self._talk.eof():
            self._answer(event)
        self._tell_usage()
        await log.flush()
        tail = log.stderr_tail.decode(errors="replace")
        now = self._clock()
        failure = wire.classify(self._result, code, number, tail, now=now, utc_offset_secs=_utc_offset(now))
        self._emit(
            s.ProcessGone(
                **self._about(),
                certificate=certificate,
                usage=self._talk.usage,
                final_message=self._talk.final_message,
                stderr_tail=tail[-1000:],
                failure=failure,
                oddities=dict(self._talk.oddities),
            )
        )

    def press(self, rung: Rung) -> None:
        """Climb one rung; a process that does not exist yet will meet it as soon as it does."""
        self._ending = rung
        child = self._child
        if child is None:
            return
        match rung:
            case Rung.CLOSE_STDIN:
                child.close_stdin()
            case Rung.INTERRUPT:
                child.write(self._talk.interrupt())
            case Rung.TERM:
                child.signal(signal.SIGTERM)
            case Rung.KILL:
                child.signal(signal.SIGKILL)
            case _:
                assert_never(rung)

    # what comes from the process

    def _hear(self, chunk: bytes, log: SessionLog) -> None:
        log.out(chunk)
        self._heard_at = self._clock()
        if self._stalled:
            self._stalled = False
            self._emit(s.Spoke(**self._about()))
        for event in self._talk.feed(chunk):
            self._answer(event)

    def _answer(self, event: wire.Event) -> None:
        """Answer what waits for an answer, report the rest."""
        match event:
            case wire.Ready(claude_version=version):
                if self._ending is None:
                    self._say(self._talk.prompt(self._session.prompt))
                self._emit(s.SessionReady(**self._about(), claude_version=version))
            case wire.Refused():
                self.press(Rung.TERM)
            case wire.ToolAsked():
                self._say(self._talk.allow(event.request_id))
                self._called(event)
            case wire.PermissionAsked():
                self._say(self._talk.permit(event.request_id, event.input))
                self._called(event)
            case wire.McpAsked(request_id=request_id, message=message):
                self._say(self._talk.mcp_answer(request_id, self._serve(message)))
            case wire.Unanswerable(request_id=request_id, subtype=subtype):
                self._say(self._talk.refuse(request_id, f"Pitboss does not know requests of kind {subtype}."))
            case wire.ToolCancelled():
                pass  # every call is answered at once, so none is ever pending
            case wire.UsageSeen():
                self._note_usage(event)
            case wire.Retrying(status=status, delay_secs=delay, error=error):
                report = s.ApiRetried(**self._about(), status=status, delay_secs=delay, error=error)
                self._emit(report)
            case wire.Background(tasks=tasks):
                self._emit(s.BackgroundChanged(**self._about(), tasks=tasks))
            case wire.Ended():
                self._turn_ended(event)
            case _:
                assert_never(event)

    def _called(self, event: wire.ToolAsked | wire.PermissionAsked) -> None:
        self._emit(
            s.ToolCalled(
                **self._about(),
                tool=event.tool,
                summary=event.summary,
                tool_use_id=event.tool_use_id,
                subagent=event.subagent,
            )
        )

    def _serve(self, message: wire.JsonObject) -> wire.JsonObject:
        answer = mcp.answer(message, self._tools)
        if isinstance(answer, mcp.Call):
            return mcp.result(answer.call_id, mcp.tool_text(f"{answer.tool} has no one to carry it out", is_error=True))
        return answer

    def _turn_ended(self, event: wire.Ended) -> None:
        self._forget_usage()
        self._result = event.result
        self._emit(
            s.TurnEnded(
                **self._about(),
                result=event.result,
                usage=event.usage,
                final_message=event.final_message,
            )
        )

    # tokens, at most once in a while

    def _note_usage(self, event: wire.UsageSeen) -> None:
        self._usage = event
        if self._usage_due is None:
            self._usage_due = asyncio.get_running_loop().call_later(USAGE_EVERY_SECS, self._tell_usage)

    def _tell_usage(self) -> None:
        seen = self._usage
        self._forget_usage()
        if seen is not None:
            self._emit(
                s.UsageGrew(
                    **self._about(),
                    usage=seen.usage,
                    model=seen.model,
                )
            )

    def _forget_usage(self) -> None:
        self._usage = None
        if self._usage_due is not None:
            self._usage_due.cancel()
            self._usage_due = None

    # silence

    def _watch_silence(self) -> None:
        """Look again when the present silence would be too long; nothing is done for each line that comes."""
        quiet = self._clock() - self._heard_at
        if quiet >= self._session.silence_secs:
            if not self._stalled:
                self._stalled = True
                self._emit(s.Silent(**self._about(), secs=quiet))
            quiet = 0.0
        wait = max(0.05, self._session.silence_secs - quiet)
        self._silence = asyncio.get_running_loop().call_later(wait, self._watch_silence)

    def _about(self) -> About:
        """What every report says: when, and about which attempt of whom."""
        return {"at": self._clock(), "actor": self._session.actor, "attempt": self._session.attempt}

    def _log_lost(self, path: str, message: str) -> None:
        self._emit(s.ArtifactFailed(at=self._clock(), path=path, message=message))

    def _say(self, words: bytes) -> None:
        if self._child is not None:
            self._child.write(words)


def _utc_offset(now: float) -> int:
    """How far local time is ahead of UTC, in seconds: the CLI names reset times in local time."""
    return time.localtime(now).tm_gmtoff


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
