# ruff: noqa: INP001 - a folder to copy, not a package
"""A shop in FastAPI: it queues a receipt for each order, hears what became of it, and tells.

Serve it, and run ``mailglass worker`` beside it::

    uvicorn app:app
    curl --json '{"number": 7, "total": "11.50", "customer": "zoe@mail.example"}' localhost:8000/orders
"""

import asyncio
from collections.abc import Mapping
from uuid import UUID

from fastapi import FastAPI, HTTPException

from mailglass import Mailable, MailglassError
from mailglass.contrib.fastapi import Mail, lifespan, mail_router


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


app = FastAPI(lifespan=lifespan)
# POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
app.include_router(mail_router())


@app.post("/orders", status_code=202)
async def order(receipt: OrderReceipt, mail: Mail) -> dict[str, str]:
    """Queue the receipt; what is refused says why, and holds nothing that was sent."""
    try:
        delivery = await mail.adeliver_later(receipt)
    except MailglassError as error:
        raise HTTPException(422, error.to_dict()) from error
    return {"delivery": str(delivery.id)}


@app.get("/deliveries/{delivery_id}")
async def history(delivery_id: UUID, mail: Mail) -> list[str]:
    """Return what happened to a receipt."""
    events = await asyncio.to_thread(mail.events, delivery_id)
    return [event.type.value for event in events]
