"""What a whole run writes down: no address, subject, body or secret outside the tables for it."""

from __future__ import annotations

import logging

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import MailglassError, Suppression, SuppressionReason, SuppressionScope, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode

CANARY = "canary7f3a"


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
