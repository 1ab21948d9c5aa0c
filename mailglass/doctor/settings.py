"""Checks of the settings: values that load, but cannot be meant so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from mailglass.adapters.from_settings import DEFAULT_ADAPTER
from mailglass.adapters.smtp_server import is_loopback
from mailglass.compliance.dkim_keys import DkimKey
from mailglass.doctor.check import Check, Fault, Need, Status
from mailglass.doctor.patient import Patient
from mailglass.errors import ConfigError
from mailglass.settings import AdapterName, AdapterSetting, SmtpSecuritySetting

_SECRETS: Final = (
    "MAILGLASS_SMTP_PASSWORD",
    "MAILGLASS_DATABASE_URL",
    "DATABASE_URL",
    "MAILGLASS_BROKER_URL",
    "MAILGLASS_LIMITS_REDIS_URL",
    "MAILGLASS_ERASURE_KEY",
)
_SECRETS_IN_JSON: Final = (
    "MAILGLASS_TOKEN_SECRETS",
    "MAILGLASS_PROVIDER_OPTIONS",
    "MAILGLASS_NAMED_ADAPTERS",
)
_SECRET_FIELDS: Final = re.compile(r"(?i)(password|secret|token|key)")
"""What a name says whose value, deep in JSON, is a secret."""
_PEM: Final = "-----BEGIN "
"""A key that ends in a line end, as it should."""
_PLACEHOLDER: Final = re.compile(
    r"(?i)^(<.*>|\$\{.*\}|x{3,}|\*+|change[-_ ]?me|your[-_ ].*|placeholder|secret|password|example|dummy|none)$"
)
_URL_PASSWORD: Final = re.compile(r"^[a-z+]+://[^:/@]*:([^@]*)@")
_MILLISECONDS_FROM: Final = 1000.0
_FINAL_DOT_S_MIN: Final = 60.0
_IMPLICIT_TLS_PORT: Final = 465
_STARTTLS_PORTS: Final = (25, 587, 2525)
_RELAY_PORT: Final = 25
_MICROSOFT: Final = ("smtp.office365.com", "smtp-mail.outlook.com", "smtp.outlook.com")


def _loads(patient: Patient) -> Iterator[Fault]:
    if patient.settings_error is not None:
        yield Fault(seen=patient.settings_error)


def _secrets(patient: Patient) -> Iterator[tuple[str, str]]:
    for given, value in patient.environ.items():
        if given.upper() in _SECRETS and value:
            yield given, value
        elif given.upper() in _SECRETS_IN_JSON and value:
            yield from _secrets_inside(given, value)


def _secrets_inside(name: str, value: str) -> Iterator[tuple[str, str]]:
    try:
        document = json.loads(value)
    except ValueError:
        return  # settings.load tells of it
    is_list = isinstance(document, list)
    yield from _leaves(name, document, is_secret=is_list)


def _leaves(name: str, found: object, *, is_secret: bool) -> Iterator[tuple[str, str]]:
    match found:
        case str() if is_secret and _PEM not in found:
            yield name, found
        case list():
            for one in found:
                yield from _leaves(name, one, is_secret=is_secret)
        case dict():
            for key, one in found.items():
                is_named = _SECRET_FIELDS.search(str(key)) is not None
                yield from _leaves(f"{name}, {key}", one, is_secret=is_named)


def _whitespace(patient: Patient) -> Iterator[Fault]:
    for name, value in _secrets(patient):
        if value != value.strip():
            yield Fault(seen=f"{name} begins or ends with a space or a line end")


def _quotes(patient: Patient) -> Iterator[Fault]:
    for name, value in _secrets(patient):
        plain = value.strip()
        if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'`":
            yield Fault(seen=f"{name} stands in quotes, which are part of the value")


def _placeholder(patient: Patient) -> Iterator[Fault]:
    for name, value in _secrets(patient):
        in_url = _URL_PASSWORD.match(value.strip())
        is_url = "://" in value
        secret = in_url[1] if in_url else value.strip()
        if (in_url or not is_url) and _PLACEHOLDER.match(secret):
            yield Fault(seen=f"the secret in {name} is the placeholder of an example")


def _timeout_unit(patient: Patient) -> Iterator[Fault]:
    for given, value in patient.environ.items():
        name = given.upper()
        if not (name.startswith("MAILGLASS_") and name.endswith("_TIMEOUT_S")):
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        if number >= _MILLISECONDS_FROM:
            yield Fault(seen=f"{given} is {number:g} seconds")


def _smtp(patient: Patient) -> Iterator[tuple[str, AdapterSetting]]:
    """Yield the adapters that speak SMTP, each with how a fault of it begins."""
    for name, setting in patient.adapters.items():
        if setting.adapter is AdapterName.SMTP:
            yield _of(name), setting


def _of(name: str) -> str:
    return "" if name == DEFAULT_ADAPTER else f"adapter {name}: "


def _final_dot(patient: Patient) -> Iterator[Fault]:
    for where, one in _smtp(patient):
        if one.smtp_final_dot_timeout_s < _FINAL_DOT_S_MIN:
            seen = f"{where}smtp_final_dot_timeout_s is {one.smtp_final_dot_timeout_s:g}"
            yield Fault(seen=seen)


def _port_and_tls(patient: Patient) -> Iterator[Fault]:
    for where, one in _smtp(patient):
        port, security = one.smtp_port, one.smtp_security
        if port == _IMPLICIT_TLS_PORT and security is not SmtpSecuritySetting.TLS:
            seen = f"{where}port 465 speaks TLS from the first byte, smtp_security is {security}"
            yield Fault(seen=seen)
        if port in _STARTTLS_PORTS and security is SmtpSecuritySetting.TLS:
            yield Fault(seen=f"{where}port {port} begins in plain text, smtp_security is tls")


def _plain_text(patient: Patient) -> Iterator[Fault]:
    for where, one in _smtp(patient):
        is_open = one.smtp_security is SmtpSecuritySetting.NONE
        if is_open and not is_loopback(one.smtp_host or ""):
            status = Status.ERROR if patient.is_production else None
            yield Fault(seen=f"{where}mail leaves this host without encryption", status=status)


def _relay_port(patient: Patient) -> Iterator[Fault]:
    for where, one in _smtp(patient):
        if one.smtp_port == _RELAY_PORT and one.smtp_username:
            yield Fault(seen=f"{where}credentials are used on port 25")


def _microsoft(patient: Patient) -> Iterator[Fault]:
    for where, one in _smtp(patient):
        host = (one.smtp_host or "").lower().rstrip(".")
        if host in _MICROSOFT and one.smtp_password is not None:
            yield Fault(seen=f"{where}a password is used with {host}")


def _ca_file(patient: Patient) -> Iterator[Fault]:
    for name, one in patient.adapters.items():
        if one.smtp_ca_file is not None and not one.smtp_ca_file.is_file():
            yield Fault(seen=f"{_of(name)}smtp_ca_file names no file")


def _real_adapter(patient: Patient) -> Iterator[Fault]:
    for name, one in patient.adapters.items():
        if patient.is_production and one.adapter in {AdapterName.FAKE, AdapterName.FILE}:
            yield Fault(seen=f"{_of(name)}the adapter is {one.adapter}: no mail leaves")


def _keys(patient: Patient) -> Iterator[Fault]:
    for number, one in enumerate(patient.the_settings.dkim_keys, start=1):
        try:
            DkimKey.from_pem(one.file.read_bytes(), domain=one.domain, selector=one.selector)
        except OSError as error:
            yield Fault(
                seen=f"the file of DKIM key {number} cannot be read: {type(error).__name__}"
            )
        except ConfigError as error:
            yield Fault(seen=f"DKIM key {number}: {error.message}")


def _folders(patient: Patient) -> Iterator[Fault]:
    settings = patient.the_settings
    for number, folder in enumerate(settings.templates, start=1):
        if not folder.is_dir():
            yield Fault(seen=f"folder {number} of templates is not there")
    if settings.attachments_root is not None and not settings.attachments_root.is_dir():
        yield Fault(seen="attachments_root is not there")


CHECKS: Final = (
    Check(
        id="settings.load", need=Need.ENVIRONMENT, status=Status.ERROR, look=_loads,
        title="The settings are complete and agree with each other",
        fix="Mend the setting that is named.",
    ),
    Check(
        id="settings.secret_whitespace", need=Need.ENVIRONMENT, status=Status.ERROR,
        look=_whitespace, title="No secret has white space around it",
        fix="Set it again without the space; a file that a secret is read from ends in no line end.",
    ),
    Check(
        id="settings.secret_quotes", need=Need.ENVIRONMENT, status=Status.ERROR, look=_quotes,
        title="No secret stands in quotes",
        fix="Take the quotes away: container and service files pass them on as they are.",
    ),
    Check(
        id="settings.secret_placeholder", need=Need.ENVIRONMENT, status=Status.ERROR,
        look=_placeholder, title="No secret is a placeholder",
        fix="Put the real secret in its place.",
    ),
    Check(
        id="settings.timeout_unit", need=Need.ENVIRONMENT, status=Status.ERROR,
        look=_timeout_unit, title="Times are in seconds",
        fix="Times are in seconds, as their names say: divide milliseconds by 1000.",
    ),
    Check(
        id="settings.final_dot_timeout", need=Need.SETTINGS, status=Status.WARNING,
        look=_final_dot, title="The server has time to accept a mail",
        fix="Wait longer: who hangs up early does not know whether the mail was accepted. "
        "RFC 5321 section 4.5.3.2.6 asks for 600 seconds.",
    ),
    Check(
        id="settings.smtp_port_and_tls", need=Need.SETTINGS, status=Status.ERROR,
        look=_port_and_tls, title="Port and encryption fit together",
        fix="Use starttls with 587 or 25, and tls with 465 (RFC 8314).",
    ),
    Check(
        id="settings.smtp_plain_text", need=Need.SETTINGS, status=Status.WARNING,
        look=_plain_text, title="SMTP is encrypted",
        fix="Set MAILGLASS_SMTP_SECURITY to starttls or tls.",
    ),
    Check(
        id="settings.smtp_relay_port", need=Need.SETTINGS, status=Status.WARNING,
        look=_relay_port, title="Mail is submitted on a submission port",
        fix="Use port 587 or 465: many networks block 25 (RFC 6409).",
    ),
    Check(
        id="settings.microsoft_basic_auth", need=Need.SETTINGS, status=Status.WARNING,
        look=_microsoft, title="The account does not depend on Microsoft's basic authentication",
        fix="Move to OAuth or another relay: Exchange Online switches passwords for SMTP off by "
        "default at the end of December 2026; afterwards an administrator has to allow them.",
    ),
    Check(
        id="settings.smtp_ca_file", need=Need.SETTINGS, status=Status.ERROR, look=_ca_file,
        title="The file of certificate authorities is there",
        fix="Name a PEM file that this process may read, or unset MAILGLASS_SMTP_CA_FILE.",
    ),
    Check(
        id="settings.adapter", need=Need.SETTINGS, status=Status.ERROR, look=_real_adapter,
        title="Production mail leaves the host",
        fix="Set MAILGLASS_ADAPTER=smtp, or give adapters in code.",
    ),
    Check(
        id="settings.dkim_keys", need=Need.SETTINGS, status=Status.ERROR, look=_keys,
        title="The DKIM keys can be read",
        fix="Name unencrypted private keys in PEM that this process may read; `mailglass dkim` "
        "makes them.",
    ),
    Check(
        id="settings.folders", need=Need.SETTINGS, status=Status.ERROR, look=_folders,
        title="The folders that are named are there",
        fix="Make the folder, or correct MAILGLASS_TEMPLATES or MAILGLASS_ATTACHMENTS_ROOT.",
    ),
)  # fmt: skip
