"""Builders for the tests of memory: a run's directory and the facts and records that fill it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pitboss.journal.rundir import RunDir
from pitboss.wire.artifacts import RunMeta, encode_meta

RUN_ID = "019b76da-a800-7abc-8def-0123456789ab"
"""Minted at 2026-01-01T00:00:00Z."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(base: Path) -> RunDir:
    meta = RunMeta(run_id=RUN_ID, manifest_path="fix.toml", pitboss_version="0.10.0", started_at="2026-01-01T00:00:00Z")
    return RunDir.create(
        base, RUN_ID, snapshot=b"# a manifest\n", resolved=b'{"name":"nightly"}', meta=encode_meta(meta)
    )
