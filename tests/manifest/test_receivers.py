"""Where notifications may go."""

from __future__ import annotations

import pytest

from pitboss.manifest.receivers import UrlError, check_url, fill


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
                "[::ffff:127.0.0.1]", "[::10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
            ]
        ),
    ],
)  # fmt: skip
def test_an_address_that_is_out_of_bounds_is_refused_without_showing_it(url: str, why: str) -> None:
    with pytest.raises(UrlError, match=why) as caught:
        check_url(url)

    assert "token" not in str(caught.value)
