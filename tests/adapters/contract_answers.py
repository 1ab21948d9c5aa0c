"""How each provider says yes to one mail to ada@recipient.test; an adapter without a row fails."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.adapters.contract_server import Answer, says

_ADA: Final = "ada@recipient.test"
_ID: Final = "provider-id-1"
_JSON: Final = (("Content-Type", "application/json"),)
_YES: Final[dict[str, tuple[int, Any]]] = {
    "amazon_ses": (200, {"MessageId": _ID}),
    "brevo": (201, {"messageId": _ID}),
    "mailgun": (200, {"id": _ID, "message": "Queued. Thank you."}),
    "mailjet": (
        200,
        {
            "Messages": [
                {
                    "Status": "success",
                    "To": [
                        {
                            "Email": _ADA,
                            "MessageUUID": "5c0c5f3e-7f6a-4b0e-9d43-1f1a6f1b2c3d",
                            "MessageID": 1,
                            "MessageHref": "https://api.mailjet.com/v3/message/1",
                        }
                    ],
                    "Cc": [],
                    "Bcc": [],
                }
            ]
        },
    ),
    "mailtrap": (200, {"success": True, "message_ids": [_ID]}),
    "mandrill": (200, [{"email": _ADA, "status": "sent", "_id": _ID, "reject_reason": None}]),
    "postal": (
        200,
        {
            "status": "success",
            "time": 0.1,
            "flags": {},
            "data": {"message_id": _ID, "messages": {_ADA: {"id": 1, "token": "t"}}},
        },
    ),
    "postmark": (200, {"To": _ADA, "MessageID": _ID, "ErrorCode": 0, "Message": "OK"}),
    "resend": (200, {"id": _ID}),
    "scaleway": (
        200,
        {
            "emails": [
                {
                    "id": _ID,
                    "message_id": _ID,
                    "mail_rcpt": _ADA,
                    "rcpt_type": "to",
                    "status": "new",
                }
            ]
        },
    ),
    "sparkpost": (
        200,
        {
            "results": {
                "id": _ID,
                "total_accepted_recipients": 1,
                "total_rejected_recipients": 0,
            }
        },
    ),
    "unisender_go": (200, {"status": "success", "job_id": _ID, "emails": [_ADA]}),
}
_IN_A_HEADER: Final = frozenset({"mailersend", "sendgrid"})
"""Providers that answer 202 with an empty body and the id in X-Message-Id."""


def accepting(provider: str) -> Answer:
    """Return the provider's yes."""
    if provider in _IN_A_HEADER:
        return says(202, b"", (("X-Message-Id", _ID),))
    status, body = _YES[provider]
    return says(status, json.dumps(body).encode(), _JSON)


def in_json(status: int, body: Any, *headers: tuple[str, str]) -> Answer:
    """Return an answer of the provider's own, which is JSON."""
    return says(status, json.dumps(body).encode(), (*_JSON, *headers))


def in_html(status: int) -> Answer:
    """Return the answer of something between us and the provider."""
    return says(status, b"<html><h1>Bad Gateway</h1></html>", (("Content-Type", "text/html"),))
