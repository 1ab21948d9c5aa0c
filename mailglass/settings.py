"""Settings: one frozen model, read from ``MAILGLASS_…`` variables or code, checked at boot."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum, unique
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.pacing.vocabulary import Limit, refuse_ambiguous

PREFIX: Final = "MAILGLASS_"
_NOT_SETTINGS: Final = (
    "MAILGLASS_TEST_",
    "MAILGLASS_PG_BIN",
    "MAILGLASS_HYPOTHESIS_EXAMPLES",
    "MAILGLASS_CORPUS",
)
"""Variables with the prefix that steer tests or the embedded server, not the application."""
_FIELD_IN_ERROR: Final = re.compile(r'field "(\w+)"')


_BROKERS: Final = ("stub://", "redis://", "rediss://", "amqp://", "amqps://")

Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]


_ThemeToken = Annotated[
    str,
    Field(
        pattern="^((dark_)?(page|card|soft|text|muted|line|accent|accent_text)"
        "|font(_heading|_code)?|(width|radius)_px|direction)$"
    ),
]
"""The names of ``rendering.components.Theme``, which stands on a higher floor."""


@unique
class Environment(StrEnum):
    """Where the process runs; only ``production`` refuses the embedded database."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


@unique
class AdapterName(StrEnum):
    """The adapters that settings alone can build."""

    FAKE = "fake"
    FILE = "file"
    SMTP = "smtp"
    AMAZON_SES = "amazon_ses"
    BREVO = "brevo"
    MAILERSEND = "mailersend"
    MAILGUN = "mailgun"
    MAILJET = "mailjet"
    MAILTRAP = "mailtrap"
    MANDRILL = "mandrill"
    POSTAL = "postal"
    POSTMARK = "postmark"
    RESEND = "resend"
    SCALEWAY = "scaleway"
    SENDGRID = "sendgrid"
    SPARKPOST = "sparkpost"
    UNISENDER_GO = "unisender_go"


@unique
class SmtpSecuritySetting(StrEnum):
    """How the connection is encrypted; ``none`` is refused for credentials beyond loopback."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@unique
class CssInliner(StrEnum):
    """Who matches a template's CSS to its elements; css-inline needs the extra ``inline``."""

    PREMAILER = "premailer"
    CSS_INLINE = "css-inline"


class RateLimit(BaseModel):
    """A token bucket: ``capacity`` recipients at once, refilled by ``per_s`` recipients a second."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    capacity: float = Field(gt=0, allow_inf_nan=False)
    per_s: float = Field(gt=0, allow_inf_nan=False)


class DkimKeySetting(BaseModel):
    """A private key in PEM that signs mail from ``domain``; of one tenant, or of all (None)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    domain: Text
    selector: Text
    file: Path
    tenant: Text | None = None


class AdapterSetting(BaseModel):
    """What builds one adapter; the settings themselves have the same fields for a single one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    adapter: AdapterName = AdapterName.FAKE
    file_folder: Path | None = None
    smtp_host: Text | None = None
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: SmtpSecuritySetting = SmtpSecuritySetting.STARTTLS
    smtp_username: Text | None = None
    smtp_password: Secret | None = None
    smtp_ca_file: Path | None = None
    smtp_local_hostname: Text | None = None
    smtp_connect_timeout_s: float = Field(default=10.0, gt=0, le=300)
    smtp_command_timeout_s: float = Field(default=60.0, gt=0, le=300)
    smtp_final_dot_timeout_s: float = Field(default=600.0, gt=0, le=1200)
    """RFC 5321 §4.5.3.2.6 asks for ten minutes."""

    provider_options: dict[str, Secret | tuple[Secret, ...]] = Field(default_factory=dict)
    """What the adapter of a provider with an API takes: ``{"server_token": "…"}``; ``mailglass
    adapters --json`` lists it. All values count as secrets."""

    def revealed_provider_options(self) -> dict[str, str | tuple[str, ...]]:
        """Return the provider's options in the clear, for its adapter alone."""
        return {
            name: value.get_secret_value()
            if isinstance(value, SecretStr)
            else tuple(one.get_secret_value() for one in value)
            for name, value in self.provider_options.items()
        }

    @model_validator(mode="after")
    def _adapter_has_what_it_needs(self) -> Self:
        if self.adapter is AdapterName.SMTP and self.smtp_host is None:
            raise ConfigError(
                "the SMTP adapter needs a host",
                type=ConfigErrorType.MISSING,
                key="smtp_host",
                hint="Set MAILGLASS_SMTP_HOST.",
            )
        if self.adapter is AdapterName.FILE and self.file_folder is None:
            raise ConfigError(
                "the file adapter needs a folder",
                type=ConfigErrorType.MISSING,
                key="file_folder",
                hint="Set MAILGLASS_FILE_FOLDER.",
            )
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ConfigError(
                "SMTP credentials need both a user name and a password",
                type=ConfigErrorType.CONFLICTING,
                key="smtp_username",
                hint="Set MAILGLASS_SMTP_USERNAME and MAILGLASS_SMTP_PASSWORD, or neither.",
            )
        return self


