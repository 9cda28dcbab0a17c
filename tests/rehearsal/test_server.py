from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pitboss.rehearsal.reader import read_script
from pitboss.rehearsal.server import Door, Event
from support.conversations import body, opening
from support.rehearsal import Model, start_model

Start = Callable[[str], Model]
Connect = Callable[[str], HTTPConnection]

ARGV = [sys.executable, "-m", "pitboss.rehearsal"]
MESSAGES = "/actor/fix-a/v1/messages?beta=true"


def post(connection: HTTPConnection, path: str = MESSAGES, **fields: object) -> HTTPResponse:
    """Asks the model; fields of the request as keywords."""
    headers = {"content-type": "application/json", "x-claude-code-session-id": "s1"}
    connection.request("POST", path, json.dumps(body(opening("Go\nnow"), **fields)), headers)
    return connection.getresponse()


def words(response: HTTPResponse) -> str:
    content = json.loads(response.read())["content"]
    return str(content[0]["text"])


def test_the_actor_is_named_by_the_address(model: Start, connect: Connect) -> None:
    script = "".join(
        f'[[actor]]\nid = "{name}"\n[[actor.turn]]\ntext = "I am {{{{actor}}}}"\n' for name in ("a/b c", "default")
    )
    connection = connect(model(script).url)

    assert "I am a/b c" == words(post(connection, "/actor/a/b%20c/v1/messages"))
    assert "I am default" == words(post(connection, "/v1/messages"))
    assert "Rehearsal: Go" == words(post(connection, "/actor/stranger/v1/messages"))


def test_a_stream_is_sent_as_events(model: Start, connect: Connect) -> None:
    response = post(connect(model("").url), stream=True)
    events = response.read().decode().split("\n\n")

    assert "text/event-stream" == response.headers["content-type"]
    assert events[0].startswith("event: message_start\ndata: {")
    assert ["event: message_stop", ""] == [events[-2].split("\n")[0], events[-1]]


def test_a_paced_stream_says_the_same(model: Start, connect: Connect) -> None:
    running = model('[defaults]\nchunk_ms = 1\n[[actor]]\nid = "paced"\n[[actor.turn]]\ntext = "One two three."\n')
    stream = post(connect(running.url), "/actor/paced/v1/messages", stream=True).read().decode()

    assert '"text":"One two three."' in stream
    assert stream.endswith('data: {"type":"message_stop"}\n\n')


def test_an_api_error_has_its_status_headers_and_form(model: Start, connect: Connect) -> None:
    error = '{ status = 429, message = "Slow down.", headers = { "Retry-After" = "7" } }'
    connection = connect(model(f'[[actor]]\nid = "fix-*"\n[[actor.turn]]\nerror = {error}\n').url)
    response = post(connection)

    assert (429, "7") == (response.status, response.headers["retry-after"])
    assert {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down."},
    } == json.loads(response.read())
    assert 200 == post(connection).status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("GET", "/actor/x", 200),
        ("HEAD", "/actor/x/api/hello", 200),
        ("POST", "/actor/x/v1/messages/count_tokens", 200),
        ("POST", "/actor/x/v1/messages", 400),
        ("GET", "/actor/x/v1/messages", 404),
        ("GET", "/favicon.ico", 404),
    ],
)
def test_other_requests_are_answered_sensibly(
    model: Start, connect: Connect, method: str, path: str, status: int
) -> None:
    running = model("")
    connection = connect(running.url)
    connection.request(method, path, body="{}" if method == "POST" else None)
    response = connection.getresponse()
    data = response.read()

    assert status == response.status
    assert status == 200 or "error" == json.loads(data)["type"]
    assert [status] == [line["status"] for line in running.requests()]


def test_the_log_tells_who_asked_what_and_when(model: Start, connect: Connect) -> None:
    before = time.time()
    running = model("")
    post(connect(running.url)).read()
    [line] = running.requests()

    assert before < float(str(line.pop("at"))) < time.time()
    assert {
        "n": 1,
        "actor": "fix-a",
        "kind": "turn",
        "status": 200,
        "session": "s1",
        "subagent": "",
        "position": 0,
        "model": "claude-haiku-4-5",
        "heard": "Go\nnow",
        "path": "/v1/messages",
    } == line


