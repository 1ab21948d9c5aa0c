"""Columns: the values of many rows as PostgreSQL's binary arrays, made without asking each for its type."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

MailRow: TypeAlias = tuple[
    UUID,
    int,
    bytes | None,
    bytes,
    int,
    str,
    datetime | None,
    datetime | None,
    str | None,
    str | None,
    bytes | None,
]
"""The values of ``MAILS``."""
RecipientRow: TypeAlias = tuple[int, UUID, str, int, str, str]
"""The values of ``RECIPIENTS``."""

_HEAD: Final = struct.Struct(">iiIii").pack
"""Dimensions, whether there are nulls, the elements' type, how many there are, the first one's place."""
_INT4: Final = struct.Struct(">i").pack
_INT8: Final = struct.Struct(">q").pack
_NULL: Final = _INT4(-1)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as the server's ``array_recv`` reads it."""

    octets: bytes = field(repr=False)


class _ColumnDumper(Dumper):
    """Sends a column as it is; the cast in the statement says what it is an array of."""

    format = Format.BINARY

    def dump(self, obj: Column) -> bytes:
        return obj.octets


psycopg.adapters.register_dumper(Column, _ColumnDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of PostgreSQL: its number in ``pg_type``, and how a value of it is sent."""

    oid: int
    send: Callable[[Any], bytes]


def _uuid(value: UUID) -> bytes:
    return value.bytes


def _moment(value: datetime) -> bytes:
    return _INT8((value - _EPOCH) // _MICROSECOND)


_BYTEA: Final = Kind(oid=17, send=bytes)
_INTEGER: Final = Kind(oid=23, send=_INT4)
_TEXT: Final = Kind(oid=25, send=str.encode)
_TIMESTAMPTZ: Final = Kind(oid=1184, send=_moment)
_UUID: Final = Kind(oid=2950, send=_uuid)

MAILS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "message_ids": _UUID,
        "in_common": _INTEGER,
        "payloads": _BYTEA,
        "payload_sha256s": _BYTEA,
        "payload_sizes": _INTEGER,
        "rfc_message_ids": _TEXT,
        "run_ats": _TIMESTAMPTZ,
        "expires_ats": _TIMESTAMPTZ,
        "ordering_keys": _TEXT,
        "idempotency_keys": _TEXT,
        "content_sha256s": _BYTEA,
    }
)
"""What is a mail's own, by the statement's parameters; ``in_common`` is the place of the rest."""
RECIPIENTS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "places": _INTEGER,
        "delivery_ids": _UUID,
        "kinds": _TEXT,
        "positions": _INTEGER,
        "addresses": _TEXT,
        "address_keys": _TEXT,
    }
)
"""The recipients of all the mails, each with the place of its mail, which counts from 1."""


def columns(
    kinds: Mapping[str, Kind], rows: Sequence[MailRow] | Sequence[RecipientRow]
) -> dict[str, Column]:
    """Return the columns of rows, of which there is at least one, by the statement's parameters."""
    return {
        name: _column(kind, values)
        for (name, kind), values in zip(kinds.items(), zip(*rows, strict=True), strict=True)
    }


def _column(kind: Kind, values: Iterable[Any]) -> Column:
    sent = [None if one is None else kind.send(one) for one in values]
    elements = [_NULL if one is None else _INT4(len(one)) + one for one in sent]
    head = _HEAD(1, None in sent, kind.oid, len(sent), 1)
    return Column(octets=b"".join([head, *elements]))
