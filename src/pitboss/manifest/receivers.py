"""Where notifications go: variables in URLs, and which addresses are out of bounds.

A URL is a secret: its path and query never appear in a message, and the manifest's record keeps the unfilled text.
Host names are checked again, resolved, before each delivery (``may_reach``); in a manifest only what the text itself
gives away. Called by ``fittings``, ``resolve``, and ``services.notify``, which fills the same sinks when it sends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from pitboss.model.notices import PARENT, PARENT_SECRET, PARENT_URL, Sink

__all__ = [
    "Filled",
    "UnsetError",
    "UrlError",
    "check_header",
    "check_url",
    "fill",
    "filled",
    "fingerprint",
    "is_variable",
    "may_reach",
]

PREFIX = "PITBOSS_NOTIFY_"
"""Only variables with such names may be used, so that no manifest can send other secrets away."""

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}]*)(?P<end>\}?)")

_RESERVED = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/32"),
            *("2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)
"""What is out of bounds, whatever the release of Python calls global."""

_INSIDE = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)
"""What ``allow_private`` lets in: this machine and private networks. Not link-local: clouds keep credentials there."""

_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"})
"""Headers that a delivery sets itself."""


class UrlError(ValueError):
    """A receiver's URL that cannot be used; the message says why and shows nothing secret."""


class UnsetError(UrlError):
    """A variable is not set here; where the run is dispatched it may be."""


def fill(url: str, environ: Mapping[str, str]) -> str:
    """Replace every ``${PITBOSS_NOTIFY_*}``; values are not looked into again.

    Raises:
        UnsetError: A variable is unset.
        UrlError: A variable has another prefix, or its brace is never closed.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match["name"]
        if not match["end"]:
            raise UrlError("has an unterminated ${; close it with }")
        if not name.startswith(PREFIX):
            raise UrlError(f"uses ${{{name[:60]}}}; only variables that begin with {PREFIX} may be used, so rename it")
        if name not in environ:
            raise UnsetError(f"uses ${{{name}}}, but that env var is not set")
        return environ[name]

    return _VARIABLE.sub(value_of, url)


def is_variable(text: str) -> bool:
    """True if nothing is written there but one variable: so it cannot be the secret itself."""
    match = _VARIABLE.fullmatch(text)
    return match is not None and bool(match["end"])


class Filled(NamedTuple):
    """A sink with its variables filled in: secret, and only for the one that sends."""

    url: str
    headers: dict[str, str]
    secret: str


def filled(sink: Sink, environ: Mapping[str, str]) -> Filled:
    """Fill in a sink for one delivery, and look at it again: the environment may not be the one it was checked in.

    Raises:
        UrlError: It cannot be used.
    """
    if sink.id == PARENT:
        url = environ.get(PARENT_URL, "").strip()
        if not url:
            raise UrlError(f"{PARENT_URL} is not set")
        return Filled(url, {}, environ.get(PARENT_SECRET, ""))
    url = fill(sink.url, environ)
    check_url(url, allow_private=sink.allow_private)
    headers = {name: fill(value, environ).strip() for name, value in sink.headers.items()}
    for name, value in headers.items():
        check_header(name, value)
    secret = fill(sink.secret, environ)
    if sink.secret and not secret:
        raise UrlError("is not used, as the secret that messages are signed with is empty")
    return Filled(url, headers, secret)


def fingerprint(url: str) -> str:
    """By which a parent's URL is known again without being kept."""
    return f"sha256:{hashlib.sha256(url.encode(errors='surrogateescape')).hexdigest()[:12]}"


def may_reach(sink: Sink, address: IPv4Address | IPv6Address) -> bool:
    """True if a sink may be at this address, to which its name was resolved."""
    if sink.id == PARENT:
        return True  # whoever started the dispatcher has said where
    return _is_public(address) or (sink.allow_private and _is_inside(address))


def check_header(name: str, value: str) -> None:
    """Refuse what is no header, or one that is not for a manifest to set.

    Raises:
        UrlError: The header must not be used; the message does not show its value.
    """
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise UrlError(f"has {name[:60]!r}, which is not the name of a header")
    if name.lower() in _OURS:
        raise UrlError(f"sets {name}, which each delivery sets itself; leave it out")
    if not re.fullmatch(r"[\x20-\x7e\x80-\xff]*", value):
        raise UrlError(f"has a line break, or what no header can hold, in {name}")


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Refuse what is not https, or leads to this machine or a private network; unless that is allowed.

    Raises:
        UrlError: The URL must not be used.
    """
    if not url.strip():
        raise UrlError("requires a non-empty 'url' field")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        raise UrlError("is not a valid URL") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise UrlError("must use https://" if parts.scheme else "is not a valid URL")
    if not host or re.search(r"[\x00-\x20]", url):
        raise UrlError("is not a valid URL")
    if (host == "localhost" or host.endswith(".localhost")) and not allow_private:
        raise UrlError("points at a loopback host; use a public address, or set allow_private = true")
    if _is_forbidden_address(host, allow_private=allow_private):
        more = "" if allow_private else ", or set allow_private = true for one of your own network"
        raise UrlError(f"points at a private / loopback / link-local address; use a public one{more}")


def _is_forbidden_address(host: str, *, allow_private: bool) -> bool:
    """True for a literal address that is out of bounds, however it is written."""
    number = _ipv4_number(host)
    try:
        address = ip_address(host if number is None else number)
    except ValueError:
        return number is not None  # numeric in form, yet no address
    return not (_is_public(address) or (allow_private and _is_inside(address)))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.version == 6 and (inner := _embedded(address)) is not None:
        return _is_public(inner)
    reserved = any(address in network for network in _RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def _is_inside(address: IPv4Address | IPv6Address) -> bool:
    inner = _embedded(address) if address.version == 6 and int(address) != 1 else None  # ::1 embeds nothing
    return any((inner or address) in network for network in _INSIDE)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, compatible, 6to4 or NAT64 address leads to."""
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:
        return inner
    is_wrapper = int(address) >> 32 in (0, 0x64FF9B << 64)
    return IPv4Address(int(address) & 0xFFFFFFFF) if is_wrapper else None


def _ipv4_number(host: str) -> int | None:
    """The address of a host that browsers read as one (``127.1``, ``0x7f000001``); -1 if it is too large."""
    parts = host.split(".")
    if ":" in host or not _NUMBER.fullmatch(parts[-1]):
        return None
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return -1
    *high, low = (_number(part) for part in parts)
    if not 0 <= low < 256 ** (4 - len(high)) or not all(0 <= number < 256 for number in high):
        return -1
    return sum(number << (24 - 8 * index) for index, number in enumerate(high)) + low


def _number(part: str) -> int:
    """Decimal, ``0x`` hexadecimal or ``0`` octal; -1 if it is none of them."""
    base = 16 if part.startswith("0x") else 8 if part.startswith("0") else 10
    try:
        return int(part.removeprefix("0x") or "0", base)
    except ValueError:
        return -1
