"""The public names."""

from __future__ import annotations

import mailglass


def test_public_names_are_sorted_and_complete() -> None:
    """``__all__`` lists what the package can give, and only that."""
    assert mailglass.__all__ == sorted(mailglass.__all__)
    assert set(mailglass.__all__) == set(mailglass._HOME)
    assert dir(mailglass) == mailglass.__all__


def test_every_public_name_is_there_and_explained() -> None:
    """Each name resolves and has a docstring, but for aliases of a type."""
    for name in mailglass.__all__:
        assert getattr(mailglass, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typing error is told at once."""
    assert not hasattr(mailglass, "Maiglass")
