from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict, get_args

import msgspec
import pytest

from pitboss.journal.reader import replay
from pitboss.model import approval_facts as a
from pitboss.model import facts as f
from pitboss.model import notice_facts as n
from pitboss.model import order_facts as of
from pitboss.model import tree_facts as t
from pitboss.model.approvals import Approval, Decision, Pending
from pitboss.model.effects import Rung
from pitboss.model.notices import Notice
from pitboss.model.run import ActorId, Certificate, Failure, SetAside, Status, TurnResult, Usage
from pitboss.surfaces import chronicle
from support.pictures import RUN, START, begun, done, opened, write_run


class Who(TypedDict):
    at: float
    actor: ActorId
    attempt: int


WHO = Who(at=START, actor=ActorId("a"), attempt=1)

ADOPTED = (
    "by the record of Pitboss 0.9, it ended as Success, having used — tokens (in/out/cache), $0.50; "
    "its worktree /w was removed"
)
ASKED = Approval(
    request_id="req-1",
    kind="action",
    actor=ActorId("a"),
    path=(ActorId("a"),),
    role="lead",
    category="tool_use",
    summary="push it",
    asked_at=START,
    expires_at=None,
)
TOLD = Notice(key="r:run_finished", kind="run_finished", severity="info", at=START, event={})
APPROVAL_FACTS: list[tuple[f.AnyFact, str]] = [
    (
        a.ApprovalRequested(**WHO, approval=ASKED, pending=Pending(attempt=1, call_id=1)),
        "it asks for approval (req-1): push it",
    ),
    (
        a.ApprovalTakenUp(**WHO, request_id="req-1", pending=Pending(attempt=2, call_id=1), heard=False),
        "it asks for req-1 again, having been cut off",
    ),
    (
        a.ApprovalDecided(
            **WHO, request_id="req-1", ruling=Decision(approved=False, by="operator", reason="no"), heard=True
        ),
        "req-1 was refused by operator: no",
    ),
]
FACTS: list[tuple[f.AnyFact, str]] = [
    (opened(Path("/runs"), "a", "b"), "the run began: 2 tasks, at most 4 at once (dispatcher 4242)"),
    (f.GuardianStarted(at=0, pid=7), "a guardian watches over the run (process 7)"),
    (f.GuardianLost(at=0, message="killed"), "the guardian was lost: killed; starting waits for a new one"),
    (f.ClaudeIdentified(at=0, version="2.1"), "claude is version 2.1"),
    (f.ClaudeIdentified(at=0, version=None), "claude did not tell its version"),
    (f.StartsThrottled(at=0, limit=0, until=9, reason="429"), "starting was paused: 429"),
    (f.StartsThrottled(at=0, limit=2, until=9, reason="529"), "starting was slowed to 2 at once: 529"),
    (f.StartsRecovered(at=0, limit=2, until=9), "starting recovered to 2 at once"),
    (f.StartsRecovered(at=0, limit=4), "starting recovered fully, to 4 at once"),
    (f.DrainBegan(at=0, by="SIGINT", ordered=True), "nothing more is started: SIGINT (ordered)"),
    (f.StopOrdered(at=0, by="SIGTERM"), "everything is to stop: SIGTERM"),
    (f.ArtifactLost(at=0, path="/s", message="disk full"), "/s could not be written: disk full"),
    (f.HandFailed(at=0, effect="PublishRun", message="no"), "PublishRun broke: no"),
    (
        f.NewsIgnored(at=0, signal="ProcessGone", reason="attempt 1 is over"),
        "a late ProcessGone was ignored: attempt 1 is over",
    ),
    (f.RunEnded(at=0, exit_code=130, was_interrupted=True), "the run ended early, exit code 130"),
    (
        f.AttemptLost(**WHO, certificate=Certificate(exit_code=None), session_id="s", resume=True),
        "it was cut off with its dispatcher; its next attempt continues its session",
    ),
    (
        f.ActorAdopted(**WHO, status=Status.SUCCESS, worktree="/w", worktree_removed=True, cost_usd=0.5),
        ADOPTED,
    ),
    (
        f.ActorAdopted(**WHO, resume=True),
        "it was cut off under Pitboss 0.9; its next attempt continues its session",
    ),
    (
        f.ActorRequeued(**WHO, session_id="s", resume=False),
        "it is taken up again; its next attempt starts afresh",
    ),
    (
        f.ActorRequeued(**WHO, session_id="s", resume=False, fresh=True),
        "it is taken up again; its next attempt begins again from the start, with what it has done set aside",
    ),
    (
        f.RunReopened(at=1.0, pid=7, pitboss_version="1", epoch=2, scope="unsettled", stopped=(8, 9)),
        "dispatcher 7 took the run over and goes on with what was not settled; stopped 2 left over from the old one",
    ),
    (
        f.ActorAdmitted(**WHO, session_id="s", allotment_usd=0.5),
        "it got a slot (attempt 1), session s, may spend $0.50",
    ),
    (
        f.WorktreeMade(**WHO, path="/w", branch="b", base="0123456789abcdef", created_branch=True, cwd="/w"),
        "its worktree stands at /w, on new branch b from 0123456789",
    ),
    (
        f.WorktreeMade(
            **WHO,
            path="/w",
            branch="b",
            base="0123456789abcdef",
            created_branch=False,
            cwd="/w",
            brought_back=SetAside(ref="r", commit="c", files=1),
            message="but",
        ),
        "its worktree stands at /w, on branch b from 0123456789, with what was set aside as r uncommitted in it, but",
    ),
    (f.WorktreeFailed(**WHO, message="no"), "no worktree could be made: no"),
    (f.ProcessStarted(**WHO, pid=7), "claude runs as process 7"),
    (f.SpawnFailed(**WHO, message="no"), "claude could not be started: no"),
    (f.SessionOpened(**WHO), "the session answered and has its prompt"),
    (f.ToolUsed(**WHO, verdict="allow", tool="Bash", summary="ls\x1b[2J"), "it called Bash: ls[2J"),
    (f.ToolUsed(**WHO, verdict="allow", tool="Read", summary="x", subagent="s"), "its subagent called Read: x"),
    (
        f.UsageCounted(**WHO, usage=Usage(input=1, output=2), cost_usd=None),
        "it has used 1/2/0 tokens (in/out/cache) so far",
    ),
    (
        f.ApiPushedBack(**WHO, status=529, delay_secs=0.55, error="overloaded"),
        "the API pushed back: 529 (overloaded); it tries again in 0.6 s",
    ),
    (f.BackgroundNoted(**WHO, tasks=("shell: x",)), "in its background: shell: x"),
    (f.BackgroundNoted(**WHO, tasks=()), "nothing is in its background now"),
    (
        f.TurnFinished(
            **WHO,
            result=TurnResult(subtype="success", is_error=True, api_error_status=401, text="who?"),
            usage=Usage(input=1, output=2),
            cost_usd=0.5,
        ),
        "a turn failed (API status 401: who?); exactly 1/2/0 tokens (in/out/cache), $0.50",
    ),
    (f.ActorStalled(**WHO, secs=300), "nothing has been heard of it for 300 s"),
    (f.ActorRevived(**WHO), "it was heard again"),
    (f.StopBegan(**WHO, reason="timeout"), "its end began: its time is up"),
    (f.StopBegan(**WHO, reason="stop", note="SIGINT"), "its end began: it was told to stop (SIGINT)"),
    *(
        (f.RungReached(**WHO, rung=rung, patience_secs=2.5, step=0), f"Pitboss {words}, and gives it 2.5 s")
        for rung, words in {
            Rung.CLOSE_STDIN: "told it that nothing more will be said",
            Rung.INTERRUPT: "interrupted its turn",
            Rung.TERM: "sent SIGTERM to all its processes",
            Rung.KILL: "sent SIGKILL to all its processes",
        }.items()
    ),
    (
        f.ProcessEnded(**WHO, certificate=Certificate(exit_code=None, signal=9, stopped=(7, 8))),
        "its process ended by signal 9, 2 left-overs stopped; nothing of it is left",
    ),
    (
        f.ProcessEnded(
            **WHO,
            certificate=Certificate(exit_code=1, cookie_empty=False),
            failure=Failure(kind="process_died", message="x"),
        ),
        "its process ended with exit code 1; that nothing of it is left could not be shown; process_died: x",
    ),
    (
        f.WorktreeLeft(**WHO, removed=True, set_aside=SetAside(ref="r", commit="c", files=1), branch_deleted=True),
        "its worktree was removed, 1 file set aside as r, its branch, still empty, was deleted",
    ),
    (f.WorktreeLeft(**WHO, removed=False, message="locked"), "its worktree was kept, locked"),
    (
        f.ActorSettled(**WHO, status=Status.FAILED, failure=Failure(kind="no_result"), note="n"),
        "settled as Failed: no_result (n)",
    ),
    *APPROVAL_FACTS,
    (n.NoticeRaised(at=START, notice=TOLD, sinks=("slack", "log")), "run_finished is to be told to slack, log"),
    (
        n.NoticeSettled(at=START, key="r:run_finished", sink="slack", outcome="delivered", tries=1),
        "run_finished, to slack: delivered",
    ),
    (
        n.NoticeSettled(at=START, key="r:run_finished", sink="log", outcome="undelivered", tries=4, error="it broke"),
        "run_finished, to log: undelivered after try 4: it broke",
    ),
]


