"""The table of our tools: who has what, and schemas that a model and a client can read."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import get_args

import jsonschema  # type: ignore[import-untyped]  # the official client brings it
import pytest

from pitboss.model import calls
from pitboss.model.run import Role
from pitboss.wire.claude import JsonObject
from pitboss.wire.tool_schemas import allowed, nearest, properties_of
from pitboss.wire.tools import INSTRUCTIONS, TOOLS, name_of, tools_for

BY_NAME = {tool.name: tool for tool in TOOLS}

STORE_AND_LEASES = {
    *("kv_get", "kv_set", "kv_cas", "kv_delete", "kv_list", "kv_wait"),
    *("lease_acquire", "lease_release", "lease_list", "run_lease_acquire", "run_lease_release"),
}
LEADING = {
    *("spawn_worker", "worker_status", "wait_for_worker", "wait_for_any", "wait_actor", "list_workers"),
    *("cancel_worker", "pause_worker", "continue_worker", "reprompt_worker", "request_approval", "propose_plan"),
}


def names(role: Role, *, allow_subleads: bool = False, path_b: bool = False) -> set[str]:
    return {tool.name for tool in tools_for(role, allow_subleads=allow_subleads, path_b=path_b)}


def nodes(schema: object) -> Iterator[JsonObject]:
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            yield from (
                (each for part in value.values() for each in nodes(part)) if key == "properties" else nodes(value)
            )
    elif isinstance(schema, list):
        for each in schema:
            yield from nodes(each)


def test_every_call_has_one_tool_and_they_are_in_order_of_name() -> None:
    assert sorted(name_of(kind) for kind in get_args(calls.AnyCall)) == [tool.name for tool in TOOLS]
    assert {"spawn_worker", "kv_get", "run_lease_acquire"} < set(BY_NAME)


def test_every_struct_that_is_a_call_is_one_of_the_calls() -> None:
    tree = ast.parse(inspect.getsource(calls))
    structs = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {"Call", "Plan"}
    assert structs == {kind.__name__ for kind in get_args(calls.AnyCall)}


def test_a_lead_leads_and_starts_sub_leads_only_if_the_manifest_lets_it() -> None:
    assert LEADING | STORE_AND_LEASES == names("lead")
    assert LEADING | STORE_AND_LEASES | {"spawn_sublead"} == names("lead", allow_subleads=True)


def test_a_sub_lead_leads_but_starts_no_sub_leads() -> None:
    assert LEADING | STORE_AND_LEASES == names("sublead", allow_subleads=True)


def test_a_worker_has_the_store_leases_of_both_kinds_and_may_ask() -> None:
    assert STORE_AND_LEASES | {"request_approval"} == names("worker", allow_subleads=True)


def test_a_task_of_a_flat_run_has_the_store_and_leases() -> None:
    assert STORE_AND_LEASES == names("task", allow_subleads=True)


@pytest.mark.parametrize("role", get_args(Role))
def test_the_permission_prompt_is_there_only_when_it_is_asked(role: Role) -> None:
    assert {"permission_prompt"} == names(role, path_b=True) - names(role)


def test_what_only_reads_says_so() -> None:
    reading = {"worker_status", "list_workers", "kv_get", "kv_list", "lease_list"}
    waiting = {"wait_for_worker", "wait_actor", "wait_for_any", "kv_wait"}
    assert reading | waiting == {tool.name for tool in TOOLS if tool.read_only}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_schema_is_flat_and_every_argument_is_explained(name: str) -> None:
    schema = BY_NAME[name].input_schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "object" == schema["type"]
    assert schema["additionalProperties"] is False
    assert not {"anyOf", "oneOf", "allOf", "description"} & set(schema), "the Messages API refuses a choice at the top"
    for node in nodes(schema):
        assert not {"$ref", "$defs", "title"} & set(node)
        assert node.get("default", "") is not None
        assert {"type": "null"} != node
    for argument, each in properties_of(schema).items():
        assert each.get("description"), argument


def test_a_description_is_the_docstring_without_its_margins() -> None:
    description = BY_NAME["kv_cas"].description
    assert description.startswith("Write a key only if its version is still the one you know; 0 means")
    assert "\n\nOn a mismatch ok is false" in description
    assert "  " not in description
    assert all(tool.description for tool in TOOLS)


def test_an_optional_argument_has_its_type_alone() -> None:
    timeout = properties_of(BY_NAME["wait_for_worker"].input_schema)["timeout_secs"]
    assert ("integer", 0, 604_800) == (timeout["type"], timeout["minimum"], timeout["maximum"])
    assert "default" not in timeout


def test_a_struct_inside_a_call_stands_where_it_is_used() -> None:
    plan = properties_of(BY_NAME["request_approval"].input_schema)["plan"]
    assert "More about it, for the operator." == plan["description"]
    assert ["summary"] == plan["required"]
    assert {"type": "array", "items": {"type": "string"}, "description": "What can go wrong."} == (
        properties_of(plan)["risks"]
    )


def test_of_two_forms_of_a_value_the_easier_one_comes_first() -> None:
    value = properties_of(BY_NAME["kv_set"].input_schema)["value"]
    assert [{"type": "string"}, {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}] == (
        value["anyOf"]
    )


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "an integer from 1 to 9"),
        ({"type": "integer", "minimum": 1}, "an integer of at least 1"),
        ({"type": "number"}, "a number"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "string", "minLength": 1}, "a string of at least 1 character"),
        ({"type": "string", "minLength": 2}, "a string of at least 2 characters"),
        ({"type": "string", "maxLength": 9, "pattern": "^a"}, "a string of at most 9 characters that matches ^a"),
        ({"type": "string", "enum": ["a", "b"]}, '"a" or "b"'),
        ({"type": "array", "items": {"type": "string"}}, "an array, each a string"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "an object, each value a string"),
        ({"type": "object", "properties": {"a": {}, "b": {}}}, "an object with a, b"),
        ({"type": "object"}, "an object"),
        ({}, "any JSON"),
    ],
)
def test_a_schema_in_words(schema: JsonObject, words: str) -> None:
    assert words == allowed(schema)


def test_the_nearest_name_is_near() -> None:
    assert "prompt" == nearest("promt", ["prompt", "path"])
    assert nearest("zzz", ["prompt", "path"]) is None


def test_the_instructions_say_how_to_wait_and_what_interrupted_means() -> None:
    assert "wait_for_any" in INSTRUCTIONS
    assert "interrupted = true" in INSTRUCTIONS
    assert len(INSTRUCTIONS) < 1000
