from __future__ import annotations

import json

import pytest

from pitboss.errors import WorldError
from pitboss.wire.resolved import decode_resolved


def test_what_0_9_wrote_is_understood() -> None:
    server = {"id": "db", "command": "db-mcp", "args": ["-v"], "env": {}}
    task: dict[str, object] = {
        "id": "a",
        "directory": "/repo",
        "prompt": "Go.",
        "effort": "max",
        "tools": [],
        "resume_session_id": None,
    }
    whole = {"manifest_schema_version": 1, "name": None, "max_parallel_tasks": 3, "tasks": [task], "lead": None}
    found = decode_resolved(json.dumps(whole | {"mcp_servers": [server], "later": {"x": 1}}).encode())
    assert (3, "max", (), 3600) == (found.cap, found.tasks[0].effort, found.tasks[0].tools, found.tasks[0].timeout_secs)
    assert ("db", ("-v",)) == (found.mcp_servers[0].id, found.mcp_servers[0].args)


def test_older_names_are_understood_too() -> None:
    assert 7 == decode_resolved(b'{"max_parallel": 7}').cap
    assert 0 == decode_resolved(b"{}").cap


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"tasks":[{}]}', b'{"tasks":[{"id":"a","effort":"huge"}]}', b"\xff"]
)
def test_what_is_none_says_so(data: bytes) -> None:
    with pytest.raises(WorldError, match="not a resolved manifest"):
        decode_resolved(data)


def test_a_later_schema_is_named_whatever_else_it_says() -> None:
    with pytest.raises(WorldError, match="schema version 2"):
        decode_resolved(b'{"manifest_schema_version": 2, "tasks": "elsewhere"}')
