"""Recorded mails as providers hand them over, and how far our reading of one is from the recording."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from email.utils import getaddresses
from typing import Any, Final

from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.cli.documents import webhook_request
from mailglass.errors import MailglassError, SignatureError
from mailglass.inbound.message import InboundAttachment, InboundMessage, from_mime
from mailglass.inbound.readers import READERS, read_mails
from mailglass.webhooks.endpoint import Receiving
from recorded import SIGNED_ELSEWHERE, UNDATED, Upstream, cases

_INBOUND_SECRET: Final = "_INBOUND_SECRET"
"""A secret of received mail alone: an endpoint has an adapter of its own, and so one key."""
_MADE_UP: Final = frozenset({"mime-version", "content-type"})
"""What the recording client adds where a provider hands over no MIME."""
_ADDRESSED: Final = frozenset({"from", "to", "cc", "bcc", "reply-to"})
_DOWNLOADS: Final[Mapping[str, Mapping[str, str]]] = {
    "resend": {"download_domains": "cdn.example.com"}
}


def inbound_cases() -> list[dict[str, Any]]:
    """Return the recorded mails of the providers whose mail is read here."""
    return [case for case in cases("inbound_cases.json") if case["esp"] in READERS]


def inbound_differences(case: Mapping[str, Any]) -> list[str]:
    """Return how our reading differs from a recorded mail; none for a server's fault."""
    if case["category"] == "error_500":
        return []
    adapter = _adapter(case)
    told = {key: case[key] for key in ("method", "url", "headers", "body", "body_encoding")}
    request = webhook_request({**told, "now": case["recorded_at"]})
    found = _unproven(case, adapter, request)
    wanted = [one["message"] for one in case["events"] if one["message"] is not None]
    if found or case["category"] == "rejected_auth" or not wanted:
        return found
    try:
        mails = read_mails(adapter, request)
    except MailglassError as error:
        return [f"unread: {error}"]
    if len(mails) != len(wanted):
        return [f"{len(mails)} mails, not {len(wanted)}"]
    return [
        difference
        for mail, want in zip(mails, wanted, strict=True)
        for difference in _of_mail(mail, want)
    ]


def _adapter(case: Mapping[str, Any]) -> Receiving:
    options: dict[str, Any] = {**_DOWNLOADS.get(case["esp"], {}), **UNDATED.get(case["esp"], {})}
    for name, value in case["settings"].items():
        options["webhook_key" if name.endswith(_INBOUND_SECRET) else name] = value
    adapter = build_offline(case["esp"], options, transport=_asked_plainly(case["upstream"] or []))
    if not isinstance(adapter, Receiving):
        raise TypeError(case["esp"])
    return adapter


def _asked_plainly(answers: list[dict[str, Any]]) -> Any:
    """Answer as recorded, also where we ask for more than the recording client did."""
    recorded = Upstream(answers)

    def answer(request: Request) -> Response:
        return recorded(replace(request, url=request.url.removesuffix("?html_format=cid")))

    return answer


def _unproven(case: Mapping[str, Any], adapter: Receiving, request: Any) -> list[str]:
    is_refusal = case["category"] == "rejected_auth"
    if case["esp"] in SIGNED_ELSEWHERE and not is_refusal:
        return []
    try:
        adapter.verify(request)
    except SignatureError as error:
        return [] if is_refusal else [f"refused: {error.type}"]
    except MailglassError as error:
        return [f"refused: {error.type}"]
    return ["accepted"] if is_refusal else []


def _of_mail(mail: InboundMessage, want: Mapping[str, Any]) -> list[str]:
    got = {
        "subject": mail.subject,
        "from": _people(mail.header("From")),
        **{name: _everyone(mail, name) for name in ("to", "cc", "bcc")},
        "text": _body(mail.text),
        "html": _body(mail.html),
        "stripped_text": _body(mail.reply_text),
        "stripped_html": _body(mail.reply_html),
        "envelope_sender": mail.envelope_sender,
        "spam_detected": mail.is_spam,
        "spam_score": mail.spam_score,
        "date": mail.sent_at.isoformat() if mail.sent_at else None,
        "headers": _headers(mail.headers),
        "attachments": _files(mail.attachments, is_inline=False),
        "inline_attachments": _files(mail.attachments, is_inline=True),
    }
    found = [
        f"{name}: {value!r}, not {_wanted(name, want[name])!r}"
        for name, value in got.items()
        if value != _wanted(name, want[name])
    ]
    if want["envelope_recipient"] not in (None, *mail.envelope_recipients):
        found.append(f"envelope_recipient: {mail.envelope_recipients!r}")
    return found


def _wanted(name: str, value: Any) -> Any:
    match name:
        case "from":
            return _people(value)
        case "to" | "cc" | "bcc":
            return _people(", ".join(value))
        case "text" | "html" | "stripped_text" | "stripped_html":
            return _body(value)
        case "headers":
            return _headers(value)
        case "attachments" | "inline_attachments":
            return _files(map(_recorded_file, value), is_inline=name != "attachments")
        case "subject":
            return value or ""
        case _:
            return value


def _people(value: str | None) -> list[tuple[str, str]]:
    return getaddresses([value]) if value else []


def _everyone(mail: InboundMessage, name: str) -> list[tuple[str, str]]:
    return list(mail.addresses(name))


def _body(value: str | None) -> str | None:
    return value.replace("\r\n", "\n") if value else None


def _headers(pairs: Iterable[Iterable[str]]) -> Counter[tuple[str, Any]]:
    """Return headers without case; addresses are read, since quotes around a name say nothing."""
    many = ((name.lower(), " ".join(value.split())) for name, value in pairs)
    return Counter(
        (name, tuple(_people(value)) if name in _ADDRESSED else value)
        for name, value in many
        if value and name not in _MADE_UP
    )


def _recorded_file(one: Mapping[str, Any]) -> InboundAttachment:
    return InboundAttachment(
        filename=one["filename"] or None,
        content_type=one["content_type"],
        content=base64.b64decode(one["content_base64"]),
        content_id=one["content_id"],
        is_inline=one["is_inline"],
    )


def _files(many: Iterable[InboundAttachment], *, is_inline: bool) -> Counter[Any]:
    """Return files as they compare: the recording has no content id of an inline one."""
    return Counter(
        (one.filename, one.content_type, None if is_inline else one.content_id, _content(one))
        for one in many
        if one.is_inline is is_inline
    )


def _content(one: InboundAttachment) -> bytes:
    """Return the bytes; a mail is compared as it reads, since the recording client wrote it anew."""
    if one.content_type != "message/rfc822":
        return one.content
    read = from_mime(one.content, provider="recorded")
    return repr((_headers(read.headers), _body(read.text), _body(read.html))).encode()
