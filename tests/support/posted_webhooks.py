"""Webhooks as each provider posts them: the JSON of one delivered mail, signed or with credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.webhook import TOKEN_KEY
from mailglass.webhooks.endpoint import Receiving

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TO: Final = "zoe@mail.example"
SENT_AS: Final = "7001"
"""The provider's id of the mail."""
BASE_URL: Final = "https://hooks.example"
_STAMP: Final = str(int(NOW.timestamp()))
_SECRET: Final = "a-signing-key"
_LOGIN: Final = "hooks:password"
_JSON: Final = ("Content-Type", "application/json")
_SES_TOPIC: Final = "arn:aws:sns:eu-west-1:111122223333:mail"
_SES_HOST: Final = "https://sns.eu-west-1.amazonaws.com"
SES_CERTIFICATE: Final = f"{_SES_HOST}/SimpleNotificationService-0123456789abcdef.pem"
_SCW_TOPIC: Final = "arn:scw:sns:fr-par:project-1:mail"
_SCW_HOST: Final = "https://messaging.s3.fr-par.scw.cloud/fr-par/sns"

Posted = tuple[list[tuple[str, str]], bytes]
"""Headers and body."""


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the RSA key of that name, made once."""
    assert name
    return rsa.generate_private_key(65537, 2048)


@cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public(key: Any) -> str:
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode()


@cache
def certificate(name: str, by: str) -> bytes:
    """Return the certificate that ``by`` gave to ``name``, in PEM."""
    subject, issuer = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, by)
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(rsa_key(name).public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=name == by, path_length=None), critical=True)
    )
    return built.sign(rsa_key(by), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Pages:
    """Has what adapters fetch to verify, and remembers who asked for what."""

    asked: list[str] = field(default_factory=list)
    more: dict[str, Response] = field(default_factory=dict)

    def __call__(self, request: Request) -> Response:
        """Return the page, or 404."""
        self.asked.append(request.url)
        known = {
            SES_CERTIFICATE: certificate("sns", "sns"),
            f"{_SCW_HOST}/cert-1.pem": certificate("leaf", "authority"),
            f"{_SCW_HOST}/sns-trust-chain.pem": certificate("authority", "authority"),
        }
        if request.url in known:
            return Response(status=200, body=known[request.url])
        return self.more.get(request.url, Response(status=404))


def basic(content: str, login: str = _LOGIN) -> Posted:
    """Return a request that proves itself by its credentials."""
    given = base64.b64encode(login.encode()).decode()
    return [("Authorization", f"Basic {given}"), _JSON], content.encode()


def _digest(content: str, key: str = _SECRET) -> str:
    return hmac.digest(key.encode(), content.encode(), "sha256").hex()


def _mailersend(content: str) -> Posted:
    return [("Signature", _digest(content)), _JSON], content.encode()


def _mailtrap(content: str) -> Posted:
    return [("Mailtrap-Signature", _digest(content)), _JSON], content.encode()


def _mailgun(content: str) -> Posted:
    token = hashlib.sha256(content.encode()).hexdigest()[:50]
    signature = {"timestamp": _STAMP, "token": token, "signature": _digest(_STAMP + token)}
    return [_JSON], f'{{"signature": {json.dumps(signature)}, "event-data": {content}}}'.encode()


def _mandrill(content: str, path: str = "main") -> Posted:
    """Sign the address as well."""
    url = f"{BASE_URL}/webhooks/mandrill/{path}"
    made = hmac.digest(_SECRET.encode(), f"{url}mandrill_events{content}".encode(), "sha1")
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    headers = [("X-Mandrill-Signature", base64.b64encode(made).decode()), kind]
    return headers, urlencode({"mandrill_events": content}).encode()


def _postal(content: str) -> Posted:
    made = rsa_key("postal").sign(content.encode(), padding.PKCS1v15(), hashes.SHA256())
    return [("X-Postal-Signature-256", base64.b64encode(made).decode()), _JSON], content.encode()


def _resend(content: str) -> Posted:
    known_as = f"msg_{hashlib.sha256(content.encode()).hexdigest()[:20]}"
    signed = f"{known_as}.{_STAMP}.{content}".encode()
    made = base64.b64encode(hmac.digest(_SECRET.encode(), signed, "sha256")).decode()
    headers = [("svix-id", known_as), ("svix-timestamp", _STAMP), ("svix-signature", f"v1,{made}")]
    return [*headers, _JSON], content.encode()


def _sendgrid(content: str) -> Posted:
    made = _ec_key().sign((_STAMP + content).encode(), ec.ECDSA(hashes.SHA256()))
    prefix = "X-Twilio-Email-Event-Webhook"
    headers = [
        (f"{prefix}-Signature", base64.b64encode(made).decode()),
        (f"{prefix}-Timestamp", _STAMP),
    ]
    return [*headers, _JSON], content.encode()


def _unisender_go(content: str) -> Posted:
    rest = content.lstrip()[1:]
    whole = f'{{"auth":"{_SECRET}",{rest}'
    made = hashlib.md5(whole.encode(), usedforsecurity=False).hexdigest()
    return [_JSON], whole.replace(_SECRET, made, 1).encode()


def notified(
    content: str, *, topic: str, certified: str, key: str, **changes: Any
) -> dict[str, Any]:
    """Return a signed SNS record; ``changes`` are made before it is signed, None takes away."""
    record = {
        "Type": "Notification", "MessageId": hashlib.sha256(content.encode()).hexdigest()[:20],
        "TopicArn": topic, "Message": content, "Timestamp": "2026-03-01T11:59:58.000Z",
        "SignatureVersion": "2", "SigningCertURL": certified,
    } | changes  # fmt: skip
    own = ("SubscribeURL", "Token") if "SubscribeURL" in record else ("Subject",)
    names = sorted(("Message", "MessageId", "Timestamp", "TopicArn", "Type", *own))
    told = "".join(f"{name}\n{record[name]}\n" for name in names if name in record)
    made = rsa_key(key).sign(told.encode(), padding.PKCS1v15(), hashes.SHA256())
    return record | {"Signature": base64.b64encode(made).decode()}


def ses(content: str, **changes: Any) -> Posted:
    """Return a notification of our own topic of Amazon's."""
    usual = {"topic": _SES_TOPIC, "certified": SES_CERTIFICATE, "key": "sns"}
    record = notified(content, **(usual | changes))
    return [("Content-Type", "text/plain; charset=UTF-8")], json.dumps(record).encode()


