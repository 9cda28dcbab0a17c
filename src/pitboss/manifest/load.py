"""A manifest's text and its surroundings become a run as asked for, or all problems at once.

The front door of this room: decode and parse (``document``), hold against the schema (``conform``), settle every
value (``resolve``), judge the outcome (``actors``, ``tree``, ``policy``, ``fittings``,
``oddities``). What may not come in: the
clock, the disk, processes; what must be known about the machine arrives as ``Surroundings``.
Called by every command that takes a manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pitboss.errors import OurFault, Problem
from pitboss.manifest.actors import check_actors, check_places
from pitboss.manifest.conform import conform
from pitboss.manifest.document import read
from pitboss.manifest.findings import Findings
from pitboss.manifest.fittings import check_fittings
from pitboss.manifest.oddities import doubt
from pitboss.manifest.policy import check_policy
from pitboss.manifest.record import resolved_record
from pitboss.manifest.reference import json_schema, reference
from pitboss.manifest.resolve import resolve
from pitboss.manifest.schema import Manifest
from pitboss.manifest.surroundings import PathKind, Surroundings
from pitboss.manifest.tree import check_tree
from pitboss.model.run import RunSpec

__all__ = ["Loaded", "PathKind", "Surroundings", "json_schema", "load", "reference"]


@dataclass(frozen=True)
class Loaded:
    """A manifest that can be dispatched."""

    run: RunSpec
    """The run as asked for; ``run_dir`` is the base of all runs, and the ids are still to be minted."""
    warnings: list[Problem]
    """What is legal but probably not meant, in the order of the text."""
    resolved: dict[str, object]
    """The public record of what was asked for, ready for JSON."""
    mode: Literal["flat", "hierarchical"]
    manifest: Manifest
    """What was written, for commands that tell about it."""
    source: bytes
    """The text itself, for the run's snapshot."""


def load(text: str | bytes, path: str, surroundings: Surroundings, *, check_paths: bool = True) -> Loaded:
    """Read a manifest.

    Args:
        text: The file's content.
        path: The file's name as the operator gave it.
        surroundings: The machine it is read on.
        check_paths: Look whether directories exist; not for manifests whose directories are elsewhere.

    Raises:
        ManifestError: Something is wrong with it; every problem is in the error, with its line.
    """
    findings = Findings(read(text, path))
    manifest = conform(findings)
    if manifest is not None:
        source = text.encode() if isinstance(text, str) else text
        loaded = _settle(manifest, source, path, surroundings, findings, check_paths=check_paths)
        findings.raise_errors(path)
        return loaded
    findings.raise_errors(path)
    raise OurFault("a manifest was refused without a reason")


def _settle(
    manifest: Manifest,
    source: bytes,
    path: str,
    surroundings: Surroundings,
    findings: Findings,
    *,
    check_paths: bool,
) -> Loaded:
    """Resolve and judge a manifest that may have placeholders in it."""
    run = resolve(manifest, path, surroundings, findings)
    check_actors(manifest, run, findings)
    check_tree(manifest, findings)
    check_policy(manifest, findings)
    check_fittings(manifest, surroundings, findings)
    if check_paths:
        check_places(manifest, run, surroundings, findings)
    doubt(manifest, findings)
    return Loaded(
        run=run,
        warnings=findings.warnings,
        resolved=resolved_record(manifest, run),
        mode="flat" if manifest.lead is None else "hierarchical",
        manifest=manifest,
        source=source,
    )
