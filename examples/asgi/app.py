# ruff: noqa: INP001 - a folder to copy, not a package
"""A shop without a framework: it queues a receipt for each order and tells what became of it.

Serve it with any ASGI server, and run ``mailglass worker`` beside it::

    uvicorn app:app
    curl -d '{"number": 7, "total": "11.50", "customer": "zoe@mail.example"}' localhost:8000/orders
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from pydantic import ValidationError

from mailglass import Mailable, Mailglass, MailglassError

BODY_BYTES_MAX: Final = 64 * 1024

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer: TypeAlias = tuple[int, object]


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


class Shop:
    """The application; its front desk is opened and closed with the server."""

    def __init__(self) -> None:
        self._mail: Mailglass | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._mail is not None:
            await _answer(send, await self._http(self._mail, scope, receive))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._mail = await asyncio.to_thread(Mailglass.from_env)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._mail.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, mail: Mailglass, scope: Scope, receive: Receive) -> Answer:
        match scope["method"], scope["path"].strip("/").split("/"):
            case "POST", ["orders"]:
                return await _order(mail, await _body(receive))
            case "GET", ["deliveries", delivery_id]:
                return await asyncio.to_thread(_history, mail, delivery_id)
            case _:
                return 404, {"error": "there is nothing here"}


async def _order(mail: Mailglass, body: bytes) -> Answer:
    """Queue the receipt; what is refused says why, and holds nothing that was sent."""
    try:
        receipt = OrderReceipt.model_validate_json(body)
    except ValidationError:
        return 422, {"error": "an order has a number, a total and a customer"}
    try:
        delivery = await mail.adeliver_later(receipt)
    except MailglassError as error:
        return 422, error.to_dict()
    return 202, {"delivery": str(delivery.id), "state": delivery.state.value}


def _history(mail: Mailglass, delivery_id: str) -> Answer:
    try:
        events = mail.events(UUID(delivery_id))
    except ValueError:
        return 404, {"error": "this is no delivery"}
    return 200, [event.type.value for event in events]


async def _body(receive: Receive) -> bytes:
    read, more = b"", True
    while more and len(read) <= BODY_BYTES_MAX:
        part = await receive()
        read += part.get("body", b"")
        more = part.get("more_body", False)
    return read[:BODY_BYTES_MAX]


async def _answer(send: Send, answer: Answer) -> None:
    status, told = answer
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


app = Shop()
