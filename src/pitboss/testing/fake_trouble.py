"""The fake's ways to misbehave: everything a reader of pipes and a keeper of processes must survive."""

from __future__ import annotations

import binascii
import os
import signal
import time

from pitboss.testing.fake_pipe import new_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from collections.abc import Callable

    from pitboss.testing.fake_pipe import Pipe
    from pitboss.testing.fake_script import Step

__all__ = ["TROUBLES"]

_MIB = 1 << 20


def _noise(pipe: Pipe, step: Step) -> None:
    """Lines of the most frequent kind, written at once."""
    head = (
        b'{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
    )
    tail = f'"}}}},"parent_tool_use_id":null,"uuid":"{new_uuid()}"}}\n'.encode()
    padding = int(step.number("bytes", 300)) - len(head) - len(tail)
    pipe.put((head + b"x" * padding + tail) * int(step.number()))


def _big_line(pipe: Pipe, step: Step) -> None:
    head, tail = b'{"type":"user","message":{"role":"user","content":"', b'"},"parent_tool_use_id":null}\n'
    pipe.put(head + b"x" * int(step.number() * _MIB) + tail)


def _garbage(pipe: Pipe, step: Step) -> None:
    pipe.put(binascii.a2b_base64(step.text()))


def _stderr(pipe: Pipe, step: Step) -> None:
    pipe.complain(step.text())


def _spawn(_: Pipe, step: Step) -> None:
    """A child that a signal to our process group does not reach, and a SIGTERM to itself does not impress."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not step.number("hold", 0):
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nowhere, descriptor)
        os.execvp("sleep", ["sleep", str(step.number())])


def _ignore_term(_pipe: Pipe, _step: Step) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _hang(_pipe: Pipe, _step: Step) -> None:
    while True:
        time.sleep(3600)


def _exit(_: Pipe, step: Step) -> None:
    os._exit(int(step.number()))


TROUBLES: dict[str, Callable[[Pipe, Step], None]] = {
    "noise": _noise,
    "big_line": _big_line,
    "garbage": _garbage,
    "stderr": _stderr,
    "spawn": _spawn,
    "ignore_term": _ignore_term,
    "hang": _hang,
    "exit": _exit,
}
"""The steps that need no turn, by verb."""
