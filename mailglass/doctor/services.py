"""Checks of what mail goes through beside the database: the broker, Redis, and SMTP servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from mailglass.doctor.check import Check, Fault, Need, Status, UnverifiableError
from mailglass.doctor.patient import Patient
from mailglass.errors import ConfigError, SendError
from mailglass.pacing.redis_passes import RedisAwayError, RedisPasses
from mailglass.settings import AdapterName

_IN_PROCESS: Final = "stub"
_TRIES: Final = 3
_NO_LIMIT: Final = ("doctor",)
"""A limit that nobody has: asking for it is a question that changes nothing."""


def _broker(patient: Patient) -> Iterator[Fault]:
    url = patient.the_settings.broker_url
    if url is None or urlsplit(url.get_secret_value()).scheme == _IN_PROCESS:
        return
    if patient.call_broker is None:
        raise UnverifiableError("nothing was given that can call the broker")
    try:
        patient.call_broker(patient.the_settings)
    except ConfigError as error:
        yield Fault(seen=error.message)
    except Exception as error:  # noqa: BLE001 - each broker's client has errors of its own
        yield Fault(seen=f"{_place(url.get_secret_value())}: {type(error).__name__}")


def _limits(patient: Patient) -> Iterator[Fault]:
    url = patient.the_settings.limits_redis_url
    if url is None:
        return
    try:
        passes = RedisPasses(url.get_secret_value())
    except ConfigError as error:
        yield Fault(seen=error.message)
        return
    try:
        away = _asked(passes)
    finally:
        passes.close()
    if away is not None:
        yield Fault(seen=f"{_place(url.get_secret_value())}: {type(away.__cause__).__name__}")


def _asked(passes: RedisPasses) -> RedisAwayError | None:
    """Return why Redis did not answer, not even once: it is given a second each time, as for a mail."""
    away: RedisAwayError | None = None
    for _ in range(_TRIES):
        try:
            passes.states(_NO_LIMIT, limit=1)
        except RedisAwayError as error:
            away = error
        else:
            return None
    return away


def _place(url: str) -> str:
    """Return what of an address is no secret: neither the user nor the password."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme} at {parts.hostname or 'no host'}{port}"


def _smtp_login(patient: Patient) -> Iterator[Fault]:
    for name, setting in patient.adapters.items():
        if setting.adapter is not AdapterName.SMTP:
            continue
        place = f"adapter {name}, {setting.smtp_host}:{setting.smtp_port}"
        try:
            patient.log_in(setting)
        except ConfigError as error:
            answer = f": {error.hint}" if error.hint else ""
            yield Fault(seen=f"{place}: {error.message}{answer}")
        except SendError as error:
            yield Fault(seen=f"{place}: {error.message} ({error.code})")


CHECKS: Final = (
    Check(
        id="services.broker", need=Need.SETTINGS, status=Status.ERROR, look=_broker,
        title="The broker that is named can be reached",
        fix="Look at MAILGLASS_BROKER_URL and at the broker; meanwhile Postgres wakes the workers.",
    ),
    Check(
        id="services.limits", need=Need.SETTINGS, status=Status.WARNING, look=_limits,
        title="The Redis that counts limits can be reached",
        fix="Look at MAILGLASS_LIMITS_REDIS_URL and at Redis; meanwhile Postgres counts.",
    ),
    Check(
        id="services.smtp_login", need=Need.NETWORK, status=Status.ERROR, look=_smtp_login,
        title="The SMTP server takes the login",
        fix="Compare host, port, encryption, user and password with what the provider says; "
        "nothing was sent.",
    ),
)  # fmt: skip
