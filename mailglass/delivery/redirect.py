"""Redirect: outside production mail goes to one address, or only to people who agreed to get it.

What a mail is, is decided by whom it was written for: its idempotency key, suppressions, rate
limits and stream rules see the original recipients, so that it is refused where production would
refuse it and a repetition is known whichever way the redirection stands. What is stored, and what
dispatch checks again, are the recipients who really get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final, Self, TypeVar
from uuid import UUID

from mailglass.address import Address, parse_address
from mailglass.delivery.finish import Finishing
from mailglass.delivery.freeze import Frozen, content_sha256
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SendErrorType,
)
from mailglass.message import Message, RecipientKind
from mailglass.settings import Environment, Settings

_Parsed = TypeVar("_Parsed")

HEADER: Final = "Mailglass-Original-To"
_HEADER_CHARS_MAX: Final = 2_000
"""Below the limit of a header's value in octets, whatever is in the addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where mail may go: ``to`` takes the place of everybody who is not in ``allowed``.

    ``allowed`` holds address keys and domains, None for everybody unless ``to`` is set. A domain
    stands for itself and not for those below it.
    """

    to: Address | None = None
    allowed: frozenset[str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings ask for.

        Raises:
            ConfigError: ``invalid`` for what is no address or domain; ``conflicting`` for
                ``deliver_to`` in production, where nobody would get their mail.

        """
        to = settings.deliver_to
        if to is not None and settings.environment is Environment.PRODUCTION:
            raise ConfigError(
                "in production all mail would go to one address",
                type=ConfigErrorType.CONFLICTING,
                key="deliver_to",
                hint="Remove MAILGLASS_DELIVER_TO, or set another MAILGLASS_ENVIRONMENT.",
            )
        allowed = settings.allowed_recipients
        return cls(
            to=None if to is None else _parsed("deliver_to", parse_address, to),
            allowed=None
            if allowed is None
            else frozenset(_parsed("allowed_recipients", _key, one) for one in allowed),
        )

    def of_message(self, message: Message) -> tuple[Message, tuple[Address, ...]]:
        """Return the message as it is to be sent, and the recipients who do not get it.

        The one address stands once, in the place of the first whom it replaces.

        Raises:
            SendError: ``preflight_rejected`` with code ``recipient_not_allowed``, where nobody
                stands in for a recipient who may not be mailed.

        """
        if self.to is None and self.allowed is None:
            return message, ()
        everyone = message.recipients
        replaced = tuple(one for _, one in everyone if not self._may_be_mailed(one.key))
        if not replaced:
            return message, ()
        if self.to is None:
            raise _not_allowed()
        kept: dict[str, tuple[RecipientKind, Address]] = {}
        for kind, one in everyone:
            goes_to = one if self._may_be_mailed(one.key) else self.to
            kept.setdefault(goes_to.key, (kind, goes_to))
        recipients = {
            name.value: [one for kind, one in kept.values() if kind is name]
            for name in RecipientKind
        }
        return _with_variables(message.replace(**recipients), replaced[0], self.to), replaced

    def refusal(self, recipients: Iterable[Mapping[str, object]]) -> SendError | None:
        """Return what keeps a frozen mail here: a recipient of it may not be mailed any more.

        Its bytes cannot be changed, so it stays queued until the settings let it leave.
        """
        if all(self._may_be_mailed(str(one["address_key"])) for one in recipients):
            return None
        return _not_allowed(FailureClass.CONFIGURATION)

    def frozen(
        self, message: Message, finishing: Finishing, freeze: Callable[[Message, Finishing], Frozen]
    ) -> Frozen:
        """Freeze a message as it is to be sent; its content stays that of the original."""
        sent, replaced = self.of_message(message)
        if not replaced:
            return freeze(message, finishing)
        frozen = freeze(sent, _Telling.about(finishing, replaced))
        is_keyed = frozen.idempotency_key is not None
        return replace(frozen, content_sha256=content_sha256(message) if is_keyed else None)

    def _may_be_mailed(self, key: str) -> bool:
        if self.to is not None and key == self.to.key:
            return True
        if self.allowed is None:
            return self.to is None
        return key in self.allowed or key.rpartition("@")[2] in self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling(Finishing):
    """Finishes a mail as before, and says in a header whom it was written for."""

    original_to: str

    @classmethod
    def about(cls, finishing: Finishing, replaced: Sequence[Address]) -> _Telling:
        kept = {one.name: getattr(finishing, one.name) for one in fields(finishing)}
        return cls(**kept, original_to=_listed(replaced))

    def headers(
        self, message: Message, tenant_id: str, delivery_ids: Sequence[UUID], now: datetime
    ) -> tuple[tuple[str, str], ...]:
        # By name: a class with slots is made anew, so that super() without names finds the old one.
        added = Finishing.headers(self, message, tenant_id, delivery_ids, now)
        return (*added, (HEADER, self.original_to))


def _listed(addresses: Sequence[Address]) -> str:
    shown: list[str] = []
    for place, one in enumerate(addresses):
        if len(", ".join([*shown, one.addr_spec])) > _HEADER_CHARS_MAX:
            return f"{', '.join(shown)} and {len(addresses) - place} more"
        shown.append(one.addr_spec)
    return ", ".join(shown)


def _with_variables(message: Message, first: Address, to: Address) -> Message:
    """Let whoever stands in see what the first one whom they replace would have seen."""
    stored = message.stored_template
    if stored is None or stored.per_recipient is None:
        return message
    kept = {address.key for _, address in message.recipients}
    own = {key: its for key, its in stored.per_recipient.items() if key in kept}
    own[to.key] = stored.own_variables(first)
    return message.replace(stored_template=replace(stored, per_recipient=own))


def _key(text: str) -> str:
    typed = text.strip()
    if "@" in typed.removeprefix("@"):
        return parse_address(typed).key
    return parse_address(f"postmaster@{typed.removeprefix('@')}").domain_key


def _parsed(key: str, parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    try:
        return parse(text)
    except SendError as error:
        raise ConfigError(
            f"the setting {key} is wrong: {error.message}",
            type=ConfigErrorType.INVALID,
            key=key,
            hint=f"Look at MAILGLASS_{key.upper()}.",
        ) from None


def _not_allowed(failure: FailureClass | None = None) -> SendError:
    return SendError(
        "a recipient is not among those who may get mail from here (allowed_recipients, deliver_to)",
        type=SendErrorType.PREFLIGHT_REJECTED,
        failure_class=failure,
        code="recipient_not_allowed",
    )
