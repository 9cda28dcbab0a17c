"""The command about who is told of a run; and what other commands send on their way of runs that ended.

It reaches the sending hand through ``upkeep``, which is imported when something is sent. Called by ``cli``, and by the
commands that look after runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pitboss.surfaces.commands.options import json_option, run_argument, runs_option
from pitboss.surfaces.faults import is_quiet, voice
from pitboss.surfaces.outlet import stderr, stdout

__all__ = ["beside_what_is_owed", "notify", "send_left_over"]


@click.command()
@run_argument
@click.option("--send", is_flag=True, help="Send what was not delivered, what a receiver has refused too.")
@click.option("--test", "is_test", is_flag=True, help="Send a test message to everyone; RUN may be a manifest then.")
@runs_option
@json_option
@voice
def notify(run: str, send: bool, is_test: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - click
    """Show who was told what of a run, and whom it did not reach.

    What is not delivered when a run ends is sent by the next dispatch, resume or prune within a day, and by --send at
    any time: that takes a minute at most, and what has not arrived by then is still owed and can be sent again. The
    secrets in the addresses are taken from the environment of the command that sends.

    Exit code: 0, or 1 if something that was to be sent now was not delivered.
    """
    from pathlib import Path

    from pitboss.journal.discovery import resolve
    from pitboss.surfaces import client, telling

    if send and is_test:
        raise click.UsageError("--send and --test exclude each other; give one")
    out = stdout()
    if is_test and Path(run).is_file():
        from pitboss import upkeep

        settled = upkeep.test_sinks(upkeep.sinks_of_manifest(run), "test", stderr().line)
    else:
        path = resolve(client.base(run_dir), run)
        state = telling.state_of(path)
        if not send and not is_test:
            out.line(telling.outbox_json(state) if as_json else "\n".join(telling.outbox_lines(state, run_dir)))
            return
        from pitboss import upkeep

        settled = (
            upkeep.test_sinks(state.spec.sinks, path.name, stderr().line)
            if is_test
            else upkeep.send_owed(path, stderr().line)
        )
    if as_json:
        out.line(telling.settled_json(settled))
    else:
        out.line("\n".join(telling.settled_lines(settled)) or "There was nothing to send.")
        if send and (again := telling.again_line(path.name, settled, run_dir)):
            out.line(again)
    sys.exit(0 if all(one.outcome == "delivered" for one in settled) else 1)


@contextmanager
def beside_what_is_owed(run_dir: str | None) -> Iterator[Callable[[], None]]:
    """Do something, and send what ended runs still owe beside it; at its end, say how that went.

    Gives what begins it: a run calls that once it is on disk, so that nothing holds up its start. Whoever does not, as
    nothing came of the run, sends at the end. That waits for seconds at most, and only if it must.
    """
    from pitboss import upkeep
    from pitboss.surfaces import client, telling

    err, notes = stderr(), list[str]()
    left_overs = upkeep.LeftOvers(client.base(run_dir), notes.append)
    try:
        yield left_overs.begin
    finally:
        lefts = left_overs.end(err.line)
        lines = [] if is_quiet() else [*notes, *telling.left_lines(lefts, run_dir)]
        for line in filter(None, [*lines, telling.trouble_line(lefts)]):
            err.line(line)


def send_left_over(run_dir: str | None) -> None:
    """Send what ended runs still owe, and say so; it holds the command up for seconds at most."""
    with beside_what_is_owed(run_dir):
        pass
