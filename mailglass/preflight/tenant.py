"""The check that a tenant is stamped."""

from __future__ import annotations

from mailglass.errors import TenancyError, TenancyErrorType
from mailglass.message import Message
from mailglass.preflight import Context


def tenant_is_stamped(_message: Message, context: Context) -> None:
    """Refuse a message that belongs to nobody."""
    if not context.tenant_id:
        raise TenancyError("the message has no tenant", type=TenancyErrorType.UNSTAMPED)
