"""deliver_many: results in order, refusals beside the others, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from front_desk import BULK, HERE, Greeting, count, front_desk, note, rows, write_templates
from mailglass import (
    BatchFailed,
    Delivery,
    DispatchState,
    Message,
    RateLimit,
    RateLimitError,
    SendError,
    Stream,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    TemplateError,
    TenancyError,
)
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery import batch
from mailglass.errors import BatchFailedType, Json, SendErrorType
from mailglass.ledger.store import Store
from mailglass.message import StoredTemplate


def _gone(value: str) -> Suppression:
    return Suppression(
        scope=SuppressionScope.ADDRESS,
        value=value,
        reason=SuppressionReason.MANUAL,
        source="test",
    )


def _states(deliveries: Sequence[Delivery]) -> list[str]:
    return [one.state.value for one in deliveries]


def test_every_mail_has_a_delivery_in_the_order_given(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several statements, each mail once, each with its history."""
    monkeypatch.setattr(batch, "STATEMENT_MAX", 7)
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        found = mail.deliver_many(
            note(subject=f"mail {n}", cc="ann@mail.example") for n in range(20)
        )
        assert _states(found) == ["queued"] * 20
        assert rows(database_url) == {"messages": 20, "deliveries": 40, "events": 40}
        while mail.dispatch_due():
            pass
        subjects = {one.envelope.message_id: one.message.subject for one in fake.sent}
        assert [subjects[one.message_id] for one in found] == [f"mail {n}" for n in range(20)]
        assert mail.store.broken_chains() == ()


def test_what_comes_back_is_what_is_stored(database_url: str) -> None:
    """One by one and in a batch, scheduled or not, refused or not: without reading it back."""
    later = datetime.now(UTC) + timedelta(hours=1)
    with front_desk(database_url) as mail:
        mail.suppress(_gone("gone@mail.example"))
        mails = [note(send_at=later), note(stream="operational"), note(to="gone@mail.example")]
        found = (mail.deliver_later(note(send_at=later)), *mail.deliver_many(mails))
        stored = [mail.delivery(one.id) for one in found]
    assert [replace(one, error=None) for one in found] == stored


def test_a_statement_that_fails_keeps_what_was_queued_before_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears of it; what was on its way beside it is queued too, and nothing after that."""
    monkeypatch.setattr(batch, "STATEMENT_MAX", 2)
    with front_desk(database_url) as mail:
        mail.deliver_later(note())
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute(
                "alter table mailglass.messages add check (payload_bytes < 20000) not valid"
            )
        large = note(text="x" * 20_000)
        mails = [note(), note(), large, note(), note(), note(), note(), note(), note(), note()]
        with pytest.raises(psycopg.errors.CheckViolation):
            mail.deliver_many(mails)
    assert rows(database_url)["messages"] == 5


class AtOnce:
    """Counts the statements that are on their way together, each of them slowed down a little."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self._now = self.most = self.statements = 0
        self._queue = Store.queue_messages
        monkeypatch.setattr(Store, "queue_messages", self._counted())

    def _counted(self) -> Callable[..., Any]:
        def queue_messages(store: Store, *asked: Any) -> Any:
            with self._lock:
                self._now += 1
                self.statements += 1
                self.most = max(self.most, self._now)
            try:
                time.sleep(0.05)
                return self._queue(store, *asked)
            finally:
                with self._lock:
                    self._now -= 1

        return queue_messages


@pytest.mark.parametrize(
    ("given", "most"), [({}, 2), ({"idempotency_key": "k"}, 1), ({"ordering_key": "o"}, 1)]
)
def test_two_statements_at_once_and_one_where_the_order_matters(
    database_url: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], most: int
) -> None:
    """While one waits for the disk another is worked on; keys of either kind are taken in order."""
    monkeypatch.setattr(batch, "STATEMENT_MAX", 5)
    seen = AtOnce(monkeypatch)
    with front_desk(database_url) as mail:
        mails = [note(subject=f"mail {n}") for n in range(60)]
        mails[30] = mails[30].replace(**given)
        found = mail.deliver_many(mails[25:] if most == 1 else mails)
        assert _states(found) == ["queued"] * len(found)
    assert seen.statements == len(found) / 5
    assert seen.most == 2
    alone = AtOnce(monkeypatch)
    with front_desk(database_url) as mail:
        many = [note(subject=str(n), **_numbered(given, n)) for n in range(30)]
        assert _states(mail.deliver_many(many)) == ["queued"] * 30
    assert alone.most == most


