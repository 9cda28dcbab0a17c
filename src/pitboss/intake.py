"""What a run is asked to be: a manifest, read on this machine, with the ids that are minted for its run.

Beside ``compose``, which carries it out and by which ``load`` is to be had.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pitboss.engine.ids import mint_run_id, mint_session_id
from pitboss.errors import OperatorError
from pitboss.manifest.load import Loaded, PathKind, Surroundings
from pitboss.manifest.load import load as load_manifest
from pitboss.model.run import RunSpec, TaskSpec

__all__ = ["CREDENTIALS", "find_claude", "load", "specify"]

CREDENTIALS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""What a rehearsal must not inherit: it spends nobody's money and asks nobody but the scripted model."""


def load(manifest_path: str, *, has_secrets: bool = True) -> Loaded:
    """Read a manifest.

    Args:
        manifest_path: As the operator gave it.
        has_secrets: False where the variables of its receivers are not set: then only a warning is given of that.

    Raises:
        OperatorError: It cannot be read.
        ManifestError: It has problems; all of them are in the error.
    """
    try:
        text = Path(manifest_path).read_bytes()
    except OSError as problem:
        raise OperatorError(f"reading manifest at {manifest_path}: {problem.strerror}") from problem
    return load_manifest(text, manifest_path, _surroundings(has_secrets=has_secrets))


def _surroundings(*, has_secrets: bool) -> Surroundings:
    return Surroundings(
        environ=os.environ,
        home=os.environ.get("HOME", ""),
        cwd=str(Path.cwd()),
        cores=os.cpu_count() or 1,
        kind_of=_kind_of,
        has_secrets=has_secrets,
    )


def _kind_of(path: str) -> PathKind:
    """Look at a path; one that may not be looked at is as good as missing."""
    place = Path(path)
    try:
        if not place.exists():
            return PathKind.MISSING
        if not place.is_dir():
            return PathKind.FILE
        inside = any((folder / ".git").exists() for folder in (place, *place.resolve().parents))
        bare = (place / "HEAD").is_file() and (place / "objects").is_dir()
    except OSError:
        return PathKind.MISSING
    return PathKind.REPOSITORY if inside or bare else PathKind.DIRECTORY


def find_claude(environ: Mapping[str, str]) -> str:
    """The absolute path of the agent's binary.

    Raises:
        OperatorError: It was not found, or cannot be executed.
    """
    name = environ.get("PITBOSS_CLAUDE_BINARY") or "claude"
    found = shutil.which(name)
    if found is None:
        raise OperatorError(
            f"the agent's binary {name!r} was not found or cannot be executed",
            hint="install Claude Code, or name its binary in PITBOSS_CLAUDE_BINARY",
        )
    return str(Path(found).absolute())


def specify(loaded: Loaded, binary: str, base: Path, model_url: str | None) -> RunSpec:
    """The run as asked for, with the ids that are minted for it; ``model_url`` makes it a rehearsal."""
    run_id = mint_run_id()
    run_dir = base / run_id
    more = {} if model_url is None else _rehearsal_env(run_dir)
    tree = loaded.run.tree
    return msgspec.structs.replace(
        loaded.run,
        run_id=run_id,
        run_dir=str(run_dir),
        tasks=tuple(_identified(task, more) for task in loaded.run.tasks),
        tree=None if tree is None else msgspec.structs.replace(tree, lead=_identified(tree.lead, more)),
        claude_binary=binary,
        rehearsal=model_url is not None,
        model_url=model_url or "",
        # A dress rehearsal rings nobody's telephone.
        sinks=tuple(sink for sink in loaded.run.sinks if model_url is None or sink.kind == "log"),
    )


def _identified(task: TaskSpec, more: Mapping[str, str]) -> TaskSpec:
    return msgspec.structs.replace(task, session_id=mint_session_id(), env=task.env | dict(more))


def _rehearsal_env(run_dir: Path) -> dict[str, str]:
    return {
        "ANTHROPIC_API_KEY": "rehearsal-no-account",
        "CLAUDE_CONFIG_DIR": str(run_dir / "rehearsal-claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
    }
