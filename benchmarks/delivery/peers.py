"""Peers, run by an interpreter that has them: reads a count a line, does its work, prints its seconds.

``PEERS/bin/python benchmarks/delivery/peers.py NAME URL``; nothing of mailglass is imported here. What
has to be there before, such as the jobs that a worker is to run, is made outside the seconds.
"""

# ruff: noqa: INP001, T201, PLC0415 - a script for another environment, in which one peer is imported at a time
# mypy: ignore-errors
from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

Work = Callable[[int], tuple[float, float]]
"""Does a count of things; seconds of wall and of CPU."""


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of wall and of CPU."""
    cpu, began = time.process_time(), time.perf_counter()
    run()
    return time.perf_counter() - began, time.process_time() - cpu


def inlined_post_office(url: str) -> Work:
    """Return ``send_many`` of mails whose HTML has its CSS inlined, as mailglass's has."""
    return post_office(url, is_inlined=True)


def post_office(url: str, *, is_inlined: bool = False) -> Work:
    """Return django-post-office's ``send_many`` from a template of its own, rendered when queued."""
    from mails_text import BODY, LINES, SENDER, SHEET, TEXT

    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.strip("/") or "postgres",
                "USER": unquote(parts.username or ""),
                "PASSWORD": unquote(parts.password or ""),
                "HOST": host,
                "PORT": parts.port or parse_qs(parts.query).get("port", [""])[0],
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        TEMPLATES=[
            {"BACKEND": f"{path}", "APP_DIRS": False}
            for path in (
                "django.template.backends.django.DjangoTemplates",
                "post_office.template.backends.post_office.PostOfficeTemplates",
            )
        ],
        EMAIL_BACKEND="post_office.EmailBackend",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.core.management import call_command
    from django.template import engines
    from post_office import mail
    from post_office.models import EmailTemplate

    call_command("migrate", verbosity=0)
    html = f"<html><head><style>{SHEET}</style></head><body>{BODY}</body></html>"
    template, _ = EmailTemplate.objects.get_or_create(
        name="order", subject="Your order {{ number }}", content=TEXT, html_content=html
    )

    parsed = [engines["django"].from_string(one) for one in (TEXT, html)]

    def rendered(context: dict[str, object]) -> dict[str, str]:
        from premailer import transform

        text, found = (one.render(context) for one in parsed)
        return {"message": text, "html_message": transform(found)}

    def inlined(count: int) -> None:
        mail.send_many(
            {
                "recipients": [f"customer{number}@mail{number % 97}.example"],
                "sender": SENDER,
                "subject": f"Your order {number}",
                **rendered({"number": number, "lines": LINES}),
            }
            for number in range(count)
        )

    def work(count: int) -> tuple[float, float]:
        if is_inlined:
            return timed(lambda: inlined(count))
        asked = [
            {
                "recipients": [f"customer{number}@mail{number % 97}.example"],
                "sender": SENDER,
                "template": template,
                "context": {"number": number, "lines": LINES},
            }
            for number in range(count)
        ]
        return timed(lambda: mail.send_many(asked))

    return work


def procrastinate(url: str) -> Work:
    """Return procrastinate's worker on jobs that do nothing."""
    from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

    app = App(connector=SyncPsycopgConnector(conninfo=url))
    app.open()
    if not app.check_connection():
        app.schema_manager.apply_schema()

    def nothing(number: int) -> None:
        """Do nothing."""

    app.task(name="nothing")(nothing)

    def work(count: int) -> tuple[float, float]:
        import asyncio

        app.tasks["nothing"].batch_defer(*({"number": number} for number in range(count)))

        async def run() -> tuple[float, float]:
            running = app.with_connector(PsycopgConnector(conninfo=url))
            async with running.open_async():
                cpu, began = time.process_time(), time.perf_counter()
                await running.run_worker_async(
                    wait=False, concurrency=8, install_signal_handlers=False
                )
                return time.perf_counter() - began, time.process_time() - cpu

        return asyncio.run(run())

    return work


def dramatiq(url: str, prefetch: int | None = None) -> Work:
    """Return a dramatiq worker of 8 threads, which is its default, on messages that do nothing."""
    import dramatiq as peer
    from dramatiq.worker import Worker

    if url.startswith("redis"):
        from dramatiq.brokers.redis import RedisBroker

        broker = RedisBroker(url=url)
    else:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        broker = RabbitmqBroker(url=url)
    peer.set_broker(broker)
    done = threading.Semaphore(0)

    @peer.actor
    def nothing(_number: int) -> None:
        done.release()

    def work(count: int) -> tuple[float, float]:
        for number in range(count):
            nothing.send(number)
        worker = Worker(broker, worker_threads=8)
        worker.queue_prefetch = prefetch or worker.queue_prefetch

        def run() -> None:
            worker.start()
            for _ in range(count):
                done.acquire()

        spent = timed(run)
        worker.stop()
        return spent

    return work


def ahead(url: str) -> Work:
    """Return the same worker with so much fetched ahead that it never waits for the broker."""
    return dramatiq(url, prefetch=1000)


KNOWN = {
    "post_office": post_office,
    "post_office, inlined by premailer": inlined_post_office,
    "procrastinate": procrastinate,
    "dramatiq-redis": dramatiq,
    "dramatiq-redis, 1,000 ahead": ahead,
    "dramatiq-rabbitmq": dramatiq,
    "dramatiq-rabbitmq, 1,000 ahead": ahead,
}


def main() -> None:
    """Answer each line of the input."""
    logging.disable(logging.WARNING)  # about being a script
    work = KNOWN[sys.argv[1]](sys.argv[2])
    print("ready", flush=True)
    for line in sys.stdin:
        wall_s, cpu_s = work(int(line))
        print(json.dumps({"wall_s": wall_s, "python_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
