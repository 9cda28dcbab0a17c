"""The words of notifications: who is told, what there is to tell, and how telling it went.

Floor 1: frozen data only. Which fact is worth telling is ``core.notices``'; how it reads in a chat, ``wire.chat``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

Severity = Literal["info", "warning", "error", "critical"]
"""Mildest first."""

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")

NoticeKind = Literal[
    "approval_request",
    "approval_pending",
    "run_dispatched",
    "run_finished",
    "budget_exceeded",
    "approval_answered",
    "approval_expired",
    "task_failed",
    "worker_failed",
    "sublead_ended",
    "budget_near",
    "run_stopped",
    "run_resumed",
    "rate_limited",
    "auth_failed",
    "agent_stalled",
]
"""What a message is about. The first five are those of Pitboss 0.9."""

AnyKind = NoticeKind | Literal["test"]
"""And the message that is only ever sent by hand."""

EventValue: TypeAlias = str | int | float | bool | list[str] | dict[str, str | list[str]] | None
"""What a field of an event may hold: plain JSON data."""

SinkKind = Literal["log", "webhook", "slack", "discord"]

Outcome = Literal["delivered", "undelivered", "refused"]
"""``undelivered`` is tried again by the next dispatcher or command; ``refused`` is the receiver's last word, or a
mistake in the sink, and only an operator has it sent again."""

PARENT = "parent-notify"
"""The sink that whoever started the dispatcher has named in its environment; its id."""

PARENT_URL = "PITBOSS_PARENT_NOTIFY_URL"
PARENT_SECRET = "PITBOSS_NOTIFY_PARENT_SECRET"  # noqa: S105 - the name of a variable
"""What the messages to that one are signed with, if it is set. Agents do not inherit it."""

PLACES = MappingProxyType(
    {
        "title": "Pitboss run finished",
        "text": "Run: 01a2, Tasks: 3 / 4",
        "kind": "run_finished",
        "severity": "error",
        "run_id": "01a2",
        "dedup_key": "01a2:run_finished",
        "ts": "2026-01-31T12:00:00Z",
        "event": '{"kind": "run_finished"}',
    }
)
"""What a template may have in braces, each with an example."""


_PLACE = re.compile(r"\{([a-z_]+)\}")


def unknown_places(template: str) -> list[str]:
    """What looks like a place in a template and is none."""
    return [name for name in _PLACE.findall(template) if name not in PLACES]


def fill_places(template: str, values: Mapping[str, str]) -> str:
    """A template with every place filled; other braces stay, and values are not looked into again."""
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), template)


class Sink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who is told about a run. Variables in it are unfilled: what they hold is secret, and never kept."""

    id: str
    """How logs and the journal call it: ``slack``, ``webhook:2``, ``lifecycle``, ``parent-notify``."""
    kind: SinkKind
    url: str = ""
    """As written, with its ``${PITBOSS_NOTIFY_*}``; empty for a log. The parent's is in a variable: here is only a mark
    by which it is known again."""
    events: tuple[NoticeKind, ...] | None = None
    """Which events; ``None`` is all."""
    severity_min: Severity = "info"
    request_timeout_secs: int = 30
    """Limit of one attempt, from the look-up of the name to the answer's status."""
    headers: dict[str, str] = {}
    """More headers, as written."""
    secret: str = ""
    """What messages are signed with, as written: a variable."""
    template: str = ""
    """What is sent instead of the usual body (webhook) or text (Slack, Discord), as written."""
    allow_private: bool = False
    """It may be on this machine or in a private network, and be spoken to without TLS."""

    def wants(self, kind: NoticeKind, severity: Severity) -> bool:
        """True if both of its filters let such a message pass."""
        named = self.events is None or kind in self.events
        return named and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity_min)


Event: TypeAlias = dict[str, EventValue]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message, the same for whoever is sent it."""

    key: str
    """By which a receiver knows one that it has had: the envelope's ``dedup_key``."""
    kind: AnyKind
    severity: Severity
    at: float
    """When it came about; a late delivery does not change that."""
    event: Event
    """The envelope's ``event``, in which times, ``*_at``, are seconds since the epoch."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """How one message was brought to one sink, or was not."""

    at: float
    key: str
    kind: AnyKind
    sink: str
    outcome: Outcome
    tries: int
    error: str = ""
    """Why not, without the receiver's address: that may be secret."""
