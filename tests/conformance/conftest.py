"""Both implementations behind one fixture: ``start`` begins a scenario with the fake, or with the real CLI."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from conformance.harness import Start, Talk, a_session
from conformance.scenarios import fake_script, rehearsal
from pitboss.testing.fake_binary import install
from support.rehearsal import Model, start_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """The scripted model, one for all scenarios."""
    with start_model(tmp_path_factory.mktemp("model"), rehearsal()) as running:
        yield running


@pytest.fixture(scope="session")
def fake_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake as an executable."""
    return install(tmp_path_factory.mktemp("bin"))


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.claude, pytest.mark.slow])])
def implementation(request: pytest.FixtureRequest) -> str:
    """Which of the two the test is about to meet."""
    return str(request.param)


@pytest.fixture
async def start(implementation: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts processes that share a home and are cleared away with the test."""
    talks: list[Talk] = []
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()

    async def begin(scenario: str, *, cwd: Path = work, skip: int = 0, **changes: object) -> Talk:
        inherited = {"PATH": os.environ["PATH"], "HOME": str(home)}
        if implementation == "fake":
            binary = request.getfixturevalue("fake_binary")
            script = tmp_path / "script.json"
            script.write_text(fake_script(scenario, skip=skip), encoding="utf-8")
            inherited["PITBOSS_FAKE_SCRIPT"] = str(script)
        else:
            binary = real_binary()
            inherited |= real_environment(request.getfixturevalue("model"), scenario)
        talk = await Talk.start(a_session(scenario, str(binary), cwd, **changes), inherited)
        talks.append(talk)
        return talk

    yield begin
    for talk in talks:
        await talk.clear_away()


def real_binary() -> Path:
    """The CLI that the vendor's SDK bundles; the SDK itself is not imported."""
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is None or found.origin is None:
        pytest.skip("the real CLI comes with claude-agent-sdk, which is not installed")
    return Path(found.origin).parent / "_bundled" / "claude"


def real_environment(model: Model, scenario: str) -> dict[str, str]:
    """A dummy account, the scripted model, and no other network."""
    return {
        "ANTHROPIC_BASE_URL": model.actor(scenario),
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }
