"""What is asked of a session in the moments before its process exists."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pitboss.drivers.claude import ClaudeSessions, Minted
from pitboss.drivers.cookies import Census
from pitboss.model import effects as e
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Session
from support.children import new_run

EARS = """#!/bin/sh
exec cat > heard
"""
"""An agent that writes down what it is told, and says nothing."""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    binary = tmp_path / "agent"
    binary.write_text(EARS)
    binary.chmod(0o700)
    (tmp_path / "log").mkdir()
    return Session(
        actor=ActorId("a"),
        attempt=1,
        cookie=f"{new_run()}/a/1",
        binary=str(binary),
        cwd=str(tmp_path),
        prompt="go",
        session_id="11111111-1111-4111-8111-111111111111",
        model="claude-haiku-4-5",
        tools=(),
        log_dir=str(tmp_path / "log"),
    )


async def test_a_model_that_is_set_before_its_process_exists_is_the_first_thing_it_hears(
    session: Session, tmp_path: Path
) -> None:
    said: list[s.Signal] = []
    sessions = ClaudeSessions(
        lambda: 1.0, Census(), {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, lambda: Minted("", "")
    )
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(sessions.start(e.StartSession(session=session), said.append))
        await asyncio.sleep(0)
        assert not said, "its process is not there yet"

        await sessions.set_model(e.SetModel(actor=session.actor, attempt=1, model="claude-opus-4-7"), said.append)

        while not any(isinstance(signal, s.ProcessUp) for signal in said):  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0.01)
        await sessions.press(e.Press(actor=session.actor, attempt=1, rung=e.Rung.CLOSE_STDIN), said.append)
    sessions.close()

    first, second = (tmp_path / "heard").read_text().splitlines()
    assert '"initialize"' in first
    assert '"set_model"' in second
    assert "claude-opus-4-7" in second
