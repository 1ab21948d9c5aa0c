"""What holds for every HTTP provider alike, against a real server; a new adapter joins by itself."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from mailglass.adapters import Adapter
from mailglass.adapters.api import ApiAdapter
from mailglass.adapters.http import HttpTransport
from mailglass.adapters.providers import API_PROVIDERS, build_offline, names
from mailglass.envelope import Accepted, Verdict
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SendErrorType,
    SignatureError,
)
from mailglass.message import Message
from mailglass.webhook import TOKEN_KEY
from tests.adapters.contract_answers import accepting, in_html, in_json
from tests.adapters.contract_server import Answer, Provider, hangs_up, resets, says
from tests.adapters.wire import NOW, a_message, a_webhook, enveloped

PROVIDERS = [name for name in names() if name in API_PROVIDERS]

pytestmark = pytest.mark.parametrize("provider", PROVIDERS)


def _message(**given: Any) -> Message:
    return a_message(
        subject="Your receipt", text="Thanks, and see you.", html="<p>Thanks.</p>", **given
    )


def _adapter(provider: str, url: str = "https://provider.invalid", **parts: Any) -> ApiAdapter:
    made = build_offline(provider, {"base_url": url}, clock=lambda: NOW, **parts)
    assert isinstance(made, ApiAdapter)
    return made


def _sent(provider: str, url: str) -> Accepted:
    transport = HttpTransport(connect_timeout_s=2.0, read_timeout_s=0.3, total_timeout_s=1.0)
    try:
        return _adapter(provider, url, transport=transport).send(enveloped(_message()))
    finally:
        transport.close()


def _answered(provider: str, answer: Answer | None) -> Accepted:
    with Provider(answer) as served:
        try:
            return _sent(provider, served.url)
        finally:
            assert len(served.requests) == 1, "one call, and no retry"


def _verdict(provider: str, answer: Answer) -> Verdict:
    (verdict,) = _answered(provider, answer).verdicts
    return verdict


def test_it_is_an_adapter(provider: str) -> None:
    """By the protocol and by its name."""
    adapter = _adapter(provider)
    assert isinstance(adapter, Adapter)
    assert adapter.name == provider
    assert adapter.capabilities.lease_s >= 60


def test_a_yes_is_accepted_with_the_providers_id(provider: str) -> None:
    """Without an id no webhook could be matched."""
    verdict = _verdict(provider, accepting(provider))
    assert verdict.is_accepted
    assert verdict.provider_message_id


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refusal_is_permanent(provider: str, status: int) -> None:
    """The same request would be refused again."""
    assert _verdict(provider, in_json(status, {})).failure_class is FailureClass.PERMANENT


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_account_stops_the_lane(provider: str, status: int) -> None:
    """A person has to act, and no mail pays for it."""
    with pytest.raises(ConfigError) as caught:
        _answered(provider, in_json(status, {}))
    assert caught.value.type is ConfigErrorType.INVALID
    assert (caught.value.code or "").startswith(f"http {status}")


@pytest.mark.parametrize("asked", ["17", format_datetime(NOW + timedelta(seconds=17), usegmt=True)])
def test_a_limit_waits_as_long_as_it_says(provider: str, asked: str) -> None:
    """Retry-After in both of its forms."""
    verdict = _verdict(provider, in_json(429, {}, ("Retry-After", asked)))
    assert (verdict.failure_class, verdict.retry_after_s) == (FailureClass.NOT_SENT, 17.0)


@pytest.mark.parametrize("status", [500, 503])
def test_a_providers_own_error_is_not_sent(provider: str, status: int) -> None:
    """It is the provider that says so, in JSON."""
    assert _verdict(provider, in_json(status, {})).failure_class is FailureClass.NOT_SENT


@pytest.mark.parametrize("answer", [in_html(502), in_html(500), in_html(504), in_json(502, {})])
def test_an_error_of_a_gateway_is_unknown(provider: str, answer: Answer) -> None:
    """What stands behind it may have taken the mail."""
    assert _verdict(provider, answer).failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [says(200), says(200, b"OK"), says(200, b'{"a'), in_html(200), in_json(200, []),
     in_json(200, [None]), says(200, b"x" * 2_000_000)],
    ids=["empty", "text", "broken", "html", "list", "null", "oversized"],
)  # fmt: skip
def test_a_yes_that_cannot_be_read_is_unknown(provider: str, answer: Answer) -> None:
    """Never accepted without proof, and never sent again by guess."""
    assert _verdict(provider, answer).failure_class is FailureClass.UNKNOWN


def test_a_redirect_is_refused(provider: str) -> None:
    """The credential does not follow it."""
    answer = says(302, b"", (("Location", "https://elsewhere.invalid/"),))
    assert _verdict(provider, answer).failure_class is FailureClass.PERMANENT


@pytest.mark.parametrize("answer", [None, resets, hangs_up], ids=["silence", "reset", "end"])
def test_no_status_after_the_request_is_unknown(provider: str, answer: Answer | None) -> None:
    """The bytes are gone."""
    with pytest.raises(SendError) as caught:
        _answered(provider, answer)
    assert caught.value.type is SendErrorType.OUTCOME_UNKNOWN
    assert not caught.value.retryable


def test_no_connection_is_not_sent(provider: str) -> None:
    """Nothing left."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(SendError) as caught:
        _sent(provider, url)
    assert caught.value.retryable


def test_metadata_of_our_name_is_refused(provider: str) -> None:
    """It would be taken for a delivery's id when it comes back."""
    with pytest.raises(SendError) as caught:
        _adapter(provider).check(_message(metadata={TOKEN_KEY: "x"}))
    assert caught.value.code == "unsupported_feature"


def test_the_request_is_the_same_each_time(provider: str) -> None:
    """A second attempt sends the same bytes (a signature's time aside)."""
    envelope = enveloped(_message())
    one, other = (_adapter(provider).request(envelope) for _ in range(2))
    assert (one.url, one.body) == (other.url, other.body)


def test_no_recipient_that_is_not_served_is_in_the_request(provider: str) -> None:
    """A second attempt for some does not mail the others again."""
    mail = _message(bcc=["left@recipient.test"])
    whole = enveloped(mail)
    part = enveloped(mail, payload=whole.payload)
    kept = tuple(one for one in part.recipients if one.address.local != "left")
    body = _adapter(provider).request(replace(part, recipients=kept)).body
    assert b"left@recipient" not in body
    assert b"left%40recipient" not in body


def test_an_adapters_repr_shows_no_secret(provider: str) -> None:
    """It may be logged."""
    assert "not-set" not in repr(_adapter(provider))


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"{", b"[]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 5000,
     b'{"a": NaN}', b'[null, 1, "x", [], {}]', b'{"event": {"a": []}, "Type": 5}',
     b"mandrill_events=%5B1%5D", b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_no_webhook_body_breaks_the_reading(provider: str, body: bytes) -> None:
    """Whatever comes, it is read, or it is a SignatureError."""
    adapter = _adapter(provider)
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        try:
            found = adapter.events(a_webhook(body, headers={"Content-Type": kind}))
        except SignatureError:
            continue
        assert isinstance(found, tuple)


def test_a_webhook_without_a_key_is_never_believed(provider: str) -> None:
    """What proves nothing is refused, and what is not configured is said."""
    request = a_webhook({}, now=datetime(2026, 11, 21, tzinfo=UTC))
    with pytest.raises((SignatureError, ConfigError)):
        _adapter(provider).verify(request)
