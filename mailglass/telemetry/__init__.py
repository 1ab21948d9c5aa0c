"""Telemetry: log records, counters and spans from closed lists of names and fields; none holds an address.

Records go to the logger ``mailglass``. Whoever wants more gives an observer; the one for OpenTelemetry
is begun by the setting ``otel``. ``mailglass.telemetry.otel`` is imported then, and at no other time.
"""

from __future__ import annotations

from importlib.util import find_spec

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.telemetry.observers import Observer, observe
from mailglass.telemetry.signals import FIELDS, Signal, logger, report, run_id
from mailglass.telemetry.spans import Span, SpanName, span

__all__ = [
    "FIELDS",
    "Observer",
    "Signal",
    "Span",
    "SpanName",
    "export_by_otel",
    "logger",
    "observe",
    "report",
    "run_id",
    "span",
]


def export_by_otel() -> None:
    """Export spans and counters through the providers that OpenTelemetry is set up with; once is enough.

    Raises:
        ConfigError: ``optional_dep_missing`` without the extra ``otel``.

    """
    if find_spec("opentelemetry") is None:
        raise ConfigError(
            "the setting otel needs OpenTelemetry",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            dep="opentelemetry-api",
            hint="pip install 'mailglass[otel]'",
        )
    from mailglass.telemetry.otel import exporting  # noqa: PLC0415 - only where it is asked for

    observe(exporting())