@pytest.mark.parametrize(
    ("fact", "words"), FACTS, ids=[f"{n}-{type(fact).__name__}" for n, (fact, _) in enumerate(FACTS)]
)
def test_every_fact_has_its_sentence(fact: f.AnyFact, words: str) -> None:
    assert words == chronicle.sentence(fact)


def test_no_kind_of_fact_is_left_out_above() -> None:
    others = {t.__name__, of.__name__}  # see test_chronicle_tree.py and test_chronicle_orders.py
    elsewhere = {kind for kind in get_args(f.AnyFact) if kind.__module__ in others}
    assert set(get_args(f.AnyFact)) - elsewhere == {type(fact) for fact, _ in FACTS}


def story(tmp_path: Path, actor: str) -> list[str]:
    folder = write_run(tmp_path, [opened(tmp_path, "a", "b"), *begun("a"), *begun("b", 2.0), *done("a")])
    return list(chronicle.story_lines(replay(folder.journal), ActorId(actor)))


def test_a_story_names_times_and_causes(tmp_path: Path) -> None:
    lines = story(tmp_path, "a")

    assert "    +0.000s  #1          the run began: 2 tasks, at most 4 at once (dispatcher 4242)" == lines[0]
    assert (
        "    +1.000s  #2  <- #1   it got a slot (attempt 1), session 11111111-2222-4333-8444-555555555555" == lines[1]
    )
    assert "    +5.000s  #16 <- #15  settled as Success" == lines[-1]


def test_what_another_actor_caused_is_told_with_its_name(tmp_path: Path) -> None:
    assert any("[b] it called Bash: ls" in line for line in story(tmp_path, "a"))


def test_the_story_as_json_has_the_facts_themselves(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [opened(tmp_path, "a"), *begun("a")])

    told = json.loads(chronicle.story_json(replay(folder.journal), ActorId("a"), RUN))

    assert (1, RUN, "a") == (told["version"], told["run_id"], told["actor"])
    assert [None, 1, 2, 3, 4, 5] == [fact["cause"] for fact in told["facts"]]
    assert "ProcessStarted" == told["facts"][3]["fact"]["fact"]
    assert msgspec.json.decode(msgspec.json.encode(told["facts"][3]["fact"]), type=f.AnyFact)


def test_a_story_without_facts_is_empty() -> None:
    assert [] == list(chronicle.story_lines([], ActorId("a")))
