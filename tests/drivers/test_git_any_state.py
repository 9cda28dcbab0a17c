"""Whatever state an agent leaves a worktree in, all of it can be had back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.git import Repository, folder, git, new_repository, restore, snapshot


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


NAMES = st.sampled_from(["README", "src/app.py", "src/lib/deep.txt", "new", "src/new", "ü/ö", " x ", "deep/er/file"])
ACTS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from(["write", "delete", "link", "mode", "stage", "unstage", "commit", "detach"]),
        st.binary(max_size=12),
    ),
    max_size=8,
)


def act(top: Path, name: str, what: str, content: bytes) -> None:
    """One thing an agent may do to a file."""
    path = top / name
    if what in {"write", "link", "delete"}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if what == "write":
            path.write_bytes(content)
        if what == "link":
            path.symlink_to(f"to{content.hex()}")
    elif what == "mode" and path.is_file() and not path.is_symlink():
        path.chmod(path.stat().st_mode ^ 0o111)
    elif what == "stage":
        git(top, "add", "--all")
    elif what == "unstage":
        git(top, "reset", "--quiet")
    elif what == "commit":
        git(top, "commit", "--quiet", "--allow-empty", "-m", "work")
    elif what == "detach":
        git(top, "switch", "--quiet", "--detach")


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
async def test_whatever_an_agent_did_can_be_restored(repo: Repository, acts: list[tuple[str, str, bytes]]) -> None:
    number = len(repo("for-each-ref", "refs/heads", "refs/pitboss").splitlines())
    made = await repo.prepare(msgspec.structs.replace(repo.wants(f"h{number}"), branch=f"h{number}"))
    top = folder(made)
    for name, what, content in acts:
        act(top, name, what, content)
    expected, head = snapshot(top), git(top, "rev-parse", "HEAD")
    report = await repo.tidy(made)
    assert report.removed, report.message
    # Left on the branch, or set aside; either way it is all there.
    keeper = report.set_aside.commit if report.set_aside else head
    assert expected == restore(repo, keeper, repo.pit / "restored")
    assert report.branch_deleted == (report.set_aside is None and head == made.base)
    if report.set_aside is None and not report.branch_deleted:
        assert head == repo("rev-parse", made.branch)
    again = await repo.prepare(repo.again(made, report))
    if again.brought_back == report.set_aside:
        assert expected == snapshot(folder(again))
    else:  # saved on another commit than the branch's
        assert "could not be laid over" in again.message
