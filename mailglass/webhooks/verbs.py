"""The verbs of Mailglass that are about what providers report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.ledger.store import Store
from mailglass.ledger.webhooks import WebhookStore
from mailglass.preflight.suppression import erasure_key_of
from mailglass.settings import Settings
from mailglass.webhook import WebhookRequest
from mailglass.webhooks.answers import Answer
from mailglass.webhooks.endpoint import Endpoint, by_path, endpoints_of
from mailglass.webhooks.ingest import Ingest
from mailglass.webhooks.reconcile import Reconciled, reconcile
from mailglass.webhooks.replay import Replayed, replay


class WebhookVerbs:
    """Is the part of Mailglass that takes webhooks in; it uses the parts that Mailglass holds.

    Without ``endpoints`` each adapter that receives webhooks has one under its own name, for the
    default tenant.
    """

    settings: Settings
    store: Store
    _adapters: dict[str, Adapter]
    _endpoints: Sequence[Endpoint] | None

    @cached_property
    def webhooks(self) -> Ingest:
        """Return the endpoints and what takes their requests in.

        Raises:
            ConfigError: ``conflicting`` for two endpoints of the same provider and name.

        """
        given = self._endpoints
        if given is None:
            given = endpoints_of(self._adapters, self.settings.default_tenant)
        kept = WebhookStore(store=self.store, erasure_key=erasure_key_of(self.settings))
        return Ingest(endpoints=by_path(given), webhooks=kept)

    def ingest(self, endpoint: str, request: WebhookRequest) -> Answer:
        """Take one webhook in and return the answer that its provider needs; it raises for no request.

        ``endpoint`` is ``provider/name``, or ``provider`` where it has one endpoint alone. After a
        200 the request is stored, whatever happens to this process; any other answer says that
        nothing was lost or that the request is not genuine.
        """
        return self.webhooks.take(endpoint, request)

    def webhook_bytes_max(self, endpoint: str) -> int:
        """Return how many bytes a request to an endpoint may have: what the door in front reads at most."""
        return self.webhooks.bytes_max(endpoint)

    async def aingest(self, endpoint: str, request: WebhookRequest) -> Answer:
        """Ingest as ``ingest`` does, without holding up the event loop."""
        return await asyncio.to_thread(self.ingest, endpoint, request)

    def reconcile(self, tenant_id: str | None = None) -> Reconciled:
        """Link reports that came before their delivery, of one tenant or of all; run it now and then."""
        return reconcile(self.webhooks, tenant_id)

    async def areconcile(self, tenant_id: str | None = None) -> Reconciled:
        """Reconcile as ``reconcile`` does, without holding up the event loop."""
        return await asyncio.to_thread(self.reconcile, tenant_id)

    def replay(self, receipt_id: UUID, tenant_id: str | None = None) -> Replayed | None:
        """Read a kept webhook again; None when there is none of that id and tenant.

        Raises:
            ConfigError: ``missing`` when its endpoint is not configured.
            SendError: retryable, when the provider could not be asked for what it keeps of a mail.

        """
        return replay(self.webhooks, receipt_id, tenant_id)
