"""A run of Pitboss 0.9 in a pit: what it had made of the repository and kept of sessions; and resuming it."""

from __future__ import annotations

import json
from pathlib import Path

from pitboss.engine.ids import mint_run_id
from support.legacy import Json, a_resolved_task, write_legacy
from support.pit import Ended, Pit

SESSION = "11111111-2222-4333-8444-5555555555{:02}"
CONTINUED: list[Json] = [
    {"tool": "Bash", "input": {"command": "cat draft && echo two >> draft && git add -A && $COMMIT two"}}
]


class Legacy:
    """A run of Pitboss 0.9 in a pit."""

    def __init__(self, pit: Pit) -> None:
        self.pit = pit
        self.id = mint_run_id()  # of its own: who has a run's cookie is stopped by whoever resumes it
        pit.env["COMMIT"] = "git -c user.name=a -c user.email=a@b commit -qm"
        self.play(CONTINUED)

    def play(self, steps: list[Json], **parts: list[Json]) -> None:
        """What `a`, and others, do from now on; everyone else is done at once."""
        script = self.pit.place / "script.json"
        script.write_text(json.dumps({"a": steps} | parts))
        self.pit.env["PITBOSS_FAKE_SCRIPT"] = str(script)

    def task(self, name: str, **more: object) -> Json:
        return a_resolved_task(name, self.pit.repo, **more)

    def worktree(self, name: str, *, branch: str = "") -> Path:
        """Made as 0.9 made it, beside the repository; with an uncommitted file."""
        path = self.pit.place / f"repo-pitboss-{name}-{self.id}"
        self.pit.git("worktree", "add", "-q", "-b", branch or f"pitboss-{name}-{self.id}", str(path), "HEAD")
        (path / "draft").write_text("one\n")
        return path

    def transcript(self, number: int) -> str:
        """A session that can be continued, and its id."""
        folder = self.pit.home / ".claude" / "projects" / "fake"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{SESSION.format(number)}.jsonl").write_text("{}")
        return SESSION.format(number)

    def heard(self, name: str, session: str) -> None:
        """What 0.9 kept of the stream of a task that it had begun."""
        log = self.pit.runs / self.id / "tasks" / name / "stdout.log"
        used = {"input_tokens": 100, "output_tokens": 20}
        said: list[Json] = [
            {"type": "system", "subtype": "init", "session_id": session, "model": "claude-haiku-4-5"},
            {"type": "assistant", "message": {"id": "m1", "content": [], "usage": used}, "session_id": session},
        ]
        log.write_text("".join(json.dumps(line) + "\n" for line in said))

    def led(self, records: list[Json | str], *, lead: Json | None = None, **more: object) -> Path:
        """A run whose lead is `boss`, without a worktree unless ``lead`` says otherwise."""
        boss = self.task("boss", use_worktree=False, allow_subleads=True) | (lead or {})
        return self.write([], records, **({"lead": boss} | more))

    def write(self, tasks: list[Json], records: list[Json | str], **more: object) -> Path:
        return write_legacy(self.pit.runs, tasks, records, run_id=self.id, **more)  # type: ignore[arg-type]  # each test names its own


def resume(pit: Pit, *words: str) -> Ended:
    return pit.pitboss("resume", *words, "--run-dir", str(pit.runs))


def refused(pit: Pit, *words: str) -> str:
    """A resume that is refused with one sentence, and leaves the run's folder as it was."""
    (folder,) = pit.runs.iterdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ended = resume(pit, *words)
    assert 2 == ended.code, ended.err
    assert "Traceback" not in ended.err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return ended.err
