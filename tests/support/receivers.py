"""Receivers of notifications on loopback, good and bad, as real servers in a thread of their own."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast


class Heard(NamedTuple):
    """A request that was heard in full."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return cast("dict[str, object]", json.loads(self.body))


Answer = bytes | Callable[[socket.socket], None]
"""What is written back; or what is done with the connection instead."""

OK = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Receiver:
    """Hears requests one after the other; the last answer is given again and again."""

    def __init__(self, answers: Sequence[Answer], context: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers) or [OK]
        self.heard: list[Heard] = []
        self.connections = 0
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/s3cret?k=s3cret"

    @property
    def kinds(self) -> list[str]:
        """Of every envelope that was heard."""
        return [str(cast("dict[str, object]", each.json["event"])["kind"]) for each in self.heard]

    def until(self, count: int, timeout: float = 60.0) -> list[Heard]:
        """Wait until so many requests were heard."""
        deadline = time.monotonic() + timeout
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.heard) >= count, self.kinds
        return self.heard

    def close(self) -> None:
        self._over.set()
        self._socket.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        self.connections += 1
        try:
            with self._context.wrap_socket(connection, server_side=True) if self._context else connection as peer:
                self._converse(peer)
        except OSError:
            return  # whoever it was has left

    def _converse(self, peer: socket.socket) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(peer)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            body += _some(peer)
        self.heard.append(Heard(first, headers, body))
        if callable(answer):
            answer(peer)
        else:
            peer.sendall(answer)
            # The answer must be read before the connection is reset by what is left unread.
            peer.shutdown(socket.SHUT_WR) if self._context is None else None
            self._over.wait(0.01)


def _some(peer: socket.socket) -> bytes:
    chunk = peer.recv(65536)
    if not chunk:
        raise ConnectionError("it left in the middle of a request")
    return chunk


@contextmanager
def receiver(*answers: Answer, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that gives these answers, then goes on with the last; it takes everything if there is none."""
    one = Receiver(answers, context)
    try:
        yield one
    finally:
        one.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
