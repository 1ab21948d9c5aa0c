"""The mails that the demo sends; they are ordinary mailables, to be read as examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailglass.mailable import Mailable
from mailglass.message import Attachment, Stream

SHOP = "Shop Example <orders@shop.example>"
PHYSICAL_ADDRESS = "Shop Example Ltd, 1 Harbour Street, Dublin"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order; ``price`` is ready to be shown."""

    quantity: int
    name: str
    price: str


@dataclass(frozen=True, slots=True)
class Order:
    """A paid order."""

    number: int
    lines: tuple[Line, ...]
    total: str


EXAMPLE_ORDER = Order(
    number=1042,
    lines=(Line(2, "Café au lait", "7,00 €"), Line(1, "Brød & smør", "4,50 €")),
    total="11,50 €",
)


class Welcome(Mailable):
    """Greets a new customer."""

    sender = SHOP
    subject = "Welcome to the shop, {{ name }}"
    template = "welcome.html.jinja"

    address: str
    name: str
    url: str = "https://shop.example/account"

    def to(self) -> str:
        """Return the customer."""
        return self.address

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return one example."""
        return {"default": cls(address="zoe@mail.example", name="Zoë")}


class Receipt(Mailable):
    """Confirms a payment, with the lines as a file and the logo inline."""

    sender = SHOP
    subject = "Your order {{ order.number }}"
    template = "receipt.html.jinja"
    reply_to = "help@shop.example"

    address: str
    name: str
    order: Order

    def to(self) -> str:
        """Return the customer."""
        return self.address

    def attachments(self) -> Iterable[Attachment]:
        """Return the logo and the lines of the order."""
        rows = "\r\n".join(f"{one.quantity};{one.name};{one.price}" for one in self.order.lines)
        logo = Path(__file__).with_name("logo.png").read_bytes()
        return (
            Attachment(
                filename="logo.png", content=logo, content_type="image/png", content_id="logo"
            ),
            Attachment(
                filename=f"order-{self.order.number}.csv",
                content=rows.encode(),
                content_type="text/csv",
            ),
        )

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return one example."""
        return {"default": cls(address="zoe@mail.example", name="Zoë", order=EXAMPLE_ORDER)}


class StatusNotice(Mailable):
    """Tells a customer about planned work; operational, so it is rate limited."""

    stream = Stream.OPERATIONAL
    sender = "Shop Status <status@shop.example>"
    subject = "{{ headline }}"
    template = "notice.html.jinja"

    address: str
    headline: str = "Maintenance on Sunday"
    story: str = "The shop is closed from 2 to 3 in the morning."

    def to(self) -> str:
        """Return the customer."""
        return self.address


class Newsletter(Mailable):
    """Tells customers what is new; bulk, so it shows where the sender lives."""

    stream = Stream.BULK
    sender = "Shop News <news@shop.example>"
    subject = "{{ headline }}"
    template = "notice.html.jinja"

    address: str
    headline: str = "New coffee from Huila"
    story: str = "It arrived this week, and it is very good."

    def to(self) -> str:
        """Return the subscriber."""
        return self.address