def scaleway(content: str, **changes: Any) -> Posted:
    """Return a notification of our own topic of Scaleway's."""
    usual = {"topic": _SCW_TOPIC, "certified": f"{_SCW_HOST}/cert-1.pem", "key": "leaf"}
    record = notified(content, **(usual | changes))
    return [("Content-Type", "text/plain; charset=UTF-8")], json.dumps(record).encode()


_SIGNED_BY: Final[Mapping[str, Callable[[], Any]]] = {
    "postal": lambda: rsa_key("postal"),
    "sendgrid": _ec_key,
}


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One provider: its settings, what it says of one delivered mail, and how it proves a text.

    ``refusal`` is the answer to what does not verify, ``busy`` to what cannot be stored now;
    ``dates`` tells whether the proof has an age, ``names`` whether the event brings our token back.
    """

    name: str
    settings: Mapping[str, Any]
    document: Callable[[str, str], Any]
    posted: Callable[[str], Posted]
    refusal: int = 401
    busy: int = 503
    dates: bool = False
    names: bool = True
    signs: bool = True

    def adapter(self, pages: Pages | None = None) -> Receiving:
        """Return the provider's adapter, with what it fetches at hand."""
        own = {}
        if self.name in _SIGNED_BY:
            own = {"webhook_key": _public(_SIGNED_BY[self.name]())}
        made = build_offline(self.name, {**self.settings, **own}, transport=pages or Pages())
        assert isinstance(made, Receiving)
        return made

    def of(self, token: object, to: str = TO, *, path: str = "main") -> Posted:
        """Return the request that says that a mail was delivered."""
        content = json.dumps(self.document(str(token), to))
        return _mandrill(content, path) if self.name == "mandrill" else self.posted(content)


_AT: Final = "2026-03-01T11:00:00Z"
_UNIX: Final = int(datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp())
_BY_LOGIN: Final = {"webhook_secret": _LOGIN}
_BY_KEY: Final = {"webhook_key": _SECRET}


def _named(token: str) -> str:
    return json.dumps({TOKEN_KEY: token})


def _ses_event(token: str, to: str) -> Any:
    mail = {
        "timestamp": _AT, "messageId": SENT_AS, "source": "a@shop.example", "destination": [to],
        "headers": [{"name": "X-Metadata", "value": _named(token)}], "tags": {TOKEN_KEY: [token]},
    }  # fmt: skip
    return {
        "eventType": "Delivery",
        "mail": mail,
        "delivery": {"recipients": [to], "smtpResponse": "250 ok"},
    }


def _mailersend_event(_token: str, to: str) -> Any:
    email = {"id": "e", "message": {"id": SENT_AS}, "recipient": {"email": to}}
    data = {"object": "activity", "id": "ev-1", "type": "delivered", "created_at": _AT}
    return {"type": "activity.delivered", "created_at": _AT, "data": data | {"email": email}}


def _mailgun_event(token: str, to: str) -> Any:
    return {
        "id": "Wq3", "event": "delivered", "timestamp": _UNIX + 0.5, "recipient": to, "tags": [],
        "message": {"headers": {"message-id": "77@shop.example"}}, "user-variables": {TOKEN_KEY: token},
        "delivery-status": {"code": 250, "message": "OK"},
    }  # fmt: skip


def _mandrill_event(token: str, to: str) -> Any:
    msg = {"_id": SENT_AS, "ts": _UNIX, "email": to, "metadata": {TOKEN_KEY: token}, "tags": ["a"]}
    return [{"event": "delivered", "_id": SENT_AS, "ts": _UNIX, "msg": msg}]


