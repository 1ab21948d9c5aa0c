"""Queueing asks for suppressions in its own statement, and refuses as the check by itself does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from front_desk import BULK, HERE, front_desk, note, rows
from mailglass import (
    Delivery,
    MailglassError,
    Message,
    Stream,
    StreamPolicyError,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
)
from mailglass.app import Mailglass
from mailglass.delivery.freeze import freeze
from mailglass.preflight import Context
from mailglass.preflight.standard import CHECKS

SOON = datetime.now(UTC) + timedelta(days=1)


def _entry(scope: str, value: str, **more: Any) -> Suppression:
    return Suppression(
        scope=SuppressionScope(scope),
        value=value,
        reason=SuppressionReason.MANUAL,
        source="test",
        **more,
    )


def _passes(_message: Message, _context: Context) -> None:
    """Refuse nothing; with it among the checks, all of them are asked one after the other."""


def _told(mail: Mailglass, message: Message) -> Mapping[str, object] | str:
    try:
        found: Delivery = mail.deliver_later(message)
    except MailglassError as error:
        return error.to_dict()
    return found.state.value


@pytest.mark.parametrize(
    "entry",
    [
        _entry("address", "zoe@mail.example"),
        _entry("address", "ZOE@mail.example", expires_at=SOON),
        _entry("address", "someone@mail.example"),
        _entry("domain", "mail.example"),
        _entry("address_stream", "zoe@mail.example", stream=Stream.TRANSACTIONAL),
        _entry("address_stream", "zoe@mail.example", stream=Stream.BULK),
    ],
    ids=["address", "until tomorrow", "another's", "domain", "its stream", "another stream"],
)
@pytest.mark.parametrize("to", ["zoe@mail.example", "Zoe+news@mail.example"])
def test_both_ways_of_asking_tell_the_same(database_url: str, entry: Suppression, to: str) -> None:
    """The same error with the same fields, or the same yes."""
    message = note(to=to, cc="ann@else.example")
    with (
        front_desk(database_url) as quick,
        front_desk(database_url, checks=(*CHECKS, _passes)) as slow,
    ):
        quick.suppress(entry)
        assert _told(quick, message) == _told(slow, message)


def test_an_ordinary_mail_costs_one_statement(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preflight included, where no limit is set."""
    with front_desk(database_url) as mail:
        asked: list[str] = []
        rows_of = mail.store.rows

        def counted(name: str, parameters: Mapping[str, object]) -> list[Any]:
            asked.append(name)
            return rows_of(name, parameters)

        monkeypatch.setattr(mail.store, "rows", counted)
        mail.deliver_later(note())
    assert asked == ["queue_message"]


def test_a_suppression_that_comes_after_the_check_still_refuses(database_url: str) -> None:
    """The statement itself looks, and then writes neither the mail nor its idempotency key."""
    with front_desk(database_url) as mail:
        mail.suppress(_entry("address", "zoe@mail.example"))
        frozen = freeze(
            note(idempotency_key="k"), tenant_id="default", adapter_ref="default", now=SOON
        )
        asked = json.dumps(["zoe@mail.example", "mail.example"])
        assert mail.store.queue_message({**frozen.parameters, "asked": asked}) == ()
    assert rows(database_url) == {"messages": 0, "deliveries": 0, "events": 0}
    with psycopg.connect(database_url) as owner:
        assert owner.execute("select count(*) from mailglass.event_keys").fetchone() == (0,)


def test_a_suppressed_mail_with_a_key_is_refused_and_leaves_the_key_free(database_url: str) -> None:
    """Once the refusal is gone, the same key queues the mail."""
    message = note(idempotency_key="k")
    with front_desk(database_url) as mail:
        mail.suppress(_entry("address", "zoe@mail.example", expires_at=SOON))
        with pytest.raises(SuppressedError):
            mail.deliver_later(message)
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("update mailglass.suppressions set expires_at = now()")
        assert mail.deliver_later(message).state.value == "queued"


def test_the_first_reason_is_told_where_there_are_two(database_url: str) -> None:
    """A suppressed recipient comes before a broken rule, as it does one after the other."""
    message = note(stream="bulk", text=HERE)
    with front_desk(database_url, rate_limit_per_domain=None, **BULK) as mail:
        with pytest.raises(StreamPolicyError):
            mail.deliver_later(message)
        mail.suppress(_entry("address", "zoe@mail.example"))
        with pytest.raises(SuppressedError):
            mail.deliver_later(message)


def test_events_tell_the_same_one_by_one_and_in_a_batch(database_url: str) -> None:
    """What the ledger says of a mail depends on no way in, refused or not."""
    with front_desk(database_url) as mail:
        mail.suppress(_entry("address", "gone@mail.example"))
        pair = [note(), note(to="gone@mail.example")]
        mail.deliver_many(pair)
        mail.deliver_later(pair[0])
        with pytest.raises(SuppressedError):
            mail.deliver_later(pair[1])
    with psycopg.connect(database_url) as owner:
        told = owner.execute(
            "select e.type, e.payload - 'sha256' - 'bytes', count(*) from mailglass.events e"
            " group by 1, 2 order by 1"
        ).fetchall()
    about = {"stream": "transactional", "mailable": None, "kind": "to"}
    assert told == [("queued", about, 2), ("suppressed", {**about, "reason": "address"}, 2)]
