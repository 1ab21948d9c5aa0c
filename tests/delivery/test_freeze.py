"""Freeze and thaw: what is for the provider alone outlives the queue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from front_desk import note
from mailglass.delivery.freeze import content_sha256, freeze
from mailglass.delivery.thaw import thaw
from mailglass.ids import new_id
from mailglass.ledger.rows import Claim
from mailglass.message import Message, StoredTemplate, Tracking

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _back(message: Message) -> Message:
    """Return what dispatch would thaw from the parameters that queueing stores."""
    stored: Any = freeze(message, tenant_id="t", adapter_ref="a", now=NOW).parameters
    return thaw(
        Claim(
            message_id=new_id(),
            tenant_id="t",
            stream=message.stream,
            mailable=message.mailable,
            authenticates=message.authenticates,
            mail_from=stored["mail_from"],
            payload=stored["payload"],
            payload_sha256=stored["payload_sha256"],
            settings=json.loads(stored["settings"]),
            token=1,
            attempt=1,
            taken_at=0.0,
            expires_in_s=None,
            adapter_ref="a",
            recipients=tuple(json.loads(stored["recipients"])),
        )
    )


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"tracking": Tracking(opens=None, clicks=True)},
        {"tracking": Tracking(opens=True, clicks=None)},
        {"envelope_sender": "Bounces <bounces@mail.example>"},
        {"provider_send_at": NOW},
        {"provider_options": {"a": {"b": [1, None, "x"]}}},
        {"stored_template": StoredTemplate(id="t", variables={"n": 1})},
        {"stored_template": StoredTemplate(variables={"n": 1})},
        {
            "text": None,
            "subject": "",
            "stored_template": StoredTemplate(
                id="t",
                per_recipient={"zoe@mail.example": {"n": {"m": [1]}}},
                own_metadata={"zoe@mail.example": {"order": "7"}},
                own_headers={"zoe@mail.example": {"X-Ref": "8"}},
            ),
        },
    ],
)
def test_a_message_thaws_as_it_was_frozen(asked: dict[str, Any]) -> None:
    """An adapter with an API sees what the author asked for."""
    message = note(**asked)
    assert _back(message) == message.replace(idempotency_key=None)


def test_bounces_go_to_the_envelope_sender() -> None:
    """And to the sender where nobody asks for another."""
    other = note(envelope_sender="bounces@mail.example")
    assert freeze(other, tenant_id="t", adapter_ref="a", now=NOW).parameters["mail_from"] == (
        "bounces@mail.example"
    )
    plain = note()
    assert freeze(plain, tenant_id="t", adapter_ref="a", now=NOW).parameters["mail_from"] == (
        plain.sender.addr_spec
    )


def test_another_template_or_option_is_another_mail() -> None:
    """An idempotency key is bound to them too."""
    mails = [
        note(),
        note(stored_template=StoredTemplate(id="a")),
        note(stored_template=StoredTemplate(id="b")),
        note(provider_options={"a": 1}),
        note(envelope_sender="bounces@mail.example"),
    ]
    assert len({content_sha256(one) for one in mails}) == len(mails)


@pytest.mark.parametrize(
    "difference",
    [
        {"stream": "operational"},
        {"tags": ["order"]},
        {"metadata": {"order": "7"}},
        {"tracking": Tracking(opens=True)},
        {"tracking": Tracking(opens=None)},
        {"locale": "de"},
        {"unsubscribe": True},
        {"mailable": "shop.Order"},
        {"authenticates": True},
        {"sender": "help@shop.example"},
        {"envelope_sender": "bounces@shop.example"},
        {"on_unknown": "park"},
        {"send_at": NOW},
        {"provider_options": {"pool": "a"}},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_is_kept_of_one_mail_is_not_told_of_another(difference: dict[str, Any]) -> None:
    """Mails that differ in one thing are stored differently, whichever was frozen first."""

    def stored(message: Message) -> dict[str, Any]:
        found = dict(freeze(message, tenant_id="t", adapter_ref="a", now=NOW).parameters)
        own = ("message_id", "rfc_message_id", "recipients", "payload", "payload_sha256")
        return {name: value for name, value in found.items() if name not in {*own, "payload_bytes"}}

    plain, other = note(), note(**difference)
    first, second = stored(plain), stored(other)
    assert first != second
    assert (stored(plain), stored(other)) == (first, second)


def test_content_is_hashed_for_the_key_that_is_compared_by_it() -> None:
    """A mail without an idempotency key is compared with nothing."""
    keyed = note(idempotency_key="k")
    frozen = freeze(keyed, tenant_id="t", adapter_ref="a", now=NOW)
    assert frozen.content_sha256 == content_sha256(keyed)
    assert freeze(note(), tenant_id="t", adapter_ref="a", now=NOW).content_sha256 is None
