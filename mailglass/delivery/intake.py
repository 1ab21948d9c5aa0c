"""Intake: a finished message is checked, frozen and queued, alone or with many others."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.clock import Clock
from mailglass.deliveries import Delivery
from mailglass.delivery.batch import Batches, Item, parts_of, suppressions_of
from mailglass.delivery.finish import Finishing
from mailglass.delivery.freeze import Frozen, content_sha256, freeze
from mailglass.delivery.redirect import Redirect
from mailglass.errors import MailglassError, SendError, SendErrorType, SuppressedError
from mailglass.headers import refuse
from mailglass.ledger.store import Store
from mailglass.message import Message, Stream
from mailglass.preflight import Check, Context, Phase
from mailglass.preflight.own_checks import run_guarded
from mailglass.preflight.rate_limit import takes_tokens
from mailglass.preflight.standard import CHECKS
from mailglass.preflight.suppression import erasure_key_of
from mailglass.suppression import Suppression
from mailglass.telemetry import Signal, SpanName, report, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A message that is in the queue, and its first delivery if this call put it there."""

    message_id: UUID
    delivery_id: UUID
    delivery: Delivery | None = None

    @property
    def is_new(self) -> bool:
        """Tell whether this call put it there."""
        return self.delivery is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes messages in; holds no state of its own, so threads may share it."""

    store: Store
    checks: Sequence[Check]
    adapter_named: Callable[[str], Adapter]
    context_of: Callable[[str, Phase], Context]
    clock: Clock
    adapter_ref: str
    finishing: Finishing
    redirect: Redirect = field(default_factory=Redirect)

    def freeze(self, tenant_id: str, message: Message) -> Frozen:
        """Check a message and return it as it would be stored; writes nothing but rate tokens.

        A repetition of a mail that is there already is not checked again: it takes no tokens, and
        what has changed since cannot refuse it.
        """
        message = _without_address_in_key(message)
        if self._first_of_key(tenant_id, message) is None:
            self._check(message, self.context_of(tenant_id, Phase.INTAKE))
        return self._frozen(tenant_id, message)

    def queue(self, tenant_id: str, message: Message) -> Queued:
        """Check a message and queue it, or find the first that its idempotency key made.

        The key is looked up first, so that a repetition is answered and not checked again.

        Raises:
            SuppressedError: the refusal is recorded as a delivery of its own.
            MailglassError: any other refusal; nothing was written.

        """
        message = _without_address_in_key(message)
        with span(SpanName.QUEUE) as step:
            step.note(tenant_id=tenant_id, stream=message.stream.value, count=1)
            queued = self._queue(tenant_id, message)
            step.note(message_id=queued.message_id)
        if queued.is_new:
            report(
                Signal.QUEUED,
                tenant_id=tenant_id,
                message_id=queued.message_id,
                stream=message.stream.value,
            )
        return queued

    def _queue(self, tenant_id: str, message: Message) -> Queued:
        known = self._first_of_key(tenant_id, message)
        if known is not None:
            return known
        context = self.context_of(tenant_id, Phase.INTAKE)
        asked = self._asked_at_once(message, context)
        queued = None if asked is None else self._queued_unless(tenant_id, message, asked)
        if queued is not None:
            return queued
        try:
            self._check(message, context)
        except MailglassError as error:
            self._report_refusal(tenant_id, message, error)
            if isinstance(error, SuppressedError):
                refused = self._frozen(tenant_id, message, refused_as=error.type.value)
                self.store.queue_message(refused.parameters)
            raise
        return self._queued_unless(tenant_id, message, None) or self._queued_meanwhile(
            tenant_id, message
        )

    def _asked_at_once(self, message: Message, context: Context) -> Sequence[str] | None:
        """Return what suppressions are asked for, where all other checks let the message pass.

        The statement that queues it asks then, which saves a question of its own. None where a check
        would act twice, or refuses: everything is asked in order then, and the first reason is told.
        """
        if tuple(self.checks) != CHECKS or takes_tokens(message, context):
            return None
        asked: list[str] = []

        def note(values: Sequence[str], _stream: Stream) -> Sequence[Suppression]:
            asked.extend(values)
            return ()

        try:
            self._check(message, replace(context, suppressions=note))
        except MailglassError:
            return None  # the check in order raises it again, if nothing comes before it
        return asked

    def _queued_unless(
        self, tenant_id: str, message: Message, asked: Sequence[str] | None
    ) -> Queued | None:
        """Queue a message; None when a suppression holds for what is asked, or its key is taken."""
        frozen = self._frozen(tenant_id, message)
        values = None if asked is None else json.dumps(list(asked))
        new = self.store.queue_message({**frozen.parameters, "asked": values})
        if not new:
            return None
        return Queued(message_id=frozen.message_id, delivery_id=new[0].id, delivery=new[0])

    def queue_many(self, tenant_id: str, items: Iterable[Item]) -> list[Item]:
        """Check and queue the message of each item that has one; outcomes are put into the items.

        Items are taken as they are made, a part at a time, while the part before is being written.

        An item ends with a delivery or with an error, one refused by suppression with both, and one
        refused mail holds up no other.
        """
        with span(SpanName.QUEUE) as step:
            step.note(tenant_id=tenant_id)
            found: list[Item] = []
            keyed: list[tuple[Item, Message]] = []
            with Batches(self.store) as batches:
                for part in parts_of(items):
                    keyed += self._queue_part(tenant_id, part, batches)
                    found += part
            for item, message in keyed:
                if item.delivery is None and item.error is None:
                    self._find_first(tenant_id, item, message)
            step.note(count=len(found))
        return found

    def _queue_part(
        self, tenant_id: str, items: Sequence[Item], batches: Batches
    ) -> list[tuple[Item, Message]]:
        """Check, freeze and add a part; return those that may turn out to be there already.

        A repetition of a mail that is there, or was added before it, is not checked again.
        """
        ready = [
            (item, _without_address_in_key(item.message))
            for item in items
            if item.message is not None
        ]
        keys = {one.idempotency_key for _, one in ready if one.idempotency_key is not None}
        known = self.store.deliveries_of_keys(tenant_id, sorted(keys))
        asked = self.context_of(tenant_id, Phase.INTAKE)
        context = replace(
            asked,
            suppressions=suppressions_of(
                self.store,
                tenant_id,
                [one for _, one in ready],
                erasure_key=erasure_key_of(asked.settings),
            ),
        )
        new = [(item, message) for item, message in ready if message.idempotency_key not in known]
        self._check_part(tenant_id, new, context, batches)
        for item, message in new:
            item.message = None
            if message.idempotency_key in batches.keys:
                continue
            if not item.is_checked:  # the first one of its key was refused
                self._check_item(tenant_id, item, message, context)
            self._freeze_item(tenant_id, item, message)
            if item.frozen is not None:
                batches.add(item)
        return [(item, message) for item, message in ready if message.idempotency_key is not None]

    def _check_part(
        self,
        tenant_id: str,
        new: Sequence[tuple[Item, Message]],
        context: Context,
        batches: Batches,
    ) -> None:
        """Check a part, all of it before any is frozen; of mails with one key the first alone."""
        seen: set[str] = set()
        for item, message in new:
            key = message.idempotency_key
            if key in seen or key in batches.keys:
                continue
            self._check_item(tenant_id, item, message, context)
            if key is not None:
                seen.add(key)

    def _check_item(self, tenant_id: str, item: Item, message: Message, context: Context) -> None:
        item.is_checked = True
        try:
            self._check(message, context)
        except MailglassError as error:
            item.error = error
            self._report_refusal(tenant_id, message, error)

    def _freeze_item(self, tenant_id: str, item: Item, message: Message) -> None:
        """Freeze what was not refused, and what a suppression refused, for the record of it."""
        refused = item.error
        if refused is not None and not isinstance(refused, SuppressedError):
            return
        refused_as = None if refused is None else refused.type.value
        try:
            item.frozen = self._frozen(tenant_id, message, refused_as=refused_as)
        except MailglassError as error:
            item.error = error
            self._report_refusal(tenant_id, message, error)

    def _find_first(self, tenant_id: str, item: Item, message: Message) -> None:
        try:
            known = self._queued_meanwhile(tenant_id, message)
        except SendError as error:
            item.error = error
        else:
            item.delivery = self.store.delivery(tenant_id, known.delivery_id)

    def _check(self, message: Message, context: Context) -> None:
        _refuse_what_expires(message, self.clock())
        adapter = self.adapter_named(self.adapter_ref)
        self.redirect.of_message(message)
        _refuse_what_cannot_be_carried(message, adapter)
        adapter.check(message)
        run_guarded(self.checks, message, context)

    def _frozen(self, tenant_id: str, message: Message, *, refused_as: str | None = None) -> Frozen:
        def frozen(sent: Message, finishing: Finishing) -> Frozen:
            return freeze(
                sent,
                tenant_id=tenant_id,
                adapter_ref=self.adapter_ref,
                now=self.clock(),
                finishing=finishing,
                refused_as=refused_as,
            )

        if refused_as is not None:  # nobody gets it, so it shows whom it was for
            return frozen(message, self.finishing)
        return self.redirect.frozen(message, self.finishing, frozen)

    def _report_refusal(self, tenant_id: str, message: Message, error: MailglassError) -> None:
        report(
            Signal.REFUSED,
            level=logging.WARNING,
            tenant_id=tenant_id,
            stream=message.stream.value,
            error_type=f"{type(error).__name__}.{error.type.value}",
        )

    def _first_of_key(self, tenant_id: str, message: Message) -> Queued | None:
        """Return what the message's key made before, or None where it has none or it is new."""
        if message.idempotency_key is None:
            return None
        known = self.store.deliveries_of_keys(tenant_id, [message.idempotency_key])
        first = known.get(message.idempotency_key)
        if first is None:
            return None
        if first.content_sha256 != content_sha256(message):
            raise _mismatch(first.delivery_id)
        return Queued(message_id=first.message_id, delivery_id=first.delivery_id)

    def _queued_meanwhile(self, tenant_id: str, message: Message) -> Queued:
        found = self._first_of_key(tenant_id, message)
        if found is None:
            raise _mismatch(None)
        return found


