"""What a provider keeps of a received mail is fetched from it, within bounds, and from nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from mailglass import ConfigError, SendError, SignatureError
from mailglass.adapters.brevo import BrevoAdapter
from mailglass.adapters.http import Request, Response
from mailglass.adapters.resend import ResendAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.errors import FailureClass
from mailglass.inbound.batch import Unread
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.inbound.readers import read_each, read_mails
from mailglass.webhook import WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import CREDENTIALS, hooked, request

_ALLOWED = WebhookAuth(credentials=(CREDENTIALS,))
_RAW = b"From: zoe@mail.example\r\nTo: help@shop.example\r\nSubject: Hello\r\n\r\nHi"
_API = "https://api.resend.com/emails/receiving/e-1"
_CDN = "https://cdn.resend.app/raw"


class Provider:
    """Answers from a table and remembers what was asked; an address that is not there is 404."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        self.asked.append(request)
        found = self.answers.get(request.url.partition("?")[0], 404)
        if isinstance(found, Response | int):
            return found if isinstance(found, Response) else Response(status=found)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return Response(status=200, body=body)


def _resend(answers: Mapping[str, Any]) -> tuple[ResendAdapter, Provider]:
    provider = Provider(answers)
    return ResendAdapter(api_key="key", webhooks=_ALLOWED, transport=provider), provider


def _received(email_id: Any = "e-1") -> WebhookRequest:
    return request({"type": "email.received", "data": {"email_id": email_id}})


def _file(**more: Any) -> dict[str, Any]:
    return {"attachments": [{"id": "a-1", "filename": "a.txt"} | more]}


def test_a_raw_mail_is_read_whole() -> None:
    """The key goes to the API and not to where the mail lies."""
    adapter, provider = _resend({_API: {"raw": {"download_url": _CDN}}, _CDN: _RAW})
    (mail,) = read_mails(adapter, _received())
    assert (mail.subject, mail.text, mail.provider_message_id) == ("Hello", "Hi", "e-1")
    assert [dict(one.headers) for one in provider.asked] == [{"Authorization": "Bearer key"}, {}]


def test_an_attachment_without_an_address_is_asked_for_at_the_api() -> None:
    """Its own page tells where it lies."""
    page = f"{_API}/attachments/a-1"
    adapter, _ = _resend({_API: _file(), page: {"download_url": _CDN}, _CDN: b"content"})
    (mail,) = read_mails(adapter, _received())
    assert [one.content for one in mail.attachments] == [b"content"]


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.resend.app/raw",
        "https://resend.app.attacker.example/raw",
        "https://attackerresend.app/raw",
        "https://user@cdn.resend.app/raw",
        "https://cdn.resend.app:8443/raw",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/raw",
        "https://[",
        "/emails/receiving/e-2",
        "file:///etc/passwd",
        7,
    ],
)
def test_nothing_is_fetched_from_another_host(url: Any) -> None:
    """An answer that names one is malformed, and nobody is asked."""
    adapter, provider = _resend({_API: _file(download_url=url)})
    with pytest.raises(SignatureError):
        read_mails(adapter, _received())
    assert [one.url.partition("?")[0] for one in provider.asked] == [_API]


@pytest.mark.parametrize("email_id", [None, 7, "", "../domains", "a/b", "x" * 65, ["e-1"]])
def test_an_id_that_is_none_asks_nobody(email_id: Any) -> None:
    """It would be part of an address."""
    adapter, provider = _resend({})
    with pytest.raises(SignatureError):
        read_mails(adapter, _received(email_id))
    assert provider.asked == []


def _brevo(answers: Mapping[str, Any]) -> tuple[BrevoAdapter, Provider]:
    provider = Provider(answers)
    return BrevoAdapter(api_key="key", webhooks=_ALLOWED, transport=provider), provider


def _item(*tokens: Any) -> dict[str, Any]:
    files = [{"Name": "a.txt", "DownloadToken": one} for one in tokens]
    return {"items": [{"Headers": {"Subject": "Hello"}, "Attachments": files}]}


