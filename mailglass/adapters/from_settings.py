"""The adapters that settings alone describe; others are given to ``Mailglass`` in code."""

from __future__ import annotations

import ssl
from typing import Final

from mailglass.adapters import Adapter
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.settings import AdapterName, AdapterSetting, Settings

DEFAULT_ADAPTER: Final = "default"
"""The name of the adapter that the settings ``adapter`` and those beside it describe."""


def adapters_from(settings: Settings) -> dict[str, Adapter]:
    """Build every configured adapter, by its name.

    Raises:
        ConfigError: as ``adapter_from``; ``missing`` for a named one that does not say which it is;
            ``conflicting`` when two are named ``default``.

    """
    named: dict[str, Adapter] = {}
    for name, one in settings.named_adapters.items():
        if "adapter" not in one.model_fields_set:
            raise ConfigError(
                f"the setting named_adapters does not say which adapter {name} is",
                type=ConfigErrorType.MISSING,
                key="named_adapters",
                hint='{"main": {"adapter": "smtp", "smtp_host": "…"}}',
            )
        named[name] = adapter_from(one)
    is_single = "adapter" in settings.model_fields_set
    if is_single and DEFAULT_ADAPTER in named:
        raise ConfigError(
            "both adapter and named_adapters say what the adapter named default is",
            type=ConfigErrorType.CONFLICTING,
            key="named_adapters",
            hint="Give the one in named_adapters another name, or remove the other.",
        )
    return {DEFAULT_ADAPTER: adapter_from(settings)} | named if is_single or not named else named


def adapter_from(settings: AdapterSetting) -> Adapter:
    """Build the described adapter; nothing connects before the first mail.

    Raises:
        ConfigError: ``missing`` or ``invalid`` for a setting that the adapter needs.

    """
    match settings.adapter:
        case AdapterName.FAKE:
            from mailglass.adapters.fake import FakeAdapter  # noqa: PLC0415 - only when it is configured

            return FakeAdapter()
        case AdapterName.FILE:
            from mailglass.adapters.file import FileAdapter  # noqa: PLC0415 - only when it is configured

            if settings.file_folder is None:
                raise _missing("file_folder")
            return FileAdapter(settings.file_folder)
        case AdapterName.SMTP:
            return _smtp(settings)
        case provider:
            from mailglass.adapters.providers import build  # noqa: PLC0415 - only when it is configured

            return build(provider.value, settings.revealed_provider_options())


def _smtp(settings: AdapterSetting) -> Adapter:
    from mailglass.adapters.smtp import SmtpAdapter, SmtpSecurity  # noqa: PLC0415 - only when it is configured

    if settings.smtp_host is None:
        raise _missing("smtp_host")
    password = settings.smtp_password
    return SmtpAdapter(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=SmtpSecurity(settings.smtp_security.value),
        username=settings.smtp_username,
        password=password.get_secret_value if password else None,
        local_hostname=settings.smtp_local_hostname,
        connect_timeout_s=settings.smtp_connect_timeout_s,
        command_timeout_s=settings.smtp_command_timeout_s,
        final_dot_timeout_s=settings.smtp_final_dot_timeout_s,
        ssl_context=_context(settings),
    )


def _context(settings: AdapterSetting) -> ssl.SSLContext | None:
    if settings.smtp_ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.smtp_ca_file)
    except OSError as error:
        raise ConfigError(
            "the file of SMTP certificate authorities cannot be read",
            type=ConfigErrorType.INVALID,
            key="smtp_ca_file",
            hint="Name a PEM file that this process may read.",
        ) from error


def _missing(key: str) -> ConfigError:
    return ConfigError(f"{key} is not set", type=ConfigErrorType.MISSING, key=key)
