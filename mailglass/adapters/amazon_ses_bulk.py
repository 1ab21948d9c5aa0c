"""SendBulkEmail of Amazon SES: the mails of one stored template, and what became of each.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.utils import formataddr
from types import MappingProxyType
from typing import Any, Final

from mailglass.adapters.api import Addressed, present
from mailglass.address import Address
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, Json
from mailglass.failures import Signal, class_of
from mailglass.message import Message, StoredTemplate
from mailglass.webhook import TOKEN_KEY, mapping, sequence, text

BULK_PATH: Final = "/v2/email/outbound-bulk-emails"
ENTRIES_MAX: Final = 50
_TAKEN: Final = "SUCCESS"
_STATUSES: Final = MappingProxyType(
    {
        _TAKEN: Signal.HTTP_ACCEPTED,
        "MESSAGE_REJECTED": Signal.HTTP_REFUSED,
        "TEMPLATE_NOT_FOUND": Signal.HTTP_REFUSED,
        "INVALID_PARAMETER": Signal.HTTP_REFUSED,
        "INVALID_SENDING_POOL_NAME": Signal.HTTP_REFUSED,
        "CONFIGURATION_SET_NOT_FOUND": Signal.HTTP_REFUSED,
        "FAILED": Signal.HTTP_REFUSED,
        "MAIL_FROM_DOMAIN_NOT_VERIFIED": Signal.HTTP_ACCOUNT_REFUSED,
        "ACCOUNT_SUSPENDED": Signal.HTTP_ACCOUNT_REFUSED,
        "ACCOUNT_SENDING_PAUSED": Signal.HTTP_ACCOUNT_REFUSED,
        "ACCOUNT_DAILY_QUOTA_EXCEEDED": Signal.HTTP_ACCOUNT_REFUSED,
        "CONFIGURATION_SET_SENDING_PAUSED": Signal.HTTP_ACCOUNT_REFUSED,
        "ACCOUNT_THROTTLED": Signal.HTTP_RATE_LIMITED,
        "TRANSIENT_FAILURE": Signal.HTTP_PROVIDER_ERROR,
    }
)


def lacking_with_template(message: Message) -> str | None:
    """Name what a stored template of SES holds itself, so that no mail may bring it."""
    own = {
        "a subject": message.subject,
        "bodies": message.text or message.html,
        "attachments": message.attachments,
    }
    return next((f"{what} beside a stored template" for what, it in own.items() if it), None)


def bulk_body(
    envelope: Envelope,
    message: Message,
    whom: Addressed,
    stored: StoredTemplate,
    tags: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """Return the body of the call: one entry a mail, which is one a To recipient or one for all."""
    return present(
        FromEmailAddress=_shown(message.sender),
        ReplyToAddresses=[_shown(one) for one in message.reply_to],
        DefaultEmailTags=list(tags),
        DefaultContent={
            "Template": {"TemplateName": stored.id, "TemplateData": _data(stored.variables)}
        },
        BulkEmailEntries=[
            present(
                Destination=_destination(to, whom),
                ReplacementEmailContent={
                    "ReplacementTemplate": {
                        "ReplacementTemplateData": _data(stored.own_variables(to[0]))
                    }
                },
                ReplacementHeaders=_headers(message),
                ReplacementTags=[{"Name": TOKEN_KEY, "Value": _delivery_of(envelope, to[0])}],
            )
            for to in _mails(whom.to, is_individual=stored.is_individual)
        ],
    )


def bulk_verdicts(
    envelope: Envelope, to: Sequence[Address], answer: Any, *, is_individual: bool
) -> tuple[Verdict, ...] | None:
    """Return a verdict a recipient; whoever is copied has that of the first mail that was taken."""
    results = sequence(mapping(answer).get("BulkEmailEntryResults"))
    mails = _mails(to, is_individual=is_individual)
    if len(results) != len(mails):
        return None
    found = [_judged(mapping(one)) for one in results]
    of_to = {one.key: it for mail, it in zip(mails, found, strict=True) for one in mail}
    of_copies = next((it for it in found if it[0] is None), found[0])
    return tuple(
        Verdict(
            delivery_id=recipient.delivery_id,
            failure_class=it[0],
            code=it[1],
            provider_message_id=it[2],
        )
        for recipient in envelope.recipients
        for it in (of_to.get(recipient.address.key, of_copies),)
    )


def _mails(to: Sequence[Address], *, is_individual: bool) -> list[tuple[Address, ...]]:
    return [(one,) for one in to] if is_individual else [tuple(to)]


def _judged(result: dict[str, Any]) -> tuple[FailureClass | None, str | None, str | None]:
    status, known_as = text(result.get("Status")) or "", text(result.get("MessageId"))
    signal = _STATUSES.get(status, Signal.HTTP_ACCEPTED_UNPARSEABLE)
    if status == _TAKEN and known_as is None:
        signal = Signal.HTTP_ACCEPTED_UNPARSEABLE
    return class_of(signal), None if status == _TAKEN else status or "no_status", known_as


def _shown(address: Address) -> str:
    """Return a mailbox as SES takes it: ASCII, with a name in encoded words (RFC 2047)."""
    if address.name.isascii():
        return str(address)
    return formataddr((address.name, address.addr_spec))


def _data(variables: Mapping[str, Json]) -> str:
    return json.dumps(dict(variables), separators=(",", ":"))


def _destination(to: tuple[Address, ...], whom: Addressed) -> dict[str, list[str]]:
    return present(
        ToAddresses=[_shown(one) for one in to],
        CcAddresses=[_shown(one) for one in whom.cc],
        BccAddresses=[_shown(one) for one in whom.bcc],
    )


def _headers(message: Message) -> list[dict[str, str]]:
    fields = [*message.headers, *(("X-Tag", tag) for tag in message.tags)]
    if message.metadata:
        fields.append(("X-Metadata", json.dumps(dict(message.metadata))))
    return [{"Name": name, "Value": value} for name, value in fields]


def _delivery_of(envelope: Envelope, address: Address) -> str:
    found = (one for one in envelope.recipients if one.address.key == address.key)
    return str(next(found, envelope.recipients[0]).delivery_id)
