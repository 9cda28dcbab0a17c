from __future__ import annotations

import json
from pathlib import Path

from msgspec.structs import replace

from pitboss.core.attention import Need, attention
from pitboss.journal.lock import RunLock
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Status
from pitboss.model.views import ApprovalView, RunView
from pitboss.surfaces import client, notice
from support.pictures import RUN, START, begun, opened, picture, settled, working, write_run

NOW = START + 600


def lines(view: RunView, **options: str) -> list[str]:
    return list(notice.notice_lines(attention(view, NOW), view, now=NOW, **options))


def asked(actor: str, summary: str = "push to main", number: int = 1) -> ApprovalView:
    return ApprovalView(
        request_id=f"req-{number}",
        actor=ActorId(actor),
        kind="action",
        summary=summary,
        asked_at=START + 420,
        expires_at=START + 3600,
    )


def test_an_approval_is_told_with_its_age_its_time_left_and_who_stands_behind_it() -> None:
    lead = replace(working("lead"), waits_for=(ActorId("a"),))
    view = replace(picture(lead, working("a")), approvals=(asked("a"),))
    assert [
        f"1 approval waits: pitboss approvals list {RUN[:13]}",
        "  a asks for approval: push to main (3m; 50m left; behind it: lead)",
    ] == lines(view)


def test_every_other_need_is_a_line_with_what_helps() -> None:
    silent = replace(working("a"), silent_secs=300.0, silent_since=START)
    view = picture(silent, settled("b", Status.FAILED, took=540.0))
    assert [
        f"! a has gone silent (10m): pitboss attach {RUN[:13]} a --run-dir '/my runs'",
        f"! b ended with Failed (1m): pitboss why {RUN[:13]} b --run-dir '/my runs'",
    ] == lines(view, runs_dir="/my runs")


def test_of_many_needs_of_one_kind_the_first_are_told_and_the_others_counted() -> None:
    view = picture(*(settled(f"t{n}", Status.FAILED) for n in range(9)))
    told = lines(view)
    assert 6 == len(told)
    assert "! and 4 more like that" == told[-1]


def test_what_an_agent_wrote_does_not_reach_the_terminal_raw() -> None:
    view = replace(picture(working("a")), approvals=(asked("a", "\x1b]0;owned\x07push\nRun: fake"),))
    assert not any("\x1b" in line or "\n" in line or "\x07" in line for line in lines(view))


def test_an_id_in_a_text_becomes_the_name_it_is_known_by() -> None:
    worker = ActorId("worker-019ab001-2222-7222-8333-000000000001")
    view = picture(replace(working(worker), name="cart"))
    need = Need(kind="api", text=f"{worker} was refused")
    assert "cart was refused" == notice.need_line(need, view, now=NOW)


def test_that_a_run_was_cut_off_is_left_to_the_table() -> None:
    view = picture(working("a"))
    assert [] == list(notice.notice_lines(attention(view, NOW, live=False), view, now=NOW))


# --- runs on disk -----------------------------------------------------------------------------------------------------


def test_the_json_of_a_run_says_what_needs_a_person(tmp_path: Path) -> None:
    stalled = f.ActorStalled(at=START + 400, actor=ActorId("a"), attempt=1, secs=300.0)
    folder = write_run(tmp_path, [opened(tmp_path, "a"), f.GuardianStarted(at=START, pid=7), *begun("a"), stalled])
    with RunLock.acquire(folder.lock):
        run = client.open_run(tmp_path, RUN)
        needs = [need for need in notice.needs(run.view, run.state, NOW) if need.kind != "disk"]

    (need,) = json.loads(client.run_json(run, needs))["attention"]

    assert ("stalled", "a", START + 100, f"pitboss attach {RUN[:13]} a") == (
        need["kind"],
        need["actor"],
        need["since"],
        need["command"],
    )


def test_a_run_that_nobody_is_at_work_on_is_asked_for_no_disk(tmp_path: Path) -> None:
    write_run(tmp_path, [opened(tmp_path, "a"), *begun("a")])
    run = client.open_run(tmp_path, RUN)
    assert ["cut_off"] == [need.kind for need in notice.needs(run.view, run.state, NOW)]


def test_room_on_a_disk_that_is_gone_is_not_known() -> None:
    assert None is notice.free_bytes(picture(working("a")))


def test_an_approval_that_ends_with_the_time_of_whoever_asks_says_so() -> None:
    asks = replace(asked("a"), ends_at=START + 608, ends_by="timeout")
    view = replace(picture(working("a")), approvals=(asks,))
    assert "  a asks for approval: push to main (3m; 8s left before it times out)" == lines(view)[1]
