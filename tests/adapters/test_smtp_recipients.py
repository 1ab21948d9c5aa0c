"""Several recipients in one envelope, and what one mail leaves behind for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from mailglass.adapters.smtp import SmtpAdapter
from mailglass.adapters.smtp_replies import Reply
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from tests.adapters.envelopes import an_envelope
from tests.adapters.scripted_smtp import (
    ACCEPTED,
    GREETING,
    HEALTHY,
    TRANSACTION,
    Do,
    ScriptedSmtp,
    Wait,
    broken_at,
    reply,
)

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]

N, U = FailureClass.NOT_SENT, FailureClass.UNKNOWN
S, C = FailureClass.SUPPRESSED, FailureClass.CONFIGURATION


def one_verdict(adapter: SmtpAdapter, **given: bytes) -> Verdict:
    """Send to one recipient and return its verdict."""
    (verdict,) = adapter.send(an_envelope(**given)).verdicts  # type: ignore[arg-type]  # payload
    return verdict


def test_a_late_goodbye_behind_the_250_costs_only_the_connection(
    smtp: Smtp, scripted: Scripted
) -> None:
    """Some servers say 421 after their last message; the mail is sent, the next goes elsewhere."""
    server = scripted(
        [*GREETING, *TRANSACTION[:3], (Wait.BODY, ACCEPTED + reply(421)), (Wait.NOTHING, Do.HANG)],
        [*GREETING, (Wait.NOTHING, Do.SERVE)],
    )
    accepted = smtp(server.port).send(an_envelope("ada@recipient.test", "bob@recipient.test"))
    assert [verdict.is_accepted for verdict in accepted.verdicts] == [True, True]
    assert server.connections == 2


def test_each_recipient_has_its_own_verdict(smtp: Smtp, scripted: Scripted) -> None:
    """One transaction a recipient: 250, 550 and 451 in one envelope, over one connection."""

    def rcpt(answer: bytes) -> list[object]:
        return [HEALTHY["mail"], (b"RCPT", answer), (b"RSET", reply(250))]

    server = scripted(
        [
            *GREETING,
            *TRANSACTION,
            *rcpt(reply(550, "5.1.1")),
            *rcpt(reply(451, "4.7.1")),
            *TRANSACTION,
            (Wait.NOTHING, Do.SERVE),
        ]
    )
    envelope = an_envelope(*(f"{name}@recipient.test" for name in ("ada", "bob", "cyd", "dan")))
    accepted = smtp(server.port).send(envelope)
    assert [verdict.failure_class for verdict in accepted.verdicts] == [None, S, N, None]
    assert [verdict.code for verdict in accepted.verdicts] == [
        "250 2.0.0",
        "550 5.1.1",
        "451 4.7.1",
        "250 2.0.0",
    ]
    assert [v.delivery_id for v in accepted.verdicts] == [
        recipient.delivery_id for recipient in envelope.recipients
    ]
    assert server.connections == 1
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("phase", "end", "expected"),
    [("rcpt", Do.CLOSE, N), ("rcpt", reply(421), N), ("dot", Do.CLOSE, U), ("dot", b"?\r\n", U)],
)
def test_recipients_after_a_doubtful_one_go_over_a_new_connection(
    smtp: Smtp, scripted: Scripted, phase: str, end: bytes | Do, expected: FailureClass
) -> None:
    """The doubtful one is tried once; the connection is never used again."""
    server = scripted(broken_at(phase, end), [*GREETING, (Wait.NOTHING, Do.SERVE)])
    accepted = smtp(server.port).send(
        an_envelope("ada@recipient.test", "bob@recipient.test", "cyd@recipient.test")
    )
    assert [verdict.failure_class for verdict in accepted.verdicts] == [expected, None, None]
    assert server.connections == 2
    assert sum(b"ada@" in line for line in server.commands) == 1


def test_recipients_without_a_new_connection_are_not_sent(smtp: Smtp, scripted: Scripted) -> None:
    """Verdicts already known are kept, and the server is not asked once for each of the rest."""
    server = scripted(broken_at("dot", Do.CLOSE), broken_at("banner", reply(421)))
    accepted = smtp(server.port).send(
        an_envelope("ada@recipient.test", "bob@recipient.test", "cyd@recipient.test")
    )
    assert [verdict.failure_class for verdict in accepted.verdicts] == [U, N, N]
    assert [verdict.code for verdict in accepted.verdicts][1:] == ["421", "421"]
    assert server.connections == 2


def test_an_account_refusal_after_a_sent_mail_spares_its_verdict(
    smtp: Smtp, scripted: Scripted
) -> None:
    """Who has mail keeps it; the rest is *configuration*, without being tried."""
    server = scripted(
        [
            *GREETING,
            *TRANSACTION,
            (b"MAIL", reply(530, "5.7.0")),
            (Wait.NOTHING, Do.SERVE),
        ]
    )
    accepted = smtp(server.port).send(
        an_envelope("ada@recipient.test", "bob@recipient.test", "cyd@recipient.test")
    )
    assert [verdict.failure_class for verdict in accepted.verdicts] == [None, C, C]
    assert server.connections == 1


def test_a_stale_pooled_connection_costs_no_mail(smtp: Smtp, scripted: Scripted) -> None:
    """post_office #118: NOOP before MAIL finds the dead one, and a new one serves."""
    server = scripted([*GREETING, *TRANSACTION], [*GREETING, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port)
    assert one_verdict(adapter).is_accepted
    server.settle()
    assert one_verdict(adapter).is_accepted
    assert server.connections == 2
    assert len(server.bodies) == 2


def test_a_crash_in_mid_transaction_leaves_no_connection_behind(
    smtp: Smtp, scripted: Scripted
) -> None:
    """A time limit or shutdown that is raised in the thread must not poison the pool."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port, connections_max=1)
    session = adapter._pool.take()
    session._send_body = _interrupt  # type: ignore[method-assign]  # as dramatiq does
    adapter._pool.put_back(session)
    with pytest.raises(KeyboardInterrupt):
        adapter.send(an_envelope())
    assert one_verdict(adapter).is_accepted
    assert server.connections == 2


def _interrupt(stuffed: bytes) -> Reply | None:
    raise KeyboardInterrupt
