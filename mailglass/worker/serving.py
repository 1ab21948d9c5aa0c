"""Serving: what a dramatiq worker does for mail, and the pipeline that runs beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

import dramatiq
from dramatiq import broker as dramatiq_broker
from dramatiq.middleware import MiddlewareError

from mailglass.app import Mailglass
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.message import Stream
from mailglass.settings import load_settings
from mailglass.telemetry import Signal, export_by_otel, report
from mailglass.tenancy import tenant
from mailglass.worker import steps
from mailglass.worker.brokers import ACTOR, QUEUE, broker_from, is_shared
from mailglass.worker.pipeline import Worker

_NO_LIMIT_MS: Final = 10 * 365 * 86_400_000.0
_OPTIONS: Final[Mapping[str, Any]] = {"max_retries": 0, "time_limit": _NO_LIMIT_MS, "max_age": None}
"""For brokers whose middleware would retry, cut or drop what Postgres alone decides on."""
_BESIDE_THREADS_MIN: Final = 2
_TROUBLE_WAIT_S: Final = 1.0
"""How long to wait before a verdict is written again."""


class Serving(dramatiq.Middleware):
    """Gives a dramatiq worker its Mailglass, and runs a pipeline beside it.

    The broker's messages are doorbells. What the broker loses, what is to be tried again and what is
    scheduled has no doorbell: the pipeline finds it in Postgres, and sweeps. Both obey the claim, so a
    mail that both have heard of is attempted once. ``streams`` are those that the pipeline takes.
    """

    def __init__(
        self,
        open_mail: Callable[[], Mailglass],
        *,
        closes_mail: bool = True,
        streams: tuple[Stream, ...] = tuple(Stream),
        poll_s: float = 1.0,
        sweep_every_s: float = 5.0,
    ) -> None:
        self._open_mail = open_mail
        self._closes_mail = closes_mail
        self._streams = streams
        self._poll_s = poll_s
        self._sweep_every_s = sweep_every_s
        self._mail: Mailglass | None = None
        self._stopping = threading.Event()
        self._counted = threading.Condition()
        self._in_flight = 0
        self.tried = 0
        """Attempts that came to an end, those of the pipeline once it has ended."""
        self._beside: threading.Thread | None = None
        self.failure: Exception | None = None
        """What ended the pipeline before its time; the process is best ended and started anew."""

    def before_worker_boot(self, _broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Open the Mailglass, in the process that will use it, and start the pipeline.

        Raises:
            MiddlewareError: it cannot be opened, or its database is not migrated; the worker does not
                start then.

        """
        try:
            mail = self._mail = self._open_mail()
            if mail.settings.otel:
                export_by_otel()
            _sweep_first(mail)
        except Exception as error:
            self._close()
            raise MiddlewareError(f"mailglass cannot be opened: {error}") from error
        pipeline = Worker(
            mail=mail,
            threads=max(_BESIDE_THREADS_MIN, worker.worker_threads // 2),
            streams=self._streams,
            poll_s=self._poll_s,
            sweep_every_s=self._sweep_every_s,
        )
        self._beside = threading.Thread(target=self._run, args=(pipeline,), name="mailglass-beside")
        self._beside.start()

    def before_worker_shutdown(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        """Begin no attempt from now on."""
        self._stopping.set()

    def after_worker_shutdown(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        """Wait for what is in flight, and close the Mailglass."""
        self.finish()
        self._close()

    def finish(self) -> None:
        """Begin no attempt from now on, and wait for those that are in flight."""
        self._stopping.set()
        if self._beside is not None:
            self._beside.join()
        with self._counted:
            self._counted.wait_for(lambda: self._in_flight == 0)

    def attempt(self, tenant_id: str, message_ids: Sequence[str]) -> None:
        """Attempt those of a tenant's messages that are due and nobody else's; raise nothing.

        What is left when the worker is stopped, or the database away, is found later: it is queued.
        """
        for one in message_ids:
            if self._mail is None or not self._begins():
                return
            try:
                with tenant(tenant_id):
                    tried = self._attempt(self._mail, tenant_id, UUID(one))
            except DatabaseAwayError as error:
                _report_away(error)
                return
            except BaseException as error:  # noqa: BLE001 - one mail's bug stops no other; its claim is left to the sweep
                report(Signal.DISPATCH_RAISED, level=logging.ERROR, error_type=type(error).__name__)
            else:
                self._count(tried=tried)
            finally:
                self._count(in_flight=-1)

    def _begins(self) -> bool:
        """Tell whether an attempt may begin, and count it as one that has."""
        with self._counted:
            if not self._stopping.is_set():
                self._in_flight += 1
                return True
        return False

    def _count(self, *, in_flight: int = 0, tried: int = 0) -> None:
        with self._counted:
            self._in_flight += in_flight
            self.tried += tried
            self._counted.notify_all()

    def _attempt(self, mail: Mailglass, tenant_id: str, message_id: UUID) -> int:
        """Attempt one message; 1 when there was something to do."""
        claim = steps.claim(mail, tenant_id, message_id)
        if claim is None:
            return 0
        attempt = steps.attempt(mail, claim)
        while True:
            try:
                steps.finalize(mail, [attempt])
            except DatabaseAwayError as error:
                # What has left must be written, so it is kept until the database is back.
                if self._stopping.is_set():
                    raise
                _report_away(error)
                self._stopping.wait(_TROUBLE_WAIT_S)
            else:
                return 1

    def _run(self, pipeline: Worker) -> None:
        try:
            tried = pipeline.run(self._stopping)
        except Exception as error:
            self.failure = error
            raise
        self._count(tried=tried)

    def _close(self) -> None:
        if self._closes_mail and self._mail is not None:
            self._mail.close()


def register(broker: dramatiq.Broker, serving: Serving) -> None:
    """Add mail to a dramatiq broker of yours: its actor, its queue and what serves them.

    Call it in the module that your ``dramatiq`` command names. The broker may have any middleware.
    """
    broker.add_middleware(serving)
    options: dict[str, Any] = {
        name: one for name, one in _OPTIONS.items() if name in broker.actor_options
    }
    made = dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE, broker=broker, **options)
    made(serving.attempt)


@cache
def broker_of_the_command() -> dramatiq.Broker:
    """Return the broker for ``dramatiq mailglass.worker``, which becomes dramatiq's own.

    Where the command named another module first, that one's broker is taken.

    Raises:
        ConfigError: ``missing`` or ``conflicting`` where no broker that processes can share is named.

    """
    broker = dramatiq_broker.global_broker
    if broker is None:
        settings = load_settings()
        if not is_shared(settings):
            raise ConfigError(
                "dramatiq's command needs a broker that processes share",
                type=ConfigErrorType.MISSING,
                key="broker_url",
                hint="Set MAILGLASS_BROKER_URL to a Redis or RabbitMQ, or run `mailglass worker`.",
            )
        broker = broker_from(settings)
        dramatiq.set_broker(broker)
    register(broker, Serving(Mailglass.from_env))
    return broker


def _sweep_first(mail: Mailglass) -> None:
    """Sweep once, which tells of a database that is not migrated; one that is away is waited for."""
    try:
        steps.sweep(mail)
    except DatabaseAwayError as error:
        _report_away(error)


def _report_away(error: Exception) -> None:
    report(Signal.DATABASE_AWAY, level=logging.ERROR, error_type=type(error).__name__)
