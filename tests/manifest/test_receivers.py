"""Where notifications may go."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.manifest.receivers import UrlError, check_header, check_url, fill, filled, is_variable, may_reach
from pitboss.model.notices import PARENT, Sink


def test_variables_are_filled_in_once() -> None:
    environ = {"PITBOSS_NOTIFY_A": "${PITBOSS_NOTIFY_B}", "PITBOSS_NOTIFY_B": "b"}

    assert "x/${PITBOSS_NOTIFY_B}/b/$A" == fill("x/${PITBOSS_NOTIFY_A}/${PITBOSS_NOTIFY_B}/$A", environ)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("${PITBOSS_SLACK}", "begin with PITBOSS_NOTIFY_"),
        ("${HOME}", "begin with PITBOSS_NOTIFY_"),
        ("${PITBOSS_NOTIFY_NONE}", "env var is not set"),
        ("${PITBOSS_NOTIFY_A", "unterminated"),
    ],
)
def test_a_variable_that_may_not_be_used_is_refused(url: str, why: str) -> None:
    with pytest.raises(UrlError, match=why):
        fill(url, {"PITBOSS_SLACK": "x", "HOME": "x", "PITBOSS_NOTIFY_A": "x"})


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T/B",
        "https://example.com:8443/?a=b#c",
        "HTTPS://8.8.8.8/x",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://localhost.example.com/",
    ],
)
def test_a_public_address_is_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "requires a non-empty 'url'"),
        (" ", "requires a non-empty 'url'"),
        ("hooks", "not a valid URL"),
        ("https://", "not a valid URL"),
        ("https://a b/", "not a valid URL"),
        ("https://a\n/", "not a valid URL"),
        ("https://[::1/", "not a valid URL"),
        ("https://a:99999/", "not a valid URL"),
        ("http://example.com/", "must use https://"),
        ("ftp://example.com/", "must use https://"),
        ("https://localhost/", "loopback"),
        ("https://a.LOCALHOST./", "loopback"),
        *(
            (f"https://{host}/token", "private / loopback / link-local")
            for host in [
                "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "255.255.255.255",
                "224.0.0.1", "100.64.0.1", "0.1.2.3", "192.0.0.1", "198.18.0.1", "240.0.0.1",
                "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "10.0x1", "127.0.0.1.",
                "1.2.3.4.5", "256.1.1.1", "4294967296", "1.2.3.09", "foo.0x",
                "[::1]", "[::]", "[fc00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]",
                "192.0.0.9", "203.0.113.7", "[2001:0:1::1]", "[64:ff9b::a00:1]", "[2002:a00:1::]",
                "[::ffff:127.0.0.1]", "[::10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
            ]
        ),
    ],
)  # fmt: skip
def test_an_address_that_is_out_of_bounds_is_refused_without_showing_it(url: str, why: str) -> None:
    with pytest.raises(UrlError, match=why) as caught:
        check_url(url)

    assert "token" not in str(caught.value)


INSIDE = ["127.0.0.1", "10.0.0.1", "172.20.0.1", "192.168.0.9", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
NEVER = [
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("fe80::1", "ff02::1", "::", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_operator_may_let_private_receivers_in_but_not_by_default(address: str) -> None:
    url = f"http://[{address}]:8080/x" if ":" in address else f"http://{address}:8080/x"

    check_url(url, allow_private=True)
    assert may_reach(Sink(id="w", kind="webhook", allow_private=True), ip_address(address))
    assert not may_reach(Sink(id="w", kind="webhook"), ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_where_clouds_keep_credentials_and_what_is_no_place_stays_out_of_bounds(address: str) -> None:
    assert not may_reach(Sink(id="w", kind="webhook", allow_private=True), ip_address(address))
    with pytest.raises(UrlError):
        check_url(f"http://[{address}]/" if ":" in address else f"http://{address}/", allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_however_version_6_wraps_it(address: IPv4Address) -> None:
    sink, number = Sink(id="w", kind="webhook"), int(address)
    wrapped = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]

    for each in wrapped:
        assert may_reach(sink, address) == may_reach(sink, ip_address(each.to_bytes(16, "big")))


def test_the_parent_is_where_it_says_it_is_and_its_secret_is_a_variable_of_its_own() -> None:
    parent = Sink(id=PARENT, kind="webhook")
    environ = {"PITBOSS_PARENT_NOTIFY_URL": " http://127.0.0.1:9/x ", "PITBOSS_NOTIFY_PARENT_SECRET": "s"}

    assert ("http://127.0.0.1:9/x", {}, "s") == filled(parent, environ)
    assert may_reach(parent, ip_address("127.0.0.1"))
    with pytest.raises(UrlError, match="is not set"):
        filled(parent, {})


def test_a_sink_is_looked_at_again_when_it_is_filled() -> None:
    sink = Sink(
        id="w",
        kind="webhook",
        url="https://${PITBOSS_NOTIFY_HOST}/",
        headers={"Authorization": "Bearer ${PITBOSS_NOTIFY_T}"},
        secret="${PITBOSS_NOTIFY_T}",
    )
    good = {"PITBOSS_NOTIFY_HOST": "example.com", "PITBOSS_NOTIFY_T": "t"}

    assert ("https://example.com/", {"Authorization": "Bearer t"}, "t") == filled(sink, good)
    with pytest.raises(UrlError, match="private"):
        filled(sink, good | {"PITBOSS_NOTIFY_HOST": "10.0.0.1"})
    with pytest.raises(UrlError, match="line break") as caught:
        filled(sink, good | {"PITBOSS_NOTIFY_T": "s3cret\r\nX: y"})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(UrlError, match="is empty"):
        filled(sink, good | {"PITBOSS_NOTIFY_T": ""})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "Host", "content-length"])
def test_a_header_that_is_none_or_ours_is_refused(name: str) -> None:
    with pytest.raises(UrlError):
        check_header(name, "x")


@pytest.mark.parametrize(
    ("text", "is_one"), [("${A}", True), ("x${A}", False), ("${A}${B}", False), ("${A", False), ("A", False)]
)
def test_only_a_variable_alone_holds_no_secret_itself(text: str, is_one: bool) -> None:
    assert is_one == is_variable(text)
