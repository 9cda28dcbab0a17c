"""The operators' socket, with real sockets and the real rules behind them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pitboss.core.state import RunState
from pitboss.drivers import peer
from pitboss.journal.rundir import RunDir
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.services.control import AT_THE_DOOR, MOST_CLIENTS
from pitboss.services.happenings import Happenings
from pitboss.services.place import LONGEST_PATH
from pitboss.surfaces.operator import places
from pitboss.testing.doubles import RUN, a_run, a_tree
from pitboss.wire.control import LONGEST_LINE
from support.operators import HELLO, Caller, Desk, hang_up, led, until


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for a socket; pytest's own need not have one."""
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def rundir(short: Path) -> RunDir:
    return RunDir.create(short / "runs", RUN, snapshot=b"", resolved=b"{}", meta=b"{}")


@pytest.fixture(autouse=True)
async def _hang_up() -> AsyncIterator[None]:
    yield
    await hang_up()


# --- the conversation -------------------------------------------------------------------------------------------------


async def test_a_flat_run_has_a_socket_too_and_says_who_it_is(rundir: RunDir) -> None:
    desk = Desk(rundir, a_run("a", "b"))
    async with desk.open():
        caller = await Caller.connect(desk.path, hello=False)
        caller.send(HELLO, {"op": "list_approvals"})

        hello = await caller.hear()

        assert {"event": "hello", "run_id": RUN, "run_kind": "flat", "workers": ["a", "b"]}.items() <= hello.items()
        assert {"event": "approvals_snapshot", "approvals": []} == await caller.hear()


