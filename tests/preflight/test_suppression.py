"""The suppression check on its way: every recipient, every spelling, every stream, early and late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from front_desk import BULK, front_desk, note
from mailglass import (
    ConfigError,
    DispatchState,
    Mailglass,
    Stream,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
)
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.suppressions import Suppressions
from mailglass.preflight.suppression import erasure_key_of
from mailglass.settings import Settings, load_settings
from mailglass.worker import Worker

KEY = "0123456789abcdef0123456789abcdef"


@contextmanager
def _keyed_desk(database_url: str) -> Iterator[Mailglass]:
    settings = Settings(database_role="mailglass_app", erasure_key=SecretStr(KEY))
    choice = DatabaseChoice(url=database_url, source="test", is_embedded=False)
    with Mailglass(settings, database=choice, adapters={"default": FakeAdapter()}) as desk:
        yield desk


def _entry(**changes: Any) -> Suppression:
    fields: dict[str, Any] = {
        "scope": SuppressionScope.ADDRESS,
        "value": "zoe@xn--bcher-kva.example",
        "reason": SuppressionReason.MANUAL,
        "source": "test",
    }
    return Suppression(**(fields | changes))


@pytest.mark.parametrize("kind", ["to", "cc", "bcc"])
@pytest.mark.parametrize(
    "typed",
    [
        "zoe@xn--bcher-kva.example",
        "ZOE@b\u00fccher.example",
        "Zoe@B\u00dcCHER.Example",
        "Zo\u00eb <zoe@xn--BCHER-kva.example>",
    ],
)
def test_no_place_and_no_spelling_gets_through(database_url: str, kind: str, typed: str) -> None:
    """Row 70: To, Cc and Bcc, in capitals and as an international domain."""
    others: dict[str, Any] = {"to": "ann@mail.example"}
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        mail.suppress(_entry())
        with pytest.raises(SuppressedError):
            mail.deliver(note(**(others | {kind: typed})))
    assert fake.sent == ()


def test_a_tag_reaches_nobody_who_refused(database_url: str) -> None:
    """Row 70: zoe+news is zoe; but who refuses zoe+news may still get mail as zoe."""
    with front_desk(database_url) as mail:
        mail.suppress(_entry(value="zoe@mail.example"))
        with pytest.raises(SuppressedError):
            mail.deliver(note(to="Zoe+News@mail.example"))
        mail.suppress(_entry(value="ann+news@mail.example"))
        mail.deliver(note(to="ann@mail.example"))
        mail.deliver(note(to="+zoe@mail.example"))
        with pytest.raises(SuppressedError):
            mail.deliver(note(to="ann+news@mail.example"))


@pytest.mark.parametrize("refused", list(Stream))
@pytest.mark.parametrize("sent", list(Stream))
def test_an_unsubscribe_holds_on_its_stream_alone(
    database_url: str, refused: Stream, sent: Stream
) -> None:
    """Row 57: the matrix of streams and suppressions; a newsletter left blocks no reset."""
    fields: dict[str, Any] = {"stream": sent, "text": "1 Quay", "mailable": "app.News"}
    with front_desk(database_url, **(BULK | {"physical_address": "1 Quay"})) as mail:
        mail.suppress(
            _entry(
                value="zoe@mail.example", scope=SuppressionScope.ADDRESS_STREAM, stream=refused,
                reason=SuppressionReason.UNSUBSCRIBE,
            )
        )  # fmt: skip
        if sent is refused:
            with pytest.raises(SuppressedError):
                mail.deliver(note(**fields))
        else:
            mail.deliver(note(**fields))


def test_a_refusal_between_queueing_and_sending_holds(database_url: str) -> None:
    """Row 70: what is queued is looked at again, and no byte leaves."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        queued = mail.deliver_later(note())
        mail.suppress(_entry(value="zoe@mail.example"))
        mail.dispatch_due()
        found = mail.delivery(queued.id)
        assert found is not None
        assert found.state is DispatchState.SUPPRESSED
    assert fake.sent == ()


def test_an_erased_person_is_not_mailed_again(database_url: str) -> None:
    """Suppression outlives erasure, at intake and at dispatch, at this tenant alone."""
    with _keyed_desk(database_url) as mail:
        book = Suppressions(
            store=mail.store, tenant_id="default", erasure_key=erasure_key_of(mail.settings)
        )
        book.add(_entry(value="zoe@mail.example", reason=SuppressionReason.COMPLAINT))
        queued = mail.deliver_later(note(to="ann@mail.example"))
        book.erase("zoe@mail.example")
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(note(to="ZOE@mail.example"))
        assert caught.value.reason == "complaint"
        book.add(_entry(value="ann@mail.example"))
        book.erase("ann@mail.example")
        mail.dispatch_due()
        found = mail.delivery(queued.id)
        assert found is not None
        assert found.state is DispatchState.SUPPRESSED


@pytest.mark.parametrize(("key", "kind"), [(None, "missing"), ("k" * 16 + "other", "conflicting")])
def test_no_mail_leaves_where_the_key_of_erased_people_is_not_known(
    database_url: str, key: str | None, kind: str
) -> None:
    """Neither at intake nor at dispatch: whoever left would be mailed again."""
    with _keyed_desk(database_url) as mail:
        mail.suppress(_entry(value="zoe@mail.example"))
        queued = mail.deliver_later(note(to="ann@mail.example"))
        assert mail.people(by="ann").erase("zoe@mail.example").suppressions == 1
    fake = FakeAdapter()
    with front_desk(database_url, fake, erasure_key=key) as mail:
        for send in (mail.deliver, mail.deliver_later):
            with pytest.raises(ConfigError) as caught:
                send(note(to="zoe@mail.example"))
            assert (caught.value.type, caught.value.key) == (kind, "erasure_key")
        with pytest.raises(ConfigError):
            Worker(mail=mail, threads=1).run(threading.Event())
        mail.dispatch_due()
        found = mail.delivery(queued.id)
    assert found is not None
    assert found.state is DispatchState.QUEUED
    assert fake.sent == ()


def test_nobody_is_erased_with_a_second_key(database_url: str) -> None:
    """Two keys could not both be asked for."""
    with _keyed_desk(database_url) as mail:
        mail.suppress(_entry(value="zoe@mail.example"))
        mail.people(by="ann").erase("zoe@mail.example")
        mail.suppress(_entry(value="ann@mail.example"))
    with front_desk(database_url, erasure_key="another key of 16") as mail:
        with pytest.raises(ConfigError) as caught:
            mail.people(by="ann").erase("ann@mail.example")
        assert caught.value.type == "conflicting"
    with _keyed_desk(database_url) as mail, pytest.raises(SuppressedError):
        mail.deliver(note(to="ann@mail.example"))


def test_a_weak_erasure_key_is_found_at_boot() -> None:
    """It is no secret, so nothing is sent under it; and it is not printed."""
    with pytest.raises(ConfigError) as caught:
        load_settings(erasure_key="canary")
    assert caught.value.key == "erasure_key"
    assert "canary" not in f"{caught.value!r}"


def test_nothing_that_is_deleted_takes_a_suppression_with_it(database_url: str) -> None:
    """Row 102: no row of another table holds or drops a suppression."""
    with psycopg.connect(database_url) as owner:
        found = owner.execute(
            "select conname from pg_constraint where contype = 'f'"
            " and 'mailglass.suppressions'::regclass in (conrelid, confrelid)"
        ).fetchall()
    assert found == []
