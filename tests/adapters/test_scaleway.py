"""Scaleway: what is asked of it, and what its answers mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.scaleway import ScalewayAdapter
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass, SendError
from mailglass.message import Attachment, StoredTemplate, Tracking
from tests.adapters.wire import NOW, Wire, a_message, body_of, enveloped

ADA = {"id": "e-1", "message_id": "m-1", "mail_rcpt": "ada@recipient.test", "status": "new"}


def an_adapter(wire: Wire | None = None, **given: Any) -> ScalewayAdapter:
    """Return an adapter of one project in Paris."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth()}
    known = wire or Wire({"emails": [ADA]})
    return ScalewayAdapter(api_key="key", project_id="p-1", transport=known, **(usual | given))


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def fields(body: dict[str, Any]) -> dict[str, str]:
    """Return the header fields of a request without our own id."""
    found = {one["key"]: one["value"] for one in body["additional_headers"]}
    del found["X-Mailglass-Delivery"]
    return found


def test_a_mail_has_at_most_two_megabytes() -> None:
    """Its files among them, which preflight asks for before any row exists."""
    assert an_adapter().capabilities.message_bytes_max == 2_000_000


def test_the_call_goes_to_the_region_with_the_key() -> None:
    """The key has a field of its own."""
    request = an_adapter(region="nl-ams").request(enveloped(a_message()))
    base = "https://api.scaleway.com/transactional-email/v1alpha1/regions"
    assert request.url == f"{base}/nl-ams/emails"
    assert ("X-Auth-Token", "key") in request.headers


def test_a_region_that_is_none_is_refused() -> None:
    """It would change the address of the call."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(region="fr-par/../x")
    assert caught.value.type is ConfigErrorType.INVALID


def test_the_content_is_what_the_author_wrote() -> None:
    """Names and addresses stand apart, and our id is a field of the mail."""
    envelope = enveloped(
        a_message(
            to="Ada <ada@r.test>",
            cc="cy@r.test",
            bcc="di@r.test",
            html="<p>Hi</p>",
            attachments=[Attachment(filename="a.txt", content=b"a", content_type="text/plain")],
        )
    )
    token = str(envelope.recipients[0].delivery_id)
    assert body_of(an_adapter().request(envelope)) == {
        "project_id": "p-1",
        "from": {"email": "shop@sender.test", "name": "Shop"},
        "to": [{"email": "ada@r.test", "name": "Ada"}],
        "cc": [{"email": "cy@r.test"}],
        "bcc": [{"email": "di@r.test"}],
        "subject": "Your receipt",
        "text": "Thanks.",
        "html": "<p>Hi</p>",
        "attachments": [{"name": "a.txt", "type": "text/plain", "content": "YQ=="}],
        "additional_headers": [{"key": "X-Mailglass-Delivery", "value": token}],
    }


def test_what_has_no_place_of_its_own_is_a_header_field() -> None:
    """Reply addresses are in ASCII, tags and metadata are JSON."""
    body = asked(
        reply_to="Hélène <help@s.test>",
        headers={"X-A": "b"},
        tags=["receipt"],
        metadata={"order": "7"},
    )
    assert fields(body) == {
        "Reply-To": "=?utf-8?b?SMOpbMOobmU=?= <help@s.test>",
        "X-A": "b",
        "X-Metadata": '{"order": "7"}',
        "X-Tags": '["receipt"]',
    }


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """A mail can be given a time after which it is not sent."""
    options = {"send_before": "2026-12-01T00:00:00Z"}
    assert asked(provider_options=options)["send_before"] == "2026-12-01T00:00:00Z"


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"x-metadata": "{}"}},
        {"headers": {"X-Tags": "[]"}},
        {"metadata": {"a": "x" * 900}},
        {"tags": [f"{number:03d}" * 20 for number in range(20)]},
        {"tracking": Tracking(opens=True)},
        {"envelope_sender": "bounces@s.test"},
        {"provider_send_at": NOW + timedelta(hours=1)},
        {"stored_template": StoredTemplate(id="t-1")},
        {"attachments": [Attachment(filename="a.png", content=b"a", content_id="logo")]},
        {"to": "ädä@r.test"},
        {"sender": "shöp@s.test"},
    ],
)
def test_what_scaleway_lacks_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**given))
    assert caught.value.code == "unsupported_feature"


def test_each_recipient_has_a_mail_of_their_own() -> None:
    """One that is not listed may or may not have been taken."""
    wire = Wire({"emails": [ADA | {"mail_rcpt": "Ada@r.test"}]})
    ada, bob = an_adapter(wire).send(enveloped(a_message(to=["ada@r.test", "bob@r.test"]))).verdicts
    assert (ada.is_accepted, ada.provider_message_id) == (True, "e-1")
    assert bob.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"status": "sending"}, None),
        ({"status": "sent"}, None),
        ({"status": "failed"}, FailureClass.PERMANENT),
        ({"status": "failed", "flags": ["blocklisted"]}, FailureClass.SUPPRESSED),
        ({"status": "canceled"}, FailureClass.PERMANENT),
        ({"status": "of_tomorrow"}, FailureClass.UNKNOWN),
        ({"id": None}, FailureClass.UNKNOWN),
    ],
)
def test_the_status_of_a_mail_is_read(item: dict[str, Any], expected: FailureClass | None) -> None:
    """A mail can fail in the same moment."""
    (verdict,) = an_adapter(Wire({"emails": [ADA | item]})).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"type": "invalid_arguments", "message": "no"}, FailureClass.PERMANENT),
        (404, {"type": "not_found"}, FailureClass.PERMANENT),
        (429, {"type": "too_many_requests"}, FailureClass.NOT_SENT),
        (500, {"emails": [ADA]}, FailureClass.NOT_SENT),
        (503, {"message": "later"}, FailureClass.NOT_SENT),
        (504, b"", FailureClass.UNKNOWN),
        (200, {"emails": []}, FailureClass.UNKNOWN),
        (200, {"emails": "no"}, FailureClass.UNKNOWN),
    ],
)
def test_an_error_is_classed(status: int, body: object, expected: FailureClass) -> None:
    """By the status."""
    (verdict,) = an_adapter(Wire(body, status=status)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


def test_a_wait_that_is_asked_for_is_kept() -> None:
    """Scaleway says how long."""
    wire = Wire({"type": "too_many_requests"}, status=429, headers={"Retry-After": "7"})
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.retry_after_s == 7


@pytest.mark.parametrize("kind", ["denied_authentication", "permissions_denied"])
def test_an_account_that_may_not_send_is_a_matter_of_settings(kind: str) -> None:
    """No other attempt helps."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"type": kind}, status=403)).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID
