"""OpenTelemetry: spans, and counters with few enough values, through the providers that the host set up.

The names are mailglass's own: the conventions for messaging are not stable yet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from opentelemetry import context, trace
from opentelemetry.metrics import Counter, Histogram, MeterProvider, get_meter
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider, set_span_in_context

from mailglass.telemetry.observers import Fields
from mailglass.telemetry.signals import run_id

_PREFIX: Final = "mailglass."
_COUNTED: Final = ("stream", "provider", "state", "error_type")
"""The fields of counters: those with few values, so neither tenant nor message."""
_SCOPE: Final = "mailglass"


class OtelObserver:
    """Tells OpenTelemetry; providers that are not given are the global ones."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self._meter = get_meter(_SCOPE, meter_provider=meter_provider)
        self._durations: Histogram = self._meter.create_histogram(
            "mailglass.step.duration", unit="s", description="How long steps took, by their names."
        )
        self._counters: dict[str, Counter] = {}

    def counted(self, name: str, fields: Fields) -> None:
        """Add one to the signal's counter."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._meter.create_counter(f"{_PREFIX}{name}")
        counter.add(1, _few(fields))

    def begun(self, name: str) -> Callable[[Fields | None, float], None]:
        """Begin a span that those of libraries below become children of."""
        made = self._tracer.start_span(name, kind=SpanKind.INTERNAL)
        token = context.attach(set_span_in_context(made))

        def end(fields: Fields | None, duration_s: float) -> None:
            context.detach(token)
            if fields is None:
                return  # a span that is not ended is not exported
            for key, value in fields.items():
                made.set_attribute(f"{_PREFIX}{key}", value)
            made.set_attribute(f"{_PREFIX}run_id", run_id())
            if "error_type" in fields:
                made.set_status(Status(StatusCode.ERROR))
            made.end()
            self._durations.record(duration_s, {f"{_PREFIX}step": name, **_few(fields)})

        return end


def _few(fields: Fields) -> dict[str, str | int]:
    return {f"{_PREFIX}{name}": fields[name] for name in _COUNTED if name in fields}


@cache
def exporting() -> OtelObserver:
    """Return the process's own observer, on the global providers."""
    return OtelObserver()
