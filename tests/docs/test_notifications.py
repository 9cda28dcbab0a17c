"""The guide to notifications says what there is: every event, and manifests that can be loaded."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import get_args

from pitboss.manifest.load import PathKind, Surroundings, load
from pitboss.model.notices import Notice, NoticeKind, Sink
from pitboss.wire import notices as wire

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "notifications.md").read_text()
TASK = '[[task]]\nid = "a"\ndirectory = "/repo"\nprompt = "Go."\n'
ENVIRON = {"PITBOSS_NOTIFY_SLACK": "T/B/x", "PITBOSS_NOTIFY_CI": "t", "PITBOSS_NOTIFY_CI_KEY": "k"}
MACHINE = Surroundings(environ=ENVIRON, home="/h", cwd="/", cores=1, kind_of=lambda _: PathKind.REPOSITORY)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_every_event_is_in_the_table_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+)", GUIDE, re.MULTILINE))

    assert {*get_args(NoticeKind)} - {"approval_pending"} == {*rows}
    assert {"info", "warning", "error", "critical"} >= {*rows.values()}


def test_its_manifests_are_valid() -> None:
    receivers, template, lifecycle = blocks("toml")
    webhook = f'[[notification]]\nkind = "webhook"\nurl = "https://example.com/"\n{template}'

    for text in (receivers, webhook, lifecycle):
        assert load(TASK + text, "pit.toml", MACHINE).run.sinks


def test_its_receiver_knows_a_genuine_message() -> None:
    notice = Notice(key="k", kind="run_finished", severity="info", at=1.0, event={"kind": "run_finished"})
    post = wire.post(Sink(id="w", kind="webhook"), "https://x/", {}, "key", notice, "r", now=time.time())
    names = {
        "hmac": hmac,
        "hashlib": hashlib,
        "time": time,
        "key": b"key",
        "body": post.body,
        "timestamp": post.headers["X-Pitboss-Timestamp"],
        "signature": post.headers["X-Pitboss-Signature"],
    }
    (snippet,) = blocks("python")
    exec(snippet, names)

    assert names["genuine"]
