"""The verbs of Mailglass that read the ledger, or write to it without a mail."""

from __future__ import annotations

from uuid import UUID

from mailglass.asked import an_id
from mailglass.clock import Clock
from mailglass.compliance.tracking import Seen
from mailglass.deliveries import Delivery
from mailglass.delivery.leave import unsubscribe
from mailglass.delivery.people import People, people_of
from mailglass.delivery.record import Report, record
from mailglass.delivery.see import see
from mailglass.errors import SendError, SendErrorType
from mailglass.events import Event
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions
from mailglass.settings import Settings
from mailglass.suppression import Suppression
from mailglass.tenancy import Tenancy


class HistoryVerbs:
    """Is the part of Mailglass that knows what became of a mail; it uses the parts that Mailglass holds.

    Each verb that works within a tenant raises ``TenancyError`` when none is set.
    """

    settings: Settings
    store: Store
    _tenancy: Tenancy
    _clock: Clock

    def delivery(self, delivery_id: UUID) -> Delivery | None:
        """Return a delivery of the current tenant, or None; a text that is no id names none."""
        known = an_id(delivery_id)
        tenant_id = self._tenancy.current()
        return None if known is None else self.store.delivery(tenant_id, known)

    def deliveries_of(self, message_id: UUID) -> tuple[Delivery, ...]:
        """Return every recipient's delivery of one message."""
        known = an_id(message_id)
        tenant_id = self._tenancy.current()
        return () if known is None else self.store.deliveries_of_message(tenant_id, known)

    def events(self, delivery_id: UUID) -> tuple[Event, ...]:
        """Return the history of a delivery, the first event first."""
        known = an_id(delivery_id)
        tenant_id = self._tenancy.current()
        return () if known is None else self.store.events_of_delivery(tenant_id, known)

    def record(self, fact: Report) -> Event | None:
        """Append what a provider reports; None when it was recorded before."""
        return record(self.store, self._tenancy.current(), fact)

    def unsubscribe(self, delivery_id: UUID) -> bool:
        """Take a delivery's recipient off its stream, whosever tenant it is; False for an unknown id.

        The link that was followed speaks for the delivery, so no tenant is asked for. Doing it again
        changes nothing.
        """
        known = an_id(delivery_id)
        return known is not None and unsubscribe(self.store, known, self._clock())

    def see(self, seen: Seen) -> bool:
        """Record an open or a click, whosever tenant it is; False for an unknown delivery.

        Give it to ``TrackingPages`` as ``record``: the link that was used speaks for the delivery.
        """
        return see(self.store, seen)

    def suppress(self, entry: Suppression) -> None:
        """Refuse mail to an address, a domain or an address on one stream from now on."""
        Suppressions(store=self.store, tenant_id=self._tenancy.current()).add(entry)

    def people(self, *, by: str = "application") -> People:
        """Return the current tenant's people: export with ``held_on``, forget with ``erase``."""
        return people_of(self.store, self.settings, self._tenancy.current(), by=by)

    def _known(self, tenant_id: str, delivery_id: UUID) -> Delivery:
        known = an_id(delivery_id)
        found = None if known is None else self.store.delivery(tenant_id, known)
        if found is None:
            raise SendError(
                "this tenant has no such delivery",
                type=SendErrorType.PAYLOAD_MISSING,
                delivery_id=known,
            )
        return found
