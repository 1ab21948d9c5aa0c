"""Brokers: dramatiq's, chosen by a URL, with the middleware that suits mail, and what is put on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import dramatiq
from dramatiq.brokers.stub import StubBroker

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.settings import Settings

QUEUE: Final = "mailglass"
ACTOR: Final = "mailglass_attempt"
BATCH_MAX: Final = 20
"""Ids in one broker message: few enough that several threads share the mail of one call."""

_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 5.0
_RABBITMQ_WAITS: Final = MappingProxyType(
    {
        "socket_timeout": f"{_CONNECT_S:g}",
        "stack_timeout": f"{_ANSWER_S:g}",
        "blocked_connection_timeout": f"{_ANSWER_S:g}",
        "connection_attempts": "1",
        "heartbeat": "60",
    }
)
"""Seconds, but for the attempts; those that the URL names itself stay. See pika's URLParameters."""


def broker_from(settings: Settings, *, counts: bool = True) -> dramatiq.Broker:
    """Return the broker that ``broker_url`` names, with its queue declared and nothing connected yet.

    Of dramatiq's own middleware it has none but Prometheus, where the settings ask for it: an age
    limit would lose the doorbell, a time limit would cut an attempt in the middle, and Postgres alone
    decides on retries.

    Raises:
        ConfigError: ``missing`` without ``broker_url``, ``invalid`` for one that cannot be read,
            ``optional_dep_missing`` without the broker's extra.

    """
    if settings.broker_url is None:
        raise ConfigError(
            "no broker is named",
            type=ConfigErrorType.MISSING,
            key="broker_url",
            hint="Set MAILGLASS_BROKER_URL, or run `mailglass worker`, which needs no broker.",
        )
    url = settings.broker_url.get_secret_value()
    make = _MAKERS[urlsplit(url).scheme]
    middleware = [prometheus()] if counts and settings.broker_prometheus else []
    try:
        broker = make(url, middleware)
    except ValueError:
        # Its text may hold the URL, and that a password.
        raise ConfigError(
            "the broker's URL cannot be read",
            type=ConfigErrorType.INVALID,
            key="broker_url",
            hint="Compare it with redis://host:6379/0 or amqp://user:password@host:5672/vhost.",
        ) from None
    broker.declare_queue(QUEUE)
    return broker


def is_shared(settings: Settings) -> bool:
    """Tell whether the settings name a broker that other processes hear."""
    url = settings.broker_url
    return url is not None and urlsplit(url.get_secret_value()).scheme != "stub"


def notices(tenant_id: str, message_ids: Sequence[UUID]) -> Iterator[dramatiq.Message[None]]:
    """Return what the broker carries of messages: their ids and whose they are, nothing else."""
    for start in range(0, len(message_ids), BATCH_MAX):
        ids = [str(one) for one in message_ids[start : start + BATCH_MAX]]
        yield dramatiq.Message(
            queue_name=QUEUE, actor_name=ACTOR, args=(tenant_id, ids), kwargs={}, options={}
        )


def _stub(_url: str, middleware: list[dramatiq.Middleware]) -> dramatiq.Broker:
    return StubBroker(middleware=middleware)


def _redis(url: str, middleware: list[dramatiq.Middleware]) -> dramatiq.Broker:
    try:
        import redis  # noqa: PLC0415 - only those with Redis have it
        from dramatiq.brokers.redis import RedisBroker  # noqa: PLC0415 - as above
    except ModuleNotFoundError:
        raise lacks("redis") from None
    client = redis.Redis.from_url(
        url, socket_connect_timeout=_CONNECT_S, socket_timeout=_ANSWER_S, retry=None
    )
    return RedisBroker(  # type: ignore[no-untyped-call]  # its __init__ has no annotations
        client=client, middleware=middleware, namespace=QUEUE
    )


def _rabbitmq(url: str, middleware: list[dramatiq.Middleware]) -> dramatiq.Broker:
    try:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker  # noqa: PLC0415 - only those with it
    except ModuleNotFoundError:
        raise lacks("rabbitmq") from None
    # Confirmed, so that a connection that died unseen is noticed.
    return RabbitmqBroker(url=_bounded(url), confirm_delivery=True, middleware=middleware)


def _bounded(url: str) -> str:
    parts = urlsplit(url)
    waits = dict(_RABBITMQ_WAITS) | dict(parse_qsl(parts.query))
    return parts._replace(query=urlencode(waits)).geturl()


def prometheus() -> dramatiq.Middleware:
    """Return dramatiq's own middleware; unless told otherwise it listens on this host alone.

    ``prometheus_client`` is only looked for: it may be imported once the middleware has said where the
    counts of all processes are kept, and not before.

    Raises:
        ConfigError: ``optional_dep_missing`` without the extra ``prometheus``.

    """
    if find_spec("prometheus_client") is None:
        raise lacks("prometheus")
    os.environ.setdefault("dramatiq_prom_host", "127.0.0.1")
    # Imported here: it reads the line above, and makes a folder.
    from dramatiq.middleware.prometheus import Prometheus  # noqa: PLC0415 - as said above

    return Prometheus()


def lacks(extra: str) -> ConfigError:
    """Return the error that tells which extra to install."""
    return ConfigError(
        f"what the settings ask for needs the extra {extra}",
        type=ConfigErrorType.OPTIONAL_DEP_MISSING,
        dep=extra,
        hint=f"pip install 'mailglass[{extra}]'",
    )


_MAKERS: Final[Mapping[str, Callable[[str, list[dramatiq.Middleware]], dramatiq.Broker]]] = (
    MappingProxyType(
        {
            "stub": _stub,
            "redis": _redis,
            "rediss": _redis,
            "amqp": _rabbitmq,
            "amqps": _rabbitmq,
        }
    )
)
"""Whose scheme it is; the settings let no other pass."""
