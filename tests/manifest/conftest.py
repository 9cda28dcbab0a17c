"""One place to read manifests from: nothing of this machine is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pitboss.errors import ManifestError
from pitboss.manifest.load import Loaded, PathKind, Surroundings, load


def surroundings(
    environ: Mapping[str, str] | None = None,
    *,
    kind_of: Callable[[str], PathKind] = lambda path: PathKind.REPOSITORY,
    home: str = "/home/ada",
    has_secrets: bool = True,
) -> Surroundings:
    """A machine with four cores on which every path is a repository."""
    return Surroundings(
        environ=environ or {}, home=home, cwd="/work", cores=4, kind_of=kind_of, has_secrets=has_secrets
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for ``problem`` or ``oddity`` with every case of the text file of that name."""
    for name, file in (("problem", "problems.txt"), ("oddity", "oddities.txt")):
        if name in metafunc.fixturenames:
            blocks = (Path(__file__).parent / file).read_text(encoding="utf-8").split("\n----\n")[1:]
            cases = [tuple(block.rstrip("\n").rsplit("\n==> ", 1)) for block in blocks]
            metafunc.parametrize(("text", name), cases, ids=[case[1][:60] for case in cases])


@pytest.fixture
def read() -> Callable[..., Loaded]:
    """Load a manifest; keywords describe the surroundings."""

    def read_one(text: str | bytes, *, check_paths: bool = True, **around: object) -> Loaded:
        return load(text, "m.toml", surroundings(**around), check_paths=check_paths)  # type: ignore[arg-type]

    return read_one


@pytest.fixture
def problems(read: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """What is wrong with a manifest, one ``line: message`` each; nothing if it loads."""

    def problems_of(text: str | bytes, **around: object) -> list[str]:
        try:
            read(text, **around)
        except ManifestError as error:
            return [f"{problem.line}: {problem.message}" for problem in error.problems]
        return []

    return problems_of


@pytest.fixture
def warnings(read: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """What is doubtful about a manifest that loads, one ``line: message`` each."""

    def warnings_of(text: str, **around: object) -> list[str]:
        return [f"{problem.line}: {problem.message}" for problem in read(text, **around).warnings]

    return warnings_of
