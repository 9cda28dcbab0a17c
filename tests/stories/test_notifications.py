"""Telling others about a run: awaited at its end, sent once after a crash, never lost when nobody listens."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from support.pit import Pit, Run
from support.receivers import OK, Answer, Receiver, receiver, status

pytestmark = pytest.mark.slow

LONG = [{"delay": 60}, {"text": "late"}]


@pytest.fixture
def parent(pit: Pit) -> Iterator[Receiver]:
    """Whoever started the dispatcher, and wants to be told."""
    with receiver() as one:
        pit.env["PITBOSS_PARENT_NOTIFY_URL"] = one.url
        yield one


def outcomes(run: Run) -> list[tuple[object, object]]:
    """Every line of ``notifications.jsonl``: what of which event."""
    lines = [json.loads(line) for line in (run.path / "notifications.jsonl").read_text().splitlines()]
    return [(line["kind"], line["event_kind"]) for line in lines]


def everything(run: Run) -> str:
    """All that a run leaves on disk, but its repository."""
    return "".join(path.read_text(errors="replace") for path in run.path.rglob("*") if path.is_file())


def hold(peer: socket.socket) -> None:
    """Take a request, and never answer: until the other side has enough."""
    peer.recv(1)


def test_the_end_of_a_run_is_told_before_the_command_ends(pit: Pit, parent: Receiver) -> None:
    ended = pit.dispatch(pit.manifest({"a": "go"}))

    assert (0, ["run_dispatched", "run_finished"]) == (ended.code, parent.kinds)
    event = cast("dict[str, object]", parent.heard[-1].json["event"])
    assert {"outcome": "success", "tasks_total": 1, "tasks_failed": 0}.items() <= event.items()
    assert {"source": pit.run.path.name, "severity": "info"}.items() <= parent.heard[-1].json.items()
    assert [("notification_delivered", kind) for kind in parent.kinds] == outcomes(pit.run)
    assert not (pit.run.path / "notifications.due").exists()


def test_no_secret_of_a_sink_reaches_the_disk_the_terminal_or_an_agent(pit: Pit) -> None:
    with receiver(status(500), status(500), OK) as one:
        pit.env |= {"PITBOSS_NOTIFY_KEY": "k3y-itself", "PITBOSS_NOTIFY_PATH": "p4th-itself"}
        steps = [{"tool": "Bash", "input": {"command": "env > seen.txt"}}, {"text": "done"}]
        manifest = pit.manifest({"a": {"prompt": steps, "use_worktree": False}})
        manifest.write_text(
            manifest.read_text()
            + f"""
