"""Transactional email with an append-only event ledger in Postgres.

Define a ``Mailable``, make a ``Mailglass``, call ``deliver``. Importing this package reads no
setting, opens no connection and loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mailglass.address import Address, parse_address
    from mailglass.app import Mailglass, Prepared
    from mailglass.deliveries import Delivery, DispatchState, Outcome
    from mailglass.delivery.record import Report
    from mailglass.errors import (
        BatchFailed,
        ConfigError,
        EventLedgerImmutableError,
        FailureClass,
        MailglassError,
        PublishError,
        RateLimitError,
        SendError,
        SignatureError,
        StreamPolicyError,
        SuppressedError,
        TemplateError,
        TenancyError,
    )
    from mailglass.events import Event, EventType, RejectReason
    from mailglass.mailable import Mailable
    from mailglass.message import (
        Attachment,
        Message,
        OnUnknown,
        RecipientKind,
        StoredTemplate,
        Stream,
        Tracking,
    )
    from mailglass.settings import RateLimit, Settings, load_settings
    from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope
    from mailglass.tenancy import ContextTenancy, Tenancy, tenant

_HOME: Final = {
    "Address": "address",
    "Attachment": "message",
    "BatchFailed": "errors",
    "ConfigError": "errors",
    "ContextTenancy": "tenancy",
    "Delivery": "deliveries",
    "DispatchState": "deliveries",
    "Event": "events",
    "EventLedgerImmutableError": "errors",
    "EventType": "events",
    "FailureClass": "errors",
    "Mailable": "mailable",
    "Mailglass": "app",
    "MailglassError": "errors",
    "Message": "message",
    "OnUnknown": "message",
    "Outcome": "deliveries",
    "Prepared": "app",
    "PublishError": "errors",
    "RateLimit": "settings",
    "RateLimitError": "errors",
    "RecipientKind": "message",
    "RejectReason": "events",
    "Report": "delivery.record",
    "SendError": "errors",
    "Settings": "settings",
    "SignatureError": "errors",
    "StoredTemplate": "message",
    "Stream": "message",
    "StreamPolicyError": "errors",
    "SuppressedError": "errors",
    "Suppression": "suppression",
    "SuppressionReason": "suppression",
    "SuppressionScope": "suppression",
    "TemplateError": "errors",
    "Tenancy": "tenancy",
    "TenancyError": "errors",
    "Tracking": "message",
    "load_settings": "settings",
    "parse_address": "address",
    "tenant": "tenancy",
}
"""Where each public name lives; it is imported when it is first asked for."""

__all__ = [
    "Address",
    "Attachment",
    "BatchFailed",
    "ConfigError",
    "ContextTenancy",
    "Delivery",
    "DispatchState",
    "Event",
    "EventLedgerImmutableError",
    "EventType",
    "FailureClass",
    "Mailable",
    "Mailglass",
    "MailglassError",
    "Message",
    "OnUnknown",
    "Outcome",
    "Prepared",
    "PublishError",
    "RateLimit",
    "RateLimitError",
    "RecipientKind",
    "RejectReason",
    "Report",
    "SendError",
    "Settings",
    "SignatureError",
    "StoredTemplate",
    "Stream",
    "StreamPolicyError",
    "SuppressedError",
    "Suppression",
    "SuppressionReason",
    "SuppressionScope",
    "TemplateError",
    "Tenancy",
    "TenancyError",
    "Tracking",
    "load_settings",
    "parse_address",
    "tenant",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home at its first use."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"mailglass.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