def test_a_delay_holds_up_nobody_else(model: Start, connect: Connect) -> None:
    running = model('[[actor]]\nid = "slow"\n[[actor.turn]]\ntext = "x"\ndelay_ms = 86400000\n')
    connect(running.url).request("POST", "/actor/slow/v1/messages", json.dumps(body(opening("Go"))))

    assert "Rehearsal: Go" == words(post(connect(running.url)))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_delay_ends_when_the_client_hangs_up(stream: bool) -> None:
    """In this process, so that the hang-up is certain to come during the delay."""
    pause = "chunk_ms" if stream else "delay_ms"
    door = Door(read_script(f"[defaults]\n{pause} = 86400000\n", "s.toml"), log=None)
    request = json.dumps(body(opening("Go"), stream=stream)).encode()
    events: Iterator[Event] = iter([{"type": "http.request", "body": request}, {"type": "http.disconnect"}])
    sent: list[str] = []

    async def receive() -> Event:
        return next(events)

    async def send(event: Event) -> None:
        sent.append(event["type"])

    await door({"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}, receive, send)

    assert (["http.response.start", "http.response.body"] if stream else []) == sent


def test_requests_in_parallel_are_all_answered(model: Start, connect: Connect) -> None:
    running = model('[defaults]\ndelay_ms = 100\n[[actor]]\nid = "fix-*"\n[[actor.turn]]\ntext = "{{actor}}"\n')
    connections = {name: connect(running.url) for name in ("fix-1", "fix-2", "fix-3", "fix-4")}
    for name, connection in connections.items():
        connection.request("POST", f"/actor/{name}/v1/messages", json.dumps(body(opening("Go"))))

    assert list(connections) == [words(connection.getresponse()) for connection in connections.values()]


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready(process: subprocess.Popen[str]) -> str:
    """The address, once the process can be used."""
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["url"])


def test_it_leaves_at_the_end_of_its_input_whatever_is_in_the_air(connect: Connect, tmp_path: Path) -> None:
    with start_model(tmp_path, "[defaults]\ndelay_ms = 86400000\n") as running:
        connect(running.url).request("POST", MESSAGES, json.dumps(body(opening("Go"))))
        running.wait_for(1)

    # Leaving the block has ended its input and waited for its end.
    assert [200] == [line["status"] for line in running.requests()]


def test_it_leaves_quietly_when_nobody_needs_it() -> None:
    with start() as process:
        ready(process)
        assert ("", "") == process.communicate(timeout=10)

    assert 0 == process.returncode


def test_it_leaves_on_sigterm_and_stays_on_the_ctrl_c_of_its_parent(connect: Connect) -> None:
    with start() as process:
        url = ready(process)
        process.send_signal(signal.SIGINT)
        assert "Rehearsal: Go" == words(post(connect(url)))
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=10)
        process.communicate()


def test_it_listens_on_loopback_only() -> None:
    with start() as process:
        assert "127.0.0.1" == urlsplit(ready(process)).hostname
        process.communicate(timeout=10)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b'[[actor]]\nid = "a"\nturns = 1\n[[actor.turn]]\n',
            ["unknown key 'turns'", "did you mean 'turn'?", "an empty turn"],
        ),
        (b"\xff", ["not UTF-8 text"]),
        (None, ["No such file or directory"]),
    ],
)
def test_a_bad_script_is_told_on_standard_output(tmp_path: Path, content: bytes | None, told: list[str]) -> None:
    script = tmp_path / "s.toml"
    if content is not None:
        script.write_bytes(content)
    done = subprocess.run([*ARGV, "--script", str(script)], capture_output=True, text=True, timeout=20, check=False)
    error = json.loads(done.stdout)["error"]

    assert (2, "") == (done.returncode, done.stderr)
    assert error.startswith(f"{script}:")
    assert [] == [words for words in told if words not in error]