_TOKENS = "https://api.brevo.com/v3/inbound/attachments"


def test_whom_brevo_received_a_mail_for_is_its_envelope() -> None:
    """``Recipients`` is the RCPT TO, which a blind copy has nowhere else."""
    item = {
        "Uuid": ["8d79f2b1-20ae-4939-8d0b-d2517331a9e5"],
        "To": [{"Name": None, "Address": "someone@else.test"}],
        "Recipients": [{"Name": None, "Address": "support@reply.shop.test"}],
        "Headers": {"From": "Ada <ada@r.test>", "To": "someone@else.test", "Subject": "Hello"},
        "RawTextBody": "Hello",
        "Attachments": [],
    }
    adapter, _ = _brevo({})
    (found,) = read_mails(adapter, request({"items": [item]}))
    assert found.recipients == ("support@reply.shop.test",)


def test_a_token_stays_one_part_of_the_address() -> None:
    """Whatever it holds, the host and the path before it are the adapter's own."""
    adapter, provider = _brevo({f"{_TOKENS}/..%2F..%2F%40a": b"content"})
    (mail,) = read_mails(adapter, request(_item("../../@a")))
    assert [one.content for one in mail.attachments] == [b"content"]
    assert dict(provider.asked[0].headers) == {"api-key": "key"}


@pytest.mark.parametrize("token", [None, "", " ", "a b", "é", "x" * 2_001, 7, {}])
def test_a_token_that_is_none_asks_nobody(token: Any) -> None:
    """The mail is not handed over without its file."""
    adapter, provider = _brevo({})
    with pytest.raises(SignatureError):
        read_mails(adapter, request(_item(token)))
    assert provider.asked == []


def test_fetches_have_a_bound() -> None:
    """A mail with more files than anybody sends is refused."""
    adapter, provider = _brevo({f"{_TOKENS}/t": b"x"})
    with pytest.raises(SignatureError, match="not one"):
        read_mails(adapter, request(_item(*["t"] * 101)))
    assert len(provider.asked) == 100


def test_bytes_have_a_bound() -> None:
    """Of all files of a request together."""
    adapter, _ = _brevo({f"{_TOKENS}/t": b"x" * 30_000_000})
    with pytest.raises(SignatureError):
        read_mails(adapter, request(_item("t", "t")))


@pytest.mark.parametrize("files", [["t"] * 101, ["large", "large"], ["none"], [" "]])
def test_a_mail_whose_files_cannot_be_had_loses_no_other(files: list[str]) -> None:
    """Too many, too large, gone or without a token: the next mail of the request is read."""
    large = b"x" * 30_000_000
    answers = {f"{_TOKENS}/t": b"x", f"{_TOKENS}/large": large, f"{_TOKENS}/good": b"content"}
    adapter, _ = _brevo(answers)
    items = [*_item(*files)["items"], *_item("good", "large")["items"]]
    poison, good = read_each(adapter, request({"items": items}))
    assert isinstance(poison, Unread)
    assert isinstance(good, InboundMessage)
    assert [one.content for one in good.attachments] == [b"content", large]


@pytest.mark.parametrize(
    ("answer", "failure", "code"),
    [
        (Response(status=503), FailureClass.NOT_SENT, "http 503"),
        (Response(status=429), FailureClass.NOT_SENT, "http 429"),
        (Response(status=404), FailureClass.PERMANENT, "http 404"),
        (Response(status=302), FailureClass.PERMANENT, "http 302"),
        (Response(status=200, is_complete=False), FailureClass.NOT_SENT, "download_cut"),
        (
            Response(status=200, is_complete=False, body=b"x" * 40 * 1024 * 1024),
            FailureClass.PERMANENT,
            "download_too_large",
        ),
    ],
)
def test_what_is_not_there_now_may_be_later(
    answer: Response, failure: FailureClass, code: str
) -> None:
    """A redirect is not followed, and half a file is none."""
    adapter, _ = _brevo({f"{_TOKENS}/t": answer})
    with pytest.raises(SendError) as caught:
        read_mails(adapter, request(_item("t")))
    assert (caught.value.failure_class, caught.value.code) == (failure, code)


