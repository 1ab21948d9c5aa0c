"""Ingest: a provider's request is checked, kept, made into events, and answered so that none is lost."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.adapters.forms import form_fields, form_kind
from mailglass.adapters.mailgun_events import signed_fields
from mailglass.delivery.record import REPORTED
from mailglass.errors import (
    ConfigError,
    MailglassError,
    SendError,
    SignatureError,
    SignatureErrorType,
    TenancyError,
)
from mailglass.ids import new_id
from mailglass.inbound.batch import Unread, may_pass, reason_of
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.inbound.readers import read_each
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.inbound import InboundStore, Lease
from mailglass.ledger.rows import Pending
from mailglass.ledger.webhooks import (
    Incoming,
    ReceiptState,
    Recorded,
    ReportStatus,
    Source,
    WebhookStore,
)
from mailglass.telemetry import Signal, report
from mailglass.webhook import (
    BODY_BYTES_MAX,
    ProviderEvent,
    WebhookRequest,
    mapping,
    parse_json,
    raw_body_missing,
    text,
)
from mailglass.webhooks import answers
from mailglass.webhooks.answers import Answer
from mailglass.webhooks.endpoint import Confirming, Endpoint
from mailglass.webhooks.normalise import Document, document_of

_READABLE: Final = frozenset(
    {
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
        "application/jsonl",
        "application/x-ndjson",
    }
)
"""SNS calls its JSON text/plain; some proxies leave the type out."""
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE | re.ASCII)
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_LENGTH: Final = re.compile(r"[0-9]{1,12}")
_KEPT_HEADERS: Final = (
    "content-type",
    "user-agent",
    "svix-id",
    "svix-timestamp",
    "webhook-id",
    "webhook-timestamp",
    "x-amz-sns-message-type",
    "x-amz-sns-message-id",
    "x-amz-sns-topic-arn",
    "x-messagesystems-batch-id",
)
"""No other is kept: some are credentials."""
_HEADER_CHARS_MAX: Final = 1_000
_CHECKS: Final = frozenset({"GET", "HEAD"})
"""How providers look whether an address answers, before they use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Takes in the requests of endpoints, found by ``provider/name`` or by ``provider`` alone."""

    endpoints: Mapping[str, Endpoint]
    webhooks: WebhookStore

    def bytes_max(self, path: str) -> int:
        """Return how many bytes a request may have; where nothing is, as many as usual."""
        endpoint = self.endpoints.get(path)
        return BODY_BYTES_MAX if endpoint is None else endpoint.body_bytes_max

    def take(self, path: str, request: WebhookRequest) -> Answer:
        """Answer one request: it never raises for what a provider or an attacker sends.

        Nothing is written before the request verifies, and nothing is answered with 200 before it
        is stored. What cannot be stored now is answered so that the provider sends it again.
        """
        endpoint = self.endpoints.get(path)
        if endpoint is None:
            return Answer(status=answers.NOT_FOUND)
        turned_away = _turned_away(endpoint, request)
        if turned_away is not None:
            return turned_away
        try:
            _require_body(request)
            endpoint.adapter.verify(request)
            if isinstance(endpoint.adapter, Confirming) and endpoint.adapter.confirm(request):
                return answers.taken()
            return self._kept(endpoint, request)
        except SignatureError as error:
            return _refused(endpoint, error)
        except (ConfigError, SendError, TenancyError, DatabaseAwayError) as error:
            _say(Signal.WEBHOOK_FAILED, endpoint, error)
            return answers.busy(endpoint.provider)

    def _kept(self, endpoint: Endpoint, request: WebhookRequest) -> Answer:
        tenant_id = endpoint.tenant_of(request)
        incoming = _incoming(endpoint, request, tenant_id)
        found = self.webhooks.receive(incoming)
        if found is None or found[1] is not ReceiptState.RECEIVED:
            return answers.taken()
        return _answer(self.read(replace(endpoint, tenant_id=tenant_id), request, found[0]))

    def read(
        self,
        endpoint: Endpoint,
        request: WebhookRequest,
        receipt_id: UUID,
        *,
        is_again: bool = False,
    ) -> tuple[Recorded, ...]:
        """Make what a kept request reports into events, or hand its mails to the endpoint's mailbox.

        A request that cannot be read is dead, and so is one mail of several. One whose mail could
        not be fetched now stays open: the provider's repetition, the next reconciliation or a replay
        reads it again. A mail that was handled is handled once more only where that is asked for.
        A request whose mails another process hands over at this moment is left to that one.

        Raises:
            SendError: retryable, what the provider keeps of a mail could not be fetched.
            ConfigError: the provider refuses the credentials.

        """
        if endpoint.mailbox is None:
            return self._read(endpoint, request, receipt_id)
        with InboundStore(store=self.webhooks.store).claimed(receipt_id) as lease:
            if lease is None:
                return ()
            return self._read(endpoint, request, receipt_id, lease=lease, is_again=is_again)

    def _read(
        self,
        endpoint: Endpoint,
        request: WebhookRequest,
        receipt_id: UUID,
        *,
        lease: Lease | None = None,
        is_again: bool = False,
    ) -> tuple[Recorded, ...]:
        try:
            mails = read_each(endpoint.adapter, request) if endpoint.mailbox else ()
            events = () if endpoint.mailbox else endpoint.adapter.events(request)
        except Exception as error:
            if may_pass(error):
                raise
            _say(Signal.WEBHOOK_DEAD, endpoint, error)
            self.webhooks.settle(receipt_id, ReceiptState.DEAD, reason_of(error))
            return ()
        source = Source(
            tenant_id=endpoint.tenant_of(request),
            provider=endpoint.provider,
            endpoint=endpoint.name,
            receipt_id=receipt_id,
        )
        if (
            endpoint.mailbox is not None
            and lease is not None
            and not self._handled(endpoint.mailbox, source, mails, lease=lease, is_again=is_again)
        ):
            return ()
        return self._recorded(source, events, request)

    def _handled(
        self,
        mailbox: Mailbox,
        source: Source,
        mails: Sequence[InboundMessage | Unread],
        *,
        lease: Lease,
        is_again: bool,
    ) -> bool:
        """Give each mail to its route, and write what came of it before the next one's turn.

        One that cannot be read is buried in its place. It tells whether all had their turn: where
        a handler took so long that the lease ended, the others are left to who has the request now.
        """
        handled = InboundStore(store=self.webhooks.store)
        done = () if is_again else handled.of_receipt(source)
        skipped = {one.place for one in done}
        for place, mail in enumerate(mails):
            if isinstance(mail, Unread):
                self.webhooks.bury(source, place, mail.reason)
            elif place not in skipped:
                if not lease.renewed():
                    return False
                found = mailbox.handle(mail)
                handled.record(
                    source,
                    place,
                    route=found.route,
                    outcome=found.outcome.value,
                    reason=found.reason,
                )
        return True

    def _recorded(
        self, source: Source, events: Sequence[ProviderEvent], request: WebhookRequest
    ) -> tuple[Recorded, ...]:
        documents: list[Document] = []
        unfit: list[Recorded] = []
        for place, event in enumerate(events):
            try:
                documents.append(document_of(event, place=place, received_at=request.now))
            except SendError as error:
                self.webhooks.bury(source, place, error.code or ReportStatus.REFUSED.value)
                unfit.append(Recorded(place=place, status=ReportStatus.REFUSED))
        recorded = self.webhooks.record(source, documents)
        settle_unknown(self.webhooks, recorded)
        return (*recorded, *unfit)


def settle_unknown(webhooks: WebhookStore, recorded: Sequence[Recorded]) -> None:
    """Settle what nobody knew to have left: who reports on a mail has accepted it.

    A crash before this loses nothing, since the sweep looks for the same.
    """
    unknown = {one.unknown_message_id for one in recorded if one.unknown_message_id is not None}
    if unknown:
        webhooks.store.move_messages([Pending(id=one) for one in sorted(unknown)], REPORTED)


def _turned_away(endpoint: Endpoint, request: WebhookRequest) -> Answer | None:
    """Return the answer to what no provider sends, before anything of it is looked into."""
    if request.method in _CHECKS:
        return answers.taken()
    if request.method != "POST":
        return Answer(status=answers.METHOD_NOT_ALLOWED, headers=(("Allow", "GET, HEAD, POST"),))
    if len(request.body) > endpoint.body_bytes_max:
        return Answer(status=answers.TOO_LARGE)
    if not _is_whole(request):
        return Answer(status=answers.MALFORMED)
    return None if _is_readable(request) else Answer(status=answers.UNSUPPORTED)


def _require_body(request: WebhookRequest) -> None:
    """Refuse a request whose body was read before it came here, as by a framework's form parser.

    Raises:
        ConfigError: ``webhook_raw_body_missing``.

    """
    if not request.body and _length_told(request):
        raise raw_body_missing()


def _length_told(request: WebhookRequest) -> int | None:
    told = request.headers.first("content-length")
    return int(told) if told is not None and _LENGTH.fullmatch(told) else None


def _is_whole(request: WebhookRequest) -> bool:
    told = _length_told(request)
    return told is None or not request.body or told == len(request.body)


def _is_readable(request: WebhookRequest) -> bool:
    """Tell whether the body is plain text of a kind that some provider sends."""
    if (request.headers.first("content-encoding") or "identity").strip().lower() != "identity":
        return False
    told = request.headers.first("content-type") or ""
    charset = _CHARSET.search(told)
    return told.partition(";")[0].strip().lower() in _READABLE and (
        charset is None or charset[1].lower() in _CHARSETS
    )


def _refused(endpoint: Endpoint, error: SignatureError) -> Answer:
    _say(Signal.WEBHOOK_REFUSED, endpoint, error)
    lacks = error.type is SignatureErrorType.MISSING_HEADER and error.detail == "authorization"
    return answers.refused(
        endpoint.provider, may_ask_again=lacks and endpoint.provider in _ASKED_FIRST
    )


_ASKED_FIRST: Final = frozenset({"amazon_ses", "scaleway"})


def _answer(recorded: Sequence[Recorded]) -> Answer:
    """Return 422 where all there was belongs to somebody else; all else is stored."""
    counted = Counter(one.status for one in recorded)
    if counted and counted[ReportStatus.TENANT_MISMATCH] == len(recorded):
        return Answer(status=answers.OTHER_TENANT)
    return answers.taken(counted[ReportStatus.RECORDED])


def _incoming(endpoint: Endpoint, request: WebhookRequest, tenant_id: str) -> Incoming:
    digest = hashlib.sha256(request.body)
    own = _DELIVERY_IDS.get(endpoint.provider, _no_id)(request)
    return Incoming(
        id=new_id(),
        tenant_id=tenant_id,
        provider=endpoint.provider,
        endpoint=endpoint.name,
        dedupe_key=f"id:{own}" if own else f"sha256:{digest.hexdigest()}",
        headers=[
            (name, (text(value) or "")[:_HEADER_CHARS_MAX])
            for name in _KEPT_HEADERS
            for value in request.headers.all(name)
        ],
        body=request.body,
        body_sha256=digest.digest(),
    )


def _no_id(_request: WebhookRequest) -> str | None:
    return None


def _svix_id(request: WebhookRequest) -> str | None:
    return text(request.headers.first("svix-id") or request.headers.first("webhook-id"))


def _mailgun_token(request: WebhookRequest) -> str | None:
    """Return Mailgun's token: its signature covers no more of the body, so each is good for once."""
    if form_kind(request) is not None:
        return text(signed_fields(form_fields(request, provider="mailgun")).get("token"))
    signature = mapping(mapping(parse_json(request.body, provider="mailgun")).get("signature"))
    return text(signature.get("token"))


_DELIVERY_IDS: Final = MappingProxyType({"resend": _svix_id, "mailgun": _mailgun_token})
"""Where a signature covers an id of the request; for all others the body speaks for itself."""


def _say(signal: Signal, endpoint: Endpoint, error: Exception) -> None:
    kind = error.type.value if isinstance(error, MailglassError) else type(error).__name__
    report(
        signal,
        level=logging.WARNING,
        tenant_id=endpoint.tenant_id if isinstance(endpoint.tenant_id, str) else None,
        provider=endpoint.provider,
        error_type=kind,
    )
