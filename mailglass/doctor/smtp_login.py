"""Logs in at an SMTP server as the adapter would, and leaves without a mail."""

from __future__ import annotations

import ssl
from typing import Final

from mailglass.adapters.from_settings import adapter_from
from mailglass.adapters.smtp_auth import SmtpAuth, credentials_of
from mailglass.adapters.smtp_server import Server, SmtpSecurity
from mailglass.adapters.smtp_session import LoginRefusedError, account_refused, open_session
from mailglass.settings import AdapterSetting

WAIT_S_MAX: Final = 10.0
"""How long a step may take at most; the adapter itself may be more patient."""


def log_in(setting: AdapterSetting) -> None:
    """Connect, encrypt, log in where the settings have credentials, and say QUIT.

    Raises:
        SendError: ``adapter_failure``; the server is not reached or does not answer in time.
        ConfigError: ``invalid`` for certificate, security or credentials, and as ``adapter_from``.

    """
    adapter_from(setting)  # refuses what may not be tried, credentials in the clear for one
    password = setting.smtp_password
    credentials = credentials_of(
        username=setting.smtp_username,
        password=password.get_secret_value if password else None,
        auth=SmtpAuth.AUTO,
        tokens=None,
    )
    try:
        session = open_session(_server(setting), credentials, None)
    except LoginRefusedError as refused:
        raise account_refused(refused.label) from None
    session.quit()


def _server(setting: AdapterSetting) -> Server:
    security = SmtpSecurity(setting.smtp_security.value)
    wait_s = min(setting.smtp_command_timeout_s, WAIT_S_MAX)
    return Server(
        host=setting.smtp_host or "",
        port=setting.smtp_port,
        security=security,
        context=None if security is SmtpSecurity.NONE else _context(setting),
        local_hostname=setting.smtp_local_hostname,
        connect_timeout_s=min(setting.smtp_connect_timeout_s, WAIT_S_MAX),
        command_timeout_s=wait_s,
        body_timeout_s=wait_s,
        final_dot_timeout_s=wait_s,
    )


def _context(setting: AdapterSetting) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=setting.smtp_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