def test_refused_credentials_are_a_matter_of_the_settings() -> None:
    """Not of the mail, which waits."""
    adapter, _ = _brevo({f"{_TOKENS}/t": Response(status=401)})
    with pytest.raises(ConfigError):
        read_mails(adapter, request(_item("t")))


def _mailbox(seen: list[str]) -> Mailbox:
    mailbox = Mailbox()

    @mailbox.route()
    def take(message: InboundMessage) -> None:
        seen.append(message.subject)

    return mailbox


def _endpoint(adapter: Any, seen: list[str]) -> Endpoint:
    return Endpoint(name="in", adapter=adapter, tenant_id="default", mailbox=_mailbox(seen))


@pytest.mark.parametrize(("answer", "status"), [(503, 429), (401, 429)])
def test_a_mail_that_cannot_be_fetched_now_is_read_when_it_can(
    database_url: str, answer: int, status: int
) -> None:
    """The request is kept and open; the provider's repetition finishes it, and once."""
    seen: list[str] = []
    adapter, provider = _brevo({f"{_TOKENS}/t": answer})
    with hooked(database_url, endpoints=[_endpoint(adapter, seen)]) as mail:
        assert mail.ingest("brevo/in", request(_item("t"))).status == status
        (receipt,) = mail.webhooks.webhooks.receipts()
        assert (receipt.state.value, seen) == ("received", [])
        provider.answers[f"{_TOKENS}/t"] = b"content"
        for _ in range(2):
            assert mail.ingest("brevo/in", request(_item("t"))).status == 200
    assert seen == ["Hello"]


def test_an_open_mail_is_read_by_a_reconciliation_and_given_up_in_the_end(
    database_url: str,
) -> None:
    """No provider repeats for ever; what nobody ever hands over does not stay open for ever."""
    seen: list[str] = []
    adapter, provider = _brevo({f"{_TOKENS}/t": 503})
    with hooked(database_url, endpoints=[_endpoint(adapter, seen)]) as mail:
        bodies = [_item("t"), _item("t", "gone")]
        for one in bodies:
            mail.ingest("brevo/in", request(one))
        provider.answers[f"{_TOKENS}/t"] = b"content"
        provider.answers[f"{_TOKENS}/gone"] = 503
        _age(database_url, "2 minutes")
        assert mail.reconcile().finished == 1
        _age(database_url, "8 days")
        mail.reconcile()
        states = {one.state.value: one.reason for one in mail.webhooks.webhooks.receipts()}
    assert seen == ["Hello"]
    assert states == {"processed": None, "dead": "never_read"}


def test_a_mail_that_is_gone_is_dead_and_can_be_replayed(database_url: str) -> None:
    """An operator sees it; a replay after a repair reads it."""
    seen: list[str] = []
    adapter, provider = _brevo({})
    with hooked(database_url, endpoints=[_endpoint(adapter, seen)]) as mail:
        assert mail.ingest("brevo/in", request(_item("t"))).status == 200
        (receipt,) = mail.webhooks.webhooks.receipts()
        assert (receipt.state.value, receipt.reason) == ("dead", "adapter_failure")
        provider.answers[f"{_TOKENS}/t"] = b"content"
        mail.replay(receipt.id)
    assert seen == ["Hello"]


def test_nothing_is_fetched_for_a_request_that_does_not_verify(database_url: str) -> None:
    """A stranger cannot make the server ask."""
    adapter, provider = _brevo({f"{_TOKENS}/t": b"content"})
    forged = replace(request(_item("t")), headers=request(b"").headers.__class__())
    with hooked(database_url, endpoints=[_endpoint(adapter, [])]) as mail:
        assert mail.ingest("brevo/in", forged).status == 401
    assert provider.asked == []


def _age(database_url: str, interval: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update mailglass.webhook_receipts set received_at = now() - %s::interval", [interval]
        )
