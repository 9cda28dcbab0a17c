"""What is posted: envelope, chats, templates, signature; and what answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.model.notices import SEVERITIES, AnyKind, Event, Notice, NoticeKind, Settled, Sink
from pitboss.wire import chat
from pitboss.wire import notices as wire

RUN = "01a2"
FIELDS: dict[str, Any] = {
    "request_id": "req-1", "task_id": "a", "label": "", "summary": "push", "path": ["a"], "request_kind": "action",
    "category": "other", "tool_name": None, "cost_usd": 0.5, "why": "", "expires_at": None, "fallback": "block",
    "plan": None, "parent_run_id": None, "manifest_path": "m.toml", "mode": "flat", "survive_parent": False,
    "tasks_total": 4, "tasks_failed": 1, "tasks_not_started": 0, "duration_ms": 12_999, "spent_usd": 1.5,
    "outcome": "failed", "budget_usd": 2.0, "how": "stop", "by": "SIGTERM", "scope": "failed", "role": "task",
    "status": "Failed", "reason": "unknown", "message": "it broke", "resets_at": None,
}  # fmt: skip
KINDS = [*get_args(NoticeKind), "test"]


def a_notice(kind: AnyKind = "run_finished", severity: Any = "info", **changes: object) -> Notice:
    event: Any = {"kind": kind, "run_id": RUN, **FIELDS, **changes}
    return Notice(key=f"{RUN}:{kind}", kind=kind, severity=severity, at=1_777_204_800.5, event=event)


def body(kind: Any, notice: Notice, template: str = "") -> Any:
    sink = Sink(id="s", kind=kind, template=template)
    return json.loads(wire.post(sink, "https://x/", {}, "", notice, RUN, now=0.0).body)


def slack_text(notice: Notice, template: str = "") -> str:
    return str(body("slack", notice, template)["blocks"][1]["text"]["text"])


def discord_text(notice: Notice, template: str = "") -> str:
    return str(body("discord", notice, template)["embeds"][0]["description"])


def test_the_envelope_is_that_of_0_9() -> None:
    event: Event = {
        "kind": "run_dispatched",
        "run_id": RUN,
        "parent_run_id": None,
        "manifest_path": "m.toml",
        "mode": "flat",
        "survive_parent": False,
    }
    notice = Notice(key="01a2:run_dispatched", kind="run_dispatched", severity="info", at=1_777_204_800.0, event=event)

    assert {
        "dedup_key": "01a2:run_dispatched",
        "severity": "info",
        "event": event,
        "ts": "2026-04-26T12:00:00Z",
        "source": RUN,
    } == body("webhook", notice)


def test_a_chat_says_until_when_a_request_waits_and_what_comes_then() -> None:
    def until(**changes: object) -> str:
        notice = a_notice("approval_request", "warning", expires_at=1_777_208_400.0, **changes)
        return discord_text(notice).replace("\\", "")

    assert "2026-04-26T13:00:00Z, block" in until(ends_at=1_777_208_400.0, ends_by="expiry")
    assert "2026-04-26T12:00:08Z, then it times out" in until(ends_at=1_777_204_808.0, ends_by="timeout")


def test_times_in_an_event_are_readable_even_those_no_calendar_has() -> None:
    assert "2026-04-26T12:00:00Z" == body("webhook", a_notice(expires_at=1_777_204_800.0))["event"]["expires_at"]
    assert body("webhook", a_notice(resets_at=1e300))["event"]["resets_at"] is None
    assert "nobody knows when" in slack_text(a_notice("rate_limited", resets_at=1e300))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_kind_reads_well_everywhere(kind: AnyKind, severity: str) -> None:
    notice = a_notice(kind, severity)

    assert body("webhook", notice)["event"]["kind"] == kind
    blocks = body("slack", notice)["blocks"]
    assert (["header", "section"], True) == ([block["type"] for block in blocks], blocks[0]["text"]["emoji"])
    assert chat.title(notice) in blocks[0]["text"]["text"]
    embed = body("discord", notice)["embeds"][0]
    assert {"info": 3447003, "warning": 15844367, "error": 15105570, "critical": 15158332}[severity] == embed["color"]
    assert "2026-04-26T12:00:00.500+00:00" == embed["timestamp"]


def test_slack_and_discord_say_what_they_always_said() -> None:
    finished = a_notice(severity="error")

    assert ":warning: Pitboss run finished" == body("slack", finished)["blocks"][0]["text"]["text"]
    assert ":white_check_mark: Pitboss run finished" == body("slack", a_notice())["blocks"][0]["text"]["text"]
    assert ["*Run:* 01a2", "*Tasks:* 3 / 4", "*Duration:* 12s", "*Cost:* $1.50"] == slack_text(finished).split("\n")[:4]
    assert "**Tasks:** 3 / 4" in discord_text(finished)
    assert {"content": None, "allowed_mentions": {"parse": []}}.items() <= body("discord", finished).items()
    assert "Source: 01a2" == body("discord", finished)["embeds"][0]["footer"]["text"]


def test_slack_encodes_entities_and_nothing_else() -> None:
    assert "*Summary:* a &lt;!channel&gt; &amp; *b* \\ c" in slack_text(
        a_notice("approval_request", summary="a <!channel> & *b* \\ c")
    )


def test_discord_escapes_its_marks() -> None:
    assert "**Summary:** \\@everyone \\*b\\* \\[x\\]\\(y\\) &" in discord_text(
        a_notice("approval_request", summary="@everyone *b* [x](y) &")
    )


def test_an_agent_cannot_forge_a_line_of_its_own() -> None:
    lines = slack_text(a_notice("approval_request", summary="x\n*Answer:* approved")).split("\n")

    assert "*Summary:* x *Answer:* approved" in lines


TEXTS = st.text(st.characters() | st.sampled_from("&<>*_~`|#[]()@:\\\n\U0001f600"), max_size=6000)


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(TEXTS, TEXTS, st.sampled_from(KINDS))
def test_no_text_is_too_long_for_a_chat_and_no_escape_is_cut(summary: str, other: str, kind: Any) -> None:
    notice = a_notice(kind, summary=summary, message=other, why=other, by=other, manifest_path=other, task_id=other)
    for template in ("", "{text}{event}"):
        slack, embed = body("slack", notice, template), body("discord", notice, template)["embeds"][0]
        text = slack["blocks"][1]["text"]["text"]

        assert 0 < units(text) <= 3000
        assert units(slack["blocks"][0]["text"]["text"]) <= 150
        assert units(embed["title"]) <= 256
        assert units(embed["description"]) <= 4096
        if not template:
            assert "<" not in text
            assert all(part.startswith(("amp;", "lt;", "gt;")) for part in text.split("&")[1:])
            plain = embed["description"].removesuffix("…")
            assert 0 == (len(plain) - len(plain.rstrip("\\"))) % 2


def test_a_long_line_leaves_room_for_those_after_it() -> None:
    text = slack_text(a_notice("approval_request", summary="x" * 5000))

    assert "pitboss approvals approve 01a2 req-1" in text


# --- templates and signatures -----------------------------------------------------------------------------------------


def test_a_webhook_can_have_a_body_of_its_own() -> None:
    template = '{"a": {"msg": "{title}: {text}"}, "e": {event}, "k": "{dedup_key}", "unknown": "{nothing}"}'
    made = body("webhook", a_notice(manifest_path='say "hi" {kind}\n'), template)

    assert made["a"]["msg"].startswith("Pitboss run finished: Run: 01a2, Tasks: 3 / 4")
    assert ('say "hi" {kind}\n', "01a2:run_finished", "{nothing}") == (
        made["e"]["manifest_path"],
        made["k"],
        made["unknown"],
    )


@given(TEXTS)
def test_a_template_makes_json_whatever_an_agent_wrote(summary: str) -> None:
    made = body("webhook", a_notice("approval_request", summary=summary), '{"t": "{text}", "e": {event}}')

    assert made["e"]["request_id"] == "req-1"


def test_chats_take_a_template_for_their_text() -> None:
    assert "01a2 &amp; info" == slack_text(a_notice(), "{run_id} &amp; {severity}")


def test_a_signature_binds_the_time_and_the_body() -> None:
    sink = Sink(id="w", kind="webhook")
    post = wire.post(sink, "https://x/", {"X-Y": "z"}, "key", a_notice(), RUN, now=1234.9)

    assert "1234" == post.headers["X-Pitboss-Timestamp"]
    assert wire.signature("key", "1234", post.body) == post.headers["X-Pitboss-Signature"]
    assert "sha256=" == post.headers["X-Pitboss-Signature"][:7]
    assert ("z", f"{RUN}:run_finished") == (post.headers["X-Y"], post.headers["Idempotency-Key"])
    unsigned = wire.post(sink, "https://x/", {}, "", a_notice(), RUN, now=1.0)
    assert not [name for name in unsigned.headers if name.startswith("X-")]


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (302, "refused"),
        (400, "refused"),
        (404, "refused"),
        (429, "undelivered"),
        (500, "undelivered"),
        (503, "undelivered"),
        (700, "undelivered"),
    ],
)
def test_what_a_status_means(status: int, outcome: str) -> None:
    assert outcome == wire.judge(status).outcome


def test_the_waits_are_three_and_grow() -> None:
    assert [0.1, 0.3, 0.9, None] == [
        None if wait is None else round(wait, 6)
        for wait in (wire.wait_secs(tries, 0.5, "", 0.0) for tries in (1, 2, 3, 4))
    ]


@given(st.floats(0, 1), st.integers(1, 3))
def test_chance_moves_a_wait_by_half_at_most(chance: float, tries: int) -> None:
    wait = wire.wait_secs(tries, chance, "", 0.0)

    assert wait is not None
    assert wire.WAITS[tries - 1] * 0.5 <= wait <= wire.WAITS[tries - 1] * 1.5


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("100000", 60.0),
        ("-1", 0.1),
        ("nan", 0.1),
        ("inf", 0.1),
        ("soon", 0.1),
        (format_datetime(datetime.fromtimestamp(1012, UTC), usegmt=True), 12.0),
        (format_datetime(datetime.fromtimestamp(12, UTC), usegmt=True), 0.1),
    ],
)
def test_a_receiver_may_ask_for_a_longer_wait(header: str, wait: float) -> None:
    assert wait == wire.wait_secs(1, 0.5, header, 1000.0)


@given(st.text(max_size=40))
def test_no_header_breaks_the_waiting(header: str) -> None:
    wait = wire.wait_secs(1, 0.5, header, 1000.0)

    assert wait is not None
    assert 0.1 <= wait <= 60.0


def test_a_failure_has_the_line_of_0_9_and_a_delivery_has_one_too() -> None:
    about: dict[str, Any] = {"at": 1_777_204_800.0, "key": "k", "kind": "run_finished", "sink": "slack"}

    failed = json.loads(wire.encode_settled(Settled(**about, outcome="undelivered", tries=4, error="it broke")))
    assert ["kind", "at", "sink_id", "event_kind", "error"] == list(failed)[:5]
    assert ("notification_failed", "2026-04-26T12:00:00Z", True) == (failed["kind"], failed["at"], failed["will_retry"])
    assert (
        "notification_delivered"
        == json.loads(wire.encode_settled(Settled(**about, outcome="delivered", tries=1)))["kind"]
    )