def test_large_mails_are_written_few_at_a_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement has a bound in bytes: Postgres refuses one of 1 GB, and stops one that takes long."""
    monkeypatch.setattr(batch, "_STATEMENT_BYTES_MAX", 10_000)
    seen = AtOnce(monkeypatch)
    with front_desk(database_url) as mail:
        found = mail.deliver_many([note(text="x " * 3_000) for _ in range(6)])
        assert _states(found) == ["queued"] * 6
    assert seen.statements == 3


def _numbered(given: dict[str, str], number: int) -> dict[str, Any]:
    """Return the same key for mail in order, and another one for each mail otherwise."""
    return {
        name: f"{one}-{number}" if name == "idempotency_key" else one for name, one in given.items()
    }


def test_mail_of_one_ordering_key_keeps_its_order_over_statements(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement has a time of its own, by which mail is due."""
    monkeypatch.setattr(batch, "STATEMENT_MAX", 3)
    with front_desk(database_url) as mail:
        found = mail.deliver_many([note(subject=str(n), ordering_key="o") for n in range(30)])
        with psycopg.connect(database_url) as owner:
            due = owner.execute("select id from mailglass.messages order by run_at, id").fetchall()
        assert [one for (one,) in due] == [one.message_id for one in found]


def test_one_by_one_and_many_write_the_same_rows(database_url: str) -> None:
    """M3: a batch is no second way to lose a field."""
    fake = FakeAdapter()
    full = note(
        cc="ann@mail.example", bcc="bob@mail.example", reply_to="help@shop.example", html="<p>x</p>",
        headers={"X-Order": "7"}, tags=["order"], metadata={"id": "7"}, authenticates=True,
        idempotency_key="k",
    )  # fmt: skip
    with front_desk(database_url, fake) as mail:
        mail.deliver_later(full.replace(idempotency_key="other"))
        mail.deliver_many([full])
        mail.dispatch_due()
        one, many = fake.sent
        assert one.message == many.message
        claims = [mail.store.list_deliveries(tenant_id="default", limit=10)]
    assert len(claims[0]) == 6
    import psycopg  # noqa: PLC0415 - only here

    with psycopg.connect(database_url) as owner:
        told = owner.execute(
            "select count(distinct (stream, authenticates, mail_from, settings, on_unknown, adapter_ref,"
            " expires_at - created_at < interval '16 minutes')) from mailglass.messages"
        ).fetchone()
    assert told == (1,)


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_refused_mail_holds_up_no_other(database_url: str, place: int) -> None:
    """Row 78: whichever place it has, the others are queued and it says why."""
    messages = [note(to=f"u{number}@mail.example") for number in range(7)]
    with front_desk(database_url) as mail:
        mail.suppress(_gone(f"u{place}@mail.example"))
        found = mail.deliver_many(messages)
        assert isinstance(found[place].error, SuppressedError)
        assert _states(found)[place] == "suppressed"
        assert _states(found).count("queued") == 6
        refused = mail.store.list_deliveries(tenant_id="default", state=DispatchState.SUPPRESSED)
        assert len(refused) == 1


def test_a_mail_that_does_not_render_is_refused_alone(database_url: str, tmp_path: object) -> None:
    """A typed error in its place, and no row for it."""
    folder = write_templates(tmp_path, greeting__html="<p>{{ name.first }}</p>")  # type: ignore[arg-type]  # a Path
    with front_desk(database_url, templates=(folder,)) as mail:
        found = mail.deliver_many([note(), Greeting(name="Zoë"), note()])
        assert _states(found) == ["queued", "failed", "queued"]
        assert isinstance(found[1].error, TemplateError)
        assert found[1].mailable == Greeting.qualified_name()
    assert count(database_url, "messages") == 2


class Broken(Greeting):
    """A mailable whose own method has a bug."""

    def to(self) -> str:
        """Look up a customer who is not there."""
        customers: dict[str, str] = {}
        return customers["zoe"]


def test_a_bug_in_one_mailable_loses_no_other(database_url: str, tmp_path: Path) -> None:
    """The batch goes on; the refusal names the kind of exception and keeps it as its cause."""
    write_templates(tmp_path, greeting__html="<p>Hello {{ name }}</p>")
    with front_desk(database_url, templates=(tmp_path,)) as mail:
        before, refused, after = mail.deliver_many([note(), Broken(), note()])
        assert _states([before, refused, after]) == ["queued", "failed", "queued"]
        assert isinstance(refused.error, SendError)
        assert refused.error.type is SendErrorType.RENDERING_FAILED
        assert refused.error.code == "KeyError"
        assert isinstance(refused.error.__cause__, KeyError)
        assert refused.id == UUID(int=0)
    assert count(database_url, "messages") == 2


@pytest.mark.parametrize(
    "kept", ["\U0001f600" * 2, r"\u0000", r"\\ud83d", "\x01\n\ufffe", "\ud83d\ude00"]
)
def test_what_a_message_may_hold_can_be_stored(database_url: str, kept: str) -> None:
    """Also what only looks like the escape of a character that cannot: the rest is refused before."""
    values: dict[str, Json] = {kept: [kept]}
    mails = [
        note(stored_template=StoredTemplate(id="t", variables=values)),
        note(provider_options=values),
    ]
    with front_desk(database_url, FakeAdapter()) as mail:
        assert _states(mail.deliver_many(mails)) == ["queued"] * 2