_AdapterRef = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Route(BaseModel):
    """The adapters that carry mail of a tenant and a stream (None: of each), in their order.

    With ``weights`` the first is drawn by them, always the same for one message; those without one
    follow, for failover alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    adapters: tuple[_AdapterRef, ...] = Field(min_length=1, max_length=8)
    stream: Literal["transactional", "operational", "bulk"] | None = None
    tenant: Text | None = None
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _names_are_its_own(self) -> Self:
        if len(set(self.adapters)) < len(self.adapters) or set(self.weights) - set(self.adapters):
            raise ConfigError(
                "a route names each adapter once, and its weights name no other",
                type=ConfigErrorType.INVALID,
                key="routes",
                hint='{"adapters": ["main", "backup"], "weights": {"main": 9, "backup": 1}}',
            )
        return self


class Breaker(BaseModel):
    """When mail of one tenant is kept from one adapter, and how soon that is tried again.

    It opens after ``failures`` in a row, when ``share`` of at least ``calls`` within ``window_s``
    failed, and at once when the provider refuses the account. After ``wait_s``, doubled at each probe
    that fails up to ``wait_s_max``, one mail is a probe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    failures: int = Field(default=10, ge=1, le=10_000)
    share: float = Field(default=0.5, gt=0, le=1)
    calls: int = Field(default=20, ge=1, le=100_000)
    window_s: float = Field(default=60.0, gt=0, le=3600)
    wait_s: float = Field(default=30.0, gt=0, le=3600)
    wait_s_max: float = Field(default=900.0, gt=0, le=86_400)


