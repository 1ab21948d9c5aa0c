"""Finish: what a mail gets besides what its author wrote, right before its bytes are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from mailglass.compliance.dkim import sign
from mailglass.compliance.dkim_keys import DkimKey, DkimKeys
from mailglass.compliance.headers import Stamp, compliance_headers
from mailglass.compliance.tracking import TrackingLinks
from mailglass.compliance.tracking_rewrite import track
from mailglass.compliance.unsubscribe import PLACEHOLDER, UnsubscribeLinks
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.headers import refuse
from mailglass.message import Message
from mailglass.settings import DkimKeySetting, Settings
from mailglass.tokens import Keyring, TokenKey

_PEM_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing:
    """Adds headers, links and signatures; each part is left out where it is not set up."""

    unsubscribe: UnsubscribeLinks | None = None
    tracking: TrackingLinks | None = None
    dkim: DkimKeys | None = None
    feedback_sender: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings ask for.

        Raises:
            ConfigError: ``missing`` for an unsubscribe page or tracking without ``token_secrets``,
                ``invalid`` or ``conflicting`` for what is wrong with them or with a DKIM key.

        """
        leave = tracking = None
        if settings.unsubscribe_url is not None:
            leave = UnsubscribeLinks(
                url=settings.unsubscribe_url,
                keys=_keyring(settings, "unsubscribe_url"),
                mailto=settings.unsubscribe_mailto,
            )
        if settings.tracking_url is not None:
            others = () if leave is None else (leave.url,)
            tracking = TrackingLinks(
                url=settings.tracking_url,
                keys=_keyring(settings, "tracking_url"),
                apart_from=others,
                never=others,
            )
        keys = [_dkim_key(one) for one in settings.dkim_keys]
        return cls(
            unsubscribe=leave,
            tracking=tracking,
            dkim=DkimKeys(keys) if keys else None,
            feedback_sender=settings.feedback_sender,
        )

    def message(self, message: Message, delivery_ids: Sequence[UUID], now: datetime) -> Message:
        """Return the message with its own unsubscribe link, and tracked where it asks for that.

        Raises:
            SendError: ``serialization_failed`` when the body has a place for an unsubscribe link and
                there is none to give, or when a tracked mail has several recipients.

        """
        message = self._with_link(message, delivery_ids, now)
        if self.tracking is None or not message.tracking or message.html is None:
            return message
        if len(delivery_ids) != 1:
            raise refuse(
                "a tracked mail has one recipient, or nobody knows who opened it",
                code="tracked_recipients",
            )
        html = track(
            message.html,
            delivery_id=delivery_ids[0],
            links=self.tracking,
            tracking=message.tracking,
            now=now,
        )
        return message.replace(html=html)

    def headers(
        self, message: Message, tenant_id: str, delivery_ids: Sequence[UUID], now: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Return the headers that the mail gets besides its author's."""
        return compliance_headers(
            message,
            Stamp(
                tenant_id=tenant_id,
                delivery_id=delivery_ids[0],
                now=now,
                feedback_sender=self.feedback_sender,
                unsubscribe=self.unsubscribe,
                opted_in=message.unsubscribe,
            ),
        )

    def signed(self, payload: bytes, message: Message, tenant_id: str, now: datetime) -> bytes:
        """Return the bytes with the DKIM signatures of the From domain in front."""
        if self.dkim is None:
            return payload
        keys = self.dkim.of(tenant_id=tenant_id, domain=message.sender.domain)
        return sign(payload, keys, now=now)

    def _with_link(self, message: Message, delivery_ids: Sequence[UUID], now: datetime) -> Message:
        bodies = {"text": message.text, "html": message.html}
        asking = {name: body for name, body in bodies.items() if body and PLACEHOLDER in body}
        if not asking:
            return message
        if self.unsubscribe is None or len(delivery_ids) != 1:
            raise refuse(
                "the body has an unsubscribe link, which needs the setting unsubscribe_url and "
                "exactly one recipient",
                code="unsubscribe_link",
            )
        url = self.unsubscribe.url_of(delivery_ids[0], now=now)
        return message.replace(
            **{name: body.replace(PLACEHOLDER, url) for name, body in asking.items()}
        )


def _keyring(settings: Settings, key: str) -> Keyring:
    if not settings.token_secrets:
        raise ConfigError(
            f"{key} needs secrets that sign its links",
            type=ConfigErrorType.MISSING,
            key="token_secrets",
            hint="Set MAILGLASS_TOKEN_SECRETS to a JSON list, the newest first; "
            "`openssl rand -hex 32` makes one.",
        )
    return Keyring(
        [TokenKey(secret=one.get_secret_value().encode()) for one in settings.token_secrets]
    )


def _dkim_key(setting: DkimKeySetting) -> DkimKey:
    try:
        with setting.file.open("rb") as file:
            pem = file.read(_PEM_BYTES_MAX)
    except OSError as error:
        raise ConfigError(
            f"a DKIM key cannot be read: {error.strerror}",
            type=ConfigErrorType.INVALID,
            key="dkim_keys",
        ) from error
    return DkimKey.from_pem(
        pem, domain=setting.domain, selector=setting.selector, tenant_id=setting.tenant
    )
