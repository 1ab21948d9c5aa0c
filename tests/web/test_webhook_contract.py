"""The webhook contract: what every provider hears, over ASGI and down to the database, in every case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from starlette.testclient import TestClient

from front_desk import count, note
from mailglass import Delivery, Mailglass, Outcome
from mailglass.ledger.webhooks import ReceiptState
from mailglass.web.webhooks import webhook_app
from mailglass.webhook import BODY_BYTES_MAX
from mailglass.webhooks.endpoint import Endpoint
from mutated import replaced, sites
from posted_webhooks import BASE_URL, NOW, SENT_AS, SPEAKERS, Posted, Speaker
from webhook_requests import hooked

_OTHER_TYPES: Final[tuple[Any, ...]] = (None, True, 7, -1.5, "x", "", [], {}, [None], {"a": []})
_TYPES_A_PLACE: Final = 3
_SETTLED: Final = {200, 400, 401, 403, 406}

every = pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda one: one.name)
signing = pytest.mark.parametrize(
    "speaker", [one for one in SPEAKERS if one.signs], ids=lambda one: one.name
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A desk with one sent mail, and a way to post to it."""

    mail: Mailglass
    sent: Delivery
    speaker: Speaker

    def post(self, posted: Posted, *, path: str = "main", at: datetime = NOW, **more: Any) -> Any:
        """Post a request at a time; ``more`` replaces headers."""
        headers, body = posted
        client = TestClient(webhook_app(self.mail.ingest, clock=lambda: at), base_url=BASE_URL)
        known = {name.lower(): value for name, value in headers} | more.get("headers", {})
        kept = {name: value for name, value in known.items() if value is not None}
        url = f"/webhooks/{self.speaker.name}/{path}"
        return client.request(more.get("method", "POST"), url, content=body, headers=kept)

    def good(self) -> Posted:
        """Return the genuine request about the mail."""
        return self.speaker.of(self.sent.id)

    def outcome(self) -> Outcome:
        """Return how the mail fared."""
        found = self.mail.delivery(self.sent.id)
        assert found is not None
        return found.outcome


@contextmanager
def _line(
    database_url: str, speaker: Speaker, tenants: Sequence[str] = ("default",)
) -> Iterator[Line]:
    names = ["main", *tenants[1:]]
    endpoints = [
        Endpoint(name=name, adapter=speaker.adapter(), tenant_id=tenant)
        for name, tenant in zip(names, tenants, strict=True)
    ]
    with hooked(database_url, endpoints=endpoints) as mail:
        sent = mail.deliver(note())
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "update mailglass.deliveries set provider = %s, provider_message_id = %s",
                [speaker.name, SENT_AS],
            )
        yield Line(mail=mail, sent=sent, speaker=speaker)
        assert mail.store.broken_chains() == ()


def _receipts(line: Line) -> list[ReceiptState]:
    return [one.state for one in line.mail.webhooks.webhooks.receipts()]


@every
def test_a_genuine_request_is_recorded(database_url: str, speaker: Speaker) -> None:
    """200, one receipt, and the delivery knows."""
    with _line(database_url, speaker) as line:
        assert line.post(line.good()).status_code == 200
        assert line.outcome() is Outcome.DELIVERED
        assert _receipts(line) == [ReceiptState.PROCESSED]


@every
def test_a_repeated_request_counts_once(database_url: str, speaker: Speaker) -> None:
    """Providers repeat what they heard no answer to."""
    with _line(database_url, speaker) as line:
        assert [line.post(line.good()).status_code for _ in range(3)] == [200] * 3
        assert len(line.mail.events(line.sent.id)) == 4
        assert len(_receipts(line)) == 1


def _forged(posted: Posted, speaker: Speaker) -> Posted:
    """Change what the proof covers: the body, or the credentials where nothing is signed."""
    headers, body = posted
    if not speaker.signs:
        return [(name, value.replace("Basic a", "Basic b")) for name, value in headers], body
    if speaker.name == "mailgun":
        return headers, body.replace(b'"token": "', b'"token": "0')
    return headers, body.replace(b"zoe", b"eve")


@every
def test_a_forged_request_is_refused_and_leaves_nothing(
    database_url: str, speaker: Speaker
) -> None:
    """In the word that ends that provider's repetitions."""
    with _line(database_url, speaker) as line:
        assert line.post(_forged(line.good(), speaker)).status_code == speaker.refusal
        assert line.outcome() is Outcome.NONE
    assert count(database_url, "webhook_receipts") == 0


@every
def test_a_request_without_any_proof_is_refused(database_url: str, speaker: Speaker) -> None:
    """A document alone, as anybody can write it."""
    plain = json.dumps(speaker.document(str(uuid4()), "zoe@mail.example")).encode()
    with _line(database_url, speaker) as line:
        answer = line.post(([("Content-Type", "application/json")], plain))
        assert answer.status_code == speaker.refusal
    assert count(database_url, "webhook_receipts") == 0


@pytest.mark.parametrize("days", [-2, 2])
@pytest.mark.parametrize(
    "speaker", [one for one in SPEAKERS if one.dates], ids=lambda one: one.name
)
def test_a_proof_of_another_day_is_refused(database_url: str, speaker: Speaker, days: int) -> None:
    """Where the provider signs the time; elsewhere a repetition counts once."""
    with _line(database_url, speaker) as line:
        answer = line.post(line.good(), at=NOW + timedelta(days=days))
        assert answer.status_code == speaker.refusal
    assert count(database_url, "webhook_receipts") == 0


