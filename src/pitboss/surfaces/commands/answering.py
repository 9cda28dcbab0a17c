"""Commands that step into a run at work: answers for those who ask first, and seats for MCP clients.

How an answer reaches the run is in ``giving``. Called by ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pitboss.surfaces.commands.options import (
    actor_argument,
    answer_json_option,
    json_option,
    request_argument,
    run_argument,
    run_named_argument,
    runs_option,
)
from pitboss.surfaces.faults import voice
from pitboss.surfaces.outlet import stdout

if TYPE_CHECKING:
    from pitboss.wire.control import Approve

__all__ = ["approvals", "approve", "mcp_bridge", "reject", "seat"]


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


@click.command()
@run_named_argument
@request_argument
@click.option("--comment", metavar="TEXT", help="Something to tell the one who asks.")
@click.option("--edit", metavar="TEXT", help="Approve this instead of what it said it would do.")
@runs_option
@answer_json_option
@voice
def approve(
    run: str,
    request: str,
    comment: str | None,
    edit: str | None,
    run_dir: str | None,
    as_json: bool,  # noqa: FBT001 - click hands options over like this
) -> None:
    """Let an actor do what it asks for.

    REQUEST is the id of a request or the beginning of one, with or without `req-`.
    """
    from pitboss.wire.control import Approve

    op = Approve(request_id=request, approved=True, comment=comment, edited_summary=edit)
    _answer(run, op, run_dir, as_json=as_json)


@click.command()
@run_named_argument
@request_argument
@click.option("--reason", metavar="TEXT", help="Why not, and what to do instead; the one who asks is told.")
@click.option("--comment", metavar="TEXT", help="Something else to tell the one who asks.")
@runs_option
@answer_json_option
@voice
def reject(
    run: str,
    request: str,
    reason: str | None,
    comment: str | None,
    run_dir: str | None,
    as_json: bool,  # noqa: FBT001 - click hands options over like this
) -> None:
    """Refuse an actor what it asks for.

    REQUEST is the id of a request or the beginning of one, with or without `req-`.
    """
    from pitboss.wire.control import Approve

    op = Approve(request_id=request, approved=False, comment=comment, reason=reason)
    _answer(run, op, run_dir, as_json=as_json)


approvals.add_command(approve)
approvals.add_command(reject)


def _answer(run: str, op: Approve, run_dir: str | None, *, as_json: bool) -> None:
    """Give an answer to the request that goes by the name in ``op``."""
    from msgspec.structs import replace

    from pitboss.surfaces import answering, client
    from pitboss.surfaces.commands import giving

    found = client.open_run(client.base(run_dir), run)
    named = replace(op, request_id=answering.find_request(found, op.request_id))
    if hindrance := answering.hindrance(found, named.request_id):
        giving.refuse(found, named, hindrance, runs_dir=run_dir, as_json=as_json)
    giving.carry_out(found, named, runs_dir=run_dir, as_json=as_json)


@click.command()
@run_named_argument
@actor_argument
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
