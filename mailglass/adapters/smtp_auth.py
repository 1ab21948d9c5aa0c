"""SMTP AUTH: which mechanism, which lines it says, and OAuth tokens that are renewed in time."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from mailglass.adapters.smtp_connection import not_sent
from mailglass.clock import Clock
from mailglass.errors import ConfigError, ConfigErrorType, MailglassError, SendError
from mailglass.failures import Signal
from mailglass.forks import ProcessLock

RENEW_BEFORE: Final = timedelta(seconds=60)
"""A token that expires sooner than this is renewed before it is used."""
_USERNAME: Final = "smtp_username"
_PASSWORD: Final = "smtp_password"  # noqa: S105 - the name of a setting
_TOKEN_SOURCE: Final = "token_source"  # noqa: S105 - the name of a setting


@unique
class SmtpAuth(StrEnum):
    """How to log in; ``auto`` is XOAUTH2 with a token source, else PLAIN, else LOGIN."""

    AUTO = "auto"
    PLAIN = "plain"
    LOGIN = "login"
    XOAUTH2 = "xoauth2"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An OAuth 2.0 bearer token; ``expires_at`` is aware, None when the issuer did not say."""

    value: str = field(repr=False)
    expires_at: datetime | None = None


class TokenCache:
    """Keeps one token and asks the source for the next, one thread at a time."""

    def __init__(self, source: Callable[[], AccessToken], clock: Clock) -> None:
        """Ask ``source`` at the first use, not before."""
        self._source = source
        self._clock = clock
        self._token: AccessToken | None = None
        self._lock = ProcessLock()

    def current(self) -> AccessToken:
        """Return a token that is good for another minute at least, as far as is known.

        Raises:
            SendError: ``adapter_failure`` when the source raised; a MailglassError passes as it is.
            ConfigError: ``invalid`` when what the source returned is no token.

        """
        with self._lock:
            if self._token is None or self._is_ending(self._token):
                self._token = self._ask()
            return self._token

    def renewed(self, rejected: AccessToken) -> AccessToken:
        """Return another token than the one the server rejected, where the source has one.

        Threads that were rejected with the same token share one question to the source.
        """
        with self._lock:
            if self._token is None or self._token.value == rejected.value:
                self._token = self._ask()
            return self._token

    def _is_ending(self, token: AccessToken) -> bool:
        return token.expires_at is not None and token.expires_at <= self._clock() + RENEW_BEFORE

    def _ask(self) -> AccessToken:
        try:
            token = self._source()
        except MailglassError:
            raise
        except Exception as error:  # noqa: BLE001 - anybody's code; what it raises is typed here
            raise _source_failed("token", error) from None
        moment = token.expires_at
        if not token.value or not (token.value.isascii() and token.value.isprintable()):
            raise wrong("the token source returned no usable token", key=_TOKEN_SOURCE)
        if moment is not None and moment.tzinfo is None:
            raise wrong("the token's expires_at has no time zone", key=_TOKEN_SOURCE)
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in and with what: a password, or tokens, never both."""

    username: str = field(repr=False)
    password: str | Callable[[], str] | None = field(repr=False)
    tokens: TokenCache | None = field(repr=False)
    mechanism: SmtpAuth


def credentials_of(
    *,
    username: str | None,
    password: str | Callable[[], str] | None,
    auth: SmtpAuth,
    tokens: TokenCache | None,
) -> Credentials | None:
    """Return checked credentials, or None when nothing was given and nobody logs in.

    Raises:
        ConfigError: ``missing`` or ``conflicting`` parts.

    """
    if username is None and password is None and tokens is None and auth is SmtpAuth.AUTO:
        return None
    if not username:
        raise wrong("SMTP AUTH needs a user name", ConfigErrorType.MISSING, key=_USERNAME)
    if password is not None and tokens is not None:
        raise wrong(
            "SMTP AUTH takes a password or a token source, not both",
            ConfigErrorType.CONFLICTING,
            key=_PASSWORD,
        )
    wants_token = auth is SmtpAuth.XOAUTH2 or (auth is SmtpAuth.AUTO and tokens is not None)
    if wants_token and tokens is None:
        raise wrong("XOAUTH2 needs a token source", ConfigErrorType.MISSING, key=_TOKEN_SOURCE)
    if not wants_token and password is None:
        raise wrong("SMTP AUTH needs a password", ConfigErrorType.MISSING, key=_PASSWORD)
    return Credentials(username=username, password=password, tokens=tokens, mechanism=auth)


def choose_mechanism(credentials: Credentials, offered: frozenset[str]) -> SmtpAuth:
    """Return the mechanism to use; ``offered`` is in upper case, from the EHLO reply.

    Raises:
        ConfigError: ``invalid`` when the server offers none that fits.

    """
    match credentials.mechanism:
        case SmtpAuth.AUTO if credentials.tokens is not None:
            wanted = [SmtpAuth.XOAUTH2]
        case SmtpAuth.AUTO:
            wanted = [SmtpAuth.PLAIN, SmtpAuth.LOGIN]
        case one:
            wanted = [one]
    for mechanism in wanted:
        if mechanism.value.upper() in offered:
            return mechanism
    names = " or ".join(mechanism.value.upper() for mechanism in wanted)
    raise wrong(f"the SMTP server does not offer AUTH {names}", key="smtp_auth")


def lines_of(
    mechanism: SmtpAuth, credentials: Credentials, token: AccessToken | None
) -> tuple[bytes, ...]:
    """Return the command and then what to answer to each 334, for one attempt to log in.

    XOAUTH2 answers the error challenge with an empty line, which makes the server say its 535.

    Raises:
        ConfigError: ``invalid`` for a credential that the mechanism cannot carry (RFC 4616).

    """
    username = _text(credentials.username, key=_USERNAME)
    if mechanism is SmtpAuth.XOAUTH2:
        value = token.value.encode("ascii") if token is not None else b""
        blob = b"user=%b\x01auth=Bearer %b\x01\x01" % (username, value)
        return b"AUTH XOAUTH2 " + b64encode(blob), b""
    password = _text(_password_of(credentials), key=_PASSWORD)
    if mechanism is SmtpAuth.LOGIN:
        return b"AUTH LOGIN", b64encode(username), b64encode(password)
    return (b"AUTH PLAIN " + b64encode(b"\x00%b\x00%b" % (username, password)),)


def wrong(
    message: str, type_: ConfigErrorType = ConfigErrorType.INVALID, *, key: str
) -> ConfigError:
    """Return the error for a setting that cannot work."""
    return ConfigError(message, type=type_, key=key)


def _password_of(credentials: Credentials) -> str:
    given = credentials.password
    if not callable(given):
        return given or ""
    try:
        return given()
    except MailglassError:
        raise
    except Exception as error:  # noqa: BLE001 - anybody's code; what it raises is typed here
        raise _source_failed("password", error) from None


def _source_failed(what: str, error: Exception) -> SendError:
    """Return an error to raise ``from None``: what a vault or OAuth library says may be secret."""
    return not_sent(
        f"the {what} source raised {type(error).__name__}", Signal.CREDENTIAL_SOURCE_FAILED
    )


def _text(value: str, *, key: str) -> bytes:
    if not value or "\x00" in value or "\x01" in value:
        raise wrong(f"{key} is empty or holds a control character", key=key)
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        # Not chained: the exception holds the credential.
        raise wrong(f"{key} is not valid Unicode", key=key) from None
