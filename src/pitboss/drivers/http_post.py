"""One POST to one address: the name is resolved once, judged, and the connection goes to what was judged.

Nothing is followed, no proxy is asked, nothing of the answer is read but its status and one header. What an error says
never names the receiver: its whole URL may be secret. Called by ``drivers.notify``, which sets the time limit.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import h11

from pitboss.wire.notices import Post

__all__ = ["Address", "PostError", "Reply", "Resolve", "resolve", "send"]

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name, as text; raises ``OSError`` if there are none to be had."""

_CHUNK = 16_384


class PostError(Exception):
    """It was not delivered, and no answer came; the message says why, and not where."""


class Reply(NamedTuple):
    """What counts of an answer."""

    status: int
    retry_after: str
    """The header, or nothing."""


async def send(
    post: Post,
    *,
    allowed: Callable[[Address], bool],
    find: Resolve,
    tls: Callable[[], ssl.SSLContext],
) -> Reply:
    """Post, and wait for the answer's status; as long as it takes.

    Args:
        post: What is sent, and where.
        allowed: Judges an address; if one of a name's may not be reached, none is.
        find: Resolves names.
        tls: Makes what certificates are checked with.

    Raises:
        PostError: No answer came, or what came is none.
    """
    parts = urlsplit(post.url)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    addresses = await _judged(host, port, allowed, find)
    context = None
    if parts.scheme != "http":
        context = await asyncio.to_thread(tls)  # reading all the certificates takes a while
    reader, writer = await _connect(addresses, port, context, host)
    try:
        return await _exchange(reader, writer, _request(parts, post), post.body)
    except h11.LocalProtocolError as problem:
        raise PostError("a header of it cannot be sent as it is") from problem
    except h11.RemoteProtocolError as problem:
        raise PostError("it does not answer in HTTP") from problem
    except OSError as problem:
        raise PostError(f"the connection broke: {_reason(problem)}") from problem
    finally:
        writer.transport.abort()


async def _judged(host: str, port: int, allowed: Callable[[Address], bool], find: Resolve) -> list[Address]:
    try:
        found = [ip_address(host)]
    except ValueError:
        try:
            name = host if host.isascii() else host.encode("idna").decode()
            found = [ip_address(text.partition("%")[0]) for text in await find(name, port)]
        except (OSError, UnicodeError) as problem:
            raise PostError("its name cannot be resolved") from problem
    if not found:
        raise PostError("its name has no address")
    if not all(map(allowed, found)):
        raise PostError("its name leads to a private / loopback / link-local address; that is not allowed")
    return list(dict.fromkeys(found))


async def _connect(
    addresses: Sequence[Address], port: int, context: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes it; the certificate is checked against the name, not the address."""
    problem: OSError | None = None
    for address in addresses:
        try:
            name = None if context is None else host
            return await asyncio.open_connection(str(address), port, ssl=context, server_hostname=name)
        except OSError as refused:  # TLS errors are among them
            problem = refused
    raise PostError(f"cannot connect: {_reason(problem)}") from problem


def _reason(problem: OSError | None) -> str:
    """Why, without the address that the error's own text may have."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not valid (OpenSSL code {problem.verify_code})"
    if isinstance(problem, ssl.SSLError):
        return f"no TLS with it ({problem.reason or 'the handshake failed'})"
    number = problem.errno if problem is not None else None
    return os.strerror(number).lower() if number else "it closed the connection"


def _request(parts: SplitResult, post: Post) -> h11.Request:
    host = parts.netloc.rpartition("@")[2]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", host if host.isascii() else host.encode("idna").decode()), *post.headers.items()]
    headers += [("Content-Length", str(len(post.body))), ("Connection", "close")]
    if parts.username and not any(name.lower() == "authorization" for name in post.headers):
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    ours = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return h11.Request(method="POST", target=_quoted(target), headers=ours)


def _quoted(target: str) -> bytes:
    """What a request line can hold: other bytes are percent-encoded, what is encoded already is left as it is."""
    return b"".join(bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte for byte in target.encode())


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: h11.Request, body: bytes
) -> Reply:
    peer = h11.Connection(h11.CLIENT)
    parts = [peer.send(request), peer.send(h11.Data(data=body)), peer.send(h11.EndOfMessage())]
    writer.write(b"".join(part for part in parts if part))
    while True:
        event = peer.next_event()
        if isinstance(event, h11.Response):
            after = next((value for name, value in event.headers if name == b"retry-after"), b"")
            return Reply(event.status_code, after.decode("latin-1"))
        if event is h11.NEED_DATA:
            peer.receive_data(await reader.read(_CHUNK))
        elif not isinstance(event, h11.InformationalResponse):
            raise PostError("it closed the connection without an answer")


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the system's resolver.

    In a thread of its own that nobody waits for: a resolver that hangs must not hold up the end of a run.

    Raises:
        OSError: The name has none, or nobody can say.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], problem: OSError | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if problem is None:
            answer.set_result(found)
        else:
            answer.set_exception(problem)

    def ask() -> None:
        found, problem = list[str](), None
        try:
            found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError as refused:
            problem = refused
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, problem)

    threading.Thread(target=ask, name="pitboss-resolve", daemon=True).start()
    return await answer
