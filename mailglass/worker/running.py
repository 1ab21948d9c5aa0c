"""Running: one process's work, straight from Postgres or through the broker that the settings name."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from typing import Final

from mailglass.app import Mailglass
from mailglass.message import Stream
from mailglass.telemetry import Signal, report
from mailglass.worker.pipeline import Worker
from mailglass.worker.wake import need_dramatiq

_BROKER_STOP_MS: Final = 5000
"""How long the broker's threads may take to end once no mail is in flight."""
_LOOK_S: Final = 0.5
_COLLECTED_AFTER: Final = 20_000
"""New objects after which the garbage collector looks at them (gc.set_threshold)."""


def work(
    mail: Mailglass,
    stopped: threading.Event,
    *,
    threads: int = 4,
    streams: tuple[Stream, ...] = tuple(Stream),
) -> int:
    """Send what is due until the flag is raised, finish what is in flight, return how many were tried.

    With a Redis or RabbitMQ as ``broker_url`` a dramatiq worker with that many threads hears of mail,
    and a pipeline with half as many runs beside it. A worker of some streams only takes them straight
    from Postgres, since a doorbell does not tell the stream.

    Raises:
        ConfigError: the database is not migrated, or the broker's package is missing.

    """
    url = mail.settings.broker_url
    hears = url is not None and not url.get_secret_value().startswith("stub:")
    if hears and set(streams) == set(Stream):
        return _hear(mail, stopped, threads=threads)
    return Worker(mail=mail, threads=threads, streams=streams).run(stopped)


def keep_collector_quiet() -> None:
    """Let the garbage collector look seldom: for a process that does nothing but send.

    What was loaded until now stays, so it is not looked through again; each claim makes thousands of
    objects that go by themselves. Cycles among them, few and small, wait a little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, *gc.get_threshold()[1:])


def drain(mail: Mailglass, stopped: threading.Event) -> int:
    """Send what is due now, straight from Postgres, and return how many were tried."""
    tried = 0
    while not stopped.is_set():
        mail.sweep()  # what has expired stands before other mail of its ordering key
        found = mail.dispatch_due()
        tried += found
        if not found:
            break
    return tried


def _hear(mail: Mailglass, stopped: threading.Event, *, threads: int) -> int:
    need_dramatiq()
    import dramatiq  # noqa: PLC0415 - only with a broker

    from mailglass.worker.brokers import broker_from  # noqa: PLC0415 - loads dramatiq
    from mailglass.worker.serving import Serving, register  # noqa: PLC0415 - as above

    broker = broker_from(mail.settings)
    serving = Serving(lambda: mail, closes_mail=False)
    register(broker, serving)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_threads=threads)
    worker.start()
    try:
        while not stopped.wait(_LOOK_S) and serving.failure is None:
            pass
    finally:
        # A thread that cannot tell a lost broker that it is done would hold up the end for long.
        serving.finish()
        worker.stop(timeout=_BROKER_STOP_MS)
        broker.close()
    if serving.failure is not None:
        raise serving.failure
    return serving.tried


def show_counts(stopped: threading.Event) -> int:
    """Serve what dramatiq's Prometheus middleware has counted in every process, until the flag is raised.

    That it cannot, since the port is taken for one, is reported and stops no mail.
    """
    need_dramatiq()
    from mailglass.worker.brokers import prometheus  # noqa: PLC0415 - loads dramatiq

    (serve,) = prometheus().forks
    server = threading.Thread(target=_serve_counts, args=(serve,), daemon=True)
    server.start()
    stopped.wait()
    return 0


def _serve_counts(serve: Callable[[], int]) -> None:
    try:
        serve()
    except Exception as error:  # noqa: BLE001 - counting is no part of sending
        report(Signal.COUNTS_FAILED, level=logging.ERROR, error_type=type(error).__name__)
