# ruff: noqa: INP001 - a folder to copy, not a package
"""A shop in Starlette: it queues a receipt for each order, hears what became of it, and tells.

Serve it, and run ``mailglass worker`` beside it::

    uvicorn app:app
    curl --json '{"number": 7, "total": "11.50", "customer": "zoe@mail.example"}' localhost:8000/orders
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailglass import Mailable, MailglassError
from mailglass.contrib.starlette import lifespan, mail_routes, mailglass_of


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


async def order(request: Request) -> JSONResponse:
    """Queue the receipt; what is refused says why, and holds nothing that was sent."""
    try:
        receipt = OrderReceipt.model_validate_json(await request.body())
        delivery = await mailglass_of(request).adeliver_later(receipt)
    except ValidationError:
        return JSONResponse({"error": "an order has a number, a total and a customer"}, 422)
    except MailglassError as error:
        return JSONResponse(error.to_dict(), 422)
    return JSONResponse({"delivery": str(delivery.id)}, 202)


async def history(request: Request) -> JSONResponse:
    """Return what happened to a receipt."""
    mail, delivery_id = mailglass_of(request), request.path_params["delivery_id"]
    events = await asyncio.to_thread(mail.events, delivery_id)
    return JSONResponse([event.type.value for event in events])


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/orders", order, methods=["POST"]),
        Route("/deliveries/{delivery_id:uuid}", history),
        # POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
        *mail_routes(),
    ],
)
