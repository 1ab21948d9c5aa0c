"""From a message to the bytes in a real SMTP server, through the whole of mailglass."""

from __future__ import annotations

import pytest

from front_desk import front_desk, note
from mailglass import Attachment, BatchFailed, DispatchState, SendError
from mailglass.adapters.smtp import SmtpAdapter, SmtpSecurity
from mailglass.demo.story import receiver


def test_the_server_receives_the_frozen_bytes_once_for_each_recipient(database_url: str) -> None:
    """Byte for byte, leading dots and long lines included; one transaction a recipient."""
    message = note(
        subject="Grüße 🌍 " + "x" * 200,
        text=".\r\n..\n.leading\nFrom here\n" + "y" * 1500,
        html="<p>.</p>\n" + "<b>ü</b>" * 300,
        cc="Åsa <asa@mail.example>",
        bcc="secret@mail.example",
        attachments=[
            Attachment(filename="räksmörgås.bin", content=bytes(range(256)) * 40),
            Attachment(
                filename="l.png",
                content=b"\x89PNG\r\n\x1a\n",
                content_type="image/png",
                content_id="l",
            ),
        ],
    )
    with receiver() as server:
        adapter = SmtpAdapter(host="127.0.0.1", port=server.port, security=SmtpSecurity.NONE)
        with front_desk(database_url, adapter) as mail:
            delivery = mail.deliver(message)
            everyone = mail.deliveries_of(delivery.message_id)
            stored = mail.store.frozen_payload("default", delivery.message_id)
        received = server.collect()
    assert {one.state for one in everyone} == {DispatchState.SENT}
    assert [one["recipient"] for one in received] == [
        "zoe@mail.example", "asa@mail.example", "secret@mail.example",
    ]  # fmt: skip
    assert {one["sha256"] for one in received} == {delivery.payload_sha256.hex()}
    assert {one["bytes"] for one in received} == {delivery.payload_bytes}
    assert stored is not None
    assert b"secret@" not in (stored[0] or b"")
    assert received[0]["subject"] == message.subject


def test_one_refused_recipient_does_not_hold_up_the_others(database_url: str) -> None:
    """Row 78, 51: each recipient has its own answer, and only the one still waiting is tried again."""
    with receiver() as server:
        adapter = SmtpAdapter(host="127.0.0.1", port=server.port, security=SmtpSecurity.NONE)
        with front_desk(database_url, adapter) as mail:
            with pytest.raises(BatchFailed) as caught:
                mail.deliver(
                    note(to="busy@mail.example", cc=["refused@mail.example", "ann@mail.example"])
                )
            (failure,) = caught.value.failures
            assert isinstance(failure, SendError)
            assert failure.delivery_id is not None
            refused = mail.delivery(failure.delivery_id)
            assert refused is not None
            first = mail.deliveries_of(refused.message_id)[0]
            assert first.state is DispatchState.QUEUED
            states = [one.state.value for one in mail.deliveries_of(first.message_id)]
            assert states == ["queued", "failed", "sent"]
            assert mail.dispatch_due() == 1
            told = [
                [event.type.value for event in mail.events(one.id)]
                for one in mail.deliveries_of(first.message_id)
            ]
            assert mail.store.broken_chains() == ()
        received = server.collect()
    assert told == [
        ["queued", "attempt_started", "attempt_failed", "attempt_started", "dispatched"],
        ["queued", "attempt_started", "failed"],
        ["queued", "attempt_started", "dispatched"],
    ]
    assert sorted(str(one["recipient"]) for one in received) == [
        "ann@mail.example",
        "busy@mail.example",
    ]


def test_a_server_that_is_not_there_keeps_the_mail(database_url: str) -> None:
    """Connection refused is no reason to lose a receipt, and the mail leaves when it is back."""
    with receiver() as server:
        gone = SmtpAdapter(host="127.0.0.1", port=1, security=SmtpSecurity.NONE)
        with front_desk(database_url, gone) as mail:
            delivery = mail.deliver(note())
            assert delivery.state is DispatchState.QUEUED
            assert isinstance(delivery.error, SendError)
            assert delivery.error.retryable
        back = SmtpAdapter(host="127.0.0.1", port=server.port, security=SmtpSecurity.NONE)
        with front_desk(database_url, back) as mail:
            assert mail.dispatch(delivery.id).state is DispatchState.SENT
        assert len(server.collect()) == 1


@pytest.mark.parametrize("local", ["jürgen", "用户"])
def test_letters_beyond_ascii_before_the_at_need_smtputf8(database_url: str, local: str) -> None:
    """RFC 6531: the demo's server offers it."""
    with receiver() as server:
        adapter = SmtpAdapter(host="127.0.0.1", port=server.port, security=SmtpSecurity.NONE)
        with front_desk(database_url, adapter) as mail:
            assert mail.deliver(note(to=f"{local}@mail.example")).state is DispatchState.SENT
        (one,) = server.collect()
    assert one["recipient"] == f"{local}@mail.example"
