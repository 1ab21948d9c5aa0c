"""Intake: a finished message is checked, frozen and queued, alone or with many others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.clock import Clock
from mailglass.delivery.batch import Item, queue_all, suppressions_of
from mailglass.delivery.freeze import Frozen, freeze
from mailglass.errors import MailglassError, SendError, SendErrorType, SuppressedError
from mailglass.headers import refuse
from mailglass.ledger.store import Store
from mailglass.message import Message
from mailglass.preflight import Check, Context, Phase, run
from mailglass.telemetry import Signal, report


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A message that is in the queue: its first delivery, and whether this call put it there."""

    message_id: UUID
    delivery_id: UUID
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes messages in; holds no state of its own, so threads may share it."""

    store: Store
    checks: Sequence[Check]
    adapter_named: Callable[[str], Adapter]
    context_of: Callable[[str, Phase], Context]
    clock: Clock
    adapter_ref: str

    def freeze(self, tenant_id: str, message: Message) -> Frozen:
        """Check a message and return it as it would be stored; writes nothing but rate tokens."""
        self._check(message, self.context_of(tenant_id, Phase.INTAKE))
        return self._frozen(tenant_id, message)

    def queue(self, tenant_id: str, message: Message) -> Queued:
        """Check a message and queue it, or find the first that its idempotency key made.

        Raises:
            SuppressedError: the refusal is recorded as a delivery of its own.
            MailglassError: any other refusal; nothing was written.

        """
        try:
            frozen = self.freeze(tenant_id, message)
        except MailglassError as error:
            self._refused(tenant_id, message, error)
            raise
        if self.store.queue_message(frozen.parameters):
            return Queued(
                message_id=frozen.message_id, delivery_id=frozen.delivery_ids[0], is_new=True
            )
        return Queued(
            message_id=frozen.message_id,
            delivery_id=self._first_of_key(tenant_id, message, frozen),
            is_new=False,
        )

    def queue_many(self, tenant_id: str, items: Sequence[Item]) -> None:
        """Check and queue the message of each item that has one; outcomes are put into the items.

        An item ends with a delivery or with an error, and one refused mail holds up no other.
        """
        ready = [(item, item.message) for item in items if item.message is not None]
        context = replace(
            self.context_of(tenant_id, Phase.INTAKE),
            suppressions=suppressions_of(self.store, tenant_id, [one for _, one in ready]),
        )
        for item, message in ready:
            try:
                self._check(message, context)
                item.frozen = self._frozen(tenant_id, message)
            except MailglassError as error:
                item.error = error
                self._refused(tenant_id, message, error)
        frozen = [(item, one, item.frozen) for item, one in ready if item.frozen is not None]
        new = queue_all(self.store, tenant_id, [one for _, _, one in frozen])
        for item, message, one in frozen:
            item.delivery = new.get(one.message_id)
            if item.delivery is None:
                self._find_first(tenant_id, item, message, one)

    def _find_first(self, tenant_id: str, item: Item, message: Message, frozen: Frozen) -> None:
        try:
            known = self._first_of_key(tenant_id, message, frozen)
        except SendError as error:
            item.error = error
        else:
            item.delivery = self.store.delivery(tenant_id, known)

    def _check(self, message: Message, context: Context) -> None:
        if message.expires_at is not None and message.expires_at <= self.clock():
            raise SendError(
                "the mail's expires_at is over, so it is not queued", type=SendErrorType.EXPIRED
            )
        adapter = self.adapter_named(self.adapter_ref)
        _refuse_what_cannot_be_carried(message, adapter)
        adapter.check(message)
        run(self.checks, message, context)

    def _frozen(self, tenant_id: str, message: Message, *, refused_as: str | None = None) -> Frozen:
        return freeze(
            message,
            tenant_id=tenant_id,
            adapter_ref=self.adapter_ref,
            now=self.clock(),
            refused_as=refused_as,
        )

    def _refused(self, tenant_id: str, message: Message, error: MailglassError) -> None:
        """Report a refusal; one by suppression is kept as a delivery that explains itself later."""
        if isinstance(error, SuppressedError):
            refused = self._frozen(tenant_id, message, refused_as=error.type.value)
            self.store.queue_message(refused.parameters)
        report(
            Signal.REFUSED,
            level=logging.WARNING,
            tenant_id=tenant_id,
            stream=message.stream.value,
            error_type=f"{type(error).__name__}.{error.type.value}",
        )

    def _first_of_key(self, tenant_id: str, message: Message, frozen: Frozen) -> UUID:
        known = self.store.delivery_of_key(tenant_id, message.idempotency_key or "")
        if known is None or known[1] != frozen.content_sha256:
            raise SendError(
                "the idempotency key was used for a mail with other content",
                type=SendErrorType.SERIALIZATION_FAILED,
                code="idempotency_mismatch",
                delivery_id=known[0] if known else None,
            )
        return known[0]


def _refuse_what_cannot_be_carried(message: Message, adapter: Adapter) -> None:
    everyone = (message.sender, *message.reply_to, *(address for _, address in message.recipients))
    if not adapter.capabilities.smtputf8 and any(one.needs_smtputf8 for one in everyone):
        raise refuse(
            f"an address has letters beyond ASCII before its @, which {adapter.name} cannot carry",
            code="smtputf8_unsupported",
        )
