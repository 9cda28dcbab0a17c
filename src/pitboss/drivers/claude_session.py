"""One agent session: a process spoken to over its own pipes, from its start to its death certificate.

What is said on the pipe is ``wire.claude``'s business, how a process is started and ended ``drivers.process``'s; this
file joins them, answers what must be answered at once, and reports. Called by ``drivers.claude``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, assert_never

import psutil

from pitboss.drivers.cookies import Census
from pitboss.drivers.process import Child, bury
from pitboss.drivers.session_log import Scribe, SessionLog
from pitboss.errors import WorldError
from pitboss.model import signals as s
from pitboss.model.about import About
from pitboss.model.effects import AnswerCall, AnswerDeed, Emit, Rung
from pitboss.model.run import Session, TurnResult
from pitboss.wire import claude as wire
from pitboss.wire.seat import Asked, Seat
from pitboss.wire.tools import tools_for

__all__ = ["Clock", "LiveSession", "Minted"]

USAGE_EVERY_SECS = 1.0
"""Tokens of a running turn are reported at most this often."""

DRAIN_SECS = 5.0
"""How long the pipes may stay open once every process that could write to them is gone."""

Clock = Callable[[], float]


class Minted(NamedTuple):
    """Fresh ids."""

    id: str
    """A UUID version 7: of an actor, a lease, a request."""
    session_id: str
    """A session's."""


