"""Adapters: each hands an envelope to one provider and knows nothing of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from uuid import UUID

from mailglass.envelope import Accepted, Envelope
from mailglass.headers import refuse
from mailglass.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do, asked before any row exists.

    ``lease_s`` is the sum of the adapter's hard timeouts for one recipient and 30 s more: dispatch
    multiplies it by the recipients of a message and leases the message for that long.
    ``search_lag_s`` is how long the provider may take to show a mail that it has accepted, None where
    it cannot be asked; with it the adapter is ``Searchable``.
    """

    smtputf8: bool = False
    message_bytes_max: int | None = None
    idempotency_window_s: float | None = None
    lease_s: float = 90.0
    search_lag_s: float | None = None


def refuse_what_only_a_provider_has(name: str, message: Message) -> None:
    """Refuse what no bytes can carry: a provider's template, schedule or options.

    Raises:
        SendError: ``serialization_failed`` with code ``unsupported_feature``.

    """
    asked = {
        "stored templates": message.stored_template is not None,
        "a schedule of the provider's": message.provider_send_at is not None,
        "provider options": bool(message.provider_options),
    }
    lacking = next((what for what, is_asked in asked.items() if is_asked), None)
    if lacking is not None:
        raise refuse(f"{name} has no {lacking}", code="unsupported_feature")


@runtime_checkable
class Adapter(Protocol):
    """Hands a message to one provider.

    ``send`` answers with one verdict a recipient. It may raise a MailglassError that then holds for
    every recipient: SendError with its ``failure_class``, ConfigError for credentials and
    certificates, SuppressedError. Any other exception counts as *unknown*. It never retries.
    """

    @property
    def name(self) -> str:
        """Return the provider's name, as events and deliveries show it."""

    @property
    def capabilities(self) -> Capabilities:
        """Return what this provider can do."""

    def check(self, message: Message) -> None:
        """Raise SendError when this provider cannot carry what the message asks for."""

    def send(self, envelope: Envelope) -> Accepted:
        """Make one attempt for each recipient of the envelope."""

    def close(self) -> None:
        """Give connections back; the adapter may be used again."""


@runtime_checkable
class Searchable(Adapter, Protocol):
    """An adapter whose provider can be asked which mails it has accepted."""

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Return those of the deliveries that the provider has, with its own id where it tells it.

        Raises:
            MailglassError: the provider gave no certain answer.

        """