class Settings(AdapterSetting, BaseSettings):
    """Everything that can be set; times end in their unit.

    Environment variables are the field names in capitals after ``MAILGLASS_``; nested values are
    JSON, an empty variable counts as one that is not set, and ``null`` is None. No secret is ever
    printed, neither by ``repr`` nor by an error.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        env_ignore_empty=True,
        env_parse_none_str="null",
    )

    environment: Environment = Environment.DEVELOPMENT
    database_url: Secret | None = None
    database_role: Text | None = None
    """Taken with SET ROLE on each connection; the embedded database uses ``mailglass_app``."""
    database_connections_max: int = Field(default=10, ge=1, le=200)
    database_connect_timeout_s: float = Field(default=10.0, gt=0, le=120)
    database_statement_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """Of it a statement waits a third at most for a lock that somebody else holds."""

    named_adapters: dict[_AdapterRef, AdapterSetting] = Field(default_factory=dict)
    """Adapters by names of your own; beside them ``adapter`` is the one named ``default`` if it is set."""
    routes: tuple[Route, ...] = Field(default=(), max_length=1000)
    """Which adapters carry which mail: the first that fits counts."""
    breaker: Breaker | None = Breaker()

    enable_real_network: bool = False
    """Lets adapters that reach the world send outside production too; fake, file and SMTP to this
    machine always may."""
    deliver_to: Text | None = None
    """Not for production: all mail goes to this address, its own recipients into a header."""
    allowed_recipients: tuple[Text, ...] | None = None
    """Addresses and domains that may get mail; others are replaced by ``deliver_to``, or refused
    where it is not set. None is everybody, but for ``deliver_to``; subdomains are named apart."""

    templates: tuple[Path, ...] = ()
    """Folders with templates, searched in order before the folders beside the mailables."""
    css_inliner: CssInliner = CssInliner.PREMAILER
    theme: dict[_ThemeToken, str | int] = Field(default_factory=dict)
    """What the components' theme changes, by the names of ``rendering.components.Theme``."""
    catalogues: tuple[Path, ...] = ()
    """Folders with translations, as ``de/LC_MESSAGES/messages.po`` or ``.mo``."""
    attachments_root: Path | None = None
    """The only folder that attachment paths may name files in."""

    broker_url: Secret | None = None
    """``redis://…`` or ``amqp://…`` (with TLS ``rediss``, ``amqps``), or ``stub://`` for threads of this
    process; None: workers hear of mail from Postgres."""
    broker_prometheus: bool = False
    """Let dramatiq's own middleware count messages, at port 9191 of this host."""
    otel: bool = False
    """Export spans and counters by OpenTelemetry; needs the extra ``otel``."""

    default_tenant: Text | None = "default"
    """Used where no tenant is set; None, in code, makes every call without one a TenancyError."""

    rate_limit_per_domain: RateLimit | None = None
    rate_limit_per_tenant: RateLimit | None = None
    rate_limit_per_stream: RateLimit | None = None
    """Refuse callers what is beyond them; transactional mail passes all three. ``limits`` lets mail wait."""
    limits: tuple[Limit, ...] = ()
    """What leaves, by recipient domain, sender domain, tenant, stream and provider; shared by all workers."""
    limits_redis_url: Secret | None = None
    """``redis://…`` or ``rediss://…``: counts limits instead of Postgres; needs the extra ``redis``."""

    physical_address: Text | None = None
    """The sender's postal address; bulk mail must show it in its body."""
    token_secrets: tuple[Secret, ...] = ()
    """Sign the links of unsubscribing and tracking, at least 32 characters each; the first signs, all
    verify, so that one can be replaced."""
    unsubscribe_url: Text | None = None
    """The public page where recipients leave; each link is this and a token."""
    unsubscribe_mailto: Text | None = None
    tracking_url: Text | None = None
    """Where opens and clicks are counted: https, on a host of its own."""
    feedback_sender: Text | None = None
    """Names you in Feedback-ID, 5 to 15 characters, always the same."""
    dkim_keys: tuple[DkimKeySetting, ...] = ()
    """Sign the bytes that go out over SMTP; providers with an API sign by themselves."""
    erasure_key: SecretStr | None = Field(default=None, min_length=16)
    """Keys the hashes under which erased addresses stay refused; keep it for as long as the list."""

    retry_base_s: float = Field(default=5.0, gt=0, le=3600)
    retry_cap_s: float = Field(default=900.0, gt=0, le=86_400)
    attempts_max: int = Field(default=20, ge=1, le=100)

    payload_kept_s: float = Field(default=14 * 86_400.0, gt=0)
    """How long a mail's bytes are kept after it was sent, failed or ended otherwise."""
    payload_unknown_kept_s: float = Field(default=30 * 86_400.0, gt=0)
    """How long those of a mail that was given up as unknown are kept."""

    @model_validator(mode="after")
    def _waits_are_in_order(self) -> Self:
        if self.retry_base_s > self.retry_cap_s:
            raise ConfigError(
                "the first retry wait is longer than the longest",
                type=ConfigErrorType.CONFLICTING,
                key="retry_base_s",
                hint="Make retry_base_s at most retry_cap_s.",
            )
        return self

    @model_validator(mode="after")
    def _limits_are_told_apart(self) -> Self:
        refuse_ambiguous(self.limits)
        return self

    @model_validator(mode="after")
    def _broker_is_one_we_know(self) -> Self:
        url = self.broker_url
        if url is not None and not url.get_secret_value().startswith(_BROKERS):
            raise ConfigError(
                "the broker's URL begins with none of " + ", ".join(_BROKERS),
                type=ConfigErrorType.INVALID,
                key="broker_url",
                hint="Look at MAILGLASS_BROKER_URL; without one, workers hear of mail from Postgres.",
            )
        return self


def load_settings(**given: Any) -> Settings:
    """Read settings from the environment; what is given by keyword goes before it.

    Raises:
        ConfigError: ``missing``, ``invalid`` or ``conflicting``, with the setting's name in ``key``
            and never its value; also for a ``MAILGLASS_…`` variable that is no setting.

    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        key = str(first["loc"][0]) if first["loc"] else None
        raise _invalid(key, first["msg"]) from None
    except SettingsError as error:
        named = _FIELD_IN_ERROR.search(str(error))
        raise _invalid(named[1] if named else None, "it is not valid JSON") from None


def _invalid(key: str | None, reason: str) -> ConfigError:
    return ConfigError(
        f"the setting {key} is wrong: {reason[:1].lower()}{reason[1:]}",
        type=ConfigErrorType.INVALID,
        key=key,
        hint=f"Look at {PREFIX}{(key or '').upper()}, or at what the code passes for it.",
    )


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for given in environ:
        name = given.upper()
        if not name.startswith(PREFIX) or name in known or name.startswith(_NOT_SETTINGS):
            continue
        near = get_close_matches(name, known, n=1)
        raise ConfigError(
            f"{given} is not a setting of mailglass",
            type=ConfigErrorType.INVALID,
            key=given,
            hint=f"Did you mean {near[0]}?" if near else "Remove it, or look for its new name.",
        )
