"""Wake: tells workers through a broker that mail was queued, without ever holding up who queued it."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.settings import Settings
from mailglass.telemetry import Signal, report
from mailglass.tenancy import ContextTenancy, Tenancy

if TYPE_CHECKING:
    import dramatiq

    from mailglass.app import Mailglass

_WAITING_MAX: Final = 10_000
"""Calls that wait for a broker; more are not kept, since Postgres has the mail."""
_PAUSE_S: Final = 10.0
"""How long a broker that failed is left alone; Postgres' own doorbell is rung meanwhile."""
_CLOSE_S: Final = 2.0
"""How long closing waits for what is still to be told."""
_THREADS_IN_PROCESS: Final = 4

_FORKING: Final = threading.Lock()
"""Held by the first thread of a forked child that begins anew."""

_Call: TypeAlias = tuple[str, tuple[UUID, ...]]


class BrokerWake:
    """Puts the ids of queued messages on a broker; give it to ``Mailglass`` as ``enqueue``.

    A thread of its own does that, begun with the first mail, also in a forked child: a broker that is
    slow or down costs whoever queues mail nothing. While it is down, Postgres' doorbell is rung.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tenancy: Tenancy | None = None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._settings = settings
        self._tenancy = tenancy or ContextTenancy(settings.default_tenant)
        self._pause_s = pause_s
        self._mail: Mailglass | None = None
        self._begin()
        _broker_of(settings)  # what is wrong with the settings is told now

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._teller: _Teller | None = None
        self._process_id = os.getpid()

    def bind(self, mail: Mailglass) -> None:
        """Name the Mailglass that this one serves: for Postgres' doorbell, and for ``stub://``."""
        self._mail = mail

    def __call__(self, message_ids: Sequence[UUID]) -> None:
        """Take the ids of messages of the current tenant, and return at once."""
        teller = self._of_this_process()
        try:
            teller.calls.put_nowait((self._tenancy.current(), tuple(message_ids)))
        except queue.Full:
            teller.ring()

    def close(self) -> None:
        """Tell what waits, within two seconds, and stop the thread; what is untold will be found."""
        if self._process_id == os.getpid():
            with self._lock:
                teller, self._teller = self._teller, None
            if teller is not None:
                teller.close()

    def _of_this_process(self) -> _Teller:
        if self._process_id != os.getpid():
            with _FORKING:
                if self._process_id != os.getpid():
                    self._begin()
        with self._lock:
            if self._teller is None:
                self._teller = _Teller(self._settings, self._mail, pause_s=self._pause_s)
                self._teller.thread.start()
            return self._teller


class _Teller:
    """The thread of one process, its broker, and, for ``stub://``, the worker that hears it."""

    def __init__(self, settings: Settings, mail: Mailglass | None, *, pause_s: float) -> None:
        self.calls: queue.Queue[_Call | None] = queue.Queue(maxsize=_WAITING_MAX)
        self.thread = threading.Thread(target=self._tell_all, name="mailglass-wake", daemon=True)
        self._mail = mail
        self._pause_s = pause_s
        self._quiet_until = float("-inf")
        self._broker = _broker_of(settings)
        self._settings = settings
        self._worker: dramatiq.Worker | None = None
        self._is_over = False

    def ring(self) -> None:
        """Ring Postgres' doorbell instead, where there is a Mailglass to do it."""
        if self._mail is not None and not self._is_over:
            self._mail.store.ring()

    def close(self) -> None:
        """Tell what waits, then close the broker."""
        end = time.monotonic() + _CLOSE_S
        try:
            self.calls.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return  # the broker hangs, and its thread with it; the thread is a daemon
        self.thread.join(max(0.0, end - time.monotonic()))
        self._is_over = True  # a thread that still waits for its broker finds the database closed
        if self._worker is not None:
            self._worker.stop()
        self._broker.close()

    def _tell_all(self) -> None:
        self._worker = _worker_in_process(self._broker, self._settings, self._mail)
        while (call := self.calls.get()) is not None:
            try:
                self._tell(call)
            except Exception as error:  # noqa: BLE001 - whatever is down, the mail is queued and will be found
                name = type(error).__name__
                report(Signal.WAKE_UP_FAILED, level=logging.WARNING, error_type=name)

    def _tell(self, call: _Call) -> None:
        from mailglass.worker.brokers import notices  # noqa: PLC0415 - loads dramatiq

        if time.monotonic() < self._quiet_until:
            return self.ring()
        try:
            for notice in notices(*call):
                self._broker.enqueue(notice)
        except Exception:
            self._quiet_until = time.monotonic() + self._pause_s
            self.ring()
            raise


def wake_from(settings: Settings, *, tenancy: Tenancy | None = None) -> BrokerWake | None:
    """Return the wake-up that ``broker_url`` asks for; None without one: Postgres has a doorbell.

    Raises:
        ConfigError: ``invalid`` for a URL that cannot be read, ``optional_dep_missing`` without the
            broker's extra.

    """
    return None if settings.broker_url is None else BrokerWake(settings, tenancy=tenancy)


def need_dramatiq() -> None:
    """Check that dramatiq is there.

    Raises:
        ConfigError: ``optional_dep_missing`` where it is not.

    """
    if find_spec("dramatiq") is None:
        raise ConfigError(
            "a broker needs dramatiq",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            dep="dramatiq",
            hint="pip install 'mailglass[redis]' or 'mailglass[rabbitmq]'",
        )


def _broker_of(settings: Settings) -> dramatiq.Broker:
    need_dramatiq()
    from mailglass.worker.brokers import broker_from  # noqa: PLC0415 - loads dramatiq

    return broker_from(settings, counts=False)  # only those who hear count


def _worker_in_process(
    broker: dramatiq.Broker, settings: Settings, mail: Mailglass | None
) -> dramatiq.Worker | None:
    """Start a dramatiq worker for a broker that no other process hears."""
    import dramatiq  # noqa: PLC0415 - see need_dramatiq

    from mailglass.worker.brokers import is_shared  # noqa: PLC0415 - as above
    from mailglass.worker.serving import Serving, register  # noqa: PLC0415 - as above

    if is_shared(settings) or mail is None:
        return None
    register(broker, Serving(lambda: mail, closes_mail=False))
    worker = dramatiq.Worker(broker, worker_threads=_THREADS_IN_PROCESS, worker_timeout=100)
    worker.start()
    return worker
