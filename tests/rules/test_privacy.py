"""What a whole run writes down: no address, subject, body or secret outside the tables for it."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import MailglassError, Suppression, SuppressionReason, SuppressionScope, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode
from tests_paths import PACKAGE
from webhook_requests import bounced, hooked, request

CANARY = "canary7f3a"
PRIVATE: Final = frozenset(
    {
        *("address", "address_key", "addresses", "bcc", "body", "cc", "document", "email"),
        *("envelope_recipients", "envelope_sender", "headers", "mail_from", "metadata", "payload"),
        *("raw", "recipients", "reply_to", "sender", "subject", "to"),
    }
)
"""Fields that hold whom a mail is for or what it says."""
PLAIN: Final = ("str", "bytes", "Mapping", "Json", "Any", "Row")
"""Types that show what they hold; an ``Address`` or a ``HeaderMap`` does not."""
HARMLESS: Final = {
    "Alteration.payload": "of an event, and the ledger holds no address",
    "Event.payload": "the ledger holds no address",
    "Move.payload": "of an event",
    "Resend.payload": "of an event",
    "Answer.body": "what we answer, which is the same for everybody",
    "Answer.headers": "what we answer",
    "Answered.headers": "what an endpoint of ours answered to a probe",
    "Posted.body": "a probe of our own making",
    "Construct.body": "the source of a template",
    "Patient.addresses": "of hosts",
    "Traffic.recipients": "counts by domain",
}


def test_nothing_leaks_into_errors_logs_or_the_ledger(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 52, 82: every outcome of a send, with marked values everywhere."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    fake = FakeAdapter()
    message = note(
        sender=f"{CANARY} <{CANARY}@shop.example>",
        to=f"{CANARY} <{CANARY}@mail.example>",
        bcc=f"b{CANARY}@mail.example",
        subject=CANARY,
        text=CANARY,
        html=f"<p>{CANARY}</p>",
        headers={"X-Secret": CANARY},
        metadata={"k": CANARY},
    )
    with front_desk(database_url, fake) as mail:
        for mode in FakeMode:
            fake.next(mode, retry_after_s=0.1)
            try:
                delivery = mail.deliver(message)
            except (MailglassError, BaseExceptionGroup) as error:
                told.append(f"{error!r} {error} {error.to_dict()}")  # type: ignore[union-attr]  # ours
            except BaseException as error:  # noqa: BLE001 - the fake's crash is one on purpose
                told.append(f"{error!r}")
            else:
                told.append(repr(delivery))
            with psycopg.connect(database_url) as owner:
                owner.execute("delete from mailglass.suppressions")
        mail.suppress(
            Suppression(
                scope=SuppressionScope.ADDRESS, value=f"{CANARY}@mail.example",
                reason=SuppressionReason.MANUAL, source="test",
            )
        )  # fmt: skip
        with pytest.raises(MailglassError) as caught:
            mail.deliver(message)
        told.append(f"{caught.value!r}")
        with tenant("other"):
            told.append(repr(mail.store.list_deliveries(tenant_id=None)))
    with psycopg.connect(database_url) as owner:
        told += [str(row) for row in owner.execute("select e::text from mailglass.events e")]
    told.append(caplog.text)
    assert len(told) > len(FakeMode)
    assert CANARY not in "\n".join(told)


def _shown(source: str) -> Iterator[str]:
    """Yield every private field of a plain type that the repr of a dataclass shows."""
    for one in ast.walk(ast.parse(source)):
        if not isinstance(one, ast.ClassDef) or _shows_nothing(one):
            continue
        for field in one.body:
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and field.target.id in PRIVATE
                and any(word in ast.unparse(field.annotation) for word in PLAIN)
                and "repr=False" not in (ast.unparse(field.value) if field.value else "")
            ):
                yield f"{one.name}.{field.target.id}"


def _shows_nothing(one: ast.ClassDef) -> bool:
    marks = [ast.unparse(mark) for mark in one.decorator_list]
    has_own = any(
        isinstance(each, ast.FunctionDef) and each.name == "__repr__" for each in one.body
    )
    return has_own or not any("dataclass" in mark and "repr=False" not in mark for mark in marks)


def test_no_value_shows_whom_a_mail_is_for_or_what_it_says() -> None:
    """Rows 52, 82: values stand in tracebacks and in what error trackers collect."""
    found = {name for path in PACKAGE.rglob("*.py") for name in _shown(path.read_text("utf-8"))}
    assert found == set(HARMLESS)


def test_a_planted_address_in_a_value_is_found() -> None:
    """The test above can fail."""
    planted = "@dataclass(frozen=True)\nclass A:\n    address: str\n    to: str = field(repr=False)"
    assert list(_shown(planted)) == ["A.address"]


def test_what_is_kept_of_a_webhook_and_a_claim_do_not_show_whom_they_name(
    database_url: str,
) -> None:
    """As they really are: with a report and a mail in them."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(bounced(None)))
        (kept,) = mail.webhooks.webhooks.receipts()
        told = (
            mail.webhooks.webhooks.receipt(kept.id),
            mail.webhooks.webhooks.orphans(None, None),
            mail.dispatcher.claim("default", mail.deliver_later(note()).message_id),
        )
    assert all(told)
    assert "zoe@mail.example" not in repr(told)
    assert "Your order" not in repr(told)
