"""Our MCP server in data: its answers are what the official client's types accept."""

from __future__ import annotations

import mcp_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.wire import mcp
from pitboss.wire.claude import JsonObject

SPAWN = mcp.Tool(
    name="spawn_worker",
    description="Start a worker.",
    input_schema={"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    roles=("lead",),
)
STATUS = mcp.Tool(
    name="worker_status",
    description="Say how a worker is.",
    input_schema={"type": "object"},
    read_only=True,
    roles=("lead", "sublead"),
)
TOOLS = (SPAWN, STATUS)


def request(method: str, params: JsonObject | None = None, call_id: object = 1) -> JsonObject:
    message: JsonObject = {"jsonrpc": "2.0", "id": call_id, "method": method}
    return message if params is None else message | {"params": params}


def answered(message: JsonObject) -> JsonObject:
    answer = mcp.answer(message, TOOLS, version="9.9")
    assert isinstance(answer, dict)
    return answer


def result_of(message: JsonObject) -> object:
    answer = answered(message)
    assert mcp_types.JSONRPCResponse.model_validate(answer).id == message["id"]
    return answer["result"]


def error_of(message: JsonObject) -> mcp_types.ErrorData:
    return mcp_types.JSONRPCError.model_validate(answered(message)).error


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_handshake_speaks_the_version_the_client_wants(version: str) -> None:
    welcome = mcp_types.InitializeResult.model_validate(result_of(request("initialize", {"protocolVersion": version})))
    assert version == welcome.protocol_version
    assert "pitboss" == welcome.server_info.name
    assert "9.9" == welcome.server_info.version
    assert welcome.capabilities.tools is not None


def test_a_client_from_the_future_is_offered_the_newest_version_we_know() -> None:
    params: JsonObject = {"protocolVersion": "2099-01-01"}
    welcome = mcp_types.InitializeResult.model_validate(result_of(request("initialize", params)))
    assert "2025-11-25" == welcome.protocol_version


def test_a_ping_is_answered() -> None:
    mcp_types.EmptyResult.model_validate(result_of(request("ping")))


def test_the_list_of_tools_is_the_table_of_tools() -> None:
    listed = mcp_types.ListToolsResult.model_validate(result_of(request("tools/list"))).tools
    assert ["spawn_worker", "worker_status"] == [tool.name for tool in listed]
    assert SPAWN.input_schema == listed[0].input_schema
    assert "Start a worker." == listed[0].description


def test_a_tool_that_only_reads_says_so() -> None:
    listed = mcp_types.ListToolsResult.model_validate(result_of(request("tools/list"))).tools
    hints = [tool.annotations.read_only_hint for tool in listed if tool.annotations is not None]
    assert [False, True] == hints


def test_a_call_comes_back_for_somebody_else_to_answer() -> None:
    params: JsonObject = {"name": "spawn_worker", "arguments": {"prompt": "x"}, "_meta": {"progressToken": 2}}
    expected = mcp.Call(call_id="abc", tool="spawn_worker", arguments={"prompt": "x"})
    assert expected == mcp.answer(request("tools/call", params, "abc"), TOOLS)


def test_a_call_without_arguments_has_none() -> None:
    expected = mcp.Call(call_id=1, tool="worker_status", arguments={})
    assert expected == mcp.answer(request("tools/call", {"name": "worker_status"}), TOOLS)


def test_an_unknown_tool_is_refused_with_the_names_of_the_known_ones() -> None:
    problem = error_of(request("tools/call", {"name": "launch"}))
    assert -32602 == problem.code
    assert "tool not found: 'launch'; the tools of this session: spawn_worker, worker_status." == problem.message
    assert {"code": "unknown_tool"} == problem.data


def test_a_call_must_name_its_tool() -> None:
    assert -32602 == error_of(request("tools/call", {"arguments": {}})).code


def test_arguments_must_be_an_object() -> None:
    problem = error_of(request("tools/call", {"name": "spawn_worker", "arguments": [1]}))
    assert -32602 == problem.code
    assert "$.params.arguments" in problem.message


def test_an_unknown_method_is_refused() -> None:
    assert -32601 == error_of(request("resources/list")).code


def test_a_message_of_another_protocol_is_refused() -> None:
    assert -32600 == error_of({"jsonrpc": "1.0", "id": 1, "method": "ping"}).code


@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/cancelled", "notifications/unheard_of"])
def test_a_notification_is_acknowledged(method: str) -> None:
    assert {"jsonrpc": "2.0", "result": {}} == answered(
        {"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}}
    )


def test_an_answer_to_a_question_we_never_asked_is_acknowledged() -> None:
    assert {"jsonrpc": "2.0", "result": {}} == answered({"jsonrpc": "2.0", "id": 7, "result": {"roots": []}})


def test_the_answer_to_a_call_is_what_the_client_expects() -> None:
    answer = mcp.result(3, mcp.tool_text("gone", is_error=True))
    payload = mcp_types.CallToolResult.model_validate(mcp_types.JSONRPCResponse.model_validate(answer).result)
    assert payload.is_error
    assert [mcp_types.TextContent(type="text", text="gone")] == payload.content


def test_a_role_sees_only_its_own_tools() -> None:
    assert TOOLS == mcp.for_role(TOOLS, "lead")
    assert (STATUS,) == mcp.for_role(TOOLS, "sublead")
    assert () == mcp.for_role(TOOLS, "task")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result"]), JSON | st.just("2.0")))
def test_any_object_gets_an_answer(message: JsonObject) -> None:
    answer = mcp.answer(message, TOOLS)
    assert isinstance(answer, mcp.Call) or "2.0" == answer["jsonrpc"]
