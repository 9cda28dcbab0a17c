"""Where notifications go: variables in URLs, and which addresses are out of bounds.

A URL is a secret: its path and query never appear in a message, and the manifest's record keeps the unfilled text.
Host names are checked again, resolved, before each delivery; here only what the text itself gives away.
Called by ``fittings``, and by whoever delivers notifications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

__all__ = ["UrlError", "check_url", "fill"]

PREFIX = "PITBOSS_NOTIFY_"
"""Only variables with such names may be used, so that no manifest can send other secrets away."""

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}]*)(?P<end>\}?)")


class UrlError(ValueError):
    """A receiver's URL that cannot be used; the message says why and shows nothing secret."""


def fill(url: str, environ: Mapping[str, str]) -> str:
    """Replace every ``${PITBOSS_NOTIFY_*}``; values are not looked into again.

    Raises:
        UrlError: A variable is unset, has another prefix, or its brace is never closed.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match["name"]
        if not match["end"]:
            raise UrlError("has an unterminated ${; close it with }")
        if not name.startswith(PREFIX):
            raise UrlError(f"uses ${{{name[:60]}}}; only variables that begin with {PREFIX} may be used, so rename it")
        if name not in environ:
            raise UrlError(f"uses ${{{name}}}, but that env var is not set")
        return environ[name]

    return _VARIABLE.sub(value_of, url)


def check_url(url: str) -> None:
    """Refuse what is not https, or leads to this machine or a private network.

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
    if parts.scheme != "https":
        raise UrlError("must use https://" if parts.scheme else "is not a valid URL")
    if not host or re.search(r"[\x00-\x20]", url):
        raise UrlError("is not a valid URL")
    if host == "localhost" or host.endswith(".localhost"):
        raise UrlError("points at a loopback host; use a public address")
    if _is_forbidden_address(host):
        raise UrlError("points at a private / loopback / link-local address; use a public one")


def _is_forbidden_address(host: str) -> bool:
    """True for a literal address that is not a public one, however it is written."""
    number = _ipv4_number(host)
    try:
        return not _is_public(ip_address(host if number is None else number))
    except ValueError:
        return number is not None  # numeric in form, yet no address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.version == 6 and (inner := _embedded(address)) is not None:
        return _is_public(inner)
    local = address.version == 6 and address.is_site_local
    return address.is_global and not address.is_multicast and not local


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
