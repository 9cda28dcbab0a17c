"""Commands that step into a run at work: answers for those who ask first, and seats for MCP clients.

A live run is told over its socket, one that nobody is at work on through ``upkeep``, which is imported when it is
needed. Called by ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pitboss.surfaces.commands.options import json_option, run_argument, runs_option
from pitboss.surfaces.faults import is_quiet, voice
from pitboss.surfaces.outlet import stdout

if TYPE_CHECKING:
    from pathlib import Path

    from pitboss.model.answers import Answer, Refused
    from pitboss.wire.control import Approve

__all__ = ["approvals", "mcp_bridge", "seat"]

_request_argument = click.argument("request")


@click.group()
@voice
def approvals() -> None:
    """Show what waits for your approval, and approve or reject it.

    A run may live or be cut off: then an answer is kept, and given when the run is resumed and asks again.
    """


@approvals.command("list")
@run_argument
@runs_option
@json_option
@voice
def list_approvals(run: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - as click hands them over
    """Show everything that waits for an answer: who asks, for what, for how long, and which rule wants you to decide.

    RUN is an id, the beginning of one, or `latest`, which is the default.
    """
    import time

    from pitboss.surfaces import answering, client

    found = client.open_run(client.base(run_dir), run)
    if as_json:
        stdout().line(answering.list_json(found))
    else:
        stdout().line("\n".join(answering.list_lines(found, now=time.time(), runs_dir=run_dir)))


@approvals.command()
@click.argument("run")
@_request_argument
@click.option("--comment", metavar="TEXT", help="Something to tell the one who asks.")
@click.option("--edit", metavar="TEXT", help="Approve this instead of what it said it would do.")
@runs_option
@voice
def approve(run: str, request: str, comment: str | None, edit: str | None, run_dir: str | None) -> None:
    """Let an actor do what it asks for.

    REQUEST is the id of a request or the beginning of one, with or without `req-`.
    """
    _answer(run, request, run_dir, approved=True, comment=comment, edited_summary=edit)


@approvals.command()
@click.argument("run")
@_request_argument
@click.option("--reason", metavar="TEXT", help="Why not, and what to do instead; the one who asks is told.")
@runs_option
@voice
def reject(run: str, request: str, reason: str | None, run_dir: str | None) -> None:
    """Refuse an actor what it asks for.

    REQUEST is the id of a request or the beginning of one, with or without `req-`.
    """
    _answer(run, request, run_dir, approved=False, reason=reason)


def _answer(
    run: str,
    request: str,
    run_dir: str | None,
    *,
    approved: bool,
    comment: str | None = None,
    edited_summary: str | None = None,
    reason: str | None = None,
) -> None:
    from pitboss.surfaces import answering, client
    from pitboss.wire.control import Approve

    found = client.open_run(client.base(run_dir), run)
    name = answering.find_request(found, request)
    order = Approve(request_id=name, approved=approved, comment=comment, edited_summary=edited_summary, reason=reason)
    done = answering.answer(found, order, _in_journal)
    if not is_quiet():
        stdout().line(done)


def _in_journal(path: Path, order: Approve) -> Answer | Refused:
    from pitboss import upkeep
    from pitboss.wire.control import order_of

    return upkeep.leave_order(path, order_of(order), order.order_id)


@click.command()
@click.argument("run")
@click.argument("actor")
@runs_option
@voice
def seat(run: str, actor: str, run_dir: str | None) -> None:
    """Take a seat beside an actor: print the MCP server entry with which any MCP client has that actor's tools.

    Calls made from a seat are the actor's own: the same tools, the same caps and budget, the same rules, and the
    journal says that a seat was taken. A seat lasts until the actor has ended.
    """
    from pitboss.surfaces import client, seating

    found = client.open_run(client.base(run_dir), run)
    stdout().line(seating.entry(found, client.find_actor(found, actor)))


@click.command("mcp-bridge", hidden=True)
@click.argument("socket", type=click.Path())
@click.option("--token-file", metavar="FILE", type=click.Path(), required=True, help="Holds the token of the seat.")
def mcp_bridge(socket: str, token_file: str) -> None:
    """Carry an MCP client's messages to a run and back; `pitboss seat` prints how to start it.

    SOCKET is where the run serves its seats. The token stays in its file: it is on no command line.
    """
    import sys
    from pathlib import Path

    from pitboss.surfaces.bridge import bridge

    bridge(Path(socket), Path(token_file), sys.stdin.fileno(), sys.stdout.buffer)
