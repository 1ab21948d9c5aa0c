"""The mails of the shop."""

from __future__ import annotations

from collections.abc import Mapping

from mailglass import Mailable


class OrderReceipt(Mailable):
    """Thanks for a paid order; the number makes it one mail, however often the form is sent."""

    sender = "Shop <orders@shop.example>"
    subject = "Your order {{ number }}"
    template = "receipt.html.jinja"

    number: int
    total: str
    customer: str

    def to(self) -> str:
        """Return the customer."""
        return self.customer

    def idempotency_key(self) -> str:
        """Return one key an order."""
        return f"order:{self.number}:receipt"

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return one example."""
        return {"default": cls(number=7, total="11.50", customer="zoe@mail.example")}
