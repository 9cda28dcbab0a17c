"""The official MCP client at the other end: it lists our tools and calls them, whatever it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args

import mcp_types
import msgspec
import pytest
from mcp import ClientSession, MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage

from pitboss.model import calls
from pitboss.model.answers import LONGEST_ANSWER, Instant
from pitboss.model.run import Role
from pitboss.wire import mcp
from pitboss.wire.claude import JsonObject
from pitboss.wire.tool_answers import refusal, result_of
from pitboss.wire.tools import INSTRUCTIONS, BadArguments, parse, tools_for

MESSAGE: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(JsonObject)


def carry_out(call: mcp.Call) -> JsonObject:
    """A pit in miniature, which shows what its calls were understood as."""
    match parse(call.tool, call.arguments):
        case BadArguments(code=code, message=message, argument=argument):
            return refusal(call.call_id, code, message, argument=argument)
        case calls.KvGet():
            return mcp.result(call.call_id, result_of({"text": "x" * LONGEST_ANSWER}, tool=call.tool))
        case calls.LeaseRelease():
            return refusal(call.call_id, "forbidden", "lease-1: not held or already released.")
        case understood:
            return mcp.result(call.call_id, result_of({"call": understood, "started_at": Instant(0)}))


@asynccontextmanager
async def connected(role: Role) -> AsyncIterator[ClientSession]:
    """A client whose server is ours, in memory."""
    tools = tools_for(role, allow_subleads=True, path_b=False)
    async with create_client_server_memory_streams() as (near, (heard, said)), asyncio.TaskGroup() as group:

        async def serve() -> None:
            async for item in heard:
                assert isinstance(item, SessionMessage)
                question = MESSAGE.decode(item.message.model_dump_json(by_alias=True, exclude_unset=True))
                reply = mcp.answer(question, tools, version="9.9", instructions=INSTRUCTIONS)
                if "id" in question:
                    sent = carry_out(reply) if isinstance(reply, mcp.Call) else reply
                    words = msgspec.json.encode(sent)
                    await said.send(SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(words)))

        server = group.create_task(serve())
        async with ClientSession(*near) as client:
            yield client
        server.cancel()


async def test_the_client_is_welcomed_and_told_how_things_are_done() -> None:
    async with connected("lead") as client:
        welcome = await client.initialize()
    assert INSTRUCTIONS == welcome.instructions
    assert ("pitboss", "9.9") == (welcome.server_info.name, welcome.server_info.version)


@pytest.mark.parametrize("role", get_args(Role))
async def test_each_role_is_shown_its_tools_and_no_others(role: Role) -> None:
    async with connected(role) as client:
        await client.initialize()
        listed = (await client.list_tools()).tools
    expected = tools_for(role, allow_subleads=True, path_b=False)
    assert [(tool.name, tool.input_schema) for tool in expected] == [(tool.name, tool.input_schema) for tool in listed]
    hints = [tool.annotations.read_only_hint for tool in listed if tool.annotations]
    assert [tool.read_only for tool in expected] == hints


async def test_a_good_call_is_answered_with_structure() -> None:
    async with connected("lead") as client:
        await client.initialize()
        answer = await client.call_tool("wait_for_worker", {"task_id": "worker-1", "timeout_secs": "60"})
    assert isinstance(answer, mcp_types.CallToolResult)
    assert not answer.is_error
    expected = {"call": {"task_id": "worker-1", "timeout_secs": 60}, "started_at": "1970-01-01T00:00:00Z"}
    assert expected == answer.structured_content


async def test_bad_arguments_are_an_error_the_client_can_read() -> None:
    async with connected("lead") as client:
        await client.initialize()
        with pytest.raises(MCPError) as caught:
            await client.call_tool("wait_for_worker", {"task_id": "worker-1", "timeout": 60})
    error = caught.value.error
    assert -32602 == error.code
    assert 'there is no argument "timeout" (did you mean timeout_secs?)' in error.message
    assert {"code": "invalid_params", "argument": "timeout"} == error.data


async def test_a_tool_of_another_role_does_not_exist() -> None:
    async with connected("worker") as client:
        await client.initialize()
        with pytest.raises(MCPError) as caught:
            await client.call_tool("spawn_worker", {"prompt": "x"})
    assert (-32602, {"code": "unknown_tool"}) == (caught.value.error.code, caught.value.error.data)


async def test_a_refusal_carries_its_code_word() -> None:
    async with connected("task") as client:
        await client.initialize()
        with pytest.raises(MCPError) as caught:
            await client.call_tool("lease_release", {"lease_id": "lease-1"})
    assert (-32600, {"code": "forbidden"}) == (caught.value.error.code, caught.value.error.data)


async def test_an_answer_that_is_too_large_says_so() -> None:
    async with connected("task") as client:
        await client.initialize()
        answer = await client.call_tool("kv_get", {"path": "/shared/a"})
    assert isinstance(answer, mcp_types.CallToolResult)
    assert answer.is_error
    assert answer.structured_content is not None
    assert "answer_too_large" == answer.structured_content["code"]