class LiveSession:
    """One session while it lives."""

    def __init__(self, session: Session, clock: Clock, emit: Emit, mint: Callable[[], Minted]) -> None:
        self._session = session
        self._clock = clock
        self._emit = emit
        self._seat = Seat(
            tools_for(session.role, allow_subleads=session.spawns_subleads, path_b=session.asks_permission)
        )
        self._mint = mint
        self.judged = session.judged
        """Its tool calls are put to the run before they are made."""
        self._model: str | None = None
        """What it is to use instead of what it was started with."""
        self._frozen = False
        self._deeds: dict[str, wire.ToolAsked | wire.PermissionAsked] = {}
        """Tool calls that wait for the run's word."""
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
                wire.command(self._session, tools=self._seat.tools, mcp_config=self._write_servers()),
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
            if self._model is not None:
                self.set_model(self._model)
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
        servers = wire.servers(self._session, self._seat.tools)
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
                log_size=log.size,
            )
        )

    def answer(self, effect: AnswerCall) -> None:
        """Answer a tool call that the session still waits for."""
        asked = self._seat.close(effect.call_id)
        if asked is not None:
            self._say(self._talk.mcp_answer(asked.request_id, self._seat.payload(asked, effect.answer)))

    def answer_deed(self, effect: AnswerDeed) -> None:
        """Let a tool call run that waits for our word, or refuse it."""
        event = self._deeds.pop(effect.request_id, None)
        match event:
            case wire.ToolAsked() if effect.allowed:
                self._say(self._talk.allow(event.request_id))
            case wire.ToolAsked():
                self._say(self._talk.deny(event.request_id, effect.reason))
            case wire.PermissionAsked() if effect.allowed:
                self._say(self._talk.permit(event.request_id, event.input))
            case wire.PermissionAsked():
                self._say(self._talk.forbid(event.request_id, effect.reason))
            case None:
                pass  # the session does not wait for it any more

    def tell(self, text: str) -> None:
        """Say something to the model: it begins a turn, or is woven into the one that runs."""
        self._say(self._talk.prompt(text))

    def set_model(self, model: str) -> None:
        """Use another model from the next request on; a process that does not exist yet hears it first of all."""
        self._model = model
        self._say(self._talk.set_model(model))

    def interrupt(self) -> None:
        """End the turn, not the session."""
        self._say(self._talk.interrupt())

    async def stand_still(self, census: Census) -> None:
        """Stop the agent at once, and then what it has started: its shells lead groups of their own.

        The kernel remembers what comes meanwhile. Looks again until nobody new is met, as some may just have been
        started; who stands still starts nobody.
        """
        self._frozen = True
        if self._child is None:
            return
        self._child.signal(signal.SIGSTOP)
        met: set[tuple[int, float]] = set()
        while True:
            found = (await census.remains(self._session.cookie, self._child.pid)).found
            fresh = [one for one in found if (one.pid, one.create_time) not in met]
            if not fresh or not self._frozen:
                return
            for one in fresh:
                met.add((one.pid, one.create_time))
                with contextlib.suppress(psutil.Error):
                    one.process.suspend()

    async def go_on(self, census: Census) -> None:
        """Let them go on."""
        self._frozen = False
        self._heard_at = self._clock()
        if self._child is None:
            return
        self._child.signal(signal.SIGCONT)
        for one in (await census.remains(self._session.cookie, self._child.pid)).found:
            if not self._frozen:
                with contextlib.suppress(psutil.Error):
                    one.process.resume()

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

    def _answer(self, event: wire.Event) -> None:  # noqa: C901 - a flat match
        """Answer what waits for an answer, report the rest."""
        match event:
            case wire.Ready(claude_version=version):
                if self._ending is None:
                    self._say(self._talk.prompt(self._session.prompt))
                self._emit(s.SessionReady(**self._about(), claude_version=version))
            case wire.Refused():
                self.press(Rung.TERM)
            case wire.ToolAsked() if not self.judged:
                self._say(self._talk.allow(event.request_id))
                self._called(event)
            case wire.PermissionAsked() if not self._session.asks_permission:
                self._say(self._talk.permit(event.request_id, event.input))
            case wire.ToolAsked() | wire.PermissionAsked():
                self._put_to_the_run(event)
            case wire.McpAsked(request_id=request_id, message=message):
                self._serve(request_id, message)
            case wire.Unanswerable(request_id=request_id, subtype=subtype):
                self._say(self._talk.refuse(request_id, f"Pitboss does not know requests of kind {subtype}."))
            case wire.ToolCancelled(call_id=call_id):
                self._deeds.pop(event.request_id or "", None)
                if call_id is not None and self._seat.close(call_id) is not None:
                    self._emit(s.CallDropped(**self._about(), call_id=call_id))
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

    def _put_to_the_run(self, event: wire.ToolAsked | wire.PermissionAsked) -> None:
        self._deeds[event.request_id] = event
        self._emit(
            s.DeedAsked(
                **self._about(),
                request_id=event.request_id,
                tool=event.tool,
                input=event.input,
                summary=event.summary,
                minted=self._mint().id,
                tool_use_id=event.tool_use_id,
                subagent=event.subagent,
                is_permission=isinstance(event, wire.PermissionAsked),
            )
        )

    def _called(self, event: wire.ToolAsked) -> None:
        self._emit(
            s.ToolCalled(
                **self._about(),
                tool=event.tool,
                summary=event.summary,
                tool_use_id=event.tool_use_id,
                subagent=event.subagent,
            )
        )

    def _serve(self, request_id: str, message: wire.JsonObject) -> None:
        """Answer what needs nobody else; a call that can be understood is put to the run, and answered when it says."""
        understood = self._seat.hear(request_id, message)
        if isinstance(understood, Asked):
            self._tell_usage()  # the answer may say what is left
            minted = self._mint()
            self._emit(
                s.CallMade(
                    **self._about(),
                    call_id=understood.call_id,
                    call=understood.call,
                    minted=minted.id,
                    session_id=minted.session_id,
                )
            )
        else:
            self._say(self._talk.mcp_answer(request_id, understood))

    def _turn_ended(self, event: wire.Ended) -> None:
        self._forget_usage()
        self._result = event.result
        self._emit(
            s.TurnEnded(
                **self._about(),
                result=event.result,
                usage=event.usage,
                final_message=event.final_message,
                heard=event.heard,
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
        quiet = 0.0 if self._frozen else self._clock() - self._heard_at
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
