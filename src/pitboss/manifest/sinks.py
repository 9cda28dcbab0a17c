"""Who is told about a run: its ``[[notification]]`` tables, ``[lifecycle].notify``, and whoever started it.

Variables stay unfilled, so that no secret is kept with the run. Called by ``resolve`` and ``fittings``.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from pitboss.manifest.findings import Findings
from pitboss.manifest.positions import Path
from pitboss.manifest.receivers import UnsetError, UrlError, check_header, check_url, fill, fingerprint, is_variable
from pitboss.manifest.schema import Manifest, Notification
from pitboss.manifest.surroundings import Surroundings
from pitboss.model.notices import PARENT, PARENT_URL, PLACES, Sink, fill_places, unknown_places

__all__ = ["check_sinks", "sinks"]

_DEFAULT_SECS = 30


def sinks(manifest: Manifest, surroundings: Surroundings, findings: Findings) -> tuple[Sink, ...]:
    """Everyone who is told: in file order, then the one of ``[lifecycle]``, then the parent."""
    named = [_sink(table, name) for table, name, _ in _tables(manifest)]
    parent = _parent(surroundings, findings)
    return (*named, parent) if parent is not None else tuple(named)


def _tables(manifest: Manifest) -> Iterator[tuple[Notification, str, Path]]:
    """Each table with the id and the place it has."""
    for index, table in enumerate(manifest.notification):
        yield table, table.kind if index == 0 else f"{table.kind}:{index}", ("notification", index)
    if manifest.lifecycle is not None and manifest.lifecycle.notify is not None:
        yield manifest.lifecycle.notify, "lifecycle", ("lifecycle", "notify")


def _sink(table: Notification, name: str) -> Sink:
    return Sink(
        id=name,
        kind=table.kind,
        url="" if table.kind == "log" else table.url or "",
        events=None if table.events is None else tuple(table.events),
        severity_min=table.severity_min,
        request_timeout_secs=table.request_timeout_secs or _DEFAULT_SECS,
        headers=table.headers,
        secret=table.secret or "",
        template=table.template or "",
        allow_private=table.allow_private,
    )


def _parent(surroundings: Surroundings, findings: Findings) -> Sink | None:
    """The sink that whoever starts the dispatcher names in its environment, if it is one."""
    url = surroundings.environ.get(PARENT_URL, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        findings.warn(f"{PARENT_URL} is not a URL that can be posted to, so it is ignored; give an http(s) URL")
        return None
    return Sink(id=PARENT, kind="webhook", url=fingerprint(url))


# --- rules ------------------------------------------------------------------------------------------------------------


def check_sinks(manifest: Manifest, surroundings: Surroundings, findings: Findings) -> None:
    """Every rule about those who are told."""
    for table, _, subject in _tables(manifest):
        _check(table, subject, surroundings, findings)


def _check(table: Notification, subject: Path, surroundings: Surroundings, findings: Findings) -> None:
    name = findings.name(subject)
    if table.events == []:
        findings.warn(f"{name} has no events, so it is never told anything", (*subject, "events"))
    if table.kind == "log":
        for key in ("url", "headers", "secret", "template"):
            if getattr(table, key):
                findings.warn(f"{name}: {key} has no effect on kind log", (*subject, key))
        return
    try:
        check_url(fill(table.url or "", surroundings.environ), allow_private=table.allow_private)
    except UrlError as error:
        message = f"the url of {name} ({table.kind}) {error}"
        _object(error, message, surroundings, findings, (*subject, "url"), (*subject, "kind"))
    _check_headers(table, subject, surroundings, findings)
    _check_secret(table, subject, surroundings, findings)
    _check_template(table, subject, findings)


def _object(error: UrlError, message: str, surroundings: Surroundings, findings: Findings, *subjects: Path) -> None:
    """Where the secrets are not, that one is missing is only worth a warning."""
    if isinstance(error, UnsetError) and not surroundings.has_secrets:
        findings.warn(f"{message}: whoever dispatches it must have it", *subjects)
    else:
        findings.error(message, *subjects)


def _check_headers(table: Notification, subject: Path, surroundings: Surroundings, findings: Findings) -> None:
    for header, value in table.headers.items():
        try:
            check_header(header, fill(value, surroundings.environ))
        except UrlError as error:
            message = f"headers of {findings.name(subject)} {error}"
            _object(error, message, surroundings, findings, (*subject, "headers"))


def _check_secret(table: Notification, subject: Path, surroundings: Surroundings, findings: Findings) -> None:
    if table.secret is None:
        return
    name = findings.name(subject)
    if not is_variable(table.secret):
        message = f"secret of {name} must be one variable, ${{PITBOSS_NOTIFY_*}}: what is written here ends up on disk"
        findings.error(message, (*subject, "secret"))
        return
    try:
        if not fill(table.secret, surroundings.environ):
            findings.error(f"secret of {name} is an empty variable; give it a value", (*subject, "secret"))
    except UrlError as error:
        _object(error, f"secret of {name} {error}", surroundings, findings, (*subject, "secret"))


def _check_template(table: Notification, subject: Path, findings: Findings) -> None:
    if table.template is None:
        return
    name = findings.name(subject)
    if unknown := unknown_places(table.template):
        known = ", ".join(f"{{{place}}}" for place in PLACES)
        message = f"template of {name} has {{{unknown[0]}}}, which nothing can be put into; known are {known}"
        findings.error(message, (*subject, "template"))
    elif table.kind == "webhook":
        try:
            msgspec.json.decode(fill_places(table.template, PLACES))
        except msgspec.DecodeError:
            findings.error(
                f"template of {name} does not make JSON: put places of text in quotes, and {{event}} in none",
                (*subject, "template"),
            )
