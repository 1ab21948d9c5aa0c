"""Deliveries, with their histories, and suppressions in Django's admin: to read, never to change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from mailglass.address import parse_address
from mailglass.contrib.django.desk import get_mailglass, shares_database
from mailglass.contrib.django.models import Delivery, Suppression
from mailglass.errors import SendError


class ReadOnly(admin.ModelAdmin):  # type: ignore[misc]  # Django publishes no types
    """Shows rows to who may view them, as long as they are in Django's own database."""

    list_per_page = 50
    show_full_result_count = False
    ordering = ("-id",)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Refuse: mails come from the application."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: what a row says is folded from its events."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the ledger keeps what happened."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let those look who have the permission."""
        return bool(super().has_view_permission(request, obj)) and shares_database(get_mailglass())

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Hide what cannot be read."""
        return self.has_view_permission(request)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """Lists deliveries, the newest first; one shows its history."""

    list_display = (
        "created_at", "address", "mailable", "stream", "state", "outcome", "provider", "tenant_id",
    )  # fmt: skip
    list_filter = ("state", "outcome", "provider", "message__stream")
    list_select_related = ("message",)
    search_fields = ("address_key",)
    search_help_text = "An address, or the id of a delivery"
    fields = (
        "id", "address", "kind", "tenant_id", "mailable", "stream", "state", "outcome", "provider",
        "provider_message_id", "code", "created_at", "updated_at", "history",
    )  # fmt: skip
    readonly_fields = ("mailable", "stream", "history")

    def mailable(self, delivery: Delivery) -> str:
        """Return the class of the mail."""
        return str(delivery.message.mailable or "a plain message")

    def stream(self, delivery: Delivery) -> str:
        """Return the stream of the mail."""
        return str(delivery.message.stream)

    def history(self, delivery: Delivery) -> str:
        """Return every event, the first first."""
        events = get_mailglass().store.events_of_delivery(delivery.tenant_id, delivery.id)
        rows = (
            (one.seq, one.type.value, one.occurred_at.isoformat(" ", "seconds")) for one in events
        )
        return str(format_html_join("", "<div>{} {} {}</div>", rows))

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's own signature
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        """Find a whole address or a delivery's id by its index; a part of one finds nothing."""
        term = search_term.strip()
        if not term:
            return queryset, False
        known = _id_or_none(term)
        if known is not None:
            return queryset.filter(id=known), False
        try:
            return queryset.filter(address_key=parse_address(term).key), False
        except SendError:
            return queryset.none(), False


@admin.register(Suppression)
class SuppressionAdmin(ReadOnly):
    """Lists who gets no mail, and why; ``mailglass suppressions`` changes it and keeps the history."""

    list_display = ("value", "scope", "stream", "reason", "source", "expires_at", "tenant_id")
    list_filter = ("reason", "scope", "stream")
    search_fields = ("value__exact",)


def _id_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
