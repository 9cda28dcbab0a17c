"""The MCP servers behind the pipe (``"type": "sdk"`` in ``--mcp-config``), seen from the fake's side."""

from __future__ import annotations

import json

from pitboss.testing.fake_pipe import Interrupted, new_uuid, part
from pitboss.testing.fake_tools import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from pitboss.testing.fake_pipe import Frame, Pipe

__all__ = ["Servers"]

_CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fake-claude", "version": "0"}}


def _text(config: str) -> str:
    """The configuration itself: given as JSON, or as the path of a file with it."""
    if config.lstrip().startswith("{"):
        return config
    with open(config, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the time to start
        return file.read()


class Servers:
    """A client of all of them."""

    def __init__(self, pipe: Pipe, config: str) -> None:
        self._pipe = pipe
        servers = part(json.loads(_text(config)), "mcpServers")
        self.names = [name for name in servers if part(servers, name).get("type") == "sdk"]
        self.tools: list[str] = []
        """What they offer, by full name."""
        self._messages = 0

    def initialize(self) -> None:
        """The first message to each."""
        for name in self.names:
            self._ask(name, "initialize", dict(_CLIENT))

    def list_tools(self) -> None:
        """The rest of the handshake."""
        for name in self.names:
            self._tell(name, "notifications/initialized", {})
            offered = part(self._ask(name, "tools/list", {}), "result").get("tools")
            for tool in offered if isinstance(offered, list) else []:
                self.tools.append(f"mcp__{name}__{tool['name']}")

    def call(self, tool: str, arguments: Frame, tool_use_id: str) -> Answer:
        """Calls ``mcp__<server>__<tool>``; an interrupt cancels the call."""
        _, server, name = tool.split("__", 2)
        try:
            reply = self._ask(
                server,
                "tools/call",
                {"name": name, "arguments": arguments, "_meta": {"claudecode/toolUseId": tool_use_id}},
            )
        except Interrupted:
            self._tell(server, "notifications/cancelled", {"requestId": self._messages, "reason": "interrupted"})
            raise
        if "error" in reply or not reply:
            return Answer(str(part(reply, "error").get("message", "the server did not answer")), is_error=True)
        result = part(reply, "result")
        return Answer(result.get("content"), is_error=bool(result.get("isError")))

    def _ask(self, server: str, method: str, params: Frame) -> Frame:
        """One JSON-RPC request; its reply is empty when nobody is left to give one."""
        self._messages += 1
        message = {"jsonrpc": "2.0", "id": self._messages, "method": method, "params": params}
        answer = self._pipe.ask({"subtype": "mcp_message", "server_name": server, "message": message})
        return part(answer or {}, "mcp_response")

    def _tell(self, server: str, method: str, params: Frame) -> None:
        """One JSON-RPC notification; the acknowledgement it gets on the pipe is not waited for."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        request = {"subtype": "mcp_message", "server_name": server, "message": message}
        self._pipe.say({"type": "control_request", "request_id": new_uuid(), "request": request})
