"""The patient: everything that the checks look at, gathered once; what could not be had, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailglass.adapters.from_settings import DEFAULT_ADAPTER
from mailglass.doctor.check import UnverifiableError
from mailglass.doctor.dns import Lookup
from mailglass.doctor.route import Application
from mailglass.doctor.server import ServerSigns, signs_of
from mailglass.doctor.smtp_login import log_in
from mailglass.errors import ConfigError
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.inspection import DatabaseFacts, inspect
from mailglass.mailable import Mailable
from mailglass.settings import AdapterSetting, Environment, Settings, load_settings

if TYPE_CHECKING:
    from mailglass.ledger.store import Store

EMBEDDED_ROLE: Final = "mailglass_app"
QUIET_S: Final = 3600.0
WEBHOOKS_URL: Final = "https://localhost/webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A set-up to be examined.

    ``environ`` are the variables as they are set. Where ``settings``, ``facts`` or ``store`` is
    None, ``settings_error`` or ``database_error`` says why, without secrets; where ``mailables`` is
    empty, ``mailables_error`` may. ``domains`` are those
    that mail is sent from, ``selectors`` the DKIM selectors of each, ``addresses`` the IP addresses
    that mail leaves from. Nothing sent for ``quiet_s`` seconds while mail waits is a fault.

    ``call_broker`` raises whatever keeps it from the broker that the settings name, ``log_in`` what
    keeps it from an SMTP server. ``application`` returns the web application that mounts mailglass,
    or raises UnverifiableError with the reason; it is asked for only where a provider sends webhooks,
    and ``webhooks_url`` is where the public address of its webhooks begins.
    """

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Settings | None = None
    settings_error: str | None = None
    database: DatabaseChoice | None = None
    database_error: str | None = None
    facts: DatabaseFacts | None = None
    signs: ServerSigns | None = None
    store: Store | None = None
    mailables: Sequence[type[Mailable]] = ()
    mailables_error: str | None = None
    domains: Sequence[str] = ()
    selectors: Sequence[str] = ()
    addresses: Sequence[str] = ()
    lookup: Lookup | None = None
    quiet_s: float = QUIET_S
    call_broker: Callable[[Settings], None] | None = None
    log_in: Callable[[AdapterSetting], None] = log_in
    application: Callable[[], Application] | None = None
    webhooks_url: str = WEBHOOKS_URL

    @property
    def is_production(self) -> bool:
        """Tell whether faults that development may have are errors here."""
        return self.settings is not None and self.settings.environment is Environment.PRODUCTION

    @property
    def adapters(self) -> Mapping[str, AdapterSetting]:
        """Return what the settings say of each adapter, by its name."""
        settings = self.the_settings
        is_single = "adapter" in settings.model_fields_set or not settings.named_adapters
        return ({DEFAULT_ADAPTER: settings} if is_single else {}) | settings.named_adapters

    @property
    def the_settings(self) -> Settings:
        """Return the settings; only checks that need them ask."""
        if self.settings is None:
            raise UnverifiableError("the settings do not load")
        return self.settings

    @property
    def the_mailables(self) -> Sequence[type[Mailable]]:
        """Return the mailables; only checks that look at mails ask."""
        if not self.mailables:
            reason = (
                self.mailables_error or "no mailable was looked at: name the module of your mails"
            )
            raise UnverifiableError(reason)
        return self.mailables

    @property
    def the_facts(self) -> DatabaseFacts:
        """Return the database's facts; only checks that need them ask."""
        if self.facts is None:
            raise UnverifiableError("the database was not reached")
        return self.facts

    @property
    def the_signs(self) -> ServerSigns:
        """Return what the server shows; only checks that need it ask."""
        if self.signs is None:
            raise UnverifiableError("the database was not reached")
        return self.signs

    @property
    def the_store(self) -> Store:
        """Return the store; only checks that need it ask."""
        if self.store is None:
            raise UnverifiableError("the database was not reached")
        return self.store


def patient_from(environ: Mapping[str, str], **known: Any) -> Patient:
    """Gather what is not among ``known``; the database only where its URL is known."""
    settings, settings_error = known.pop("settings", None), None
    if settings is None:
        try:
            settings = load_settings()
        except ConfigError as error:
            settings_error = error.message
    found = Patient(environ=environ, settings=settings, settings_error=settings_error, **known)
    return found if found.database is None else _with_database(found, known)


def _with_database(patient: Patient, known: Mapping[str, Any]) -> Patient:
    from mailglass.ledger.store import Store  # noqa: PLC0415 - only with a database

    choice, settings = patient.database, patient.settings
    if choice is None or settings is None:
        return patient
    role = settings.database_role or (EMBEDDED_ROLE if choice.is_embedded else None)
    parts: dict[str, Any] = dict(known) | {"environ": patient.environ, "settings": settings}
    try:
        facts = inspect(choice.url, role=role)
        with Store(choice.url, connections_max=1) as as_login:
            signs = signs_of(as_login)
    except DatabaseAwayError as error:
        return Patient(**parts, database_error=type(error).__name__)
    store = Store(choice.url, role=role if facts.role_can_be_taken else None)
    return Patient(**parts, facts=facts, signs=signs, store=store)
