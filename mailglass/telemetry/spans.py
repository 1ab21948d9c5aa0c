"""Spans: how long the steps of a mail took, with the same closed list of fields."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum, unique
from uuid import UUID

from mailglass.telemetry.observers import Fields, Value, observers
from mailglass.telemetry.signals import known_fields, logger, observer_raised, write


@unique
class SpanName(StrEnum):
    """The steps that are timed."""

    QUEUE = "mailglass.queue"
    CLAIM = "mailglass.claim"
    ATTEMPT = "mailglass.attempt"
    FINALIZE = "mailglass.finalize"
    SWEEP = "mailglass.sweep"
    INGEST = "mailglass.webhook.ingest"


class Span:
    """One step on its way; what is noted on it is told at its end."""

    __slots__ = ("_fields", "_is_dropped", "_is_unheard")

    def __init__(self) -> None:
        self._fields: dict[str, Value] = {}
        self._is_dropped = False
        self._is_unheard = not (observers() or logger.isEnabledFor(logging.DEBUG))

    def note(  # noqa: PLR0913 - the closed list of fields, each of them optional
        self,
        *,
        tenant_id: str | None = None,
        message_id: UUID | None = None,
        stream: str | None = None,
        provider: str | None = None,
        state: str | None = None,
        attempt: int | None = None,
        error_type: str | None = None,
        count: int | None = None,
    ) -> None:
        """Add fields; ``count`` is how many messages the step was about."""
        if self._is_unheard:
            return
        self._fields |= known_fields(
            {
                "tenant_id": tenant_id,
                "message_id": str(message_id) if message_id else None,
                "stream": stream,
                "provider": provider,
                "state": state,
                "attempt": attempt,
                "error_type": error_type,
                "count": count,
            }
        )

    def drop(self) -> None:
        """Tell nobody: there was nothing to do."""
        self._is_dropped = True

    @property
    def told(self) -> Fields | None:
        """What is to be told of it; None where it was dropped."""
        return None if self._is_dropped else dict(self._fields)


@contextmanager
def span(name: SpanName) -> Iterator[Span]:
    """Time a block; an exception that leaves it is noted by its kind and passes on."""
    ends = _begun(name)
    made, begun_at = Span(), time.perf_counter()
    try:
        yield made
    except BaseException as error:
        made.note(error_type=type(error).__name__)
        raise
    finally:
        _end(name, made.told, time.perf_counter() - begun_at, ends)


def _begun(name: SpanName) -> list[Callable[[Fields | None, float], None]]:
    ends = []
    for one in observers():
        try:
            ends.append(one.begun(name.value))
        except Exception as error:  # noqa: BLE001 - whoever looks on must not stop the mail
            observer_raised(error)
    return ends


def _end(
    name: SpanName,
    told: Fields | None,
    duration_s: float,
    ends: list[Callable[[Fields | None, float], None]],
) -> None:
    for end in reversed(ends):
        try:
            end(told, duration_s)
        except Exception as error:  # noqa: BLE001 - as above
            observer_raised(error)
    if told is not None and logger.isEnabledFor(logging.DEBUG):
        known = dict(told) | {"duration_ms": round(duration_s * 1000)}
        write(name.value, known, level=logging.DEBUG)
