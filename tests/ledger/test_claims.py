"""A claim: one statement on a connection of its own, whatever else waits in the queue."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import FailureClass
from routed import sql

HELD = 20_000
BATCH = 100


def test_a_claim_is_one_statement(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postal #198: taking and reading are one step, so no proxy can send the two to two servers."""
    run: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: psycopg.Connection[Any], asked: Any, *args: Any, **more: Any) -> Any:
        run.append(asked.decode() if isinstance(asked, bytes) else str(asked))
        return execute(self, asked, *args, **more)

    with front_desk(database_url, enqueue=lambda _ids: None) as mail:
        for _ in range(3):
            mail.deliver_later(note())
        mail.store.claim_due(Stream.TRANSACTIONAL, limit=1, lease_s=60.0)
        monkeypatch.setattr(psycopg.Connection, "execute", noted)
        assert len(mail.store.claim_due(Stream.TRANSACTIONAL, limit=2, lease_s=60.0)) == 2
    (statement,) = run
    assert "returning" in statement


@pytest.mark.tampers  # what is held has no deliveries: only the queue is looked at
def test_held_mail_keeps_no_other_from_being_claimed(database_url: str) -> None:
    """River #1318: twenty thousand rows that nobody may take, all of them older, and one that is due."""
    with front_desk(database_url) as mail:
        mail.deliver_later(note())
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute(
                "insert into mailglass.messages (id, tenant_id, stream, mail_from, payload_sha256,"
                " payload_bytes, rfc_message_id, state, held, run_at, expires_at, on_unknown, adapter_ref)"
                " select gen_random_uuid(), tenant_id, stream, mail_from, payload_sha256, payload_bytes,"
                " rfc_message_id || n, 'queued', true, now() - interval '1 hour', expires_at, on_unknown,"
                " adapter_ref from mailglass.messages, generate_series(1, %s) n",
                [HELD],
            )
        assert mail.dispatch_due() == 1
        (sent,) = mail.store.list_deliveries(tenant_id=None)
    assert sent.state is DispatchState.SENT


class _TimingOut(FakeAdapter):
    """A fake of whose answers the fiftieth does not come, though the mail was taken."""

    def send(self, envelope: Envelope) -> Accepted:
        """Take it, and lose one answer."""
        accepted = super().send(envelope)
        if len(self.sent) != BATCH // 2:
            return accepted
        (recipient,) = envelope.recipients
        lost = Verdict(delivery_id=recipient.delivery_id, failure_class=FailureClass.UNKNOWN)
        return Accepted(provider=accepted.provider, verdicts=(lost,))


def test_a_timeout_in_a_batch_repeats_no_mail_of_it(database_url: str) -> None:
    """Post_office #479: each mail's status is its own, so what was accepted is never sent again."""
    adapter = _TimingOut()
    with front_desk(database_url, adapter, rate_limit_per_domain=None) as mail:
        mail.deliver_many([note() for _ in range(BATCH)])
        for _ in range(3):
            mail.dispatch_due()
            mail.sweep()
        states = [one.state for one in mail.store.list_deliveries(tenant_id=None, limit=BATCH)]
    assert len(adapter.sent) == BATCH
    assert states.count(DispatchState.SENT) == BATCH - 1
    assert states.count(DispatchState.UNKNOWN) == 1


def test_deliver_gets_over_a_session_that_was_cut_while_nothing_was_asked(
    database_url: str,
) -> None:
    """Postgres was restarted overnight: it can be reached again, and the mail leaves."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
        cut = sql(database_url, "select pg_terminate_backend(l.pid, 5000) from pg_locks l"
            " where l.locktype = 'advisory' and l.database ="
            " (select oid from pg_database where datname = current_database())")  # fmt: skip
        assert cut == [(True,)]
        assert mail.deliver(note()).state is DispatchState.SENT
