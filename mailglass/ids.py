"""Identifiers: UUIDv7, whose order in an index is the order in time."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562 §5.7)."""
    return uuid7()