def _without_address_in_key(message: Message) -> Message:
    """Return the message with its key hashed where that may hold an address: keys outlive erasure."""
    key = message.idempotency_key
    if key is None or "@" not in key:
        return message
    digest = hashlib.sha256(key.encode()).hexdigest()
    return message.replace(idempotency_key=f"sha256:{digest}")


def _mismatch(delivery_id: UUID | None) -> SendError:
    return SendError(
        "the idempotency key was used for a mail with other content",
        type=SendErrorType.SERIALIZATION_FAILED,
        code="idempotency_mismatch",
        delivery_id=delivery_id,
    )


def _refuse_what_expires(message: Message, now: datetime) -> None:
    if message.expires_at is None:  # it counts from when the mail is due
        return
    if message.expires_at <= now:
        raise SendError(
            "the mail's expires_at is over, so it is not queued", type=SendErrorType.EXPIRED
        )
    if message.send_at is not None and message.expires_at <= message.send_at:
        raise SendError(
            "the mail expires before it is due, so it is not queued",
            type=SendErrorType.EXPIRED,
            code="expires_first",
        )


def _refuse_what_cannot_be_carried(message: Message, adapter: Adapter) -> None:
    everyone = (message.sender, *message.reply_to, *(address for _, address in message.recipients))
    if any(one.needs_smtputf8 for one in everyone) and not adapter.capabilities.smtputf8:
        raise refuse(
            f"an address has letters beyond ASCII before its @, which {adapter.name} cannot carry",
            code="smtputf8_unsupported",
        )
