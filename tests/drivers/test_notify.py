"""Delivery to real receivers on loopback: slow, dead, lying, redirecting, busy; and names that lead elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any

import pytest
from msgspec.structs import replace

from pitboss.drivers.http_post import Address
from pitboss.drivers.notify import CUT_SHORT, Notifier, Rules
from pitboss.manifest.receivers import Filled, may_reach
from pitboss.model import effects as e
from pitboss.model.notices import Event, Notice, Sink
from pitboss.model.run import RunId
from pitboss.model.signals import NoticeReported, Signal
from pitboss.wire.notices import signature
from support.receivers import OK, closed_port, receiver, status

EVENT: Event = {"kind": "test", "run_id": "r"}


def a_notice(key: str = "r:test") -> Notice:
    return Notice(key=key, kind="test", severity="info", at=1000.0, event=EVENT)


def a_sink(**changes: Any) -> Sink:
    return replace(Sink(id="webhook", kind="webhook", request_timeout_secs=5), **changes)


class Desk:
    """A notifier whose waits take no time, and what it has reported."""

    def __init__(
        self, url: str = "", *, find: Any = None, tls: Any = create_default_context, loopback: bool = True
    ) -> None:
        self.url, self.secret, self.headers = url, "", dict[str, str]()
        self.waits: list[float] = []
        self.said: list[str] = []
        self.reports: list[NoticeReported] = []
        self.loopback = loopback
        rules = Rules(fill=self._fill, allowed=self._allowed, say=self.said.append)
        more = {name: value for name, value in (("find", find), ("tls", tls)) if value is not None}
        self.notifier = Notifier(lambda: 1000.0, rules, chance=lambda: 0.5, sleep=self._sleep, **more)

    def _fill(self, _sink: Sink) -> Filled:
        return Filled(self.url, self.headers, self.secret)

    def _allowed(self, sink: Sink, address: Address) -> bool:
        return (self.loopback and address.is_loopback) or may_reach(sink, address)

    async def _sleep(self, secs: float) -> None:
        self.waits.append(round(secs, 6))
        await asyncio.sleep(0)

    def _emit(self, signal: Signal) -> None:
        assert isinstance(signal, NoticeReported)
        self.reports.append(signal)

    async def tell(self, sink: Sink | None = None, key: str = "r:test") -> NoticeReported:
        effect = e.Notify(notice=a_notice(key), sink=sink or a_sink(), run_id=RunId("r"))
        await self.notifier.notify(effect, self._emit)
        return self.reports[-1]

    async def finish(self, secs: float) -> None:
        await self.notifier.finish(e.FinishNotices(within_secs=secs), self._emit)


def outcome(report: NoticeReported) -> tuple[str, int]:
    return report.outcome, report.tries


async def test_an_envelope_arrives_once_and_is_reported() -> None:
    with receiver() as one:
        desk = Desk(one.url)
        desk.secret, desk.headers = "key", {"Authorization": "Bearer t"}
        report = await desk.tell()

    (heard,) = one.heard
    assert ("delivered", 1, "") == (report.outcome, report.tries, report.error)
    assert "POST /hook/s3cret?k=s3cret HTTP/1.1" == heard.line
    assert {"dedup_key": "r:test", "source": "r", "event": EVENT}.items() <= heard.json.items()
    assert ("application/json", "Bearer t", f"127.0.0.1:{one.port}") == (
        heard.headers["content-type"],
        heard.headers["authorization"],
        heard.headers["host"],
    )
    assert signature("key", "1000", heard.body) == heard.headers["x-pitboss-signature"]


async def test_a_busy_receiver_is_asked_again_when_it_says_and_a_broken_one_soon() -> None:
    with receiver(status(429, "Retry-After: 7"), status(500), status(503), OK) as one:
        desk = Desk(one.url)
        report = await desk.tell()

    assert ("delivered", 4) == outcome(report)
    assert [7.0, 0.3, 0.9] == desk.waits


async def test_after_four_tries_it_is_left_for_later_and_the_next_is_tried_once() -> None:
    with receiver(status(500)) as one:
        desk = Desk(one.url)
        first, second = await desk.tell(), await desk.tell(key="r:2")
        one.answers = [OK]
        third = await desk.tell(key="r:3")
        one.answers = [status(500), OK]
        fourth = await desk.tell(key="r:4")

    assert [("undelivered", 4), ("undelivered", 1), ("delivered", 1), ("delivered", 2)] == [
        outcome(report) for report in (first, second, third, fourth)
    ]
    assert "it answers 500" == first.error


@pytest.mark.parametrize("code", [301, 302, 307, 400, 403, 404, 410])
async def test_a_refusal_is_final_and_a_redirect_is_not_followed(code: int) -> None:
    with receiver() as target, receiver(status(code, f"Location: {target.url}")) as one:
        report = await Desk(one.url).tell()

    assert ("refused", 1) == outcome(report)
    assert [] == target.heard
    assert "s3cret" not in report.error


def slowly(peer: socket.socket) -> None:
    """One byte of a header after the other, for ever."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        peer.sendall(b"x")


