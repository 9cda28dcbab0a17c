"""A running scripted model, connections to it, and the real CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.claude import Claude
from support.rehearsal import Model, start_model


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Callable[[str], Model]]:
    """Starts a scripted model; it lives as long as the test."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(start_model(tmp_path / "model", script))


@pytest.fixture
def connect() -> Iterator[Callable[[str], HTTPConnection]]:
    """Connects to the model at a URL; closed with the test."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(HTTPConnection(urlsplit(url).netloc, timeout=20)))


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    """The real CLI in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Claude(tmp_path / "home", folder)