def test_a_suppressed_mail_of_a_batch_is_the_delivery_that_records_it(database_url: str) -> None:
    """Its id leads to its history."""
    with front_desk(database_url) as mail:
        mail.suppress(_gone("ann@mail.example"))
        _, refused = mail.deliver_many([note(), note(to="ann@mail.example")])
        assert refused.state is DispatchState.SUPPRESSED
        assert isinstance(refused.error, SuppressedError)
        assert [event.type.value for event in mail.events(refused.id)] == ["suppressed"]


class Spoken(Greeting):
    """A mailable that knows its recipient's language."""

    subject = "{{ _('Hello') }}"
    language: str | None = None

    def recipient_locale(self) -> str | None:
        """Return it."""
        return self.language


def test_two_recipients_of_a_batch_may_have_two_languages(
    database_url: str, tmp_path: Path
) -> None:
    """Each mail is frozen in its own, and the message says which."""
    folder = write_templates(tmp_path, greeting__html="<p>{{ _('Hello') }}</p>")
    words = folder / "de" / "LC_MESSAGES"
    words.mkdir(parents=True)
    (words / "messages.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "Hello"\nmsgstr "Grüß dich"\n',
        "utf-8",
    )
    fake = FakeAdapter()
    with front_desk(database_url, fake, templates=(folder,), catalogues=(folder,)) as mail:
        mail.deliver_many([Spoken(language="de"), Spoken()])
        mail.dispatch_due()
    told = {(one.message.locale, one.message.subject) for one in fake.sent}
    assert told == {("de", "Grüß dich"), (None, "Hello")}


def test_a_limit_that_runs_out_refuses_the_rest(database_url: str) -> None:
    """Tokens are taken in order."""
    with front_desk(database_url, rate_limit_per_domain=RateLimit(capacity=3, per_s=0.001)) as mail:
        found = mail.deliver_many([note(stream=Stream.OPERATIONAL)] * 5)
    assert _states(found) == ["queued"] * 3 + ["failed"] * 2
    assert all(isinstance(one.error, RateLimitError) for one in found[3:])


@pytest.mark.parametrize("stream", [Stream.OPERATIONAL, Stream.BULK])
def test_nobody_is_refused_for_many_recipients_at_one_domain(
    database_url: str, stream: Stream
) -> None:
    """Nobody set a limit, so a whole company is written to: none of it is lost."""
    mails = [
        note(to=f"u{n}@mail.example", stream=stream, mailable="app.News", text=f"News. {HERE}")
        for n in range(300)
    ]
    with front_desk(database_url, **BULK) as mail:
        assert _states(mail.deliver_many(mails)) == ["queued"] * 300
        assert mail.dispatch_due(messages_max=300) == 300


def test_one_key_in_a_batch_and_after_it_is_one_mail(database_url: str) -> None:
    """Row 77: also when both stand in the same statement."""
    with front_desk(database_url) as mail:
        twice = mail.deliver_many([note(idempotency_key="k"), note(idempotency_key="k")])
        again = mail.deliver_many([note(), note(idempotency_key="k")])
        other = mail.deliver_many([note(idempotency_key="k", subject="Another")])
        assert twice[0].id == twice[1].id == again[1].id
        assert isinstance(other[0].error, SendError)
        assert other[0].error.code == "idempotency_mismatch"
    assert count(database_url, "messages") == 2


@pytest.mark.parametrize(
    ("recipients", "kind", "failures"),
    [
        (["gone@mail.example", "ann@mail.example"], BatchFailedType.PARTIAL_FAILURE, 1),
        (["gone@mail.example"], BatchFailedType.ALL_FAILED, 1),
    ],
)
def test_a_caller_may_ask_for_an_exception(
    database_url: str, recipients: list[str], kind: BatchFailedType, failures: int
) -> None:
    """After the others were queued."""
    messages: list[Message] = [note(to=address) for address in recipients]
    with front_desk(database_url) as mail:
        mail.suppress(_gone("gone@mail.example"))
        with pytest.raises(BatchFailed) as caught:
            mail.deliver_many(messages, raise_on_failure=True)
        assert caught.value.type is kind
        assert len(caught.value.failures) == failures
        assert len(mail.store.list_deliveries(tenant_id="default")) == len(recipients)


def test_nothing_is_a_batch_too(database_url: str) -> None:
    """No mail, no row, no error."""
    with front_desk(database_url) as mail:
        assert mail.deliver_many([]) == ()
        assert mail.deliver_many([], raise_on_failure=True) == ()


def test_without_a_tenant_no_mail_is_taken(database_url: str) -> None:
    """Row 71."""
    with front_desk(database_url, default_tenant=None) as mail, pytest.raises(TenancyError):
        mail.deliver_many([note()])


def test_adeliver_many_is_deliver_many(database_url: str) -> None:
    """The async twin."""
    with front_desk(database_url) as mail:
        assert _states(asyncio.run(mail.adeliver_many([note(), note()]))) == ["queued", "queued"]
