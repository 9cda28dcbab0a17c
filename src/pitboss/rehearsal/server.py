"""The door: HTTP on loopback, one ASGI callable; who asks is in the address.

``ANTHROPIC_BASE_URL=<url>/actor/<id>`` makes every request of a session arrive under that prefix; without it the actor
is ``default``. Started by ``__main__``. Each request is written to the log, if there is one, as soon as it is
understood: before any scripted delay, so that a test can wait for it to arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import FrameType
from typing import Any, TextIO, TypeAlias

import msgspec
import uvicorn

from pitboss.model.run import Frozen
from pitboss.rehearsal import conversation
from pitboss.rehearsal.messages import Request, encode_error, encode_reply, read_request, stream_events
from pitboss.rehearsal.prompter import Answer, Caller, Prompter
from pitboss.rehearsal.script import Script

__all__ = ["Door", "LogLine", "Server", "bind"]

Scope: TypeAlias = MutableMapping[str, Any]  # ASGI's own types; uvicorn declares them so
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

_ADDRESS = re.compile(r"(?:/actor/(?P<actor>.+?))?(?P<call>/(?:v1|api)/.*|/?)")
_JSON = b"application/json"
_HEARD_LIMIT = 500


class LogLine(Frozen, frozen=True, kw_only=True):
    """One request, for tests and measurements."""

    n: int
    """Counted from 1 over the life of the server."""
    at: float
    """When it had arrived whole: seconds since the epoch."""
    actor: str
    kind: str
    """``turn``, ``subagent``, ``side``, ``count`` (of tokens), ``bad`` (not a Messages request) or ``other``."""
    status: int
    session: str = ""
    subagent: str = ""
    position: int = 0
    """How many replies the conversation had already: which reply of the script this is."""
    model: str = ""
    heard: str = ""
    """What the model was told last, shortened."""
    path: str = ""


class HungUp(Exception):
    """The client has closed its connection."""


class Door:
    """The ASGI application."""

    def __init__(self, script: Script, log: TextIO | None) -> None:
        self._prompter = Prompter(script)
        self._log = log
        self._count = 0
        self._boot = secrets.token_hex(4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await _body(receive)
            await self._route(_Exchange(scope, receive, send), body)
        except HungUp:
            return  # nobody is left to be told

    async def _route(self, exchange: _Exchange, body: bytes) -> None:
        self._count += 1
        match exchange.method, exchange.call:
            case "POST", "/v1/messages":
                await self._messages(exchange, body)
            case "POST", "/v1/messages/count_tokens":
                self._note(exchange, "count", 200)
                await exchange.whole(200, msgspec.json.encode({"input_tokens": len(body) // 4}))
            case "GET" | "HEAD", "/" | "" | "/api/hello":
                self._note(exchange, "other", 200)
                await exchange.whole(200, b'{"service":"pitboss rehearsal"}')
            case method, call:
                self._note(exchange, "other", 404)
                message = f"The scripted model does not answer {method} {call or '/'}."
                await exchange.whole(404, encode_error("not_found_error", message))

    async def _messages(self, exchange: _Exchange, body: bytes) -> None:
        try:
            request = read_request(body)
        except msgspec.DecodeError as problem:
            self._note(exchange, "bad", 400)
            await exchange.whole(400, encode_error("invalid_request_error", f"Not a Messages request: {problem}."))
            return
        answer = self._prompter.answer(exchange.caller, request, f"msg_{self._boot}{self._count:06d}")
        self._note(exchange, answer.kind, answer.error.status if answer.error else 200, request, answer.position)
        await exchange.perform(answer, stream=request.stream)

    def _note(
        self, exchange: _Exchange, kind: str, status: int, request: Request | None = None, position: int = 0
    ) -> None:
        if self._log is None:
            return
        line = LogLine(
            n=self._count,
            at=time.time(),
            actor=exchange.caller.actor,
            kind=kind,
            status=status,
            session=exchange.caller.session,
            subagent=exchange.caller.subagent,
            position=position,
            model=request.model if request else "",
            heard=conversation.heard(request)[:_HEARD_LIMIT] if request else "",
            path=exchange.call,
        )
        self._log.write(msgspec.json.encode(line).decode() + "\n")
        self._log.flush()


class _Exchange:
    """One request and the way back to who asked."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _ADDRESS.fullmatch(scope["path"])
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self.method: str = scope["method"]
        self.call: str = found["call"] if found else scope["path"]
        self.caller = Caller(
            actor=(found["actor"] if found else None) or "default",
            session=headers.get(b"x-claude-code-session-id", ""),
            subagent=headers.get(b"x-claude-code-agent-id", ""),
        )
        self._receive = receive
        self._send = send

    async def perform(self, answer: Answer, *, stream: bool) -> None:
        """Wait as the script says, then answer."""
        await self._pause(answer.delay_ms)
        if answer.error is not None:
            body = encode_error(answer.error.kind, answer.error.message)
            await self.whole(answer.error.status, body, headers=answer.error.headers.items())
        elif answer.reply is not None and stream:
            await self._stream(stream_events(answer.reply), answer.chunk_ms)
        elif answer.reply is not None:
            await self.whole(200, encode_reply(answer.reply))

    async def whole(
        self, status: int, body: bytes, kind: bytes = _JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answer in one piece."""
        own = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        more = [(name.lower().encode(), value.encode()) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": own + more})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def _stream(self, events: Iterable[bytes], chunk_ms: int) -> None:
        """Without pacing all events go out in one write: the client cannot tell, and it is a dozen calls less."""
        if not chunk_ms:
            await self.whole(200, b"".join(events), b"text/event-stream")
            return
        await self._send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        )
        for event in events:
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
            await self._pause(chunk_ms)
        await self._send({"type": "http.response.body", "body": b""})

    async def _pause(self, milliseconds: int) -> None:
        """Wait, unless the client hangs up first."""
        if not milliseconds:
            return
        try:
            async with asyncio.timeout(milliseconds / 1000):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return
        raise HungUp


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise HungUp
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


class Server(uvicorn.Server):
    """uvicorn without its habits: it sleeps until it is told to end, and a SIGTERM is an ordinary end."""

    def __init__(self, door: Door, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                door,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=3600,
            )
        )
        self._ready = ready
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def main_loop(self) -> None:
        """Say that requests are taken, then sleep until the end."""
        await self.on_tick(0)
        self._ready()
        await self._over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nothing is worth waiting for: connections and half-played answers end with the loop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM is an ordinary end. SIGINT is meant for whoever started us, unless a person did at a terminal.

        Ctrl-C reaches a whole process group, and sessions that are to finish their turn still need their model.
        """
        if sig != signal.SIGINT or sys.stdin.isatty():
            self.end()

    def end(self) -> None:
        """Leave now, whatever is in the air; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: we have left already
            self._loop.call_soon_threadsafe(self._over.set)


def bind() -> socket.socket:
    """A socket on a free loopback port, which nobody outside this machine can reach.

    It names its protocol because asyncio turns Nagle's algorithm off only for sockets that do; with it on, every
    answer of two writes costs 40 ms.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener
