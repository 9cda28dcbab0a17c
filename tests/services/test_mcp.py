"""Seats, with real sockets, real peers and the real rules behind them."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from pitboss.drivers.claude import Minted
from pitboss.journal.rundir import RunDir
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import Policy, Rule
from pitboss.services.mcp import Seats
from pitboss.services.seated import LONGEST_MESSAGE, MOST_CALLS
from pitboss.testing.doubles import RUN, Story, a_run, a_tree

Message = dict[str, object]

SHOW_TOKEN = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(json.dumps({"token": open(sys.argv[2]).read().strip()}).encode() + b"\\n")
    print(connection.makefile().readline())
"""


@pytest.fixture
def rundir() -> Iterator[RunDir]:
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as folder:
        yield RunDir.create(Path(folder) / "runs", RUN, snapshot=b"", resolved=b"{}", meta=b"{}")


class Room:
    """A run of the core alone, in which seats are given: what is posted is decided at once."""

    def __init__(self, rundir: RunDir, story: Story) -> None:
        self.story = story
        self.rundir = rundir
        self.minted = 0
        self.quiet = asyncio.Event()
        """Set when nobody waits."""
        self.seats = Seats(rundir, story.state.spec, story.clock.now, self._mint)

    def _mint(self) -> Minted:
        self.minted += 1
        return Minted(f"minted-{self.minted}", f"session-{self.minted}")

    def post(self, signal: s.Signal) -> None:
        outcome = self.story.when(signal)  # type: ignore[arg-type]  # every signal is one of those the core takes
        self.seats.see(self.story.state)
        if not self.story.state.waits:
            self.quiet.set()
        for effect in outcome.effects:
            if isinstance(effect, e.AnswerCall):
                self.seats.answer(effect)
            elif isinstance(effect, e.AnswerDeed):
                self.seats.answer_deed(effect)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.seats.see(self.story.state)
        async with self.seats.serving(self.post):
            yield

    async def give(self, actor: str = "lead") -> tuple[Path, Path]:
        """The socket and the file with the token."""
        self.rundir.task(actor).mkdir(exist_ok=True)
        given = await self.seats.give(actor, "somebody")
        assert isinstance(given, Answer), given
        return Path(str(given.content["socket"])), Path(str(given.content["token_file"]))

    @asynccontextmanager
    async def seated(self, actor: str = "lead") -> AsyncIterator[Client]:
        place, token = await self.give(actor)
        client = Client(*await asyncio.open_unix_connection(str(place), limit=1 << 26))
        try:
            client.send({"token": token.read_text().strip()})
            assert {"ok": True} == await client.hear()
            yield client
        finally:
            client.writer.close()
            await client.writer.wait_closed()


