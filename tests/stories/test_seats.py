"""The official MCP client on a seat: `pitboss seat` gives it an entry for its settings, `mcp-bridge` carries it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import mcp_types
import pytest
from mcp import ClientSession, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from pitboss.wire.tools import tools_for
from support.parts import hear
from support.pit import Pit

pytestmark = pytest.mark.slow


async def test_any_client_can_be_given_the_seat_of_a_lead(pit: Pit) -> None:
    parts: dict[str, object] = {"lead": [hear("/shared/go"), {"text": "done"}], "helper": [{"text": "helped"}]}
    process = pit.dispatching(pit.tree(parts=parts, use_worktree=False))
    pit.until(lambda run: run.told("WaitBegan"))

    given = pit.pitboss("seat", "latest", "lead", "--run-dir", str(pit.runs))
    assert 0 == given.code, given.err
    entry = json.loads(given.out)["mcpServers"]["pitboss"]
    assert "mcp-bridge" in entry["args"]
    token = Path(entry["args"][entry["args"].index("--token-file") + 1])
    assert await asyncio.to_thread(token.read_text) not in given.out

    server = StdioServerParameters(command=entry["command"], args=entry["args"], env=dict(pit.env))
    async with stdio_client(server) as streams, ClientSession(*streams) as client:
        welcome = await client.initialize()
        assert "pitboss" == welcome.server_info.name
        listed = (await client.list_tools()).tools
        expected = tools_for("lead", allow_subleads=False, path_b=False)
        assert [tool.name for tool in expected] == [tool.name for tool in listed]
        spawned = await client.call_tool("spawn_worker", {"prompt": "PLAY: helper", "label": "helper"})
        assert isinstance(spawned, mcp_types.CallToolResult)
        assert spawned.structured_content is not None
        worker = spawned.structured_content["task_id"]
        ended = await client.call_tool("wait_for_worker", {"task_id": worker})
        assert isinstance(ended, mcp_types.CallToolResult)
        assert ended.structured_content is not None
        assert "Success" == ended.structured_content["status"]
        with pytest.raises(MCPError) as caught:
            await client.call_tool("no_such_tool", {})
        assert "tool not found" in str(caught.value)
        await client.call_tool("kv_set", {"path": "/shared/go", "value": "now"})

    ended_run = pit.finish(process)
    assert (0, {"helper": "Success", "lead": "Success"}) == (ended_run.code, pit.run.labelled()), ended_run.err
    (seat,) = pit.run.told("SeatOpened")
    assert "lead" == seat["actor"]
    assert [] == [left.name for pattern in ("*.sock", "**/*.token") for left in pit.run.path.glob(pattern)]


def test_a_seat_is_had_in_a_live_run_only(pit: Pit) -> None:
    pit.dispatch(pit.tree(parts={"lead": [{"text": "done"}]}, use_worktree=False))
    refused = pit.pitboss("seat", "latest", "lead", "--run-dir", str(pit.runs))
    assert 2 == refused.code
    assert "a seat can be had in a live run only" in refused.err


def test_a_bridge_without_a_run_says_so(pit: Pit, tmp_path: Path) -> None:
    missing = pit.pitboss("mcp-bridge", str(tmp_path / "no.sock"), "--token-file", str(tmp_path / "no"))
    assert (2, True) == (missing.code, "cannot be read" in missing.err)
    (tmp_path / "token").write_text("secret-of-a-seat")
    nobody = pit.start("mcp-bridge", str(tmp_path / "no.sock"), "--token-file", str(tmp_path / "token"))
    out, err = nobody.communicate(timeout=30)
    assert (1, "") == (nobody.returncode, out)
    assert "nobody serves seats" in err
    assert "secret-of-a-seat" not in err


def test_a_bridge_answers_what_was_asked_before_its_input_ended(pit: Pit) -> None:
    process = pit.dispatching(pit.tree(parts={"lead": [hear("/shared/go")]}, use_worktree=False))
    pit.until(lambda run: run.told("WaitBegan"))
    entry = json.loads(pit.pitboss("seat", "latest", "lead", "--run-dir", str(pit.runs)).out)["mcpServers"]["pitboss"]
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "kv_set", "arguments": {"path": "/shared/go", "value": "now"}},
        },
    ]
    lines = "".join(json.dumps(each) + "\n" for each in calls)
    words = [entry["command"], *entry["args"]]
    done = subprocess.run(words, input=lines, capture_output=True, text=True, env=pit.env, timeout=60, check=False)
    assert (0, [1, 2]) == (done.returncode, [json.loads(line)["id"] for line in done.stdout.splitlines()]), done.stderr
    assert 0 == pit.finish(process).code
