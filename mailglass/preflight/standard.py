"""The checks that every mail meets, in their order."""

from __future__ import annotations

from typing import Final

from mailglass.preflight import Check
from mailglass.preflight.attachments import attachments_are_allowed
from mailglass.preflight.rate_limit import rate_is_within_limits
from mailglass.preflight.stream_policy import stream_rules_are_kept
from mailglass.preflight.suppression import no_recipient_is_suppressed
from mailglass.preflight.tenant import tenant_is_stamped
from mailglass.preflight.tracking_guard import no_tracking_on_auth_mail

CHECKS: Final[tuple[Check, ...]] = (
    tenant_is_stamped,
    no_tracking_on_auth_mail,
    attachments_are_allowed,
    no_recipient_is_suppressed,
    rate_is_within_limits,
    stream_rules_are_kept,
)
"""Give ``Mailglass(checks=(*CHECKS, yours))`` to add one."""
