"""How a notification reads in a chat: a title, labelled lines, and the bodies of Slack and Discord.

What agents wrote is shown as it is and does nothing: it is encoded the way each chat wants it, keeps to its line, and
is cut before the chat's limits, as a message that is too long is refused for good. Called by ``wire.notices``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pitboss.model.answers import Instant
from pitboss.model.money import dollars
from pitboss.model.notices import Notice, Severity, fill_places
from pitboss.wire.scalars import to_plain, to_timestamp

__all__ = ["discord", "lines", "plain", "slack", "title"]

SLACK_TITLE, SLACK_TEXT = 150, 3000
DISCORD_TITLE, DISCORD_TEXT, DISCORD_FOOTER = 256, 4096, 2048
"""Longest texts, in UTF-16 units: at least as strict as counting characters."""

LONGEST_VALUE = 1000
"""Of one line, so that those after it are seen too."""

_EMOJI: Mapping[Severity, str] = MappingProxyType(
    {"info": ":information_source:", "warning": ":warning:", "error": ":x:", "critical": ":rotating_light:"}
)
_COLOR: Mapping[Severity, int] = MappingProxyType(
    {"info": 3447003, "warning": 15844367, "error": 15105570, "critical": 15158332}
)


class _Look(NamedTuple):
    title: str
    mark: str


_LOOKS: Mapping[str, _Look] = MappingProxyType(
    {
        "approval_request": _Look("Pitboss approval requested", "\N{LARGE YELLOW CIRCLE}"),
        "approval_pending": _Look("Pitboss approval pending operator action", "\N{HOURGLASS WITH FLOWING SAND}"),
        "run_dispatched": _Look("Pitboss run dispatched", "\N{ROCKET}"),
        "run_finished": _Look("Pitboss run finished", "\N{WHITE HEAVY CHECK MARK}"),
        "budget_exceeded": _Look("Pitboss budget exceeded", "\N{OCTAGONAL SIGN}"),
        "approval_answered": _Look("Pitboss approval answered", "\N{BALLOT BOX WITH CHECK}"),
        "approval_expired": _Look("Pitboss approval expired", "\N{ALARM CLOCK}"),
        "task_failed": _Look("Pitboss task failed", "\N{CROSS MARK}"),
        "worker_failed": _Look("Pitboss worker failed", "\N{CROSS MARK}"),
        "sublead_ended": _Look("Pitboss sub-lead ended", "\N{CHEQUERED FLAG}"),
        "budget_near": _Look("Pitboss budget nearly spent", "\N{WARNING SIGN}"),
        "run_stopped": _Look("Pitboss run is being stopped", "\N{OCTAGONAL SIGN}"),
        "run_resumed": _Look("Pitboss run resumed", "\N{ROCKET}"),
        "rate_limited": _Look("Pitboss meets a rate limit", "\N{SNAIL}"),
        "auth_failed": _Look("Pitboss login refused", "\N{LOCK}"),
        "agent_stalled": _Look("Pitboss agent is silent", "\N{SLEEPING SYMBOL}"),
        "test": _Look("Pitboss test message", "\N{WRENCH}"),
    }
)


def title(notice: Notice) -> str:
    """What it is about, in a few words."""
    return _LOOKS[notice.kind].title


def lines(notice: Notice) -> list[tuple[str, str]]:
    """What is said of it: label and value, each of one line."""
    return [(label, " ".join(value.split())) for label, value in _lines(notice) if value]


def plain(notice: Notice) -> str:
    """All of it without any marks: what a notification bar or a log shows."""
    return ", ".join(f"{label}: {_cut(value, LONGEST_VALUE)}" for label, value in lines(notice))


def _lines(notice: Notice) -> Iterator[tuple[str, str]]:
    event: Mapping[str, Any] = notice.event
    match notice.kind:
        case "approval_request" | "approval_pending" | "approval_answered" | "approval_expired":
            yield "Request", event["request_id"]
            yield "Task", _actor(event)
            yield "Summary", event["summary"]
            yield from _ruling(event) if "approved" in event else _asked(event)
        case "run_dispatched":
            yield "Run", event["run_id"]
            yield "Manifest", event["manifest_path"]
            yield "Mode", event["mode"]
            yield "Parent", event["parent_run_id"] or ""
            yield "Survives parent", "yes" if event["survive_parent"] else ""
        case "run_finished":
            yield "Run", event["run_id"]
            yield "Tasks", f"{event['tasks_total'] - event['tasks_failed']} / {event['tasks_total']}"
            yield "Duration", f"{event['duration_ms'] // 1000}s"
            yield "Cost", dollars(event["spent_usd"])
            yield "Outcome", event["outcome"]
            yield "Never started", str(event["tasks_not_started"] or "")
        case "budget_exceeded" | "budget_near":
            yield "Run", event["run_id"]
            yield "Layer", event.get("layer", "")
            yield "Spent", dollars(event["spent_usd"])
            yield "Budget", "" if event["budget_usd"] is None else dollars(event["budget_usd"])
        case "run_stopped":
            yield "Run", event["run_id"]
            yield "How", "everything is stopped" if event["how"] == "stop" else "nothing more is started"
            yield "By", event["by"]
        case "run_resumed" | "test":
            yield "Run", event["run_id"]
            yield "Goes on with", event.get("scope", "")
        case _:
            yield "Run", event["run_id"]
            yield "Task", _actor(event)
            yield from _trouble(event)


def _actor(event: Mapping[str, Any]) -> str:
    return f"{event['label']} ({event['task_id']})" if event.get("label") else str(event["task_id"])


def _asked(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plan = event["plan"] or {}
    yield "Plan", plan.get("rationale", "")
    yield "Risks", "; ".join(plan.get("risks", ()))
    yield "Tool", event["tool_name"] or ""
    yield "Cost", "" if event["cost_usd"] is None else f"{dollars(event['cost_usd'])} by its own estimate"
    yield "Why you", event["why"]
    yield "Until", _until(event)
    yield "Answer with", f"pitboss approvals approve {event['run_id']} {event['request_id']} (or reject)"


def _until(event: Mapping[str, Any]) -> str:
    if event.get("ends_by") == "timeout":
        return f"{_when(event['ends_at'])}, then it times out"
    return "" if event["expires_at"] is None else f"{_when(event['expires_at'])}, {event['fallback']}"


def _ruling(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    who = f"{event['by']}, {event['via']}" if event["via"] else event["by"]
    closed = event.get("closed")
    yield "Answer", "nobody waits for it any more" if closed else "approved" if event["approved"] else "rejected"
    yield "By", "" if closed else who
    yield "Comment", event["comment"] or event["reason"]


def _trouble(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Status", event.get("status") or ""
    yield "Reason", event.get("reason") or ""
    yield "Message", event.get("message", "")
    yield "Silent for", f"{event['silent_secs']:.0f}s" if "silent_secs" in event else ""
    yield "Until", _when(event["resets_at"]) if event.get("resets_at") else ""
    spent = event.get("spent_usd", event.get("cost_usd"))
    yield "Cost", "" if spent is None else dollars(spent)


def _when(at: float) -> str:
    """A time, or what is said of one that no calendar has."""
    return to_plain(Instant(at)) or "nobody knows when"


# --- bodies -----------------------------------------------------------------------------------------------------------


def slack(notice: Notice, template: str, places: Mapping[str, str]) -> dict[str, object]:
    """The body of an incoming webhook of Slack."""
    mark = _EMOJI[notice.severity]
    if notice.kind == "run_finished":
        mark = ":warning:" if notice.severity != "info" else ":white_check_mark:"
    head = f"{mark} {title(notice)}"
    text = _described(notice, "*{}:* ", _slack_char, SLACK_TEXT, template, places)
    section = {"type": "mrkdwn", "text": text or " ", "verbatim": True}
    return {
        "text": _trimmed(map(_slack_char, f"{title(notice)}: {plain(notice)}"), SLACK_TEXT),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": _cut(head, SLACK_TITLE), "emoji": True}},
            {"type": "section", "text": section},
        ],
    }


def discord(notice: Notice, run_id: str, template: str, places: Mapping[str, str]) -> dict[str, object]:
    """The body of a webhook of Discord."""
    mark = _LOOKS[notice.kind].mark
    if notice.kind == "run_finished" and notice.severity != "info":
        mark = "\N{WARNING SIGN}"
    embed = {
        "title": _cut(f"{mark} {title(notice)}", DISCORD_TITLE),
        "description": _described(notice, "**{}:** ", _discord_char, DISCORD_TEXT, template, places),
        "color": _COLOR[notice.severity],
        "timestamp": to_timestamp(notice.at).removesuffix("Z") + "+00:00",
        "footer": {"text": _cut(f"Source: {run_id}", DISCORD_FOOTER)},
    }
    return {"content": None, "allowed_mentions": {"parse": []}, "embeds": [embed]}


def _described(
    notice: Notice,
    label: str,
    char: Callable[[str], str],
    limit: int,
    template: str,
    places: Mapping[str, str],
) -> str:
    if template:
        escaped = {name: "".join(map(char, value)) for name, value in places.items()}
        return _cut(fill_places(template, escaped), limit)
    units: list[str] = []
    for number, (name, value) in enumerate(lines(notice)):
        units += ["\n"] if number else []
        units += [label.format(name), *map(char, _cut(value, LONGEST_VALUE))]
    return _trimmed(units, limit)


def _slack_char(char: str) -> str:
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(char, char)


def _discord_char(char: str) -> str:
    return f"\\{char}" if char in "\\*_~`|>#[]()@<:" else char


def _cut(text: str, limit: int) -> str:
    return _trimmed(text, limit)


def _trimmed(units: Iterable[str], limit: int) -> str:
    """As many units as fit; none is cut in two, so that no escape is."""
    kept, size, fits = list[str](), 0, 0
    for unit in units:
        size += _size(unit)
        if size > limit:
            return "".join(kept[:fits]) + "…"
        kept.append(unit)
        fits = len(kept) if size < limit else fits  # what leaves room for the mark that something is missing
    return "".join(kept)


def _size(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
