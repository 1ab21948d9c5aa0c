"""What the shop answers."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from pydantic import ValidationError

from mailglass import MailglassError
from mailglass.contrib.django import get_mailglass, queue

from .mails import OrderReceipt
from .models import Order


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> JsonResponse:
    """Keep the order and queue its receipt, both or neither."""
    try:
        receipt = OrderReceipt.model_validate_json(request.body)
        with transaction.atomic():
            Order.objects.create(**receipt.model_dump())
            prepared = queue(receipt)
    except ValidationError:
        return JsonResponse({"error": "an order has a number, a total and a customer"}, status=422)
    except MailglassError as error:
        return JsonResponse(error.to_dict(), status=422)
    return JsonResponse({"delivery": str(prepared.delivery_ids[0])}, status=202)


@require_GET
def history(_request: HttpRequest, delivery_id: UUID) -> JsonResponse:
    """Return what happened to a receipt."""
    events = get_mailglass().events(delivery_id)
    return JsonResponse([event.type.value for event in events], safe=False)
