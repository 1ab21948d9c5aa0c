"""Observers: who is told of counters and spans, and kept from doing harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

Value: TypeAlias = str | int
Fields: TypeAlias = Mapping[str, Value]
"""Names from ``FIELDS``, with ids, codes and numbers."""


class Observer(Protocol):
    """Is told of what happens, in the thread where it happens; so it must be quick.

    What it raises is reported by its kind and goes no further.
    """

    def counted(self, name: str, fields: Fields) -> None:
        """Count one signal."""

    def begun(self, name: str) -> Callable[[Fields | None, float], None]:
        """Begin a span; return what is called at its end, in the same thread.

        It is called with the span's fields and how many seconds it took; with None in place of fields
        where there was nothing to tell of.
        """


_observers: Final[list[Observer]] = []


def observe(observer: Observer) -> Callable[[], None]:
    """Tell an observer of everything from now on; call what is returned to stop. Twice is once."""
    if observer not in _observers:
        _observers.append(observer)

    def forget() -> None:
        if observer in _observers:
            _observers.remove(observer)

    return forget


def observers() -> tuple[Observer, ...]:
    """Return who is to be told now."""
    return tuple(_observers)
