"""Mailglass, the front desk: holds the parts and offers the verbs; nothing is global."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.adapters.from_settings import adapters_from
from mailglass.asked import a_mail
from mailglass.asked import mails as several
from mailglass.clock import Clock, system_clock
from mailglass.deliveries import Delivery, DispatchState
from mailglass.delivery.answer import answer_of, answers_of, raise_for_refused
from mailglass.delivery.batch import Item
from mailglass.delivery.breakers import Breakers
from mailglass.delivery.close import close_queued
from mailglass.delivery.dispatch import Dispatcher
from mailglass.delivery.finish import Finishing
from mailglass.delivery.gate import Gate
from mailglass.delivery.intake import Intake
from mailglass.delivery.outbox import Outbox, is_cancelled_for_all
from mailglass.delivery.outcome import Jitter
from mailglass.delivery.redirect import Redirect
from mailglass.delivery.routing import AdaptersOfRoute, Router
from mailglass.delivery.sweep import Sweeper, Swept
from mailglass.delivery.wake_up import wake_up_of
from mailglass.errors import (
    MailglassError,
    SendError,
    SendErrorType,
)
from mailglass.history import HistoryVerbs
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.features import FeatureStore, SendingSwitch
from mailglass.ledger.opening import open_database
from mailglass.ledger.sql import query
from mailglass.ledger.store import Store
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.preflight import Check, Context, Phase
from mailglass.preflight.features import Features
from mailglass.preflight.network_guard import guarded, refuse_real_network
from mailglass.preflight.standard import CHECKS
from mailglass.rendering.attachments import load_attachments
from mailglass.rendering.render import renderer_of
from mailglass.settings import Settings, load_settings
from mailglass.telemetry import Signal, export_by_otel, report
from mailglass.tenancy import ContextTenancy, Tenancy, tenant
from mailglass.webhooks.endpoint import Endpoint
from mailglass.webhooks.verbs import WebhookVerbs

if TYPE_CHECKING:
    from mailglass.ledger.embedded import EmbeddedServer

Enqueue = Callable[[Sequence[UUID]], None]
"""Wakes workers after messages were committed; it gets their ids, and losing the call loses no mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A mail that has passed preflight, as one statement for a transaction of your own.

    Run ``statement`` with ``parameters`` on any psycopg connection, or through Django's cursor or
    SQLAlchemy's ``exec_driver_sql``: a rollback leaves nothing. ``delivery_ids`` are in the order of
    the recipients; no row comes back when the mail's idempotency key was used before.
    """

    statement: str
    parameters: Mapping[str, object]
    message_id: UUID
    delivery_ids: tuple[UUID, ...]


class Mailglass(HistoryVerbs, WebhookVerbs):
    """Renders, queues and hands over mail, and tells what became of it.

    Make one for a process and share it between threads; ``close()`` it, or use it in a ``with``
    block. Each verb that waits has an ``a…`` twin for asyncio, which runs it in a thread: cancelling
    the await does not stop the send.
    """

    def __init__(  # noqa: PLR0913 - the parts, each a keyword with a default
        self,
        settings: Settings,
        *,
        database: DatabaseChoice,
        adapters: Mapping[str, Adapter] | None = None,
        tenancy: Tenancy | None = None,
        checks: Sequence[Check] = CHECKS,
        clock: Clock = system_clock,
        jitter: Jitter | None = None,
        enqueue: Enqueue | None = None,
        finishing: Finishing | None = None,
        embedded: EmbeddedServer | None = None,
        endpoints: Sequence[Endpoint] | None = None,
    ) -> None:
        self.settings, self.database = settings, database
        self._endpoints, self._embedded = endpoints, embedded
        self._checks, self._clock = tuple(checks), clock
        self._at_close: list[Callable[[], None]] = []
        self._adapters = dict(adapters or adapters_from(settings))
        self._tenancy = tenancy or ContextTenancy(settings.default_tenant)
        self._renderer = renderer_of(settings)
        self.store = Store(
            database.url,
            role=settings.database_role or ("mailglass_app" if database.is_embedded else None),
            connections_max=settings.database_connections_max,
            connect_timeout_s=settings.database_connect_timeout_s,
            statement_timeout_s=settings.database_statement_timeout_s,
        )
        self.gate = Gate.of(self.store, settings)
        self._at_close.append(self.gate.store.close)
        breakers = Breakers.of(self.store, settings.breaker)
        self.router = Router.of(self._adapters, settings.routes, breakers)
        self.finishing = finishing or Finishing.of(settings)
        redirect = Redirect.of(settings)
        self._intake = Intake(
            store=self.store,
            checks=self._checks,
            adapter_named=partial(
                AdaptersOfRoute,
                self.router,
                self._tenancy,
                partial(refuse_real_network, settings=settings),
            ),
            context_of=self._context,
            clock=clock,
            adapter_ref=self.router.usual,
            finishing=self.finishing,
            redirect=redirect,
        )
        self.dispatcher = Dispatcher(
            store=self.store,
            settings=settings,
            checks=self._checks,
            adapter_named=guarded(self.router.named, settings),
            context_of=self._context,
            jitter=jitter or partial(secrets.SystemRandom().uniform, 0.0),
            lease_s=max(one.capabilities.lease_s for one in self._adapters.values()),
            switch=SendingSwitch(features=FeatureStore(store=self.store)),
            redirect=redirect,
            gate=self.gate,
            router=self.router,
        )
        self._enqueue: Enqueue = enqueue or (lambda _message_ids: self.store.ring())
        self._sweeper = Sweeper(store=self.store, adapters=self._adapters, settings=settings)
        self.outbox = Outbox(store=self.store)
        rules = FeatureStore(store=self.store).rules
        self.features = Features(read=rules, tenant=self._tenancy.current)

    @classmethod
    def from_env(
        cls,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        tenancy: Tenancy | None = None,
        endpoints: Sequence[Endpoint] | None = None,
        embedded_folder: Path | None = None,
        **given: Any,
    ) -> Self:
        """Make one from ``MAILGLASS_…`` variables; settings given by keyword go before them.

        The database is the given ``database_url``, else ``MAILGLASS_DATABASE_URL``, else
        ``DATABASE_URL``, else, outside production, the embedded server, which is started and
        migrated. A database that was named is never migrated here: run ``mailglass migrate``.

        Raises:
            ConfigError: for settings that are missing, wrong or contradict each other.

        """
        settings = load_settings(**given)
        choice, embedded = open_database(
            given.get("database_url"), settings, folder=embedded_folder
        )
        try:
            wake = wake_up_of(settings, tenancy)
            mail = cls(
                settings,
                database=choice,
                adapters=adapters,
                tenancy=tenancy,
                enqueue=wake,
                embedded=embedded,
                endpoints=endpoints,
            )
            if wake is not None:
                wake.bind(mail)
                mail._at_close.append(wake.close)
            if settings.otel:
                export_by_otel()
            return mail  # noqa: TRY300 - what fails above must stop the embedded server
        except BaseException:
            if embedded is not None:
                embedded.stop()
            raise

    def close(self) -> None:
        """Close the connections to the database and the providers, and an embedded server."""
        for end in self._at_close:
            end()
        for adapter in self._adapters.values():
            adapter.close()
        self.store.close()
        if self._embedded is not None:
            self._embedded.stop()

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()

    def render(self, mail: Mailable | Message) -> Message:
        """Return the finished message, exactly as it would be sent, with its attachments read.

        Raises:
            TypeError: for what is no mail, such as a class of mails or several; as every verb here.

        """
        given = a_mail(mail)
        message = given if isinstance(given, Message) else self._renderer.render(given)
        return load_attachments(message, self.settings.attachments_root)

    def deliver(self, mail: Mailable | Message) -> Delivery:
        """Queue a mail and attempt it at once; return the delivery of its first To recipient.

        It returns when the mail was accepted by the provider (``sent``) and when mailglass will try
        again by itself (``queued``, with the reason in ``error``): calling it again would double the
        mail. It raises when the mail will not leave, or when nobody knows whether it did.

        Raises:
            TemplateError, ConfigError, StreamPolicyError, RateLimitError: before any row exists.
            SuppressedError: a recipient is suppressed; the refusal is recorded as a delivery.
            SendError: ``serialization_failed`` or ``rendering_failed`` before any row exists;
                ``adapter_failure``, ``preflight_rejected``, ``outcome_unknown`` and ``expired``
                after it, with ``delivery_id``.
            BatchFailed: ``partial_failure``, when the mail leaves for some of its recipients and
                not for others.
            TenancyError: no tenant is set.
            psycopg.Error: the database cannot be reached. When that happens after the mail was
                claimed, the provider may have it: look at the delivery before sending another.

        """
        message, tenant_id = self.render(mail), self._tenancy.current()
        queued = self._intake.queue(tenant_id, message)
        error = None
        if queued.is_new:
            error = self.dispatcher.dispatch(tenant_id, queued.message_id)
        return answers_of(self.store.deliveries_of_message(tenant_id, queued.message_id), error)[0]

    async def adeliver(self, mail: Mailable | Message) -> Delivery:
        """Deliver as ``deliver`` does, without holding up the event loop."""
        return await asyncio.to_thread(self.deliver, mail)

    def deliver_later(
        self,
        mail: Mailable | Message,
        *,
        at: datetime | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Delivery:
        """Queue a mail for a worker and return the delivery of its first To recipient.

        When it returns, the mail is stored and will reach exactly one terminal state, whatever
        happens to processes and network. ``at`` delays it, ``expires_at`` ends its use, and a
        repeated ``idempotency_key`` returns the first delivery; each replaces the mail's own.

        Raises:
            MailglassError: as ``deliver`` does before the mail is queued.

        """
        given = {"send_at": at, "expires_at": expires_at, "idempotency_key": idempotency_key}
        changes = {name: value for name, value in given.items() if value is not None}
        message, tenant_id = self.render(mail), self._tenancy.current()
        queued = self._intake.queue(tenant_id, message.replace(**changes) if changes else message)
        if queued.delivery is not None:
            self._wake([queued.message_id])
        return queued.delivery or self._known(tenant_id, queued.delivery_id)

    async def adeliver_later(
        self,
        mail: Mailable | Message,
        *,
        at: datetime | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Delivery:
        """Queue as ``deliver_later`` does, without holding up the event loop."""
        return await asyncio.to_thread(
            self.deliver_later, mail, at=at, expires_at=expires_at, idempotency_key=idempotency_key
        )

    def deliver_many(
        self, mails: Iterable[Mailable | Message], *, raise_on_failure: bool = False
    ) -> tuple[Delivery, ...]:
        """Queue many mails of one tenant for a worker; a delivery for each, in the order given.

        One refused mail holds up no other: its delivery is in state ``failed`` or ``suppressed``
        and has the typed reason in ``error``. A suppressed one is recorded; one that is ``failed``
        here has no row, so its ids are nil. Hundreds of messages go into one statement; what was
        queued before the database went away stays queued.

        Raises:
            BatchFailed: with ``raise_on_failure``, after all others were queued.
            TenancyError: no tenant is set.
            psycopg.Error: the database cannot be reached.

        """
        tenant_id = self._tenancy.current()
        asked = several(mails)
        items = self._intake.queue_many(tenant_id, map(self._rendered, asked))
        self._wake(
            [
                one.delivery.message_id
                for one in items
                if one.delivery and one.is_new and not one.error
            ]
        )
        if raise_on_failure:
            raise_for_refused(items)
        return tuple(
            answer_of(tenant_id, mail, item, self._clock())
            for mail, item in zip(asked, items, strict=True)
        )

    async def adeliver_many(
        self, mails: Iterable[Mailable | Message], *, raise_on_failure: bool = False
    ) -> tuple[Delivery, ...]:
        """Queue as ``deliver_many`` does, without holding up the event loop."""
        return await asyncio.to_thread(
            self.deliver_many, several(mails), raise_on_failure=raise_on_failure
        )

    def dispatch_due(self, *, messages_max: int = 100) -> int:
        """Attempt messages of all tenants whose time has come, transactional ones first.

        Returns how many were looked at. Failures are in the ledger, not raised.
        """
        self.dispatcher.switch.settle(at_once=True)
        due = self.store.due_messages(limit=messages_max)
        for tenant_id, message_id in due:
            self.dispatch_message(tenant_id, message_id)
        return len(due)

    def dispatch_message(self, tenant_id: str, message_id: UUID) -> None:
        """Attempt one message of any tenant, if it is due; what came of it is in the ledger."""
        with tenant(tenant_id):
            self.dispatcher.dispatch(tenant_id, message_id)

    def sweep(self) -> Swept:
        """Move what time alone decides: expired, abandoned, put back under the rule, given up."""
        return self._sweeper.sweep()

    def prepare(self, mail: Mailable | Message) -> Prepared:
        """Render, check and freeze a mail, and return the statement that queues it.

        Raises:
            MailglassError: as ``deliver`` does before a row exists; a suppressed recipient leaves
                no row here, since the transaction is yours.

        """
        message, tenant_id = self.render(mail), self._tenancy.current()
        frozen = self._intake.freeze(tenant_id, message)
        return Prepared(
            statement=query("queue_message"),
            parameters=MappingProxyType(dict(frozen.parameters)),
            message_id=frozen.message_id,
            delivery_ids=frozen.delivery_ids,
        )

    def dispatch(self, delivery_id: UUID) -> Delivery:
        """Attempt the message of a delivery now, if it is due; return the delivery as it is then.

        Raises:
            SendError, BatchFailed: as ``deliver`` does after a row exists; ``payload_missing`` for a
                delivery that is not there.

        """
        tenant_id = self._tenancy.current()
        message_id = self._known(tenant_id, delivery_id).message_id
        close_queued(self.store, tenant_id, message_id, DispatchState.EXPIRED)
        error = self.dispatcher.dispatch(tenant_id, message_id)
        everyone = self.store.deliveries_of_message(tenant_id, message_id)
        return next(one for one in answers_of(everyone, error) if one.id == delivery_id)

    async def adispatch(self, delivery_id: UUID) -> Delivery:
        """Dispatch as ``dispatch`` does, without holding up the event loop."""
        return await asyncio.to_thread(self.dispatch, delivery_id)

    def cancel(self, delivery_id: UUID) -> bool:
        """Cancel what of a delivery's message has not left; True when this kept it from everybody.

        False means that somebody has it, is getting it or may have it, or that it was cancelled before.
        Those for whom it still waited are cancelled all the same.
        """
        tenant_id = self._tenancy.current()
        found = self._known(tenant_id, delivery_id)
        state = close_queued(self.store, tenant_id, found.message_id, DispatchState.CANCELLED)
        return is_cancelled_for_all(self.store, found, state)

    def _rendered(self, mail: Mailable | Message) -> Item:
        try:
            return Item(message=self.render(mail))
        except MailglassError as error:
            return Item(error=error)
        except Exception as error:  # noqa: BLE001 - a bug in one mailable's method must not lose the rest
            name = type(error).__name__
            refused = SendError(
                f"the mailable raised {name} while it was rendered",
                type=SendErrorType.RENDERING_FAILED,
                code=name,
            )
            refused.__cause__ = error
            return Item(error=refused)

    def _wake(self, message_ids: Sequence[UUID]) -> None:
        """Tell workers that there is something to do; the mail is safe whether they hear it or not."""
        if not message_ids:
            return
        try:
            self._enqueue(message_ids)
        except Exception as error:  # noqa: BLE001 - whatever a broker raises, the mail is queued and will be found
            report(Signal.WAKE_UP_FAILED, level=logging.WARNING, error_type=type(error).__name__)

    def _context(self, tenant_id: str, phase: Phase) -> Context:
        return Context(
            tenant_id=tenant_id,
            phase=phase,
            settings=self.settings,
            suppressions=partial(self.store.matching_suppressions, tenant_id),
            take=self.gate.store.short_of,
            message_bytes_max=self.router.message_bytes_max(tenant_id),
        )
