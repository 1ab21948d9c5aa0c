"""The network guard: outside production no adapter reaches the world unless that was asked for."""

from __future__ import annotations

from collections.abc import Callable

from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.file import FileAdapter
from mailglass.adapters.smtp_server import is_loopback
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.settings import Environment, Settings

SETTING = "enable_real_network"
"""The ``key`` of the error, by which dispatch knows that the mail stays queued."""


def guarded(
    adapter_named: Callable[[str], Adapter], settings: Settings
) -> Callable[[str], Adapter]:
    """Return the look-up with the guard before it; what is looked up through it may send.

    Intake asks it before any row exists. A worker asks it before each attempt, and a mail that it
    finds refused there stays queued: a copy of production's database mails nobody.

    Raises:
        ConfigError: ``conflicting`` from the look-up, for an adapter that leaves this machine.

    """

    def named(ref: str) -> Adapter:
        adapter = adapter_named(ref)
        refuse_real_network(adapter, settings)
        return adapter

    return named


def refuse_real_network(adapter: Adapter, settings: Settings) -> None:
    """Refuse an adapter that leaves this machine where nobody asked for real mail.

    Raises:
        ConfigError: ``conflicting``, with key ``enable_real_network``.

    """
    if settings.environment is Environment.PRODUCTION or settings.enable_real_network:
        return
    if stays_on_this_machine(adapter):
        return
    raise ConfigError(
        f"{adapter.name} would send real mail, and the environment is {settings.environment.value}",
        type=ConfigErrorType.CONFLICTING,
        key=SETTING,
        hint="Set MAILGLASS_ENVIRONMENT=production, or MAILGLASS_ENABLE_REAL_NETWORK=1 to send real "
        "mail from here. The adapters fake and file, and SMTP to this machine, need neither.",
    )


def stays_on_this_machine(adapter: Adapter) -> bool:
    """Tell whether an adapter is known to reach nobody: one that is not known counts as real.

    An SMTP host counts by what it is called (``localhost``, 127.0.0.0/8, ::1), without asking DNS.
    """
    if isinstance(adapter, FakeAdapter | FileAdapter):
        return True
    from mailglass.adapters.smtp import SmtpAdapter  # noqa: PLC0415 - most processes have another

    if not isinstance(adapter, SmtpAdapter):
        return False
    return is_loopback(adapter._server.host)  # noqa: SLF001 - the adapter shows its host in its repr alone
