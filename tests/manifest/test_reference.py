"""The schema told to others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pitboss.manifest.load import json_schema, reference
from pitboss.manifest.reference import KeyEntry
from pitboss.manifest.schema import Mode

SECTIONS = [
    "[run]",
    "[defaults]",
    "[container]",
    "[[container.mount]]",
    "[[container.copy]]",
    "[[task]]",
    "[lead]",
    "[sublead_defaults]",
    "[[approval_policy]]",
    "[approval_policy.match]",
    "[[mcp_server]]",
    "[[template]]",
    "[[notification]]",
    "[lifecycle]",
    "[lifecycle.notify]",
]
REQUIRED = {
    "[[container.mount]]": {"host", "container"},
    "[[container.copy]]": {"host", "container"},
    "[[task]]": {"id", "directory"},
    "[lead]": {"id", "directory", "prompt"},
    "[[approval_policy]]": {"action"},
    "[[mcp_server]]": {"id", "command"},
    "[[template]]": {"id", "prompt"},
    "[[notification]]": {"kind"},
    "[lifecycle.notify]": {"kind"},
}
FORMS = {
    "text", "long_text", "integer", "float", "boolean", "path", "enum_select", "string_list", "key_value_map",
}  # fmt: skip


def entry(header: str, name: str) -> KeyEntry:
    return next(key for section in reference() if section.header == header for key in section.keys if key.name == name)


def test_every_section_is_listed_in_order() -> None:
    assert SECTIONS == [section.header for section in reference()]


def test_required_keys_are_marked_and_come_first() -> None:
    for section in reference():
        required = [key.name for key in section.keys if key.required]

        assert REQUIRED.get(section.header, set()) == set(required)
        assert required == [key.name for key in section.keys[: len(required)]]


def test_every_key_is_explained() -> None:
    for section in reference():
        assert section.help.endswith(".")
        for key in section.keys:
            assert key.help.endswith("."), key
            assert key.type in FORMS, key
            assert key.required or key.default, key
            assert bool(key.choices) == (key.type == "enum_select" or key.name == "events"), key


@pytest.mark.parametrize(
    ("header", "name", "facts"),
    [
        ("[run]", "max_starts", ("integer", "the number of cores", "> 0", Mode.BOTH)),
        ("[run]", "halt_on_failure", ("boolean", "false", "", Mode.FLAT)),
        ("[run]", "stall_secs", ("float", "300.0", "> 0", Mode.BOTH)),
        ("[run]", "background_grace_secs", ("float", "60.0", ">= 0", Mode.BOTH)),
        ("[run]", "worktree_cleanup", ("enum_select", '"on_success"', "", Mode.BOTH)),
        ("[defaults]", "tools", ("string_list", '["Read", "Write", "Edit", "Bash", "Glob", "Grep"]', "", Mode.BOTH)),
        ("[lead]", "max_workers", ("integer", "no limit", "between 1 and 16 inclusive", Mode.HIERARCHICAL)),
        ("[lead]", "prompt", ("long_text", "", "", Mode.HIERARCHICAL)),
        ("[[task]]", "env", ("key_value_map", "{}", "", Mode.BOTH)),
        ("[[container.mount]]", "readonly", ("boolean", "false", "", Mode.BOTH)),
    ],
)
def test_a_key_is_told_with_its_type_default_range_and_mode(
    header: str, name: str, facts: tuple[str, str, str, Mode]
) -> None:
    key = entry(header, name)

    assert facts == (key.type, key.default, key.bounds, key.mode)


def test_the_json_schema_has_every_key_with_its_help() -> None:
    schema = json.loads(json.dumps(json_schema()))
    task = schema["$defs"]["Task"]

    assert schema["additionalProperties"] is False
    assert {"id", "directory"} == set(task["required"])
    assert "copy" in schema["$defs"]["Container"]["properties"]
    for name, definition in schema["$defs"].items():
        for key, value in definition["properties"].items():
            assert value.get("description"), (name, key)
    assert "flat" == schema["properties"]["task"]["x-mode"]


@pytest.mark.slow
def test_a_plain_manifest_needs_none_of_the_heavy_imports() -> None:
    """Every command that reads a manifest pays for what this room imports."""
    program = (
        "import sys\n"
        "from pitboss.manifest.load import Surroundings, PathKind, load\n"
        "around = Surroundings({}, '/home/ada', '/work', 1, lambda path: PathKind.REPOSITORY)\n"
        'load(\'[[task]]\\nid = "a"\\ndirectory = "."\\nprompt = "Go."\', "m", around)\n'
        "print(sorted({'tomlkit', 'asyncio', 'subprocess', 'difflib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
