"""The mails of the benchmark, the adapter that sends them nowhere, and the front desk for both."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

from pathlib import Path

from mails_text import BODY, LINES, SENDER, SHEET, TEXT

from mailglass import Mailable, Mailglass, Message, Stream
from mailglass.adapters import Capabilities
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.ledger.database import DatabaseChoice
from mailglass.settings import load_settings


class Order(Mailable):
    """A small receipt, whose recipient has a number for a name."""

    stream = Stream.OPERATIONAL
    sender = SENDER
    subject = "Your order {{ number }}"
    template = "order.html.jinja"

    number: int
    lines: tuple[int, ...] = LINES

    def to(self) -> str:
        """Return a customer."""
        return f"customer{self.number}@mail{self.number % 97}.example"


def message(number: int) -> Message:
    """Return a finished small mail."""
    return Message(
        sender=SENDER,
        to=f"customer{number}@mail{number % 97}.example",
        subject=f"Your order {number}",
        text=f"Hello customer {number},\n\nyour order is on its way.\n",
        html=f"<p>Hello customer {number},</p><p>your order is on its way.</p>",
        stream=Stream.OPERATIONAL,
    )


class NullAdapter:
    """Accepts every mail at once and keeps none."""

    name = "null"
    capabilities = Capabilities(smtputf8=True)

    def check(self, message: Message) -> None:
        """Carry everything."""

    def send(self, envelope: Envelope) -> Accepted:
        """Accept it for each recipient."""
        return Accepted(
            provider=self.name,
            verdicts=tuple(
                Verdict(delivery_id=one.delivery_id, provider_message_id=one.delivery_id.hex)
                for one in envelope.recipients
            ),
        )

    def close(self) -> None:
        """Hold nothing."""


def front_desk(url: str, folder: Path | None = None) -> Mailglass:
    """Return a Mailglass as an application has it; no rate limit, since nothing is to wait."""
    templates = () if folder is None else (folder,)
    settings = load_settings(
        database_role="mailglass_app",
        templates=templates,
        rate_limit_per_domain=None,
        enable_real_network=True,  # the null adapter is nobody's that mailglass knows
    )
    choice = DatabaseChoice(url=url, source="benchmark", is_embedded=False)
    return Mailglass(settings, database=choice, adapters={"default": NullAdapter()})


def write_templates(folder: Path) -> None:
    """Write the template of ``Order``."""
    html = f"<html><head><style>{SHEET}</style></head><body>{BODY}</body></html>"
    (folder / "order.html.jinja").write_text(html, "utf-8")
    (folder / "order.txt.jinja").write_text(TEXT, "utf-8")
