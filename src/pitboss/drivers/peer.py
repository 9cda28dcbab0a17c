"""Who is at the other end of a Unix socket: asked of the kernel, not of the one who connects.

Linux and macOS tell it in different ways; both are here and nowhere else. Whether somebody may come in is the
caller's business. Called by ``services``.
"""

from __future__ import annotations

import pwd
import socket
import struct
import sys
from typing import NamedTuple

import psutil

from pitboss.drivers.lookout import COOKIE

__all__ = ["Peer", "agent_behind", "cookies_of", "peer_of"]

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
"""macOS, ``sys/un.h``."""

_XUCRED = struct.Struct("=IIh2x16I")
"""macOS, ``sys/ucred.h``: version, user, how many groups, the groups."""

_UCRED = struct.Struct("=iII")
"""Linux, ``unix(7)``: process, user, group."""


class Peer(NamedTuple):
    """A process that has connected."""

    uid: int
    pid: int | None
    """``None`` if the kernel does not say."""

    @property
    def user(self) -> str:
        """The user's name, or number if it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def peer_of(connection: socket.socket) -> Peer | None:
    """Who has connected; ``None`` if the kernel does not say."""
    try:
        return _on_macos(connection) if sys.platform == "darwin" else _on_linux(connection)
    except (OSError, AttributeError, struct.error):
        return None


def _on_linux(connection: socket.socket) -> Peer:
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(uid, pid or None)


def _on_macos(connection: socket.socket) -> Peer:
    _, uid, *_ = _XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
    try:
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    except OSError:
        pid = 0
    return Peer(uid, pid or None)


def cookies_of(pid: int) -> tuple[str, ...]:
    """The marks of all agents that a process is, or was started by, however many steps down; its own first.

    It blocks for a moment. One that has left its family and its environment behind has none: against an agent that
    wants out so badly, only a sandbox helps.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.parents()]
    except psutil.Error:
        return ()
    return tuple(filter(None, map(_cookie, family)))


def agent_behind(pid: int, run_id: str) -> str | None:
    """Which actor of a run a process is, or was started by; ``None`` for somebody else's. As for ``cookies_of``."""
    for cookie in cookies_of(pid):
        run, _, rest = cookie.partition("/")
        if run == run_id:
            return rest.rpartition("/")[0]
    return None


def _cookie(process: psutil.Process) -> str:
    try:
        return process.environ().get(COOKIE, "")
    except (psutil.Error, OSError):
        return ""
