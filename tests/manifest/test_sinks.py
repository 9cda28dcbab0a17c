"""Who is told about a run, in which order, under which name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pitboss.errors import ManifestError
from pitboss.manifest.load import Loaded

TASK = '[[task]]\nid = "a"\ndirectory = "/repo"\nprompt = "Go."\n'
FOUR = """
[[notification]]
kind = "slack"
url = "https://hooks.example.com/${PITBOSS_NOTIFY_T}"
[[notification]]
kind = "webhook"
url = "https://example.com/"
events = ["task_failed"]
severity_min = "error"
request_timeout_secs = 5
[lifecycle]
survive_parent = true
notify = { kind = "discord", url = "https://example.com/d" }
"""
ENVIRON = {
    "PITBOSS_NOTIFY_T": "s3cret",
    "PITBOSS_PARENT_NOTIFY_URL": "http://127.0.0.1:1/p4rent",
    "PITBOSS_RUN_ID": " run-1 ",
}


def test_everyone_is_told_in_file_order_then_lifecycle_then_the_parent(read: Callable[..., Loaded]) -> None:
    run = read(TASK + FOUR, environ=ENVIRON).run

    assert ["slack", "webhook:1", "lifecycle", "parent-notify"] == [sink.id for sink in run.sinks]
    assert (("task_failed",), "error", 5) == (
        run.sinks[1].events,
        run.sinks[1].severity_min,
        run.sinks[1].request_timeout_secs,
    )
    assert (None, "info", 30) == (run.sinks[0].events, run.sinks[0].severity_min, run.sinks[0].request_timeout_secs)
    assert (True, "run-1") == (run.survive_parent, run.parent_run_id)


def test_no_secret_is_kept_with_the_run_or_its_record(read: Callable[..., Loaded]) -> None:
    loaded = read(TASK + FOUR, environ=ENVIRON)

    assert "https://hooks.example.com/${PITBOSS_NOTIFY_T}" == loaded.run.sinks[0].url
    for kept in (repr(loaded.run), repr(loaded.resolved)):
        assert "s3cret" not in kept
        assert "p4rent" not in kept


def test_a_parent_that_cannot_be_posted_to_is_ignored_with_a_warning(read: Callable[..., Loaded]) -> None:
    for url in ("ftp://x/", "nonsense", "http://"):
        loaded = read(TASK, environ={"PITBOSS_PARENT_NOTIFY_URL": url})

        assert () == loaded.run.sinks
        assert ["PITBOSS_PARENT_NOTIFY_URL is not a URL"] == [each.message[:38] for each in loaded.warnings]
    assert () == read(TASK, environ={"PITBOSS_PARENT_NOTIFY_URL": "  "}).run.sinks


def test_where_the_secrets_are_not_only_their_absence_is_forgiven(read: Callable[..., Loaded]) -> None:
    sink = """
[[notification]]
kind = "webhook"
url = "https://hooks.example.com/${PITBOSS_NOTIFY_T}"
headers = { A = "${PITBOSS_NOTIFY_T}" }
secret = "${PITBOSS_NOTIFY_T}"
"""
    loaded = read(TASK + sink, has_secrets=False)

    assert 3 == len([each for each in loaded.warnings if "env var is not set" in each.message])
    with pytest.raises(ManifestError, match="PITBOSS_NOTIFY_"):
        read(TASK + sink)
    with pytest.raises(ManifestError, match="https"):
        read(TASK + sink.replace("https", "http"), has_secrets=False, environ={"PITBOSS_NOTIFY_T": "x"})
