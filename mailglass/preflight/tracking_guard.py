"""The check that mail which lets somebody in is never tracked."""

from __future__ import annotations

import re
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.message import Message
from mailglass.preflight import Context

_WORD_ENDS: Final = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=[0-9])|(?<=[A-Z])(?=[A-Z][a-z])"
)
_AUTHENTICATES: Final = re.compile(
    r"(?:^|_)(?:magic_?link|(?:password|account)_?(?:reset|recovery)|forgot(?:ten)?_?password|reset_?password"
    r"|reset_?token|verify(?:_?e?_?mail|_?account|_?address)?|verification|(?:confirm|activate)_?account"
    r"|account_?activation|confirm_?e?_?mail|(?:two|multi)_?factor|2_?fa|two_?fa|mfa|one_?time|otp"
    r"|(?:log|sign)_?in(?:_?(?:link|code|attempt))?|(?:pass|access|security|auth|login)_?code)(?:_|$)",
    re.IGNORECASE,
)


def is_auth_mail(mailable: str | None, *, authenticates: bool) -> bool:
    """Tell whether a mail lets somebody in, by its own word or by its mailable's name."""
    last = (mailable or "").rpartition(".")[2]
    return authenticates or _AUTHENTICATES.search(_WORD_ENDS.sub("_", last)) is not None


def no_tracking_on_auth_mail(message: Message, context: Context) -> None:
    """Refuse tracking on auth mail, and tracking without a host of its own.

    A rewritten link would put the secret into our logs, and a scanner that follows it would use
    it up.
    """
    if not message.tracking:
        return
    if is_auth_mail(message.mailable, authenticates=message.authenticates):
        raise ConfigError(
            "mail that authenticates somebody cannot be tracked",
            type=ConfigErrorType.TRACKING_ON_AUTH_STREAM,
            key="tracking",
            hint="Remove tracking from this mailable.",
        )
    if context.settings.tracking_url is None:
        raise ConfigError(
            "tracking needs a host of its own",
            type=ConfigErrorType.TRACKING_HOST_MISSING,
            key="tracking_url",
            hint="Set MAILGLASS_TRACKING_URL, or remove tracking from this mailable.",
        )
