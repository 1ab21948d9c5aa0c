"""Tenancy: whose mail it is, carried by a context variable and asked through one protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from mailglass.errors import TenancyError, TenancyErrorType

_ID_CHARS_MAX: Final = 200
_current: Final[ContextVar[str | None]] = ContextVar("mailglass_tenant", default=None)


class Tenancy(Protocol):
    """Says whose mail it is; give your own to ``Mailglass`` to read it from your framework."""

    def current(self) -> str:
        """Return the tenant of the running request or task.

        Raises:
            TenancyError: ``unstamped`` where there is none.

        """


class ContextTenancy:
    """Reads the tenant that ``tenant(…)`` set, or else a configured default."""

    def __init__(self, default: str | None = None) -> None:
        self._default = default

    def current(self) -> str:
        """Return the tenant that is set, or the default."""
        found = _current.get() or self._default
        if found is None:
            raise TenancyError(
                "no tenant is set: wrap the call in `with tenant(…)` or configure default_tenant",
                type=TenancyErrorType.UNSTAMPED,
            )
        return found


@contextmanager
def tenant(tenant_id: str) -> Iterator[None]:
    """Set the tenant for a block; blocks nest, and threads and tasks started inside inherit it.

    Raises:
        TenancyError: ``unstamped`` for an id that is empty, longer than 200 characters or not
            printable.

    """
    if not 0 < len(tenant_id) <= _ID_CHARS_MAX or not tenant_id.isprintable():
        raise TenancyError(
            f"a tenant id has 1 to {_ID_CHARS_MAX} printable characters",
            type=TenancyErrorType.UNSTAMPED,
        )
    before = _current.set(tenant_id)
    try:
        yield
    finally:
        _current.reset(before)
