"""``pitboss notify`` and ``validate --without-secrets`` on a terminal: what they show of runs and manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from pitboss.model import facts as f
from pitboss.model import notice_facts as n
from pitboss.model.notices import Notice, Sink
from pitboss.surfaces.cli import cli
from support.pictures import RUN, START, begun, opened, write_run

SINKS = (
    Sink(id="slack", kind="slack", url="https://hooks.example.com/${PITBOSS_NOTIFY_T}", severity_min="error"),
    Sink(id="webhook:1", kind="webhook", url="https://example.com/hidden", events=("run_finished",)),
)
DONE = Notice(key=f"{RUN}:run_finished", kind="run_finished", severity="error", at=START, event={})


def pitboss(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), catch_exceptions=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = opened(tmp_path / "runs", "a")
    told: list[f.AnyFact] = [
        n.NoticeRaised(at=START, notice=DONE, sinks=("slack", "webhook:1")),
        n.NoticeSettled(
            at=START, key=DONE.key, sink="slack", outcome="refused", tries=1, error="it answers \x1b[31m404"
        ),
    ]
    write_run(tmp_path / "runs", [replace(run, run=replace(run.run, sinks=SINKS)), *begun("a"), *told])
    return tmp_path / "runs"


def test_who_was_told_what_is_a_line_each_without_an_address(runs: Path) -> None:
    shown = pitboss("notify", "--run-dir", str(runs))

    assert 0 == shown.exit_code
    first, *lines, last = shown.output.splitlines()
    assert "slack (slack; from error), webhook:1 (webhook; only run_finished)" in first
    assert ["refused", "not sent yet"] == [line[12:25].strip() for line in lines]
    assert "it answers " in lines[0]
    assert "\x1b" not in shown.output
    assert "1 message still to be delivered" in last
    assert "example.com" not in shown.output


def test_as_json_it_is_the_same(runs: Path) -> None:
    shown = json.loads(pitboss("notify", RUN, "--json", "--run-dir", str(runs)).output)

    assert (RUN, ["slack", "webhook:1"]) == (shown["run_id"], [sink["id"] for sink in shown["sinks"]])
    assert ["refused", "pending"] == [message["outcome"] for message in shown["messages"]]
    assert "example.com" not in json.dumps(shown)


def test_a_run_that_tells_nobody_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", [opened(tmp_path / "runs", "a"), *begun("a")])

    assert "tells nobody" in pitboss("notify", "--run-dir", str(tmp_path / "runs")).output
    sent = pitboss("notify", "--send", "--run-dir", str(tmp_path / "runs"))
    assert (0, "There was nothing to send.\n") == (sent.exit_code, sent.output)


def test_what_could_not_be_sent_says_how_to_send_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PITBOSS_NOTIFY_T", raising=False)
    run = opened(tmp_path / "runs", "a")
    told = n.NoticeRaised(at=START, notice=DONE, sinks=("slack",))
    write_run(tmp_path / "runs", [replace(run, run=replace(run.run, sinks=SINKS)), *begun("a"), told])

    sent = pitboss("notify", "--send", "--run-dir", str(tmp_path / "runs"))

    assert 1 == sent.exit_code
    assert f"1 message still owed; send again with: pitboss notify {RUN[:13]} --send" in sent.output


def test_sending_and_testing_at_once_is_refused(runs: Path) -> None:
    assert 2 == pitboss("notify", "--send", "--test", "--run-dir", str(runs)).exit_code


def test_a_manifest_can_be_validated_where_the_secrets_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PITBOSS_NOTIFY_T", raising=False)
    manifest = tmp_path / "pit.toml"
    manifest.write_text(
        f'[[task]]\nid = "a"\ndirectory = "{tmp_path}"\nprompt = "go"\nuse_worktree = false\n'
        '[[notification]]\nkind = "slack"\nurl = "https://example.com/${PITBOSS_NOTIFY_T}"\n'
    )

    assert 2 == pitboss("validate", str(manifest)).exit_code
    lenient = pitboss("validate", "--without-secrets", str(manifest))
    assert 0 == lenient.exit_code
    assert "whoever dispatches it must have it" in lenient.output


def test_what_a_log_sink_is_told_does_not_spoil_the_json(tmp_path: Path) -> None:
    manifest = tmp_path / "pit.toml"
    manifest.write_text(
        f'[[task]]\nid = "a"\nprompt = "go"\ndirectory = "{tmp_path}"\nuse_worktree = false\n'
        '[[notification]]\nkind = "log"\n'
    )
    result = pitboss("notify", str(manifest), "--test", "--json")
    assert (0, ["delivered"]) == (result.exit_code, [one["outcome"] for one in json.loads(result.stdout)])
    assert result.stderr.startswith("notification emitted envelope=")
