"""The story that ``mailglass demo`` tells, step by step, and what it counts on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Final
from uuid import UUID

from mailglass.app import Mailglass
from mailglass.deliveries import Delivery, DispatchState
from mailglass.demo.mailables import EXAMPLE_ORDER, Newsletter, Receipt, StatusNotice, Welcome
from mailglass.errors import EventLedgerImmutableError, MailglassError, SendError
from mailglass.ledger.sql import queries
from mailglass.mailable import Mailable
from mailglass.message import Message, Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope
from mailglass.timeline import timeline

_RETRIES_MAX: Final = 50
_RETRY_POLL_S: Final = 0.1
_SERVER_START_TIMEOUT_S: Final = 20.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Receiver:
    """The SMTP server's process: its port and, line by line, what it received."""

    port: int
    process: subprocess.Popen[str]
    received: list[dict[str, object]] = field(default_factory=list)

    def collect(self) -> list[dict[str, object]]:
        """End the server and return everything that it said it took."""
        rest, _nothing = self.process.communicate(timeout=_SERVER_START_TIMEOUT_S)
        self.received += [json.loads(line) for line in rest.splitlines()]
        return self.received


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Start the SMTP server in a process of its own; it ends with the block, or with us."""
    with subprocess.Popen(
        [sys.executable, "-m", "mailglass.demo.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Receiver(port=json.loads(_first_line(process.stdout))["port"], process=process)
        finally:
            process.terminate()


def _first_line(stream: IO[str] | None) -> str:
    line = stream.readline() if stream is not None else ""
    if not line:
        raise RuntimeError("the demo's SMTP server did not start; is the package aiosmtpd there?")
    return line


@dataclass(slots=True)
class Tally:
    """What happened, for the last line."""

    sent: list[Delivery] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    ledger_refusals: int = 0
    timelines: list[tuple[str, UUID]] = field(default_factory=list)


def tell(mail: Mailglass, say: Say) -> Tally:
    """Send what can be sent, have refused what must be, and try to change history."""
    tally = Tally()
    say("\n1. Mail that leaves")
    _send(mail, Welcome(address="zoe@mail.example", name="Zoë"), "welcome", say, tally)
    receipt = Receipt(address="zoe@mail.example", name="Zoë", order=EXAMPLE_ORDER)
    _send(mail, receipt, "receipt with an attachment and an inline image", say, tally)
    _send(mail, Newsletter(address="ann@mail.example"), "bulk newsletter", say, tally)
    _send(
        mail,
        Welcome(address="busy@slow.example", name="Bo"),
        "server answers 451 first",
        say,
        tally,
    )

    say("\n2. Mail that the server refuses for good")
    _send(
        mail, Welcome(address="refused@mail.example", name="Rex"), "server answers 550", say, tally
    )

    say("\n3. Mail that mailglass refuses")
    _refuse_suppressed(mail, say, tally)
    unnamed = Message(
        sender="news@shop.example",
        to="ann@mail.example",
        subject="Sale",
        text="Now.",
        stream=Stream.BULK,
    )
    _send(mail, unnamed, "bulk without a mailable", say, tally)
    for number in (1, 2, 3):
        _send(
            mail,
            StatusNotice(address=f"user{number}@flood.example"),
            f"notice {number}",
            say,
            tally,
        )

    say("\n4. Attempts to change history")
    _tamper(mail, say, tally)
    return tally


def _send(mail: Mailglass, what: Mailable | Message, label: str, say: Say, tally: Tally) -> None:
    try:
        delivery = mail.deliver(what)
        for _ in range(_RETRIES_MAX):
            if delivery.state is not DispatchState.QUEUED:
                break
            say(f"   {label}: {delivery.state} after {delivery.code}, trying again when it is due")
            time.sleep(_RETRY_POLL_S)
            delivery = mail.dispatch(delivery.id)
    except SendError as error:
        if error.delivery_id is None:
            raise
        tally.failed += 1
        tally.timelines.append((label, error.delivery_id))
        say(f"   {label}: {type(error).__name__}({error.type}) {error.message}")
    except MailglassError as error:
        tally.refused += 1
        say(f"   {label}: {type(error).__name__}({error.type}) {error.message}")
    else:
        if delivery.state is not DispatchState.SENT:
            raise RuntimeError(
                f"{label} is still {delivery.state} ({delivery.code}): is loopback up?"
            )
        tally.sent.append(delivery)
        tally.timelines.append((label, delivery.id))
        say(f"   {label}: {delivery.state} by {delivery.provider} ({delivery.provider_message_id})")


def _refuse_suppressed(mail: Mailglass, say: Say, tally: Tally) -> None:
    mail.suppress(
        Suppression(
            scope=SuppressionScope.ADDRESS,
            value="gone@mail.example",
            reason=SuppressionReason.HARD_BOUNCE,
            source="demo",
        )
    )
    _send(
        mail, Welcome(address="Gone@Mail.example", name="Gus"), "suppressed recipient", say, tally
    )
    refused = mail.store.list_deliveries(
        tenant_id="default", state=DispatchState.SUPPRESSED, limit=1
    )
    tally.timelines += [("suppressed recipient", one.id) for one in refused]


def _tamper(mail: Mailglass, say: Say, tally: Tally) -> None:
    for name, statement in queries("demo").items():
        try:
            with mail.store.connection() as connection:
                connection.execute(statement)
        except EventLedgerImmutableError as error:
            tally.ledger_refusals += 1
            say(f"   {name}: EventLedgerImmutableError({error.type}) SQLSTATE {error.pg_code}")
        else:
            raise RuntimeError(f"the ledger let {name} happen")


def show_timelines(mail: Mailglass, tally: Tally, say: Say) -> None:
    """Print every delivery's history from the ledger, and check its hash chain."""
    say("\n5. What the ledger says")
    for label, delivery_id in tally.timelines:
        say(f"   {label}, delivery {delivery_id}")
        for line in timeline(mail.events(delivery_id)):
            say(f"     {line}")
    broken = mail.store.broken_chains()
    if broken:
        raise RuntimeError(f"{len(broken)} events are not what was written")
    say("   every hash chain is whole")


def compare_bytes(tally: Tally, received: list[dict[str, object]], say: Say) -> None:
    """Check that the server received exactly the frozen bytes of each mail, and print them."""
    say("\n6. What the server received")
    digests = {str(one["sha256"]) for one in received}
    for one in received:
        say(
            f"   {one['recipient']}: {one['bytes']} bytes, sha256 {str(one['sha256'])[:16]}…, {one['subject']}"
        )
    for delivery in tally.sent:
        if delivery.payload_sha256.hex() not in digests:
            raise RuntimeError(f"the server never received the frozen bytes of {delivery.id}")
    say("   each equals its frozen payload byte for byte")
