"""Endpoints: where a provider calls, whose events come in there, and what proves them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, TypeAlias, runtime_checkable

from mailglass.errors import ConfigError, ConfigErrorType, TenancyError, TenancyErrorType
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.readers import READERS
from mailglass.webhook import BODY_BYTES_MAX, PARSED_BYTES_MAX, ProviderEvent, WebhookRequest

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@runtime_checkable
class Receiving(Protocol):
    """The part of an adapter that understands its provider's webhooks."""

    @property
    def name(self) -> str:
        """Return the provider's name."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise SignatureError unless the provider sent the request."""

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return what a verified request reports."""


@runtime_checkable
class Confirming(Receiving, Protocol):
    """An adapter whose provider wants its subscription confirmed."""

    def confirm(self, request: WebhookRequest) -> bool:
        """Confirm what the request asks to confirm; tell whether it asked."""


TenantOf: TypeAlias = Callable[[WebhookRequest], "str | None"]
"""Tells whose mail a verified request reports on, None where it knows nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address at which one provider reports on the mail of one tenant.

    It is called at ``/webhooks/<provider>/<name>``, or without its name where it is the provider's
    only one. The tenant stands here, or a function of yours finds it once a request has verified;
    it is never what a request says of itself. ``body_bytes_max`` bounds a request, 10 MB unless it
    says otherwise and 64 MB at most. With a ``mailbox`` what comes in is received mail, and no
    report.

    Raises:
        ConfigError: ``invalid`` for a name that cannot stand in an address, for a bound above 64 MB
            and for a mailbox of a provider whose mail cannot be read.

    """

    name: str
    adapter: Receiving = field(repr=False)
    tenant_id: str | TenantOf
    body_bytes_max: int = BODY_BYTES_MAX
    mailbox: Mailbox | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a name that cannot stand in an address."""
        if _NAME.fullmatch(self.name) is None:
            raise ConfigError(
                "an endpoint's name is lower-case letters, digits, - and _, at most 64",
                type=ConfigErrorType.INVALID,
                key="endpoints",
            )
        if not 0 < self.body_bytes_max <= PARSED_BYTES_MAX:
            raise ConfigError(
                f"an endpoint takes requests of 1 to {PARSED_BYTES_MAX} bytes",
                type=ConfigErrorType.INVALID,
                key="body_bytes_max",
            )
        if self.mailbox is not None and self.provider not in READERS:
            raise ConfigError(
                f"{self.provider} hands over no mail that can be read",
                type=ConfigErrorType.INVALID,
                key="endpoints",
                hint=f"Those that do are {', '.join(sorted(READERS))}.",
            )

    @property
    def provider(self) -> str:
        """Return the provider's name."""
        return self.adapter.name

    def tenant_of(self, request: WebhookRequest) -> str:
        """Return whose mail a verified request reports on.

        Raises:
            TenancyError: ``webhook_tenant_unresolved`` when the endpoint's function knows nobody,
                or raises.

        """
        if isinstance(self.tenant_id, str):
            return self.tenant_id or self._nobody()
        try:
            found = self.tenant_id(request)
        except Exception as error:  # noqa: BLE001 - a function of the application's, of which nothing is known
            self._nobody(error)
        return found if isinstance(found, str) and found else self._nobody()

    def _nobody(self, cause: Exception | None = None) -> NoReturn:
        raise TenancyError(
            "a webhook came for a tenant that nobody knows",
            type=TenancyErrorType.WEBHOOK_TENANT_UNRESOLVED,
            provider=self.provider,
            reason=self.path,
        ) from cause

    def is_of(self, tenant_id: str) -> bool:
        """Tell whether what came in here before may have been this tenant's."""
        return not isinstance(self.tenant_id, str) or self.tenant_id == tenant_id

    @property
    def path(self) -> str:
        """Return what names it among all: ``provider/name``."""
        return f"{self.provider}/{self.name}"


def endpoints_of(adapters: Mapping[str, Any], tenant_id: str | None) -> tuple[Endpoint, ...]:
    """Return an endpoint of the default tenant for each adapter that receives webhooks."""
    if tenant_id is None:
        return ()
    return tuple(
        Endpoint(name=ref, adapter=adapter, tenant_id=tenant_id)
        for ref, adapter in adapters.items()
        if isinstance(adapter, Receiving) and _NAME.fullmatch(ref)
    )


def by_path(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """Return endpoints by ``provider/name``, and by ``provider`` where there is only one of it.

    Raises:
        ConfigError: ``conflicting`` for two of the same provider and name.

    """
    found: dict[str, Endpoint] = {}
    alone: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        if one.path in found:
            raise ConfigError(
                f"two endpoints of {one.provider} are called {one.name}",
                type=ConfigErrorType.CONFLICTING,
                key="endpoints",
            )
        found[one.path] = one
        alone.setdefault(one.provider, []).append(one)
    return found | {name: many[0] for name, many in alone.items() if len(many) == 1}
