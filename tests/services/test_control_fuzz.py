"""Anything at all comes in through the operators' socket: the run goes on, and a good client is answered.

Real sockets, the real rules behind them. What is sent is random bytes, ops that are nearly right, right ones cut into
pieces, and all of that in one connection after another.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pitboss.journal.rundir import RunDir
from pitboss.testing.doubles import RUN, a_tree
from pitboss.wire import control as wire
from support.operators import HELLO, Caller, Desk, hang_up, led, until

OPS = [str(kind.__struct_config__.tag) for kind in get_args(wire.Op)]
FIELDS = sorted({name for kind in get_args(wire.Op) for name in kind.__struct_fields__})

numbers = st.sampled_from([0, -1, 1, 10**9, 2**63, 10**400, 1e308, 0.5]) | st.integers() | st.floats(allow_nan=False)
texts = st.sampled_from(["lead", "worker-1", "cancel", "freeze", "req-1", "", "\0", "\ud800", "a" * 5000]) | st.text()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["match", "action"]) | texts, inner),
    max_leaves=5,
)
near_misses = st.builds(
    lambda op, rest: json.dumps({**rest, "op": op}).encode() + b"\n",
    st.sampled_from(OPS) | values,
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=5),
)
garbage = st.binary(max_size=200) | st.sampled_from([b"\n", b"\r\n", b"{" * 5000 + b"\n", b"\xff" * 70_000])
pieces = st.lists(near_misses | garbage, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(talks=st.lists(pieces, min_size=1, max_size=4), cuts=st.lists(st.integers(1, 5000), max_size=10))
def test_whatever_comes_in_the_run_goes_on_and_a_good_client_is_answered(
    talks: list[list[bytes]], cuts: list[int]
) -> None:
    asyncio.run(_hold(talks, cuts))


async def _hold(talks: Sequence[Sequence[bytes]], cuts: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as folder:
        rundir = RunDir.create(Path(folder, "runs"), RUN, snapshot=b"", resolved=b"{}", meta=b"{}")
        desk = led(Desk(rundir, a_tree()))
        desk.story.spawns("lead")
        async with desk.open():
            good = await Caller.connect(desk.path)
            await asyncio.gather(*(_talk(desk, talk, cuts) for talk in talks))
            assert "workers_snapshot" == (await good.ask("list_workers"))["event"]
            assert (await good.ask("cancel_run"))["event"] in {"op_acked", "op_failed"}  # they may have ended it
            await until(lambda: len(desk.control._clients) == 1)
            await hang_up()
    assert [] == desk.warnings


async def _talk(desk: Desk, lines: Sequence[bytes], cuts: Sequence[int]) -> None:
    """Say it all in pieces, read whatever comes, and leave."""
    caller = await Caller.connect(desk.path, hello=False)
    said = json.dumps(HELLO).encode() + b"\n" + b"".join(lines)
    with suppress(ConnectionError):
        for cut in cuts:
            caller.writer.write(said[:cut])
            await caller.writer.drain()
            said = said[cut:]
        caller.writer.write(said)
        caller.writer.write_eof()
    assert await caller.ended()
    caller.writer.close()