@signing
def test_a_truncated_request_is_refused(database_url: str, speaker: Speaker) -> None:
    """Half of what was signed is not what was signed."""
    with _line(database_url, speaker) as line:
        headers, body = line.good()
        assert line.post((headers, body[: len(body) // 2])).status_code == speaker.refusal
    assert count(database_url, "webhook_receipts") == 0


_TURNED_AWAY: Final[tuple[tuple[dict[str, str], int, int], ...]] = (
    ({"content-type": "image/png"}, 0, 415),
    ({"content-type": "application/json; charset=utf-16"}, 0, 415),
    ({"content-type": "text/plain; charset=utf-7"}, 0, 415),
    ({"content-encoding": "gzip"}, 0, 415),
    ({"content-length": "9000"}, 0, 400),
    ({}, BODY_BYTES_MAX, 413),
)
"""Headers in place of the right ones, how much longer the body is, and the answer."""


@every
def test_what_no_provider_sends_is_turned_away(database_url: str, speaker: Speaker) -> None:
    """Another kind, a charset that hides what is written, packed, broken off, or far too long."""
    with _line(database_url, speaker) as line:
        headers, body = line.good()
        for odd, longer, status in _TURNED_AWAY:
            assert line.post((headers, body + b" " * longer), headers=odd).status_code == status
    assert count(database_url, "webhook_receipts") == 0


@every
def test_a_value_of_another_type_anywhere_harms_nothing(
    database_url: str, speaker: Speaker
) -> None:
    """Every field of the document in turn, genuine all the same: never a server's error."""
    with _line(database_url, speaker) as line:
        document = speaker.document(str(line.sent.id), "zoe@mail.example")
        for number, site in enumerate(sites(document)):
            if isinstance(document, dict) and not site:
                continue
            for step in range(_TYPES_A_PLACE):
                odd = _OTHER_TYPES[(number * _TYPES_A_PLACE + step) % len(_OTHER_TYPES)]
                content = json.dumps(replaced(document, site, odd))
                answer = line.post(speaker.posted(content))
                assert answer.status_code in _SETTLED, (site, odd, answer.status_code)


@every
def test_a_key_given_twice_is_no_event(database_url: str, speaker: Speaker) -> None:
    """Two readers may take another one of the two each."""
    with _line(database_url, speaker) as line:
        content = json.dumps(speaker.document(str(line.sent.id), "zoe@mail.example"))
        twice = content.replace("{", '{"twice": 1, "twice": 2, ', 1)
        assert line.post(speaker.posted(twice)).status_code in {200, speaker.refusal}
        assert line.outcome() is Outcome.NONE


def _batched(document: Any) -> Any | None:
    """Return the document with what is no event around it; None where it is never a batch."""
    if isinstance(document, list):
        return [7, {"event": [], "msys": "x"}, *document, None]
    if isinstance(document, dict) and isinstance(document.get("events"), list):
        return document | {"events": _batched(document["events"])}
    return None


@pytest.mark.parametrize(
    "speaker",
    [one for one in SPEAKERS if _batched(one.document("", ""))],
    ids=lambda one: one.name,
)
def test_one_bad_event_does_not_lose_its_batch(database_url: str, speaker: Speaker) -> None:
    """The event in the middle is recorded."""
    with _line(database_url, speaker) as line:
        document = speaker.document(str(line.sent.id), "zoe@mail.example")
        answer = line.post(speaker.posted(json.dumps(_batched(document))))
        assert answer.status_code == 200
        assert line.outcome() is Outcome.DELIVERED


@every
def test_another_tenants_delivery_is_out_of_reach(database_url: str, speaker: Speaker) -> None:
    """Row 50: with our token 422, and with the provider's id alone an orphan of the endpoint's tenant."""
    with _line(database_url, speaker, tenants=("default", "other")) as line:
        answer = line.post(speaker.of(line.sent.id, path="other"), path="other")
        assert answer.status_code == (422 if speaker.names else 200)
        assert len(line.mail.events(line.sent.id)) == 3


@every
def test_what_cannot_be_stored_now_is_asked_for_again(speaker: Speaker) -> None:
    """503, and 429 to the one that throws an event away after it."""
    endpoints = [Endpoint(name="main", adapter=speaker.adapter(), tenant_id="default")]
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with hooked(nowhere, endpoints=endpoints, database_connect_timeout_s=1) as mail:
        client = TestClient(webhook_app(mail.ingest, clock=lambda: NOW), base_url=BASE_URL)
        headers, body = speaker.of(uuid4())
        url = f"/webhooks/{speaker.name}/main"
        answer = client.post(url, content=body, headers=dict(headers))
    assert (answer.status_code, answer.headers["Retry-After"]) == (speaker.busy, "60")


@every
def test_a_look_at_the_address_is_answered(database_url: str, speaker: Speaker) -> None:
    """GET and HEAD without a proof write nothing; no other method does anything."""
    with _line(database_url, speaker) as line:
        for method, status in (("GET", 200), ("HEAD", 200), ("PUT", 405), ("DELETE", 405)):
            assert line.post(([], b""), method=method).status_code == status
    assert count(database_url, "webhook_receipts") == 0
