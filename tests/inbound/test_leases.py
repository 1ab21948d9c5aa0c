"""One process hands a received mail to its handler, however often and wherever the request comes again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg

from front_desk import count
from mailglass import Mailglass
from mailglass.adapters.providers import build_offline
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import CREDENTIALS, hooked, postmark, request

WRITTEN = {"FromFull": {"Email": "zoe@mail.example"}, "Subject": "Hello", "TextBody": "Hi"}


def _calling(handler: Callable[[], object]) -> Endpoint:
    mailbox = Mailbox()

    @mailbox.route()
    def called(_message: InboundMessage) -> None:
        handler()

    return Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=mailbox)


def _set(database_url: str, change: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute(f"update mailglass.webhook_receipts set {change}".encode())


def _repeats_meanwhile(
    database_url: str, seen: list[int], again: Callable[[Mailglass], object]
) -> None:
    """Take a mail in whose handler works for as long as something else is tried."""
    begun, ended = threading.Event(), threading.Event()

    def slow() -> None:
        seen.append(1)
        begun.set()
        if len(seen) == 1:
            assert ended.wait(30)

    with hooked(database_url, endpoints=[_calling(slow)]) as mail:
        first = threading.Thread(target=mail.ingest, args=("postmark/in", request(WRITTEN)))
        first.start()
        try:
            assert begun.wait(30)
            again(mail)
        finally:
            ended.set()
            first.join()


def test_a_repetition_while_the_handler_works_is_stored_and_calls_nothing(
    database_url: str,
) -> None:
    """Providers repeat a request after some seconds, and handlers may take minutes."""
    seen: list[int] = []

    def again(mail: Mailglass) -> None:
        assert mail.ingest("postmark/in", request(WRITTEN)).status == 200

    _repeats_meanwhile(database_url, seen, again)
    assert (len(seen), count(database_url, "inbound_messages")) == (1, 1)


def test_a_reconciliation_leaves_what_is_in_work(database_url: str) -> None:
    """However long ago the request came."""
    seen: list[int] = []

    def again(mail: Mailglass) -> None:
        _set(database_url, "received_at = now() - interval '8 minutes'")
        assert mail.reconcile().finished == 0

    _repeats_meanwhile(database_url, seen, again)
    assert len(seen) == 1


def test_a_replay_leaves_what_is_in_work(database_url: str) -> None:
    """It says that the request is still received."""
    seen: list[int] = []

    def again(mail: Mailglass) -> None:
        (kept,) = mail.webhooks.webhooks.receipts()
        replayed = mail.replay(kept.id)
        assert replayed is not None
        assert replayed.state.value == "received"

    _repeats_meanwhile(database_url, seen, again)
    assert len(seen) == 1


def test_a_mail_whose_process_died_is_handled_when_its_lease_ends(database_url: str) -> None:
    """Nobody gives a lease back then."""
    seen: list[int] = []
    with hooked(database_url, endpoints=[_calling(lambda: seen.append(1))]) as mail:
        mail.ingest("postmark/in", request(WRITTEN))
        with psycopg.connect(database_url) as owner:
            owner.execute("delete from mailglass.inbound_messages")
        _set(
            database_url,
            "state = 'received', received_at = now() - interval '1 hour',"
            " lease_until = now() + interval '1 minute'",
        )
        assert mail.reconcile().finished == 0
        _set(database_url, "lease_until = now() - interval '1 second'")
        assert mail.reconcile().finished == 1
    assert len(seen) == 2


def test_who_lost_the_lease_hands_over_nothing_more(database_url: str) -> None:
    """Two processes must not go on side by side through the mails of one request."""
    seen: list[int] = []

    def so_slow_that_another_has_it() -> None:
        seen.append(1)
        _set(database_url, "lease_until = now() + interval '10 minutes'")

    adapter: Any = build_offline("sparkpost", {"webhook_secret": CREDENTIALS})
    end = replace(_calling(so_slow_that_another_has_it), adapter=adapter)
    told = {"rcpt_to": "help@shop.example", "content": {"email_rfc822": "Subject: Hi\r\n\r\nHi"}}
    with hooked(database_url, endpoints=[end]) as mail:
        assert mail.ingest("sparkpost/in", request([_relayed(told), _relayed(told)])).status == 200
        (kept,) = mail.webhooks.webhooks.receipts()
    assert (len(seen), kept.state.value) == (1, "received")


def _relayed(told: dict[str, Any]) -> dict[str, Any]:
    return {"msys": {"relay_message": told}}