class Client:
    """Somebody on a seat."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *lines: Message | bytes) -> None:
        for line in lines:
            self.writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    def call(self, number: int, tool: str, **arguments: object) -> None:
        params = {"name": tool, "arguments": arguments}
        self.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})

    async def hear(self) -> Message:
        async with asyncio.timeout(40):
            line = await self.reader.readline()
        assert line, "the connection has ended"
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    async def ended(self) -> bool:
        async with asyncio.timeout(40):
            return await self.reader.read() == b""


@pytest.fixture
def room(rundir: RunDir) -> Room:
    story = Story(a_tree())
    story.working("lead")
    return Room(rundir, story)


def error_of(message: Message) -> tuple[object, str]:
    error = message["error"]
    assert isinstance(error, dict)
    return error["code"], str(error["message"])


def show_token(place: Path, token: Path, **env: str) -> str:
    """What a process with this environment hears when it shows a token."""
    words = [sys.executable, "-c", SHOW_TOKEN, str(place), str(token)]
    return subprocess.run(words, env=dict(os.environ) | env, capture_output=True, text=True, check=True).stdout


async def test_nothing_is_open_before_a_seat_is_asked_for(room: Room) -> None:
    async with room.open():
        assert not list(room.rundir.path.glob("*.sock"))
        (place, token), again = await asyncio.gather(room.give(), room.give())
        assert again == (place, token)
        for private in (place, token):
            assert 0o600 == stat.S_IMODE(private.stat().st_mode)
        assert (place, token) == await room.give(), "the same seat"
    assert not place.exists()
    assert not token.exists()


async def test_a_seat_is_a_fact_that_names_who_asked_for_it(room: Room) -> None:
    async with room.open():
        await room.give()
    assert [("lead", 1, "somebody")] == [
        (fact.actor, fact.attempt, fact.taken_by) for fact in room.story.told(t.SeatOpened)
    ]


@pytest.mark.parametrize(("name", "code"), [("nobody", "not_found"), ("../../etc", "not_found")])
async def test_there_is_no_seat_beside_nobody(room: Room, name: str, code: str) -> None:
    async with room.open():
        given = await room.seats.give(name, "")
    assert isinstance(given, Refused)
    assert code == given.code


async def test_there_is_no_seat_beside_one_that_waits_to_be_started(rundir: RunDir) -> None:
    room = Room(rundir, Story(a_run("a", "b", max_parallel=1)))
    async with room.open():
        given = await room.seats.give("b", "")
    assert isinstance(given, Refused)
    assert "no session at the moment" in given.message


async def test_calls_are_those_of_the_actor(room: Room) -> None:
    async with room.open(), room.seated() as client:
        client.send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}})
        client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert 1 == (await client.hear())["id"]
        client.call(2, "spawn_worker", prompt="go", label="helper")
        assert 2 == (await client.hear())["id"], "a notification is not answered"
    (spawned,) = room.story.told(t.ActorSpawned)
    assert ("lead", "helper") == (spawned.parent, spawned.label)


async def test_two_clients_may_use_the_same_numbers(room: Room) -> None:
    async with room.open(), room.seated() as one, room.seated() as other:
        one.call(1, "kv_wait", path="/shared/a", timeout_secs=600)
        other.call(1, "kv_wait", path="/shared/b", timeout_secs=600)
        other.call(2, "kv_set", path="/shared/a", value="A")
        assert "A" in json.dumps((await one.hear())["result"])
        assert 2 == (await other.hear())["id"]
        other.call(3, "kv_set", path="/shared/b", value="B")
        assert {1, 3} == {(await other.hear())["id"], (await other.hear())["id"]}


GARBAGE = [
    (b"\xff\xfe\n", -32700, "not JSON"),
    (b"[" * 100_000 + b"\n", -32700, "not JSON"),
    (b"[]\n", -32600, "one JSON object"),
    (b"null\n", -32600, "one JSON object"),
    (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}\n', -32600, "no JSON-RPC 2.0"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "nonsense"}\n', -32601, "no method"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "rm"}}\n', -32602, "tool not found"),
    (b" " * (LONGEST_MESSAGE + 70_000) + b"{}\n", -32700, "bytes at most"),
]


@pytest.mark.parametrize(("line", "code", "words"), GARBAGE, ids=[words for _, _, words in GARBAGE])
async def test_garbage_is_answered_and_ends_nothing(room: Room, line: bytes, code: int, words: str) -> None:
    async with room.open(), room.seated() as client:
        client.send(line, {"jsonrpc": "2.0", "id": 7, "method": "ping"})
        found = error_of(await client.hear())
        assert code == found[0]
        assert words in found[1]
        assert {"jsonrpc": "2.0", "id": 7, "result": {}} == await client.hear()


TOO_LONG = [
    ('{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"x":"%s"}}', 5),
    ('{"method":"tools/call","params":{"x":"%s"},"jsonrpc":"2.0","id":"five"}', "five"),
    ('{"params":{"x":"%s\\"jsonrpc\\":\\"2.0\\",\\"id\\":5}","y":{"jsonrpc":"2.0","id":5}}}', None),
]


@pytest.mark.parametrize(("line", "answered"), TOO_LONG)
async def test_who_sent_too_long_a_message_does_not_wait_for_ever(room: Room, line: str, answered: object) -> None:
    async with room.open(), room.seated() as client:
        client.send((line % ("x" * LONGEST_MESSAGE)).encode() + b"\n", {"jsonrpc": "2.0", "id": 7, "method": "ping"})
        assert (answered, -32700) == ((refusal := await client.hear())["id"], error_of(refusal)[0])
        assert 7 == (await client.hear())["id"]


async def test_one_that_leaves_wants_its_answers_no_more(room: Room) -> None:
    async with room.open():
        async with room.seated() as client:
            client.call(1, "kv_wait", path="/shared/never", timeout_secs=600)
            client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
            assert 2 == (await client.hear())["id"]
            assert 1 == len(room.story.state.waits)
            room.quiet.clear()
            client.writer.transport.abort()
        await asyncio.wait_for(room.quiet.wait(), 40)
    assert ["dropped"] == [fact.how for fact in room.story.told(t.WaitEnded)]


async def test_the_last_answers_are_still_given_to_one_that_has_said_all(room: Room) -> None:
    async with room.open(), room.seated() as client:
        client.call(1, "kv_wait", path="/shared/late", timeout_secs=600)
        client.writer.write_eof()
        async with room.seated() as other:
            other.call(1, "kv_set", path="/shared/late", value="at last")
            await other.hear()
        assert "at last" in json.dumps(await client.hear())
        assert await client.ended()


async def test_a_call_is_recorded_as_the_actors(room: Room) -> None:
    async with room.open(), room.seated() as client:
        client.call(1, "kv_set", path="/shared/a", value="x")
        await client.hear()
    (used,) = room.story.told(f.ToolUsed)
    assert ("lead", "mcp__pitboss__kv_set", "allow") == (used.actor, used.tool, used.verdict)
    assert "/shared/a" in used.summary


@pytest.fixture
def ruled(rundir: RunDir) -> Room:
    """A room whose rules refuse to write below /shared/no, and want a person to look at spawns."""
    keep_out = Rule(action="auto_reject", tool="mcp__pitboss__kv_set", args={"path": "/shared/no*"}, reason="keep out")
    look = Rule(action="block", tool="mcp__pitboss__spawn_worker")
    run = msgspec.structs.replace(a_tree(), policy=Policy(rules=(keep_out, look)))
    story = Story(run)
    story.working("lead")
    return Room(rundir, story)


async def test_a_rule_about_tool_calls_sees_those_from_a_seat(ruled: Room) -> None:
    async with ruled.open(), ruled.seated() as client:
        client.call(1, "kv_set", path="/shared/no/entry", value="x")
        assert "keep out" in error_of(await client.hear())[1]
        client.call(2, "kv_set", path="/shared/yes", value="x")
        assert "result" in await client.hear()
    assert ["/shared/yes"] == [fact.entry.path for fact in ruled.story.told(t.StoreWritten)]
    assert ["deny", "allow"] == [fact.verdict for fact in ruled.story.told(f.ToolUsed)]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_from_a_seat_waits_for_a_person_where_a_rule_says_so(ruled: Room, approved: bool) -> None:
    async with ruled.open(), ruled.seated() as client:
        client.call(1, "spawn_worker", prompt="go")
        client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert 2 == (await client.hear())["id"], "it is held"
        assert [] == ruled.story.told(t.ActorSpawned)
        (request,) = ruled.story.state.approvals
        at = ruled.story.clock.now()
        ruled.post(
            s.OrderGiven(at=at, order=o.AnswerApproval(request_id=request, approved=approved, reason="not today"))
        )
        answer = await client.hear()
    assert approved == ("result" in answer)
    assert approved == bool(ruled.story.told(t.ActorSpawned))
    assert approved or "not today" in error_of(answer)[1]


async def test_a_call_that_is_held_is_not_made_once_its_client_has_gone(ruled: Room) -> None:
    async with ruled.open():
        async with ruled.seated() as client:
            client.call(1, "spawn_worker", prompt="go")
            client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
            await client.hear()
            client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
            client.send({"jsonrpc": "2.0", "id": 3, "method": "ping"})
            await client.hear()
        (request,) = ruled.story.state.approvals
        ruled.post(s.OrderGiven(at=ruled.story.clock.now(), order=o.AnswerApproval(request_id=request, approved=True)))
    assert [] == ruled.story.told(t.ActorSpawned)


async def test_a_call_that_is_given_up_waits_no_more(room: Room) -> None:
    async with room.open(), room.seated() as client:
        client.call(1, "kv_wait", path="/shared/a", timeout_secs=600)
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        strange: list[Message] = [{}, {"requestId": []}, {"requestId": "nobody"}]
        for spoiled in strange:
            client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": spoiled})
        client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert 2 == (await client.hear())["id"]
        assert {} == room.story.state.waits


async def test_a_number_may_be_used_again_while_its_call_waits(room: Room) -> None:
    async with room.open(), room.seated() as client:
        client.call(1, "kv_wait", path="/shared/a", timeout_secs=600)
        client.call(1, "kv_wait", path="/shared/b", timeout_secs=600)
        client.call(2, "kv_set", path="/shared/b", value="x")
        client.call(3, "kv_set", path="/shared/a", value="x")
        assert [1, 1, 2, 3] == sorted([(await client.hear())["id"] for _ in range(4)])  # type: ignore[type-var]


async def test_calls_that_wait_are_bounded(room: Room) -> None:
    async with room.open(), room.seated() as client:
        for number in range(MOST_CALLS + 1):
            client.call(number, "kv_wait", path=f"/shared/{number}", timeout_secs=600)
        answer = await client.hear()
        assert MOST_CALLS == answer["id"]
        assert "wait for an answer already" in error_of(answer)[1]


async def test_a_seat_ends_with_its_actor(room: Room) -> None:
    async with room.open(), room.seated() as client:
        place, token = await room.give()
        client.call(1, "kv_wait", path="/shared/never", timeout_secs=600)
        client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        await client.hear()
        void = token.read_text()
        room.story.succeeds("lead")
        room.seats.see(room.story.state)
        assert "nobody to be" in error_of(await client.hear())[1]
        client.call(3, "kv_set", path="/shared/a", value="from beyond")
        assert "nobody to be" in error_of(await client.hear())[1]
        assert not token.exists()
        token.write_text(void)
        assert "token is void" in await asyncio.to_thread(show_token, place, token)
    assert [] == room.story.told(t.StoreWritten)


async def test_an_agent_may_take_its_own_seat_and_no_other(room: Room) -> None:
    room.story.spawns("lead")
    async with room.open():
        place, token = await room.give()
        shown = [
            await asyncio.to_thread(show_token, place, token, PITBOSS_COOKIE=cookie)
            for cookie in (f"{RUN}/lead/1", f"{RUN}/worker/1", "another-run/worker/1", "")
        ]
    assert [True, False, True, True] == ['"ok"' in each for each in shown]
    assert "no seat but its own" in shown[1]


@pytest.mark.parametrize(
    "line", [b"{}\n", b'{"token": 5}\n', b"\xff\n", b'{"token": "\\ud800"}\n', b'{"token": "x"}\n']
)
async def test_nobody_is_let_in_without_a_token(room: Room, line: bytes) -> None:
    async with room.open():
        place, _ = await room.give()
        client = Client(*await asyncio.open_unix_connection(str(place)))
        client.send(line, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert "token" in str((await client.hear())["error"])
        assert await client.ended()
        client.writer.close()
        await client.writer.wait_closed()
