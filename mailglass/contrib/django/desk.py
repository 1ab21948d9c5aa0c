"""The Mailglass of a Django process, and mail that is queued in Django's own transaction."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connections, transaction

from mailglass.app import Mailglass, Prepared
from mailglass.contrib.holder import Holder
from mailglass.errors import ConfigError, ConfigErrorType, MailglassError
from mailglass.ledger.database import VARIABLES, DatabaseChoice
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.telemetry import Signal, report
from mailglass.tenancy import tenant

SETTING: Final = "MAILGLASS"
ALIAS: Final = "default"


def given_settings() -> dict[str, Any]:
    """Return the dict ``MAILGLASS`` of Django's settings."""
    return dict(getattr(django_settings, SETTING, {}))


def takes_djangos_database() -> bool:
    """Tell whether the Mailglass of this process is to use Django's database: no other was named."""
    is_named = "database_url" in given_settings() or any(os.environ.get(one) for one in VARIABLES)
    return not is_named and connections[ALIAS].vendor == "postgresql"


def shares_database(desk: Mailglass, using: str = ALIAS) -> bool:
    """Tell whether a Mailglass is on one of Django's databases, by server, port and name."""
    if connections[using].vendor != "postgresql":
        return False
    source = desk.database.source
    ours = DatabaseChoice(url=database_url(using), source=source, is_embedded=False)
    return not desk.database.is_embedded and ours.describe() == desk.database.describe()


def get_mailglass() -> Mailglass:
    """Return the Mailglass of this process, made at first use.

    Raises:
        ConfigError: for settings that are missing or wrong.

    """
    return _holder.get()


@contextmanager
def using_mailglass(mail: Mailglass) -> Iterator[None]:
    """Let Django use another Mailglass for a block, such as a test's ``mailbox``."""
    with _holder.using(mail):
        yield


def queue(mail: Mailable | Message, *, using: str = ALIAS, at_once: bool = False) -> Prepared:
    """Queue a mail by one statement on Django's connection: a rollback leaves nothing of it.

    After the commit a worker is woken; with ``at_once`` the mail is attempted here instead, and
    what came of it is in the ledger. The database of ``using`` has to be the one with the mails.

    Raises:
        ConfigError: ``conflicting`` where Django's database is not PostgreSQL.
        MailglassError: as ``Mailglass.prepare``.
        django.db.Error: the database refuses the statement, as one that is not migrated does.

    """
    if connections[using].vendor != "postgresql":
        raise ConfigError(
            "queue() needs PostgreSQL as Django's database",
            type=ConfigErrorType.CONFLICTING,
            key="database_url",
            hint="With another database call get_mailglass().deliver_later(…) after the commit.",
        )
    desk = get_mailglass()
    prepared = desk.prepare(mail)
    with connections[using].cursor() as cursor:
        cursor.execute(prepared.statement, dict(prepared.parameters))
    after = _attempt if at_once else _wake
    _after_commit(after, desk, prepared, using)
    return prepared


async def aqueue(
    mail: Mailable | Message, *, using: str = ALIAS, at_once: bool = False
) -> Prepared:
    """Queue as ``queue`` does, from async code: in the thread in which Django's connections live."""
    return await sync_to_async(queue)(mail, using=using, at_once=at_once)


def queue_after_commit(mail: Mailable | Message, *, using: str = ALIAS) -> Prepared:
    """Check a mail now and queue it, in a database of its own, when Django's transaction commits.

    It is of the tenant that is set now. A database that is away at the commit loses the mail; Django
    logs that, and the application's own work after the commit is done all the same.

    Raises:
        MailglassError: as ``Mailglass.prepare``.

    """
    desk = get_mailglass()
    prepared = desk.prepare(mail)
    _after_commit(_store, desk, prepared, using)
    return prepared


def _after_commit(
    step: Callable[[Mailglass, Prepared], None], desk: Mailglass, prepared: Prepared, using: str
) -> None:
    # A function and no partial: Django writes its name into the log when it fails.
    def after_commit() -> None:
        step(desk, prepared)

    transaction.on_commit(after_commit, using=using, robust=True)


def _store(desk: Mailglass, prepared: Prepared) -> None:
    if desk.store.queue_message(prepared.parameters):
        _wake(desk, prepared)


def _wake(desk: Mailglass, prepared: Prepared) -> None:
    desk._wake((prepared.message_id,))  # noqa: SLF001 - the broker that the settings name is rung too


def _attempt(desk: Mailglass, prepared: Prepared) -> None:
    """Attempt a queued mail; it is committed, so a failure is told by the ledger and in the log."""
    delivery_id = prepared.delivery_ids[0]
    try:
        # The tenant of the mail: a commit may come after the block that set it.
        with tenant(str(prepared.parameters["tenant_id"])):
            # None where its idempotency key was used before: then the first mail stands.
            if desk.delivery(delivery_id) is not None:
                desk.dispatch(delivery_id)
    except (MailglassError, BaseExceptionGroup) as error:
        report(
            Signal.DISPATCH_RAISED,
            level=logging.WARNING,
            message_id=prepared.message_id,
            error_type=type(error).__name__,
        )


def _make() -> Mailglass:
    given = given_settings()
    if takes_djangos_database():
        given["database_url"] = database_url()
    return Mailglass.from_env(**given)


def database_url(using: str = ALIAS) -> str:
    """Return the address of one of Django's databases; it may hold a password."""
    known = connections[using].settings_dict
    user = quote(str(known["USER"] or ""), safe="")
    password = f":{quote(str(known['PASSWORD']), safe='')}" if known["PASSWORD"] else ""
    more = {"host": known["HOST"], "port": known["PORT"]}
    options = urlencode({name: value for name, value in more.items() if value})
    login = f"{user}{password}@" if user else ""
    name = quote(str(known["NAME"]), safe="")
    return f"postgresql://{login}/{name}{f'?{options}' if options else ''}"


_holder: Final = Holder(_make)
