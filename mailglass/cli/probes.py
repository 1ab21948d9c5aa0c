"""What the doctor tries out on request: the broker that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailglass.settings import Settings


def call_broker(settings: Settings) -> None:
    """Connect to the broker and leave; no queue is made and no message is put on one.

    Raises:
        ConfigError: ``optional_dep_missing`` without the broker's extra, ``invalid`` for a URL that
            cannot be read; else whatever the broker's own client raises.

    """
    from mailglass.worker.brokers import broker_from
    from mailglass.worker.wake import need_dramatiq

    need_dramatiq()
    broker = broker_from(settings, counts=False)
    try:
        client = getattr(broker, "client", None)
        if client is None:
            _ = broker.connection  # type: ignore[attr-defined]  # RabbitMQ's connects when it is asked for
        else:
            client.ping()
    finally:
        broker.close()