def for_ever(peer: socket.socket) -> None:
    """An answer whose body does not end."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def silently(peer: socket.socket) -> None:
    peer.recv(1)


def hints_for_ever(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def test_a_body_that_does_not_end_is_not_read() -> None:
    with receiver(for_ever) as one:
        report = await Desk(one.url).tell()

    assert ("delivered", 1) == outcome(report)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 abc OK\r\n\r\n", "does not answer in HTTP"),
        (b"hello\r\n\r\n", "does not answer in HTTP"),
        (b"\x00\xff" * 9000, "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, "does not answer in HTTP"),
        (slowly, "does not answer in HTTP"),  # no header may be that long
        (b"", "closed the connection"),
        (b"HTTP/1.1 200", "closed the connection"),
    ],
)
async def test_an_answer_that_is_none_is_no_delivery(answer: Any, error: str) -> None:
    with receiver(answer) as one:
        report = await Desk(one.url).tell()

    assert ("undelivered", 4) == outcome(report)
    assert error in report.error or "does not answer in HTTP" in report.error


@pytest.mark.parametrize("answer", [silently, hints_for_ever])
async def test_a_receiver_that_never_answers_costs_its_time_limit(answer: Any) -> None:
    with receiver(answer) as one:
        desk = Desk(one.url)
        await desk.finish(60.0)
        desk.notifier._dead.add("webhook")  # one try is enough here
        report = await desk.tell(a_sink(request_timeout_secs=1))

    assert ("undelivered", "no answer within 1 s") == (report.outcome, report.error)


async def test_a_header_that_http_does_not_know_is_no_delivery() -> None:
    with receiver() as one:
        desk = Desk(one.url)
        desk.headers = {"X-Y": "a\nb"}
        report = await desk.tell()

    assert ("undelivered", "a header of it cannot be sent as it is") == (report.outcome, report.error)


async def test_nobody_listens() -> None:
    report = await Desk(f"http://127.0.0.1:{closed_port()}/s3cret").tell()

    assert ("undelivered", 4, "cannot connect: connection refused") == (report.outcome, report.tries, report.error)


async def test_an_environment_that_no_longer_has_the_secret_leaves_it_for_later() -> None:
    desk = Desk()

    def fill(_sink: Sink) -> Filled:
        raise ValueError("uses ${PITBOSS_NOTIFY_X}, but that env var is not set")

    desk.notifier._rules = desk.notifier._rules._replace(fill=fill)

    assert "PITBOSS_NOTIFY_X" in (await desk.tell()).error


# --- names ------------------------------------------------------------------------------------------------------------


def finds(*addresses: str) -> Any:
    asked: list[str] = []

    async def find(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    find.asked = asked  # type: ignore[attr-defined]
    return find


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "192.168.1.1", "198.18.0.1", "240.0.0.1",
        "::1", "fd00::1", "fe80::1%eth0", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1",
    ],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_never_connected_to(address: str) -> None:
    with receiver() as one:
        desk = Desk(f"http://evil.example:{one.port}/", find=finds("93.184.216.34", address), loopback=False)
        report = await desk.tell()

    assert ("undelivered", "private" in report.error, 0) == (report.outcome, True, one.connections)
    assert "evil.example" not in report.error


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    find = finds("127.0.0.1")
    with receiver() as one:
        report = await Desk(f"http://name.example:{one.port}/", find=find).tell()

    assert ("delivered", ["name.example"], f"name.example:{one.port}") == (
        report.outcome,
        find.asked,
        one.heard[0].headers["host"],
    )


@pytest.mark.parametrize("found", [(), OSError("name.example is unknown")])
async def test_a_name_that_leads_nowhere_is_no_delivery(found: Any) -> None:
    async def find(_host: str, _port: int) -> Sequence[str]:
        if isinstance(found, OSError):
            raise found
        return found  # type: ignore[no-any-return]

    report = await Desk("https://name.example/", find=find).tell()

    assert "undelivered" == report.outcome
    assert "name.example" not in report.error


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as one:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await Desk(one.url).tell()

    assert (1, 0) == (len(one.heard), proxy.connections)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hook.example, and its key, in one file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(encoding))
    return path


@pytest.mark.parametrize(("host", "works"), [("hook.example", True), ("other.example", False)])
async def test_the_certificate_is_checked_against_the_name(certificate: Path, host: str, works: bool) -> None:
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)

    def trusting() -> SSLContext:
        return create_default_context(cafile=str(certificate))

    with receiver(context=server) as one:
        desk = Desk(f"https://{host}:{one.port}/", find=finds("127.0.0.1"), tls=trusting)
        report = await desk.tell()

    assert (("delivered" if works else "undelivered"), int(works)) == (report.outcome, len(one.heard))
    assert works or "certificate is not valid" in report.error
    assert host not in report.error


# --- lanes and the end ------------------------------------------------------------------------------------------------


async def test_a_log_is_a_line_for_the_operator() -> None:
    desk = Desk()
    report = await desk.tell(a_sink(id="log", kind="log"))

    assert "delivered" == report.outcome
    assert desk.said[0].startswith('notification emitted envelope={"dedup_key":"r:test"')


async def test_each_sink_is_told_one_at_a_time_and_in_order() -> None:
    with receiver() as one:
        desk = Desk(one.url)
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(desk.tell(key=f"r:{number}"))

    assert [f"r:{number}" for number in range(20)] == [heard.json["dedup_key"] for heard in one.heard]


async def test_a_slow_sink_does_not_hold_up_another() -> None:
    with receiver(silently) as slow, receiver() as fast:
        desk = Desk(slow.url)
        desk.notifier._rules = desk.notifier._rules._replace(
            fill=lambda sink: Filled(slow.url if sink.id == "slow" else fast.url, {}, "")
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.tell(a_sink(id="slow", request_timeout_secs=60)))
            group.create_task(desk.tell(a_sink(id="fast")))
            await asyncio.to_thread(fast.until, 1)
            await desk.finish(0.0)

    assert {"slow": "undelivered", "fast": "delivered"} == {report.sink: report.outcome for report in desk.reports}


async def test_at_the_end_everything_is_settled_in_time_also_what_waits_for_its_turn() -> None:
    with receiver(silently) as one:
        desk = Desk(one.url)
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(desk.tell(a_sink(request_timeout_secs=600), key=f"r:{number}"))
            await asyncio.to_thread(one.until, 1)
            await desk.finish(600.0)
            await desk.finish(0.0)

    assert 5 * [("undelivered", CUT_SHORT)] == [(report.outcome, report.error) for report in desk.reports]


async def test_a_resolver_that_hangs_holds_nothing_up() -> None:
    async def find(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    desk = Desk("https://name.example/", find=find)
    await desk.finish(0.0)

    assert ("undelivered", CUT_SHORT) == ((await desk.tell()).outcome, desk.reports[0].error)
