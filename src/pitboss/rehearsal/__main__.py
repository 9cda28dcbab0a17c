"""``python -m pitboss.rehearsal [--script FILE] [--log FILE]``: the scripted model as a process of its own.

It prints one line of JSON when it can be used, ``{"url": "http://127.0.0.1:PORT"}``, or ``{"error": "..."}`` and ends
with 2. It leaves at the end of its standard input, so it cannot outlive who started it, or on SIGTERM. The surfaces
start it; nothing imports it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from pitboss.errors import OperatorError
from pitboss.rehearsal.reader import read_script
from pitboss.rehearsal.script import Script
from pitboss.rehearsal.server import Door, Server, bind


def main() -> int:
    """Serve until standard input ends; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pitboss.rehearsal", description="A scripted model on loopback.")
    parser.add_argument("--script", type=Path, help="what the model says (TOML); without it, prompts are read back")
    parser.add_argument("--log", type=Path, help="append one line of JSON for each request")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        try:
            script = _load(options.script)
            log = stack.enter_context(options.log.open("a")) if options.log else None
        except OperatorError as problem:
            _say(error=str(problem))
            return 2
        except OSError as problem:
            _say(error=f"{problem.filename}: {problem.strerror}")
            return 2
        asyncio.run(_serve(script, log))
    return 0


def _load(path: Path | None) -> Script:
    if path is None:
        return Script()
    try:
        return read_script(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as problem:
        raise OperatorError(f"{path}: not UTF-8 text: {problem.reason} at byte {problem.start}") from problem


async def _serve(script: Script, log: TextIO | None) -> None:
    listener = bind()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(Door(script, log), ready=lambda: _say(url=address))
    threading.Thread(target=_wait_for_end_of_input, args=(server.end,), daemon=True).start()
    await server.serve([listener])


def _wait_for_end_of_input(then: Callable[[], None]) -> None:
    """In a thread, because not every kind of standard input can be polled (a file, ``/dev/null``)."""
    with contextlib.suppress(OSError):  # a closed descriptor is an end, too
        while os.read(0, 4096):
            pass
    then()


def _say(**words: str) -> None:
    sys.stdout.write(msgspec.json.encode(words).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
