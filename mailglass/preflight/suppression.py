"""The check that no recipient, of whatever kind, has a standing refusal."""

from __future__ import annotations

from typing import Final

from mailglass.errors import SuppressedError, SuppressedErrorType
from mailglass.message import Message
from mailglass.preflight import Context
from mailglass.settings import Settings
from mailglass.suppression import SuppressionScope, asked_values

_TYPE: Final = {
    SuppressionScope.ADDRESS: SuppressedErrorType.ADDRESS,
    SuppressionScope.DOMAIN: SuppressedErrorType.DOMAIN,
    SuppressionScope.ADDRESS_STREAM: SuppressedErrorType.ADDRESS_STREAM,
}


def no_recipient_is_suppressed(message: Message, context: Context) -> None:
    """Refuse the whole message when any recipient is suppressed, by address, domain or stream.

    With an erasure key the keyed hashes of erased addresses are asked for in the same statement.
    """
    values = asked_values(
        (address.key for _, address in message.recipients),
        tenant_id=context.tenant_id,
        erasure_key=erasure_key_of(context.settings),
    )
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


def erasure_key_of(settings: Settings) -> bytes | None:
    """Return the key of the hashes that stand for erased addresses; None where none is set."""
    secret = settings.erasure_key
    return None if secret is None else secret.get_secret_value().encode()