def _postal_event(_token: str, to: str) -> Any:
    message = {"id": int(SENT_AS), "direction": "outgoing", "message_id": "77@rp.example", "to": to}
    payload = {"message": message, "status": "Sent", "output": "250 ok", "timestamp": _UNIX}
    return {"event": "MessageSent", "timestamp": _UNIX, "payload": payload, "uuid": "b1f0-1"}


def _resend_event(token: str, to: str) -> Any:
    data = {"created_at": _AT, "email_id": SENT_AS, "to": [to], "tags": {TOKEN_KEY: token}}
    return {"type": "email.delivered", "created_at": _AT, "data": data}


def _scaleway_event(token: str, to: str) -> Any:
    headers = [{"name": "X-Mailglass-Delivery", "value": token}]
    return {
        "id": "ev-1", "type": "email_delivered", "created_at": _AT, "email_id": SENT_AS,
        "email_to": to, "email_headers": headers,
    }  # fmt: skip


def _sendgrid_event(token: str, to: str) -> Any:
    return [
        {
            "email": to, "timestamp": _UNIX, "event": "delivered", "sg_event_id": "ev-1",
            "sg_message_id": f"{SENT_AS}.recvd-1.0", "category": ["a"], TOKEN_KEY: token,
        }
    ]  # fmt: skip


def _sparkpost_event(token: str, to: str) -> Any:
    event = {
        "type": "delivery", "event_id": "9647", "timestamp": str(_UNIX), "transmission_id": SENT_AS,
        "raw_rcpt_to": to, "rcpt_meta": {TOKEN_KEY: token},
    }  # fmt: skip
    return [{"msys": {"message_event": event}}]


SPEAKERS: Final[tuple[Speaker, ...]] = (
    Speaker(
        name="amazon_ses", settings={"topic_arns": _SES_TOPIC}, document=_ses_event, posted=ses,
        dates=True,
    ),
    Speaker(
        name="brevo", settings=_BY_LOGIN, posted=basic, busy=429, signs=False,
        document=lambda token, to: {
            "event": "delivered", "email": to, "ts_epoch": _UNIX * 1000,
            "message-id": "<77@shop.example>", "X-Mailin-custom": _named(token),
        },
    ),
    Speaker(
        name="mailersend", settings=_BY_KEY, document=_mailersend_event, posted=_mailersend,
        names=False,
    ),
    Speaker(
        name="mailgun", settings=_BY_KEY, document=_mailgun_event, posted=_mailgun, refusal=406,
        dates=True,
    ),
    Speaker(
        name="mailjet", settings=_BY_LOGIN, posted=basic, signs=False,
        document=lambda token, to: [
            {"event": "sent", "time": _UNIX, "MessageID": int(SENT_AS), "email": to, "CustomID": token}
        ],
    ),
    Speaker(
        name="mailtrap", settings=_BY_KEY, posted=_mailtrap,
        document=lambda token, to: {
            "events": [
                {
                    "event": "delivery", "timestamp": _UNIX, "message_id": SENT_AS, "email": to,
                    "event_id": "ev-1", "custom_variables": {TOKEN_KEY: token},
                }
            ]
        },
    ),
    Speaker(name="mandrill", settings=_BY_KEY, document=_mandrill_event, posted=_mandrill),
    Speaker(
        name="postal", settings={"base_url": "https://postal.example"},
        document=_postal_event, posted=_postal, names=False,
    ),
    Speaker(
        name="postmark", settings=_BY_LOGIN, posted=basic, refusal=403, signs=False,
        document=lambda token, to: {
            "RecordType": "Delivery", "MessageID": SENT_AS, "Recipient": to, "DeliveredAt": _AT,
            "Metadata": {TOKEN_KEY: token}, "Details": "250 ok", "Tag": "a",
        },
    ),
    Speaker(
        name="resend", document=_resend_event, posted=_resend, dates=True,
        settings={"webhook_key": f"whsec_{base64.b64encode(_SECRET.encode()).decode()}"},
    ),
    Speaker(
        name="scaleway", settings={"topic_arns": _SCW_TOPIC}, document=_scaleway_event,
        posted=scaleway, dates=True,
    ),
    Speaker(
        name="sendgrid", settings={}, document=_sendgrid_event, posted=_sendgrid,
        dates=True,
    ),
    Speaker(
        name="sparkpost", settings=_BY_LOGIN, document=_sparkpost_event, posted=basic, signs=False,
    ),
    Speaker(
        name="unisender_go", settings={"api_key": _SECRET}, posted=_unisender_go,
        document=lambda token, to: {
            "event_name": "transactional_email_status", "status": "delivered", "email": to,
            "job_id": SENT_AS, "event_time": "2026-03-01 11:00:00", "metadata": {TOKEN_KEY: token},
        },
    ),
)  # fmt: skip
"""Every provider that has webhooks."""
