"""The HTTP client: one request, once, and the truth about how much of it left."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from mailglass.adapters.http import HttpTransport, Request, Response, checked_base_url
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass, SendError, SendErrorType
from mailglass.webhook import HeaderMap
from tests.adapters.contract_server import Provider, hangs_up, resets, says, says_raw

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def _transport(**given: Any) -> HttpTransport:
    usual: dict[str, Any] = {
        "connect_timeout_s": 2.0,
        "read_timeout_s": 0.3,
        "total_timeout_s": 1.0,
    }
    return HttpTransport(**(usual | given))


def _sent(url: str, *, body: bytes = b"{}", **given: Any) -> Response:
    transport = _transport(**given)
    try:
        return transport(Request(url=f"{url}/send", headers=(("X-Key", "k"),), body=body))
    finally:
        transport.close()


def _lost(url: str, **given: Any) -> SendError:
    with pytest.raises(SendError) as caught:
        _sent(url, **given)
    return caught.value


def test_status_headers_and_body_come_back() -> None:
    """The plain case."""
    with Provider(says(201, b'{"id": "1"}', (("X-Message-Id", "m1"),))) as provider:
        answer = _sent(provider.url, body=b'{"a": 1}')
    assert (answer.status, answer.json()) == (201, {"id": "1"})
    assert answer.headers.first("x-message-id") == "m1"
    assert provider.requests[0].startswith(b"POST /send HTTP/1.1\r\n")
    assert provider.requests[0].endswith(b'\r\n\r\n{"a": 1}')


def test_a_connection_is_kept() -> None:
    """Two requests, one connection."""
    with Provider(says(200, b"{}")) as provider:
        transport = _transport()
        for _ in range(2):
            transport(Request(url=provider.url))
        transport.close()
    assert provider.connections == 1
    assert len(provider.requests) == 2


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """A credential never goes where an answer points."""
    with Provider(says(302, b"", (("Location", "/elsewhere"),))) as provider:
        assert _sent(provider.url).status == 302
    assert len(provider.requests) == 1


def test_no_connection_is_not_sent() -> None:
    """Nothing left, so another attempt cannot double the mail."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    error = _lost(f"http://127.0.0.1:{port}")
    assert error.type is SendErrorType.ADAPTER_FAILURE
    assert (error.failure_class, error.code) == (FailureClass.NOT_SENT, "connect_failed")
    assert error.retryable


def test_a_name_without_an_address_is_not_sent() -> None:
    """The top-level domain invalid has none (RFC 6761)."""
    assert _lost("http://mail.invalid", connect_timeout_s=1.0).code == "dns_failed"


@pytest.mark.parametrize("ending", [hangs_up, resets])
def test_a_connection_lost_after_the_request_is_unknown(ending: Any) -> None:
    """The provider may have taken the mail before it broke off; it is asked once and no more."""
    with Provider(ending) as provider:
        error = _lost(provider.url)
    assert error.type is SendErrorType.OUTCOME_UNKNOWN
    assert (error.failure_class, error.retryable) == (FailureClass.UNKNOWN, False)
    assert len(provider.requests) == 1


def test_silence_after_the_request_is_unknown() -> None:
    """The read timeout ends it."""
    with Provider(None) as provider:
        assert _lost(provider.url).code == "http_lost_after_request"


def test_a_server_that_takes_no_bytes_ends_with_the_exchange() -> None:
    """A body that fills every buffer: some of it left, so the outcome is unknown."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        error = _lost(url, body=b"x" * 20_000_000, total_timeout_s=0.5)
    assert error.failure_class is FailureClass.UNKNOWN


def test_an_answer_that_drips_ends_with_the_exchange() -> None:
    """Each byte comes in time and the whole does not: the status counts, the body is unreadable."""

    def drips(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        gone = threading.Event()
        for _ in range(30):
            connection.sendall(b"{")
            gone.wait(0.1)

    with Provider(drips) as provider:
        answer = _sent(provider.url, total_timeout_s=0.6)
    assert (answer.status, answer.is_complete, answer.json()) == (200, False, None)


def test_a_megabyte_is_read_and_no_more() -> None:
    """What is longer is not a provider's answer."""
    with Provider(says(200, b'{"a": "' + b"x" * 3_000_000 + b'"}')) as provider:
        answer = _sent(provider.url)
    assert (len(answer.body), answer.is_complete, answer.json()) == (1024 * 1024, False, None)


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nA" + b"a" * 200_000])
def test_an_answer_that_is_no_http_is_unknown(raw: bytes) -> None:
    """Bytes of the request are gone, and no status came."""
    with Provider(says_raw(raw)) as provider:
        assert _lost(provider.url).failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"<html>{}</html>", b'{"a": 1', b"\xff\xfe{", b"[" * 50, b'"text"']
)
def test_junk_is_no_json(body: bytes) -> None:
    """Only a whole object or array counts."""
    assert Response(status=200, body=body).json() is None


def test_a_certificate_nobody_signed_is_a_configuration_error(server_tls: ssl.SSLContext) -> None:
    """The lane stops, and no request leaves."""
    with Provider(says(200, b"{}"), tls=server_tls) as provider:
        with pytest.raises(ConfigError) as caught:
            _sent(provider.url)
        assert caught.value.type is ConfigErrorType.INVALID
    assert provider.requests == []


def test_tls_with_a_trusted_certificate_works(
    server_tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    """A private authority is given as a context."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Provider(says(200, b"{}"), tls=server_tls) as provider:
        assert _sent(provider.url, ssl_context=trusting).status == 200


def test_a_handshake_that_does_not_end_is_not_sent() -> None:
    """Nothing of the request was written."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        assert _lost(url, connect_timeout_s=0.3).code == "tls_handshake_failed"


def test_an_environment_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody redirects mail by a variable."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Provider(says(200, b"{}")) as provider:
        assert _sent(provider.url).status == 200


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0.0),
        ({"Retry-After": "999999"}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({}, None),
    ],
)
def test_the_wait_is_read_in_every_form(headers: dict[str, str], wait_s: float | None) -> None:
    """RFC 9110 §10.2.3 knows two; limit headers are the third; an hour is the most."""
    assert Response(status=429, headers=HeaderMap(headers)).retry_after_s(NOW) == wait_s


@pytest.mark.parametrize(
    "url",
    [
        "http://api.provider.test",
        "https://user:pass@api.provider.test",
        "https://api.provider.test?x=1",
        "ftp://api.provider.test",
        "https://",
        "https://api.provider.test/\r\nX: 1",
    ],
)
def test_an_address_that_is_not_plain_https_is_refused(url: str) -> None:
    """Credentials travel encrypted, except on this machine."""
    with pytest.raises(ConfigError):
        checked_base_url(url, key="base_url")


def test_http_on_this_machine_is_allowed() -> None:
    """For a stand-in while developing."""
    assert checked_base_url("http://127.0.0.1:8025/", key="base_url") == "http://127.0.0.1:8025"


@pytest.mark.parametrize("wrong", [{"read_timeout_s": 0}, {"connections_max": 0}])
def test_a_timeout_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """Every wait has a bound above 0."""
    with pytest.raises(ConfigError):
        HttpTransport(**wrong)


def test_a_request_shows_neither_headers_nor_body() -> None:
    """One of them holds the credential, the other the mail."""
    shown = repr(Request(url="https://a.test", headers=(("X", "canary"),), body=b"canary"))
    assert "canary" not in shown
