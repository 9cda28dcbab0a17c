"""The operators' protocol: the shapes of 0.9, what is ours beside them, and any bytes at all."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.model.answers import Answer, Instant, refused
from pitboss.model.approvals import Approval, Decision, End, Proposal
from pitboss.model.run import ActorId, Policy, Rule
from pitboss.wire import control as wire
from pitboss.wire import control_events as events

ASKED = Approval(
    request_id="req-1",
    kind="deed",
    actor=ActorId("w"),
    path=(ActorId("boss"), ActorId("w")),
    role="worker",
    category="tool_use",
    summary="Bash git push",
    tool_name="Bash",
    tool_input='{"command":"git push"}',
    cost_usd=0.5,
    asked_at=1_700_000_000.0,
    expires_at=1_700_003_600.0,
    why="[[approval_policy]] #1: block",
)

names = st.sampled_from(["hello", "approve", "list_approvals"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
fields = st.sampled_from(["request_id", "approved", "comment", "reason", "client_version", "x"])
near_misses = st.builds(
    lambda op, rest: json.dumps({"op": op, **rest}).encode(), names | values, st.dictionaries(fields, values)
)


def event(line: bytes) -> dict[str, object]:
    assert line.endswith(b"\n")
    assert 1 == line.count(b"\n")
    found = events.parse_event(line)
    assert found is not None
    return found


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "order"),
    [
        (b'{"op":"hello","client_version":"0.9.2"}', wire.Hello(client_version="0.9.2")),
        (b'{"op":"hello","client_version":"0.9.2"}\r\n', wire.Hello(client_version="0.9.2")),
        (
            b'{"request_id":"r","op":"approve","approved":false,"reason":"no","new":[1]}',
            wire.Approve(request_id="r", approved=False, reason="no"),
        ),
        (b'{"op":"list_approvals"}', wire.ListApprovals()),
    ],
)
def test_an_order_of_0_9_or_ours_is_understood_and_unknown_keys_are_passed_over(line: bytes, order: wire.Op) -> None:
    assert order == wire.parse(line)


@given(st.binary() | near_misses)
def test_any_line_is_an_order_or_a_parse_error(line: bytes) -> None:
    read = wire.parse(line)
    if isinstance(read, str):
        assert read.startswith("parse error: ")
        failed = event(events.failed(wire.tag_of(line), read))
        assert "op_failed" == failed["event"]
    else:
        assert read == wire.parse(wire.encode_op(read))


@pytest.mark.parametrize("line", [b"[" * 1_000_000, b'{"op":' * 100_000, b"", b"\xff", b'"\\ud800"'])
def test_what_is_deep_empty_or_no_text_is_a_parse_error(line: bytes) -> None:
    assert isinstance(wire.parse(line), str)
    assert "parse_error" == wire.tag_of(line)
    assert events.parse_event(line) is None


def test_every_order_has_its_name_on_the_wire() -> None:
    approve = wire.Approve(request_id="r", approved=True)
    names = [str(kind.__struct_config__.tag) for kind in get_args(wire.Op)]
    of_old = {"cancel_worker", "cancel_run", "pause_worker", "continue_worker", "reprompt_worker", "update_policy"}
    assert {*of_old, "hello", "approve", "list_workers"} < set(names)
    assert len(names) == len(set(names))
    assert "approve" == wire.name_of(approve)
    assert {"op": "approve", "request_id": "r", "approved": True} == json.loads(wire.encode_op(approve))


# --- events -----------------------------------------------------------------------------------------------------------


def test_hello_names_the_rules_with_the_four_keys_of_0_9_and_ours_where_they_are_given() -> None:
    rules = (Rule(action="auto_approve", category="tool_use"), Rule(action="block", tool="Bash", args={"command": "*"}))

    said = event(events.hello("0.10", "r", "flat", ["a"], Policy(rules=rules), 3))

    nothing = {"actor": None, "category": None, "tool_name": None, "cost_over": None}
    assert [
        {"match": nothing | {"category": "tool_use"}, "action": "auto_approve"},
        {"match": nothing | {"tool": "Bash", "args": {"command": "*"}}, "action": "block"},
    ] == said["policy_rules"]
    assert ("block", 3) == (said["policy_default"], said["policy_version"])
    assert "policy_rules" not in event(events.hello("0.10", "r", "flat", [], Policy(), 0))


def test_a_request_has_what_an_operator_needs_to_decide() -> None:
    assert {
        "event": "approval_request",
        "request_id": "req-1",
        "task_id": "w",
        "summary": "Bash git push",
        "request_kind": "deed",
        "actor_path": ["boss", "w"],
        "role": "worker",
        "category": "tool_use",
        "tool_name": "Bash",
        "tool_input": '{"command":"git push"}',
        "cost": 0.5,
        "asked_at": "2023-11-14T22:13:20Z",
        "expires_at": "2023-11-14T23:13:20Z",
        "fallback": "auto_reject",
        "why": "[[approval_policy]] #1: block",
    } == event(events.approval_request(ASKED, None))


def test_a_request_that_ends_with_whoever_asks_says_so_beside_its_expiry() -> None:
    said = event(events.approval_request(ASKED, End(at=1_700_000_008.0, by="timeout")))

    assert ("2023-11-14T22:13:28Z", "timeout") == (said["ends_at"], said["ends_by"])
    assert "2023-11-14T23:13:20Z" == said["expires_at"]


def test_a_plan_is_of_the_kind_that_0_9_knows_and_what_is_not_there_is_left_out() -> None:
    plan = Proposal(summary="dig", risks=("water",))
    asked = msgspec.structs.replace(
        ASKED, kind="plan", plan=plan, tool_name=None, tool_input="", cost_usd=None, expires_at=None, why=""
    )

    said = event(events.approval_request(asked, None))

    assert ("plan", {"summary": "dig", "risks": ["water"]}) == (said["kind"], said["plan"])
    assert set(said).isdisjoint({"tool_name", "tool_input", "cost", "expires_at", "fallback", "why"})
    assert "kind" not in event(events.approval_request(ASKED, None))


def test_how_a_request_was_answered_is_told_with_who_did_it() -> None:
    ruling = Decision(approved=False, by="operator", via="ann with pitboss 0.10", reason="no")
    assert {
        "event": "approval_resolved",
        "request_id": "req-1",
        "task_id": "w",
        "approved": False,
        "decided_by": "operator",
        "via": "ann with pitboss 0.10",
        "reason": "no",
    } == event(events.approval_resolved(ASKED, ruling))


def test_an_order_is_acknowledged_or_has_failed() -> None:
    at = Instant(1_700_000_000.0)
    assert {"event": "op_acked", "op": "approve", "at": "2023-11-14T22:13:20Z"} == event(
        events.acked("approve", Answer({"ok": True, "at": at}))
    )
    assert {"event": "op_failed", "op": "approve", "error": "unknown", "code": "not_found"} == event(
        events.failed("approve", refused("not_found", "unknown"))
    )
    assert {"event": "op_failed", "op": "x", "error": "why"} == event(events.failed("x", "why"))


@given(st.text(), st.text())
def test_whatever_an_agent_writes_stays_in_its_line(summary: str, tool_input: str) -> None:
    asked = msgspec.structs.replace(ASKED, summary=summary, tool_input=tool_input)
    said = event(events.approval_request(asked, None))
    assert said["summary"] == summary.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert 1 == len(event(events.approvals_snapshot([(asked, None)]))["approvals"])  # type: ignore[arg-type]