async def test_what_waits_is_sent_once_and_what_comes_up_later_too(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    early = desk.ask("early", tool_name="Bash", cost_estimate=2.5, timeout_secs=60)
    async with desk.open():
        caller = await Caller.connect(desk.path)

        first = await caller.hear()
        late = desk.ask("late", timeout_secs=7200)
        second = await caller.hear()

        assert (early, late) == (first["request_id"], second["request_id"])
        known = {"task_id": "lead", "actor_path": ["lead"], "role": "lead", "category": "tool_use", "summary": "early"}
        assert known.items() <= first.items()
        assert {"tool_name": "Bash", "cost": 2.5, "request_kind": "action"}.items() <= first.items()
        assert "kind" not in first, "clients of 0.9 know an action by that"
        assert isinstance(first["asked_at"], str)
        assert isinstance(first["expires_at"], str)
        assert ("expiry", "timeout") == (first["ends_by"], second["ends_by"])


async def test_an_answer_reaches_the_one_who_asked_and_everyone_is_told(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    async with desk.open():
        one, other = await Caller.connect(desk.path), await Caller.connect(desk.path)
        assert name == (await one.hear())["request_id"] == (await other.hear())["request_id"]

        one.send({"op": "approve", "request_id": name, "approved": False, "reason": "not today"})
        heard = [await one.hear(), await one.hear()]

        (acked,) = [event for event in heard if event["event"] == "op_acked"]
        (resolved,) = [event for event in heard if event["event"] == "approval_resolved"]
        assert "approve" == acked["op"]
        assert resolved == await other.hear()
        assert {"request_id": name, "approved": False, "decided_by": "operator", "reason": "not today"}.items() <= (
            resolved.items()
        )
        assert "with test 1" in str(resolved["via"])
        answer = desk.story.answers()[1]
        assert False is answer.content["approved"]  # type: ignore[union-attr]

        other.send({"op": "approve", "request_id": name, "approved": True})
        failed = await other.hear()
        assert {"event": "op_failed", "op": "approve"}.items() <= failed.items()
        assert "already answered by operator" in str(failed["error"])


async def test_an_expiry_is_news_too(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask(timeout_secs=5)
    async with desk.open():
        caller = await Caller.connect(desk.path)
        await caller.hear()

        desk.story.clock.turn(6)
        desk._post(s.Tick(at=desk.story.at))

        resolved = await caller.hear()
        assert {"event": "approval_resolved", "request_id": name, "decided_by": "expiry"}.items() <= resolved.items()


async def test_what_was_answered_before_anyone_came_is_not_told(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    async with desk.open():
        desk._post(s.OrderGiven(at=desk.story.at, order=o.AnswerApproval(request_id=name, approved=True)))
        caller = await Caller.connect(desk.path)

        caller.send({"op": "list_approvals"})

        assert {"event": "approvals_snapshot", "approvals": []} == await caller.hear()


async def test_a_thousand_requests_reach_one_who_reads(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    names = [desk.ask(f"{n} " + "x" * 900) for n in range(1000)]
    async with desk.open():
        caller = await Caller.connect(desk.path)
        assert names == [(await caller.hear())["request_id"] for _ in names]


@pytest.mark.parametrize(
    ("line", "op"),
    [
        (b"\n", "parse_error"),
        (b"garbage\n", "parse_error"),
        (b"\xff\xfe\x00\n", "parse_error"),
        (b'{"op": "dance"}\n', "dance"),
        (b'{"op": "approve"}\n', "approve"),
        (b'{"op": "approve", "request_id": 5, "approved": "x"}\n', "approve"),
        (b"[" * 100_000 + b"\n", "parse_error"),
        (b'{"op": "approve", "request_id": "req-?", "approved": true}\n', "approve"),
    ],
)
async def test_a_bad_line_is_answered_and_the_connection_stays(rundir: RunDir, line: bytes, op: str) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        caller = await Caller.connect(desk.path)

        caller.send(line, {"op": "list_approvals"})

        failed = await caller.hear()
        assert {"event": "op_failed", "op": op}.items() <= failed.items()
        assert "approvals_snapshot" == (await caller.hear())["event"]


@pytest.mark.parametrize(
    ("line", "op", "error"),
    [
        (b'{"op": "list_approvals"}\n', "list_approvals", "expected hello as first message"),
        (b"garbage\n", "hello", "parse error"),
        (b'{"op": "hello"}\n', "hello", "parse error"),
    ],
)
async def test_whoever_does_not_say_hello_is_told_and_left(rundir: RunDir, line: bytes, op: str, error: str) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        caller = await Caller.connect(desk.path, hello=False)

        caller.send(line)

        failed = await caller.hear()
        assert {"event": "op_failed", "op": op}.items() <= failed.items()
        assert error in str(failed["error"])
        assert await caller.ended()


async def test_a_second_hello_is_only_acknowledged(rundir: RunDir) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        caller = await Caller.connect(desk.path)
        caller.send(HELLO)
        assert {"event": "op_acked", "op": "hello"} == await caller.hear()


# --- bad company ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_hello", [True, False])
async def test_a_line_of_ten_megabytes_is_answered_or_closed_and_others_are_served(
    rundir: RunDir, after_hello: bool
) -> None:
    desk = led(Desk(rundir, a_tree()))
    async with desk.open():
        bad, good = await Caller.connect(desk.path, hello=after_hello), await Caller.connect(desk.path)

        bad.send(b"x" * 10_000_000 + b"\n")
        name = desk.ask()

        assert name == (await good.hear())["request_id"]
        assert await bad.ended()
        assert len(desk.control._clients) == 1
        assert LONGEST_LINE < 10_000_000


async def test_one_who_does_not_read_is_dropped_and_slows_nobody(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    async with desk.open():
        with socket.socket(socket.AF_UNIX) as lazy:
            lazy.connect(str(desk.path))
            lazy.sendall(json.dumps(HELLO).encode() + b"\n")
            good = await Caller.connect(desk.path)
            names = [desk.ask(f"{n} " + "x" * 3900) for n in range(300)]

            assert names == [(await good.hear())["request_id"] for _ in names]
            await until(lambda: len(desk.control._clients) == 1)

            good.send({"op": "approve", "request_id": names[0], "approved": True})
            assert {"op_acked", "approval_resolved"} == {str((await good.hear())["event"]) for _ in range(2)}


async def test_clients_that_vanish_in_the_middle_of_anything_do_no_harm(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    async with desk.open():
        for beginning in (b"", b'{"op":', json.dumps(HELLO).encode() + b"\n", b"\x00" * 70_000):
            with socket.socket(socket.AF_UNIX) as rude:
                rude.connect(str(desk.path))
                rude.sendall(beginning)
        order = json.dumps({"op": "approve", "request_id": name, "approved": True}).encode() + b"\n"
        hasty = await Caller.connect(desk.path)
        hasty.send(order)  # and does not wait for the answer
        hasty.writer.close()
        await until(lambda: desk.posted)
        await until(lambda: not desk.control._clients)

    assert {True} == {one.ruling is not None and one.ruling.approved for one in desk.story.state.approvals.values()}
    assert [] == desk.warnings


async def test_there_is_room_for_so_many_and_no_more(rundir: RunDir) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        callers = [await Caller.connect(desk.path) for _ in range(MOST_CLIENTS)]
        late = await Caller.connect(desk.path, hello=False)
        late.send(HELLO)
        refusal = await late.hear()
        assert "connected already" in str(refusal["error"])
        assert "cap_reached" == refusal["code"], "a program knows that it may try again"
        assert await late.ended()
        callers[0].writer.close()
        await until(lambda: len(desk.control._clients) < MOST_CLIENTS)
        await Caller.connect(desk.path)


async def test_those_who_say_nothing_take_nobodys_place(rundir: RunDir) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        silent = [await Caller.connect(desk.path, hello=False) for _ in range(MOST_CLIENTS + 10)]
        await until(lambda: len(desk.control._clients) == len(silent))
        good = await Caller.connect(desk.path)
        assert "workers_snapshot" == (await good.ask("list_workers"))["event"]


async def test_one_more_at_a_full_door_pushes_out_the_oldest_that_has_said_nothing(rundir: RunDir) -> None:
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        first = await Caller.connect(desk.path)
        silent = [await Caller.connect(desk.path, hello=False) for _ in range(AT_THE_DOOR - 1)]
        await until(lambda: len(desk.control._clients) == AT_THE_DOOR)

        late = await Caller.connect(desk.path)

        assert "workers_snapshot" == (await late.ask("list_workers"))["event"]
        assert "workers_snapshot" == (await first.ask("list_workers"))["event"]
        assert await silent[0].ended()
        silent[1].send(HELLO)
        assert "hello" == (await silent[1].hear())["event"]
        assert len(desk.control._clients) == AT_THE_DOOR


async def test_two_thousand_connections_are_answered_or_closed_and_leave_nothing_behind(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    async with desk.open():
        good = await Caller.connect(desk.path)
        await good.hear_of("approval_request")
        open_files = psutil.Process().num_fds()
        for _ in range(20):
            crowd = [socket.socket(socket.AF_UNIX) for _ in range(100)]
            for one in crowd:
                one.setblocking(False)
                with suppress(BlockingIOError):  # the queue at the door is full
                    one.connect(str(desk.path))
                with suppress(OSError):
                    one.send(b"x" * 1000)
            await asyncio.sleep(0)
            for one in crowd:
                one.close()
        assert "op_acked" == (await good.ask("approve", request_id=name, approved=True))["event"]
        await until(lambda: psutil.Process().num_fds() <= open_files)
        await until(lambda: len(desk.control._clients) == 1)
    assert [] == desk.warnings


class Speechless(Happenings):
    """Something has happened that cannot be told."""

    def take(self, state: RunState) -> None:
        raise OverflowError("date value out of range")


async def test_what_cannot_be_told_is_no_reason_to_end_the_run_or_to_leave_a_client(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    desk.control.happenings = Speechless()
    async with desk.open():
        good = await Caller.connect(desk.path)
        name = desk.ask()  # the loop tells the door in the same breath
        assert name == (await good.hear_of("approval_request"))["request_id"]
    assert "operators are not told of something: OverflowError" in desk.warnings[0]


async def test_a_request_whose_time_no_calendar_has_reaches_operators_all_the_same(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree(lead_timeout_secs=2**63)))
    name = desk.ask()
    async with desk.open():
        asked = await (await Caller.connect(desk.path)).hear_of("approval_request")
    assert name == asked["request_id"]
    assert "expires_at" not in asked


async def test_one_who_has_subscribed_and_does_not_read_costs_a_bounded_amount_and_is_shown_the_run_anew(
    rundir: RunDir,
) -> None:
    desk = Desk(rundir, a_run(*(f"task-{n}-" + "x" * 60 for n in range(300)), max_parallel=300, max_starts=300))
    desk.control.patience_secs = 60.0
    async with desk.open():
        lazy = await Caller.connect(desk.path)
        lazy.reader._transport.pause_reading()  # type: ignore[attr-defined]
        lazy.send({"op": "subscribe", "every_ms": 0})
        await until(lambda: any(client.subscribed for client in desk.control._clients))
        (client,) = desk.control._clients
        for number in range(40):
            desk.story.working(desk.names[number])
            desk.see()
            desk.control.showing._make_due()
            await asyncio.sleep(0)
        waiting = client._writer.transport.get_write_buffer_size()
        assert waiting < 1 << 20, "one view and no queue"

        lazy.reader._transport.resume_reading()  # type: ignore[attr-defined]
        first = await lazy.hear_of("snapshot")
        deltas = [await lazy.hear_of("delta")]
        while deltas[-1]["cursor"] != len(desk.story.facts):
            deltas.append(await lazy.hear_of("delta"))
        assert first["cursor"] == deltas[0]["from"]
        assert len(deltas) < 5, "what was missed is told at once, but for what the system had taken already"


async def test_at_the_end_the_last_news_are_told_and_open_orders_answered(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    async with desk.open():
        caller = await Caller.connect(desk.path)
        await caller.hear()
        path, desk.deaf = desk.path, True
        caller.send({"op": "approve", "request_id": name, "approved": True})
        await until(lambda: desk.posted)

    failed = await caller.hear()
    assert {"event": "op_failed", "op": "approve", "code": "unavailable"}.items() <= failed.items()
    assert await caller.ended()
    assert not path.exists()
    assert not rundir.control_path.exists()


@pytest.mark.parametrize("cookie", [f"{RUN}/lead/1", "another-run/a/1"])
async def test_an_agent_cannot_answer_for_itself_or_others(rundir: RunDir, cookie: str) -> None:
    """Nor can what it starts, even if that hides where it comes from."""
    desk = led(Desk(rundir, a_tree()))
    name = desk.ask()
    program = (
        "import socket, sys\n"
        "door = socket.socket(socket.AF_UNIX)\n"
        "door.connect(sys.argv[1])\n"
        f"door.sendall({(json.dumps(HELLO) + chr(10)).encode()!r})\n"
        "print(door.makefile().readline())\n"
    )
    async with desk.open():
        argv = ["env", "-u", "PITBOSS_COOKIE", sys.executable, "-c", program, str(desk.path)]
        child = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            '"$@"; true',
            "sh",
            *argv,
            env=os.environ | {"PITBOSS_COOKIE": cookie},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate()

    assert "an agent cannot give orders" in out.decode()
    assert '"code":"forbidden"' in out.decode()
    assert desk.story.state.approvals[name].ruling is None


# --- where it is ------------------------------------------------------------------------------------------------------


async def test_the_socket_is_private_and_where_programs_of_0_9_look(rundir: RunDir, short: Path) -> None:
    runtime = short / "runtime"
    runtime.mkdir()
    desk = Desk(rundir, a_run("a"), runtime_dir=str(runtime))
    mask = os.umask(0)
    try:
        async with desk.open():
            assert runtime / "pitboss" / f"{RUN}.control.sock" == desk.path
            assert 0o600 == stat.S_IMODE(desk.path.stat().st_mode)
            assert 0o700 == stat.S_IMODE(desk.path.parent.stat().st_mode)
            assert 0o600 == stat.S_IMODE(rundir.control_path.stat().st_mode)
            assert desk.path == next(places(rundir, "/elsewhere")), "found without the same XDG_RUNTIME_DIR"
    finally:
        os.umask(mask)
    assert [] == list((runtime / "pitboss").iterdir())


@pytest.mark.parametrize("runtime_dir", ["", "relative", "/proc/nowhere", "{file}"])
async def test_without_a_runtime_directory_it_is_in_the_runs_folder(rundir: RunDir, runtime_dir: str) -> None:
    desk = Desk(rundir, a_run("a"), runtime_dir=runtime_dir.format(file=rundir.snapshot))
    async with desk.open():
        assert rundir.control_socket == desk.path
        await Caller.connect(desk.path)


async def test_a_path_that_is_too_long_gives_way_to_a_short_private_one(short: Path) -> None:
    deep = short / ("d" * 60) / ("e" * 60)
    rundir = RunDir.create(deep, RUN, snapshot=b"", resolved=b"{}", meta=b"{}")
    desk = Desk(rundir, a_run("a"), runtime_dir=str(deep))
    async with desk.open():
        path = desk.path
        assert len(os.fsencode(path)) <= LONGEST_PATH
        assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
        await Caller.connect(path)
    assert not path.parent.exists()


async def test_a_stale_socket_is_replaced(rundir: RunDir) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(rundir.control_socket))
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        assert rundir.control_socket == desk.path
        await Caller.connect(desk.path)


async def test_a_socket_that_answers_is_left_alone_however_old(rundir: RunDir, short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(rundir.control_socket))
        living.listen()
        os.utime(rundir.control_socket, (0, 0))
        desk = Desk(rundir, a_run("a"))
        async with desk.open():
            assert rundir.control_socket != desk.path
            await Caller.connect(desk.path)
        assert rundir.control_socket.is_socket()


async def test_what_is_no_socket_is_never_removed(rundir: RunDir) -> None:
    rundir.control_socket.write_text("precious")
    desk = Desk(rundir, a_run("a"))
    async with desk.open():
        await Caller.connect(desk.path)
    assert "precious" == rundir.control_socket.read_text()


async def test_a_run_goes_on_without_a_socket(rundir: RunDir, short: Path) -> None:
    rundir.control_socket.mkdir()
    desk = Desk(rundir, a_run("a"), temp=[str(short / "nowhere")])
    async with desk.open():
        desk._post(s.Interrupted(at=desk.story.at, by="test"))

    (warning,) = desk.warnings
    assert f"{rundir.control_socket}: Address already in use" in warning
    assert "pitboss approvals" in warning
    assert not rundir.control_path.exists()


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    here, there = socket.socketpair()
    with here, there:
        found = peer.peer_of(here)
    assert found is not None
    assert (os.geteuid(), os.getpid()) == (found.uid, found.pid)
