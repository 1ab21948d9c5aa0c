"""The worker: takes what is due straight from Postgres, or hears of it through a broker, until stopped.

``dramatiq mailglass.worker`` runs dramatiq's own command on the broker that ``MAILGLASS_BROKER_URL``
names; any other import of this package leaves dramatiq alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailglass.worker.pipeline import Worker
from mailglass.worker.wake import BrokerWake, need_dramatiq, wake_from

if TYPE_CHECKING:
    import dramatiq

__all__ = ["BrokerWake", "Worker", "wake_from"]


def __getattr__(name: str) -> dramatiq.Broker:
    """Return the ``broker`` that ``dramatiq mailglass.worker:broker`` asks for."""
    if name != "broker":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    need_dramatiq()
    from mailglass.worker.serving import broker_of_the_command  # noqa: PLC0415 - loads dramatiq

    return broker_of_the_command()


if "dramatiq.cli" in sys.modules and __name__ in sys.argv[1:]:
    __getattr__("broker")