[[notification]]
kind = "webhook"
url = "http://127.0.0.1:{one.port}/${{PITBOSS_NOTIFY_PATH}}"
headers = {{ Authorization = "Bearer ${{PITBOSS_NOTIFY_KEY}}" }}
secret = "${{PITBOSS_NOTIFY_KEY}}"
allow_private = true
"""
        )
        ended = pit.dispatch(manifest)

    assert (0, "Bearer k3y-itself") == (ended.code, one.heard[-1].headers["authorization"])
    assert one.heard[-1].line.startswith("POST /p4th-itself ")
    left = everything(pit.run) + ended.out + ended.err + (pit.repo / "seen.txt").read_text()
    assert "${PITBOSS_NOTIFY_PATH}" in left
    assert "itself" not in left


def test_lifecycle_notify_is_told_too_and_a_nested_run_names_its_parent(pit: Pit, parent: Receiver) -> None:
    with receiver() as one:
        pit.env["PITBOSS_RUN_ID"] = "the-outer-run"
        manifest = pit.manifest({"a": "go"})
        sink = f'{{ kind = "slack", url = "http://127.0.0.1:{one.port}/", allow_private = true }}'
        manifest.write_text(manifest.read_text() + f"\n[lifecycle]\nsurvive_parent = true\nnotify = {sink}\n")
        ended = pit.dispatch(manifest)

    assert (0, 2) == (ended.code, len(one.heard))
    assert "Pitboss run dispatched" in one.heard[0].body.decode()
    event = cast("dict[str, object]", parent.heard[0].json["event"])
    assert {"parent_run_id": "the-outer-run", "survive_parent": True}.items() <= event.items()


def test_a_log_sink_speaks_on_standard_error_unless_it_is_to_be_quiet(pit: Pit) -> None:
    manifest = pit.manifest({"a": "go"})
    manifest.write_text(manifest.read_text() + '\n[[notification]]\nkind = "log"\nevents = ["run_finished"]\n')

    ended, quiet = pit.dispatch(manifest), pit.pitboss("-q", "dispatch", str(manifest), "--run-dir", str(pit.runs))

    (line,) = [line for line in ended.err.splitlines() if line.startswith("notification emitted")]
    assert "run_finished" == json.loads(line.partition("envelope=")[2])["event"]["kind"]
    assert "notification emitted" not in quiet.err


def test_a_run_cut_off_before_a_delivery_sends_it_once_when_it_is_resumed(pit: Pit, parent: Receiver) -> None:
    parent.answers[:] = cast("list[Answer]", [hold])
    pit.script({"a": LONG})
    process = pit.dispatching(pit.manifest({"a": "go"}))
    pit.until(lambda run: run.told("SessionOpened"))
    parent.until(1)
    process.kill()
    process.communicate()
    assert [] == pit.run.told("NoticeSettled")
    parent.heard.clear()
    parent.answers[:] = [OK]

    resuming = pit.start("resume", "--run-dir", str(pit.runs))
    pit.until(lambda run: len(run.told("SessionOpened")) == 2)
    resuming.send_signal(signal.SIGTERM)
    ended = pit.finish(resuming)

    assert (130, ["run_dispatched", "run_resumed", "run_stopped", "run_finished"]) == (ended.code, parent.kinds)
    keys = [str(heard.json["dedup_key"]) for heard in parent.heard]
    assert len(keys) == len(set(keys))


def test_a_second_interrupt_ends_the_waiting_for_a_receiver_that_does_not_answer(pit: Pit, parent: Receiver) -> None:
    parent.answers[:] = cast("list[Answer]", [hold])
    process = pit.dispatching(pit.manifest({"a": "go"}))
    pit.until(lambda run: run.told("RunEnded"))
    assert process.stderr is not None
    said = next(line for line in process.stderr if "waiting" in line)
    process.send_signal(signal.SIGINT)
    ended = pit.finish(process, timeout=10.0)

    assert "waiting up to 15 s for notifications on the way; Ctrl-C ends the waiting\n" == said

    assert (0, "not delivered to parent-notify: run_dispatched, run_finished" in ended.err) == (ended.code, True)
    assert ("notification_failed", "run_finished") in outcomes(pit.run)
    assert (pit.run.path / "notifications.due").exists()


# --- after the end ----------------------------------------------------------------------------------------------------


def ended_untold(pit: Pit) -> Receiver:
    """A run that has ended while its receiver took nothing; the receiver, which takes everything from now on."""
    parent = Receiver([status(500)])
    pit.env["PITBOSS_PARENT_NOTIFY_URL"] = parent.url
    ended = pit.dispatch(pit.manifest({"a": "go"}))
    assert (0, True) == (ended.code, "not delivered to parent-notify: run_dispatched, run_finished; see" in ended.err)
    assert 2 == [kind for kind, _ in outcomes(pit.run)].count("notification_failed")
    parent.heard.clear()
    parent.answers[:] = [OK]
    return parent


@pytest.mark.parametrize("command", ["dispatch", "resume", "prune"])
def test_what_a_run_could_not_deliver_is_sent_by_the_next_command_once(pit: Pit, command: str) -> None:
    parent = ended_untold(pit)
    first = pit.run
    words = {"dispatch": [str(pit.manifest({"b": "go"}))], "resume": [first.path.name], "prune": []}[command]
    for _ in range(2):
        pit.pitboss(command, *words, "--run-dir", str(pit.runs))

    told = [str(heard.json["dedup_key"]) for heard in parent.heard if heard.json["source"] == first.path.name]
    assert [f"{first.path.name}:run_dispatched", f"{first.path.name}:run_finished"] == told
    assert ["delivered", "delivered"] == [fact["outcome"] for fact in first.told("NoticeSettled")][2:]
    assert 4 == len(outcomes(first))
    assert not (first.path / "notifications.due").exists()
    parent.close()


def test_what_is_owed_delays_no_run_as_it_is_sent_beside_it(pit: Pit) -> None:
    parent = ended_untold(pit)
    begun: list[int] = []

    def take(peer: socket.socket) -> None:
        begun.append(len([*pit.runs.glob("*/journal.jsonl")]))
        peer.sendall(OK)

    parent.answers[:] = cast("list[Answer]", [take])
    assert 0 == pit.dispatch(pit.manifest({"b": "go"})).code

    assert [2, 2, 2, 2] == begun
    parent.close()


def test_a_receiver_that_has_just_refused_is_not_asked_at_each_command_and_one_line_says_so(pit: Pit) -> None:
    parent = ended_untold(pit)
    parent.answers[:] = [status(500)]

    first, second = (pit.pitboss("prune", "--run-dir", str(pit.runs)) for _ in range(2))

    (line,) = [line for line in first.err.splitlines() if "waiting" not in line]
    assert "2 notifications of run" in line
    assert "did not reach parent-notify: it answers 500; tried again by commands after" in line
    assert "" == second.err
    assert 5 == len(parent.heard)  # four tries of the first, one of the second
    parent.close()


def test_what_is_owed_is_not_sent_to_another_parent(pit: Pit) -> None:
    ended_untold(pit).close()
    assert "reached parent-notify" in pit.pitboss("status", "--run-dir", str(pit.runs)).out
    with receiver() as another:
        pit.env["PITBOSS_PARENT_NOTIFY_URL"] = another.url
        pit.pitboss("prune", "--run-dir", str(pit.runs))

        assert [] == another.heard


def test_a_dispatcher_killed_while_it_waits_at_the_end_leaves_it_to_the_next_command(
    pit: Pit, parent: Receiver
) -> None:
    parent.answers[:] = [OK, cast("Answer", hold)]
    process = pit.dispatching(pit.manifest({"a": "go"}))
    parent.until(2)
    pit.until(lambda run: (run.path / "summary.json").exists())
    process.kill()
    process.communicate()
    parent.heard.clear()
    parent.answers[:] = [OK]

    listed = pit.pitboss("notify", "--run-dir", str(pit.runs))
    pit.pitboss("prune", "--run-dir", str(pit.runs))

    assert ["run_finished"] == parent.kinds
    assert "not sent yet" in listed.out
    assert "delivered" in pit.pitboss("notify", "--run-dir", str(pit.runs)).out


def test_notify_lists_sends_and_tests(pit: Pit) -> None:
    parent = ended_untold(pit)
    parent.answers[:] = [status(404), OK]

    def notify(*words: str) -> tuple[int, object]:
        ended = pit.pitboss("notify", "latest", *words, "--json", "--run-dir", str(pit.runs))
        return ended.code, json.loads(ended.out)

    code, listed = notify()
    assert isinstance(listed, dict)
    assert (0, ["undelivered"] * 2) == (code, [message["outcome"] for message in listed["messages"]])
    assert "s3cret" not in json.dumps(listed)

    code, sent = notify("--send")
    assert isinstance(sent, list)
    assert (1, ["refused", "delivered"]) == (code, [one["outcome"] for one in sent])
    pit.pitboss("prune", "--run-dir", str(pit.runs))
    assert 2 == len(parent.heard)  # what was refused is not sent again by itself
    code, sent = notify("--send")
    assert isinstance(sent, list)
    assert (0, ["delivered"]) == (code, [one["outcome"] for one in sent])

    assert (0, "test") == (notify("--test")[0], parent.kinds[-1])
    manifest = pit.pitboss("notify", str(pit.manifest({"a": "go"})), "--test")
    assert (0, "delivered" in manifest.out, "test") == (manifest.code, True, parent.kinds[-1])
    parent.close()


def test_who_was_reached_before_the_sending_was_interrupted_is_not_told_again(pit: Pit) -> None:
    parent = ended_untold(pit)
    parent.answers[:] = cast("list[Answer]", [OK, hold])
    sending = pit.start("notify", "latest", "--send", "--run-dir", str(pit.runs))
    parent.until(2)
    assert sending.stderr is not None
    assert "waiting up to 60 s" in sending.stderr.readline()
    sending.send_signal(signal.SIGINT)
    assert 130 == pit.finish(sending, timeout=10.0).code

    parent.heard.clear()
    parent.answers[:] = [OK]
    assert 0 == pit.pitboss("notify", "latest", "--send", "--run-dir", str(pit.runs)).code
    assert ["run_finished"] == parent.kinds
    parent.close()


def test_a_rehearsal_rings_nobody(pit: Pit, parent: Receiver) -> None:
    manifest = pit.manifest({"a": "go"})
    ended = pit.pitboss(
        "rehearse", str(manifest), "--claude", pit.env["PITBOSS_CLAUDE_BINARY"], "--run-dir", str(pit.runs)
    )

    assert (0, []) == (ended.code, parent.heard)


def test_who_is_needed_is_called_and_told_when_it_was_answered(pit: Pit, parent: Receiver) -> None:
    parts = {"lead": [{"call": "request_approval", "input": {"summary": "push to main"}}, {"text": "done"}]}
    process = pit.dispatching(pit.tree(parts=parts))
    request = cast("dict[str, object]", parent.until(2)[1].json["event"])
    answered = pit.pitboss("approvals", "approve", "latest", str(request["request_id"]), "--run-dir", str(pit.runs))
    ended = pit.finish(process)

    assert ("approval_request", "push to main", "lead") == tuple(request[key] for key in ("kind", "summary", "task_id"))
    assert (0, 0) == (answered.code, ended.code)
    assert ["run_dispatched", "approval_request", "approval_answered", "run_finished"] == parent.kinds
