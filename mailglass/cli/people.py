"""What ``erase`` and ``export`` share: one tenant's people opened for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailglass.cli.suppression_options import book

if TYPE_CHECKING:
    from mailglass.delivery.people import People


@contextmanager
def people(database_url: str | None, tenant_id: str | None, by: str | None) -> Iterator[People]:
    """Open what one tenant holds on people."""
    from mailglass.delivery.people import People

    with book(database_url, tenant_id, by) as opened:
        yield People(
            store=opened.store,
            tenant_id=opened.tenant_id,
            by=opened.by,
            erasure_key=opened.erasure_key,
        )
