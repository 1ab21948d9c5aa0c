"""The check that no recipient, of whatever kind, has a standing refusal."""

from __future__ import annotations

from typing import Final

from mailglass.errors import SuppressedError, SuppressedErrorType
from mailglass.message import Message
from mailglass.preflight import Context
from mailglass.suppression import SuppressionScope

_TYPE: Final = {
    SuppressionScope.ADDRESS: SuppressedErrorType.ADDRESS,
    SuppressionScope.DOMAIN: SuppressedErrorType.DOMAIN,
    SuppressionScope.ADDRESS_STREAM: SuppressedErrorType.ADDRESS_STREAM,
}


def no_recipient_is_suppressed(message: Message, context: Context) -> None:
    """Refuse the whole message when any recipient is suppressed, by address, domain or stream."""
    addresses = [address for _, address in message.recipients]
    values = {address.key for address in addresses} | {address.domain_key for address in addresses}
    hits = context.suppressions(sorted(values), message.stream)
    if not hits:
        return
    hit = hits[0]
    raise SuppressedError(
        f"a recipient is suppressed ({hit.scope.value.replace('_', ' and ')}, {hit.reason.value})",
        type=_TYPE[hit.scope],
        tenant_id=context.tenant_id,
        stream=message.stream.value,
        reason=hit.reason.value,
        source=hit.source,
        expires_at=hit.expires_at.isoformat() if hit.expires_at else None,
    )
