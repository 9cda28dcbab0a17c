"""Reading a journal: what is damaged is named, what is torn is told, what grows is followed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pitboss.errors import WorldError
from pitboss.journal.entries import encode_entry, encode_header
from pitboss.journal.log import Follower, Journal, Torn, last_entries, replay
from pitboss.model.facts import AnyFact, GuardianStarted, StopOrdered, ToolUsed
from pitboss.model.order_facts import OrderTaken
from pitboss.model.orders import NoteActor
from pitboss.model.run import ActorId
from pitboss.model.tree import Message
from pitboss.model.tree_facts import MessagesDelivered, MessageSent

HEADER = encode_header({"run_id": "r"})


def line(seq: int) -> bytes:
    return encode_entry(seq, 0, "GuardianUp", GuardianStarted(at=float(seq), pid=seq))


WHOLE = HEADER + b"".join(line(seq) for seq in range(1, 6))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def seqs(path: Path) -> list[int]:
    return [entry.seq for entry in replay(path)]


def test_a_whole_journal_tells_its_header_and_its_length(path: Path) -> None:
    path.write_bytes(WHOLE)

    story = replay(path)

    assert [1, 2, 3, 4, 5] == [entry.seq for entry in story]
    assert story.header is not None
    assert "r" == story.header["run_id"]
    assert (None, len(WHOLE), 5) == (story.torn, story.end, story.seq)


@pytest.mark.parametrize("cut", range(len(HEADER + line(1) + line(2)), len(HEADER + line(1) + line(2) + line(3))))
def test_a_journal_cut_anywhere_in_a_line_is_torn_there(path: Path, cut: int) -> None:
    path.write_bytes(WHOLE[:cut])

    story = replay(path)

    assert [1, 2] == [entry.seq for entry in story]
    sound = len(HEADER + line(1) + line(2))
    assert (Torn(4, sound) if cut > sound else None) == story.torn
    assert sound == story.end


@pytest.mark.parametrize("tail", [b"\0" * 300, b"\0" * 80 + b"\n" + b"junk\n", line(6)[:-9] + b"x" + line(6)[-8:]])
def test_a_tail_of_rubbish_is_torn_too(path: Path, tail: bytes) -> None:
    """A power cut can leave a file longer than what was written into it."""
    path.write_bytes(WHOLE + tail)

    story = replay(path)

    assert 5 == len(list(story))
    assert Torn(7, len(WHOLE)) == story.torn


def test_damage_with_sound_lines_behind_it_names_file_line_and_byte(path: Path) -> None:
    path.write_bytes(WHOLE.replace(b'"pid":3', b'"pid":4'))
    offset = len(HEADER + line(1) + line(2))

    with pytest.raises(WorldError, match=rf"journal\.jsonl:4: the line is damaged .*\(byte {offset}\)"):
        seqs(path)


def test_a_missing_line_is_damage(path: Path) -> None:
    path.write_bytes(HEADER + line(1) + line(3))

    with pytest.raises(WorldError, match=r":3: fact 2 should stand here, but it is fact 3"):
        seqs(path)


def test_an_unknown_kind_of_fact_stops_the_reader_with_advice(path: Path) -> None:
    class MoonLanded(StopOrdered, frozen=True, kw_only=True):
        pass

    path.write_bytes(HEADER + line(1) + encode_entry(2, 1, "Moon", MoonLanded(at=1.0, by="x")))

    with pytest.raises(WorldError, match=r":3: the kind of fact 'MoonLanded' is unknown; .*newer one \(byte \d+\)"):
        seqs(path)


def test_a_known_fact_with_a_wrong_field_is_told_apart_from_an_unknown_one(path: Path) -> None:
    class Odd(ToolUsed, frozen=True, kw_only=True, tag="GuardianStarted"):
        pass

    odd = Odd(at=1.0, actor=ActorId("a"), attempt=1, tool="Bash", summary="ls", verdict="allow")
    path.write_bytes(HEADER + encode_entry(1, 0, "x", odd))

    with pytest.raises(WorldError, match="the fact GuardianStarted does not fit this version"):
        seqs(path)


def test_a_field_of_a_later_version_is_no_hindrance(path: Path) -> None:
    class Later(GuardianStarted, frozen=True, kw_only=True, tag="GuardianStarted"):
        cpu_secs: float

    path.write_bytes(HEADER + encode_entry(1, 0, "x", Later(at=1.0, pid=3, cpu_secs=0.1)))

    assert [GuardianStarted(at=1.0, pid=3)] == [entry.fact for entry in replay(path)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encode_header({"format": 3}) + line(1), "its format is 3, this Pitboss reads 1 to 2; use a newer Pitboss"),
        (line(1), "not the header of a Pitboss journal"),
        (b"hello\nworld\n", "not the header of a Pitboss journal"),
        (encode_header({"pitboss": "cookbook"}), "not the header of a Pitboss journal"),
    ],
)
def test_a_file_that_is_no_journal_of_ours_is_refused(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)

    with pytest.raises(WorldError, match=message):
        seqs(path)


def test_a_damaged_header_says_how_the_facts_behind_it_can_be_read(path: Path) -> None:
    flipped = HEADER[:5] + bytes([HEADER[5] ^ 1]) + HEADER[6:]
    path.write_bytes(flipped + line(1) + line(2))

    with pytest.raises(WorldError, match=":1: the journal's header is damaged") as damage:
        seqs(path)

    assert "neither be shown nor resumed" in str(damage.value)
    assert "put line 1 back from a copy" in damage.value.hint
    assert f"`tail -n +2 {path} | jq -c .` tells what happened" in damage.value.hint


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_a_run_that_died_while_its_journal_was_born_has_an_empty_story(path: Path, length: int) -> None:
    path.write_bytes(HEADER[:length])

    story = replay(path)

    assert [] == list(story)
    assert (Torn(1, 0) if length else None) == story.torn


def test_a_journal_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot read .*journal\.jsonl: No such file"):
        seqs(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(len(HEADER), len(WHOLE) - 1), byte=st.integers(0, 255))
def test_one_wrong_byte_never_changes_what_is_read(path: Path, at: int, byte: int) -> None:
    """It is found: as damage, or as a torn tail; the facts before it are true."""
    path.write_bytes(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
    story = replay(path)
    facts: list[AnyFact] = []
    try:
        facts.extend(entry.fact for entry in story)
        complete = story.torn is None
    except WorldError:
        complete = False

    assert [GuardianStarted(at=float(n), pid=n) for n in range(1, len(facts) + 1)] == facts
    assert complete == (WHOLE[at] == byte)


def test_a_follower_waits_for_a_journal_and_for_the_rest_of_a_line(path: Path) -> None:
    follower = Follower(path)
    read: list[list[int]] = []
    for end in [None, 10, len(HEADER), len(HEADER) + 5, len(HEADER + line(1)) + 9, len(WHOLE)]:
        if end is not None:
            path.write_bytes(WHOLE[:end])
        read.append([entry.seq for entry in follower.read()])

    assert [[], [], [], [], [1], [2, 3, 4, 5]] == read
    assert follower.header is not None
    assert follower.torn is None


def test_a_follower_goes_on_when_a_torn_tail_was_cut_off_and_written_anew(path: Path) -> None:
    path.write_bytes(WHOLE + line(6)[:20] + b"\n")
    follower = Follower(path)

    assert 5 == len(follower.read())
    assert Torn(7, len(WHOLE)) == follower.torn
    assert [] == follower.read()

    path.write_bytes(WHOLE + line(6))

    assert [6] == [entry.seq for entry in follower.read()]


def test_a_follower_notices_that_what_it_read_is_gone(path: Path) -> None:
    path.write_bytes(WHOLE)
    follower = Follower(path)
    follower.read()
    path.write_bytes(HEADER)

    with pytest.raises(WorldError, match="has become shorter than what was read of it"):
        follower.read()


async def test_a_follower_beside_a_live_writer_sees_each_fact_once(path: Path) -> None:
    journal = Journal.create(path, {})
    follower = Follower(path)
    seen: list[int] = []

    async def write() -> None:
        for number in range(200):
            journal.append(GuardianStarted(at=1.0, pid=number), cause=0, by="GuardianUp")
            await journal.sync()

    writing = asyncio.create_task(write())
    while not writing.done():
        seen += [entry.seq for entry in follower.read()]
        await asyncio.sleep(0)
    await writing
    seen += [entry.seq for entry in follower.read()]
    journal.close()

    assert list(range(1, 201)) == seen


def test_the_end_of_a_journal_is_read_without_its_beginning(path: Path) -> None:
    long = encode_entry(3, 0, "x", StopOrdered(at=1.0, by="y" * 40_000))
    path.write_bytes(b"rubbish\n" * 5000 + line(1) + line(2) + long + line(4)[:-3])

    assert 3 == last_entries(path)[0].seq


@pytest.mark.parametrize("content", [b"", HEADER, HEADER + line(1)[:-1]])
def test_a_journal_without_a_fact_has_no_last_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert [] == last_entries(path)


# --- orders -----------------------------------------------------------------------------------------------------------

A = ActorId("a")


def an_order(first: int, *, cause: int) -> list[bytes]:
    """A note: what it has led to, that it was taken, and what has followed from that."""
    message = Message(text="mind the gap", by="operator")
    taken = OrderTaken(at=1.0, order=NoteActor(actor=A, text="mind the gap"), order_id="n")
    facts = [
        MessageSent(at=1.0, actor=A, attempt=1, message=message),
        MessagesDelivered(at=1.0, actor=A, attempt=1),
        taken,
        StopOrdered(at=1.0, by="x"),
    ]
    return [encode_entry(first + n, first if n else cause, "OrderGiven", fact) for n, fact in enumerate(facts)]


@pytest.mark.parametrize("first_cause", [0, 1])
def test_what_a_crash_has_left_of_an_order_counts_for_nothing(path: Path, first_cause: int) -> None:
    """Else it would be carried out twice when it is given again under its id."""
    parts = [HEADER, line(1), *an_order(2, cause=first_cause), line(6), *an_order(7, cause=6)]
    read = {parts_there: seqs_of(path, parts[:parts_there]) for parts_there in range(2, len(parts) + 1)}

    assert {2: 1, 3: 1, 4: 1, 5: 4, 6: 5, 7: 6, 8: 6, 9: 6, 10: 9, 11: 10} == read


def seqs_of(path: Path, parts: list[bytes]) -> int:
    """The last fact that counts; going on from there leaves nothing of what does not."""
    path.write_bytes(b"".join(parts))
    story = replay(path)
    counted = [entry.seq for entry in story]
    assert counted == list(range(1, len(counted) + 1))
    sound = len(b"".join(parts[: len(counted) + 1]))
    assert (len(counted), sound) == (story.seq, story.end)
    assert (None if sound == path.stat().st_size else Torn(len(counted) + 2, sound)) == story.torn
    return counted[-1]


def test_an_order_that_is_being_written_is_followed_when_it_is_whole(path: Path) -> None:
    parts = [HEADER, line(1), *an_order(2, cause=0)]
    follower = Follower(path)
    found = []
    for count in range(1, len(parts) + 1):
        path.write_bytes(b"".join(parts[:count]))
        found.append([entry.seq for entry in follower.read()])

    assert [[], [1], [], [], [2, 3, 4], [5]] == found
