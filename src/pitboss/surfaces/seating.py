"""A seat beside an actor, as an entry for an MCP client's settings. Called by ``commands``."""

from __future__ import annotations

import sys

import msgspec

from pitboss.errors import OperatorError
from pitboss.model.run import ActorId
from pitboss.surfaces.client import Run, RunClient
from pitboss.wire.control import GiveSeat
from pitboss.wire.mcp import SERVER_NAME

__all__ = ["entry"]


def entry(run: Run, actor: ActorId) -> str:
    """Ask a live run for a seat.

    Returns:
        JSON in the form that MCP clients keep their servers in.

    Raises:
        OperatorError: The run does not live, or gives no seat beside this actor.
    """
    event = RunClient(run.path).order(GiveSeat(actor_id=actor))
    if event is None:
        raise OperatorError(f"no dispatcher answers for run {run.path.name}: a seat can be had in a live run only")
    if event["event"] != "op_acked":
        raise OperatorError(str(event.get("error") or "the run does not know of seats"))
    words = [sys.executable, "-m", "pitboss", "mcp-bridge", "--token-file", event["token_file"], event["socket"]]
    server = {"command": words[0], "args": words[1:]}
    return msgspec.json.format(msgspec.json.encode({"mcpServers": {SERVER_NAME: server}}), indent=2).decode()
