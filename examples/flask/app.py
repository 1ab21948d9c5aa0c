# ruff: noqa: INP001 - a folder to copy, not a package
"""A shop in Flask: it queues a receipt for each order, hears what became of it, and tells.

Serve it, and run ``mailglass worker`` beside it::

    flask run
    curl --json '{"number": 7, "total": "11.50", "customer": "zoe@mail.example"}' localhost:5000/orders
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from mailglass import Mailable, MailglassError
from mailglass.contrib.flask import FlaskMailglass, mail_pages


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


desk = FlaskMailglass()


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    desk.init_app(app)
    # POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
    app.register_blueprint(mail_pages())
    app.add_url_rule("/orders", view_func=order, methods=["POST"])
    app.add_url_rule("/deliveries/<uuid:delivery_id>", view_func=history)
    return app


def order() -> ResponseReturnValue:
    """Queue the receipt; what is refused says why, and holds nothing that was sent."""
    try:
        receipt = OrderReceipt.model_validate(request.get_json())
    except ValidationError:
        abort(422)
    try:
        delivery = desk.mail.deliver_later(receipt)
    except MailglassError as error:
        return error.to_dict(), 422
    return {"delivery": str(delivery.id)}, 202


def history(delivery_id: UUID) -> ResponseReturnValue:
    """Return what happened to a receipt."""
    return [event.type.value for event in desk.mail.events(delivery_id)]
