"""Looking up DNS: a function that a test can replace, and dnspython behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from mailglass.doctor.check import UnverifiableError
from mailglass.errors import ConfigError, ConfigErrorType

if TYPE_CHECKING:
    from dns.resolver import Resolver

LOOKUP_S_MAX: Final = 5.0


@unique
class RecordType(StrEnum):
    """The records that mail depends on."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"


Lookup = Callable[[str, RecordType], Sequence[str]]
"""Returns the records of a name: the joined strings of TXT, ``preference host`` of MX, else a name or
an address, all without a final dot; none for a name that does not exist.

Raises UnverifiableError when no answer can be had.
"""


def system_lookup(resolver: Resolver | None = None) -> Lookup:
    """Return a lookup that asks the system's resolvers, or the dnspython resolver that is given.

    Raises:
        ConfigError: ``optional_dep_missing`` without dnspython.

    """
    try:
        import dns.exception  # noqa: PLC0415 - only with --network
        import dns.resolver  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise ConfigError(
            "looking at DNS needs dnspython",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            key="network",
            dep="dnspython",
            hint="pip install 'mailglass[doctor]'",
        ) from error
    asked = resolver or dns.resolver.Resolver()
    unanswered = (dns.exception.DNSException, OSError, UnicodeError)

    def look(name: str, kind: RecordType) -> Sequence[str]:
        try:
            answer = asked.resolve(name, kind.value, lifetime=LOOKUP_S_MAX, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except unanswered as error:
            raise UnverifiableError(
                f"DNS gave no answer for {kind} {name}: {type(error).__name__}"
            ) from error
        return tuple(_text(record, kind) for record in answer)

    return look


def _text(record: object, kind: RecordType) -> str:
    match kind:
        case RecordType.TXT:
            strings: Sequence[bytes] = record.strings  # type: ignore[attr-defined]  # of a TXT record
            return b"".join(strings).decode("utf-8", "replace")
        case RecordType.MX:
            host = str(record.exchange).rstrip(".")  # type: ignore[attr-defined]  # of an MX record
            return f"{record.preference} {host}"  # type: ignore[attr-defined]  # as above
        case RecordType.A | RecordType.AAAA | RecordType.PTR:
            return str(record).rstrip(".")
