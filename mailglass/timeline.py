"""Timelines: a delivery's events as lines for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mailglass.errors import Json
from mailglass.events import Event


def timeline(events: Iterable[Event]) -> Iterator[str]:
    """Return one line an event: number, the source's time in UTC, type, and what it says."""
    for event in events:
        about = " ".join(f"{name}={value}" for name, value in sorted(event.payload.items()))
        reason = f" {event.reject_reason}" if event.reject_reason else ""
        when = f"{event.occurred_at:%Y-%m-%d %H:%M:%S}.{event.occurred_at.microsecond // 1000:03d}"
        yield f"{event.seq:>3}  {when}  {event.type:<16}{reason} {about}".rstrip()


def event_json(event: Event) -> dict[str, Json]:
    """Return an event as JSON; times are RFC 3339, hashes hexadecimal."""
    return {
        "delivery_id": str(event.delivery_id),
        "tenant_id": event.tenant_id,
        "seq": event.seq,
        "type": event.type.value,
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "reject_reason": event.reject_reason.value if event.reject_reason else None,
        "payload": dict(event.payload),
        "provider_event_id": event.provider_event_id,
        "trace_id": event.trace_id,
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
    }
