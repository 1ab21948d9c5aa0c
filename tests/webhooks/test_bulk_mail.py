"""Mails of one bulk call: a report on one of them lands on its own delivery, though no answer named it."""

from __future__ import annotations

import hmac
import json
from typing import Final

import psycopg

from front_desk import note
from mailglass import StoredTemplate
from mailglass.adapters.mailersend import MailerSendAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from tests.adapters.wire import Wire
from webhook_requests import NOW, hooked

_PEOPLE: Final = ("zoe@mail.example", "gone@mail.example")
_KEY: Final = "signing-secret"


def _hard_bounce(address: str, tags: list[str]) -> WebhookRequest:
    """Return MailerSend's report, under an id of the mail's that only MailerSend knows."""
    mail = {"message": {"id": "62fb66bef54a112e920b5493"}, "recipient": {"email": address}}
    told = {
        "type": "activity.hard_bounced",
        "data": {
            "id": "a-1",
            "type": "hard_bounced",
            "created_at": "2026-03-01T11:00:00.000000Z",
            "email": {**mail, "tags": tags},
            "morph": {"object": "recipient_bounce", "reason": "no such user"},
        },
    }
    body = json.dumps(told).encode()
    signature = hmac.new(_KEY.encode(), body, "sha256").hexdigest()
    return WebhookRequest(
        url="https://hooks.example/webhooks",
        headers=HeaderMap([("Signature", signature)]),
        body=body,
        now=NOW,
    )


def test_a_hard_bounce_of_a_bulk_mail_suppresses_its_recipient(database_url: str) -> None:
    """MailerSend answers with the batch's id alone; a tag of our own brings the delivery back."""
    wire = Wire({"bulk_email_id": "b-1"}, status=202)
    adapter = MailerSendAdapter(api_key="k", transport=wire, webhooks=WebhookAuth(keys=[_KEY]))
    endpoint = Endpoint(name="main", adapter=adapter, tenant_id="default")
    stored = StoredTemplate(id="t-1", per_recipient={one: {"n": one} for one in _PEOPLE})
    mail_of_both = note(to=list(_PEOPLE), text=None, html=None, stored_template=stored)
    with hooked(
        database_url, adapter=adapter, endpoints=[endpoint], enable_real_network=True
    ) as mail:
        mail.deliver(mail_of_both)
        tags = json.loads(wire.requests[0].body)[1]["tags"]
        assert mail.ingest("mailersend", _hard_bounce(_PEOPLE[1], tags)).status == 200
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select value from mailglass.suppressions").fetchall()
    assert found == [(_PEOPLE[1],)]
