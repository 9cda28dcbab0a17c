"""Rules for what is fitted to a run: templates, MCP servers, receivers, containers. Called by ``load``."""

from __future__ import annotations

import re

from pitboss.manifest.actors import check_environment, check_id
from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Container, Manifest, McpServerTable, Template
from pitboss.manifest.sinks import check_sinks
from pitboss.manifest.surroundings import Surroundings
from pitboss.manifest.templates import TemplateError, names_in

__all__ = ["check_fittings"]

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_OUR_MANIFEST = "/run/pitboss.toml"


def check_fittings(manifest: Manifest, surroundings: Surroundings, findings: Findings) -> None:
    """Every rule of this module."""
    _check_templates(manifest.template, findings)
    _check_servers(manifest.mcp_server, findings)
    check_sinks(manifest, surroundings, findings)
    _check_lifecycle(manifest, surroundings, findings)
    if manifest.container is not None:
        _check_container(manifest.container, findings)


def _check_templates(templates: list[Template], findings: Findings) -> None:
    seen: set[str] = set()
    for index, template in enumerate(templates):
        subject: Path = ("template", index)
        if not template.id.strip():
            findings.error("a [[template]] needs an id that is not empty", (*subject, "id"))
        check_id(template.id, (*subject, "id"), findings)
        if template.id.strip() and template.id in seen:
            findings.error(f"duplicate template id {shown(template.id)}; rename one", (*subject, "id"))
        seen.add(template.id)
        try:
            names_in(template.prompt)
        except TemplateError as error:
            findings.error(f"{findings.name(subject)} has {error}", (*subject, "prompt"))


def _check_servers(servers: list[McpServerTable], findings: Findings) -> None:
    seen: set[str] = set()
    for index, server in enumerate(servers):
        subject: Path = ("mcp_server", index)
        if not server.id.strip():
            findings.error("an [[mcp_server]] needs an id that is not empty", (*subject, "id"))
        check_id(server.id, (*subject, "id"), findings)
        if server.id == "pitboss":
            findings.error(
                "the [[mcp_server]] id 'pitboss' is taken by the tools of the run; choose another", (*subject, "id")
            )
        if server.id.strip() and server.id in seen:
            findings.error(f"duplicate mcp_server id {shown(server.id)}; rename one", (*subject, "id"))
        seen.add(server.id)
        if not server.command.strip():
            findings.error(f"{findings.name(subject)} has an empty command; name the program", (*subject, "command"))
        check_environment(server.env, (*subject, "env"), findings)


def _check_lifecycle(manifest: Manifest, surroundings: Surroundings, findings: Findings) -> None:
    lifecycle = manifest.lifecycle
    told = bool(manifest.notification) or bool(surroundings.environ.get("PITBOSS_PARENT_NOTIFY_URL", "").strip())
    if lifecycle is not None and lifecycle.survive_parent and lifecycle.notify is None and not told:
        findings.error(
            "[lifecycle] survive_parent = true requires a notification target: add a [[notification]] (kind = "
            '"log" will do) or notify, or set PITBOSS_PARENT_NOTIFY_URL in the environment',
            ("lifecycle", "survive_parent"),
            ("lifecycle", "notify"),
            ("notification",),
        )


def _check_container(container: Container, findings: Findings) -> None:
    if not container.image or re.search(r"\s", container.image):
        findings.error(
            f"[container].image {shown(container.image)} is not the name of an image", ("container", "image")
        )
    for index, package in enumerate(container.extra_apt):
        if not _PACKAGE.fullmatch(package):
            findings.error(
                f"[container].extra_apt has {shown(package)}, which is not the name of a Debian package",
                ("container", "extra_apt", index),
            )
    _check_inside(container.workdir, ("container", "workdir"), findings)
    for index, mount in enumerate(container.mount):
        _check_host(mount.host, ("container", "mount", index, "host"), findings)
        _check_inside(mount.container, ("container", "mount", index, "container"), findings)
    for index, copy in enumerate(container.copies):
        _check_host(copy.host, ("container", "copy", index, "host"), findings)
        _check_inside(copy.container, ("container", "copy", index, "container"), findings)
    _check_targets(container, findings)


def _check_host(host: str, subject: Path, findings: Findings) -> None:
    name = findings.name(subject)
    if not (host.startswith(("/", "~/")) or host == "~"):
        findings.error(f"{name} must be absolute or start with ~/; it is {shown(host)}", subject)
    elif _breaks_arguments(host):
        findings.error(
            f"{name} {shown(host)} has a colon or a line break, which container programs cannot take", subject
        )


def _check_inside(path: str | None, subject: Path, findings: Findings) -> None:
    name = findings.name(subject)
    if path is None:
        return
    if not path.startswith("/"):
        findings.error(f"{name} must be an absolute path inside the container; it is {shown(path)}", subject)
    elif _breaks_arguments(path):
        findings.error(
            f"{name} {shown(path)} has a colon or a line break, which container programs cannot take", subject
        )


def _breaks_arguments(path: str) -> bool:
    return any(mark in path for mark in ":\n\r")


def _check_targets(container: Container, findings: Findings) -> None:
    """No two mounts on one path, and none over the manifest that the inner run reads."""
    seen: set[str] = set()
    for index, mount in enumerate(container.mount):
        subject: Path = ("container", "mount", index, "container")
        target = mount.container.rstrip("/") or "/"
        if target in seen:
            findings.error(f"two mounts are on {shown(target)} inside the container; keep one", subject)
        if target in ("/", "/run", _OUR_MANIFEST):
            findings.error(
                f"a mount on {shown(target)} hides the run's manifest, {_OUR_MANIFEST}; choose another path", subject
            )
        seen.add(target)
