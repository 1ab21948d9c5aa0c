"""Every error that mailglass raises, and the closed set of types of each.

::

    MailglassError
    ├── SendError                   a mail could not be handed over, or it is not known whether it was
    ├── TemplateError               a template does not compile or does not render
    ├── SignatureError              a webhook request is not what its provider signed
    ├── SuppressedError             a recipient may not be mailed
    ├── RateLimitError              too many mails in too short a time; ``retry_after_ms`` says when
    ├── ConfigError                 the settings are missing, wrong or contradict each other
    ├── EventLedgerImmutableError   something tried to change the event ledger
    ├── TenancyError                no tenant is set, or a webhook's tenant cannot be found
    ├── StreamPolicyError           a message breaks a rule of its stream
    ├── PublishError                a reviewed golden file differs from what the code makes now
    └── BatchFailed                 some or all mails of a batch were refused

Match the class and ``error.type``; the text is for people and may change. No error ever holds an
address, a subject, a body or a secret, so each may be logged as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Self, TypeAlias
from uuid import UUID

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class FailureClass(StrEnum):
    """What a failed attempt tells about the mail: the five classes of the closed table.

    ``not_sent``: nothing left or the server said no for now, so another attempt cannot double it.
    ``permanent``: the server said no for good. ``unknown``: bytes may have been accepted and no
    verdict came back. ``suppressed``: the provider refuses this recipient. ``configuration``:
    credentials or certificates are wrong; no mail of this adapter can leave until a person acts.
    """

    NOT_SENT = "not_sent"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    CONFIGURATION = "configuration"


@unique
class SendErrorType(StrEnum):
    """Why a mail could not be handed over."""

    ADAPTER_FAILURE = "adapter_failure"
    RENDERING_FAILED = "rendering_failed"
    PREFLIGHT_REJECTED = "preflight_rejected"
    SERIALIZATION_FAILED = "serialization_failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INVALID_TRANSITION = "invalid_transition"
    EXPIRED = "expired"
    PAYLOAD_MISSING = "payload_missing"


@unique
class TemplateErrorType(StrEnum):
    """Why a template could not be used."""

    JINJA_COMPILE = "jinja_compile"
    MISSING_ASSIGN = "missing_assign"
    HELPER_UNDEFINED = "helper_undefined"
    INLINER_FAILED = "inliner_failed"


class SignatureErrorType(StrEnum):
    """Why a webhook request is refused; the last three names are aliases kept for older callers."""

    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    BAD_CREDENTIALS = "bad_credentials"
    IP_DISALLOWED = "ip_disallowed"
    BAD_SIGNATURE = "bad_signature"
    TIMESTAMP_SKEW = "timestamp_skew"
    MALFORMED_KEY = "malformed_key"
    MISSING = MISSING_HEADER
    MALFORMED = MALFORMED_HEADER
    MISMATCH = BAD_SIGNATURE

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@unique
class SuppressedErrorType(StrEnum):
    """Which scope of suppression matched."""

    ADDRESS = "address"
    DOMAIN = "domain"
    ADDRESS_STREAM = "address_stream"


@unique
class RateLimitErrorType(StrEnum):
    """Which limit is used up."""

    PER_DOMAIN = "per_domain"
    PER_TENANT = "per_tenant"
    PER_STREAM = "per_stream"


@unique
class ConfigErrorType(StrEnum):
    """What is wrong with the settings."""

    MISSING = "missing"
    INVALID = "invalid"
    CONFLICTING = "conflicting"
    OPTIONAL_DEP_MISSING = "optional_dep_missing"
    TRACKING_ON_AUTH_STREAM = "tracking_on_auth_stream"
    TRACKING_HOST_MISSING = "tracking_host_missing"
    TRACKING_ENDPOINT_MISSING = "tracking_endpoint_missing"
    WEBHOOK_VERIFICATION_KEY_MISSING = "webhook_verification_key_missing"
    WEBHOOK_RAW_BODY_MISSING = "webhook_raw_body_missing"


@unique
class EventLedgerImmutableErrorType(StrEnum):
    """Which operation on the ledger was refused."""

    UPDATE_ATTEMPT = "update_attempt"
    DELETE_ATTEMPT = "delete_attempt"
    TRUNCATE_ATTEMPT = "truncate_attempt"
    DDL_ATTEMPT = "ddl_attempt"


@unique
class TenancyErrorType(StrEnum):
    """Why there is no tenant."""

    UNSTAMPED = "unstamped"
    WEBHOOK_TENANT_UNRESOLVED = "webhook_tenant_unresolved"


@unique
class StreamPolicyErrorType(StrEnum):
    """A stream policy error has one type; ``rule`` says which rule."""

    STREAM_POLICY_VIOLATED = "stream_policy_violated"


@unique
class PublishErrorType(StrEnum):
    """A publish error has one type; ``output`` holds the difference."""

    PUBLISH_BLOCKED_GOLDEN_DRIFT = "publish_blocked_golden_drift"


@unique
class BatchFailedType(StrEnum):
    """How much of a batch was refused."""

    PARTIAL_FAILURE = "partial_failure"
    ALL_FAILED = "all_failed"


@dataclass(eq=False)
class MailglassError(Exception):
    """Is the base of every error here; catch a subclass, not this, to react to one.

    ``type`` is a member of the subclass's own enum. The cause, where there is one, is Python's
    ``__cause__``; it is never part of the text, of ``context`` or of ``to_dict()``.
    """

    message: str
    type: StrEnum = field(kw_only=True)

    def __post_init__(self) -> None:
        """Give ``str(error)`` its text, however the message was passed."""
        Exception.__init__(self, self.message)

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message

    @property
    def retryable(self) -> bool:
        """Tell whether the same call may succeed later without a change and without a double."""
        return False

    @property
    def context(self) -> Mapping[str, object]:
        """Return the fields that this class declares, read-only."""
        own = (f.name for f in fields(self) if f.name not in {"message", "type"})
        return MappingProxyType({name: getattr(self, name) for name in own})

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-ready form: class, type, message, context, retryable."""
        return {
            "error": type(self).__name__,
            "type": self.type.value,
            "message": self.message,
            "context": {name: _json(value) for name, value in self.context.items()},
            "retryable": self.retryable,
        }

    def __reduce__(self) -> tuple[Callable[..., MailglassError], tuple[object, ...]]:
        """Make pickle and copy keep every field."""
        kept = {"type": self.type, **self.context}
        return _rebuild, (type(self), self.message, kept)


def _rebuild(cls: type[MailglassError], message: str, kept: dict[str, object]) -> MailglassError:
    return cls(message, **kept)  # type: ignore[arg-type]  # the fields came from an instance of cls


def _json(value: object) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case MailglassError():
            return value.to_dict()
        case tuple():
            return [_json(item) for item in value]
        case _:
            return str(value)


@dataclass(eq=False, kw_only=True)
class SendError(MailglassError):
    """Is raised when a mail is refused, failed, or may or may not have been accepted.

    Retryable only for ``adapter_failure`` whose ``failure_class`` is ``not_sent``. ``code`` is the
    provider's own (an SMTP reply such as ``550 5.1.1``, an HTTP status) or a name of ours.
    """

    type: SendErrorType
    delivery_id: UUID | None = None
    provider: str | None = None
    failure_class: FailureClass | None = None
    code: str | None = None

    @property
    def retryable(self) -> bool:
        """Tell whether another attempt cannot double the mail and may succeed."""
        return (
            self.type is SendErrorType.ADAPTER_FAILURE
            and self.failure_class is FailureClass.NOT_SENT
        )


@dataclass(eq=False, kw_only=True)
class TemplateError(MailglassError):
    """Is raised when a template does not compile, misses a variable or cannot be inlined.

    ``template`` is the loader's name of the file, ``assign`` the missing variable or helper,
    ``line`` counts from 1.
    """

    type: TemplateErrorType
    template: str | None = None
    assign: str | None = None
    line: int | None = None


@dataclass(eq=False, kw_only=True)
class SignatureError(MailglassError):
    """Is raised when a webhook request does not verify; answer 401 and store nothing."""

    type: SignatureErrorType
    provider: str | None = None
    detail: str | None = None


@dataclass(eq=False, kw_only=True)
class SuppressedError(MailglassError):
    """Is raised when a recipient of the message, of whatever kind, is suppressed."""

    type: SuppressedErrorType
    tenant_id: str | None = None
    stream: str | None = None
    reason: str | None = None
    source: str | None = None
    expires_at: str | None = None


@dataclass(eq=False, kw_only=True)
class RateLimitError(MailglassError):
    """Is raised when a limit is used up; the same call passes after ``retry_after_ms``."""

    type: RateLimitErrorType
    retry_after_ms: int

    @property
    def retryable(self) -> bool:
        """Tell that waiting helps, always."""
        return True


@dataclass(eq=False, kw_only=True)
class ConfigError(MailglassError):
    """Is raised when settings are missing, wrong, contradict each other or need a package.

    ``code`` is the provider's own where it refused the account: an SMTP reply, an HTTP status.
    """

    type: ConfigErrorType
    key: str | None = None
    dep: str | None = None
    hint: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        """Show the hint below a traceback, where most people meet the error."""
        super().__post_init__()
        if self.hint is not None:
            self.add_note(self.hint)


@dataclass(eq=False, kw_only=True)
class EventLedgerImmutableError(MailglassError):
    """Is raised when a statement tried to change the ledger; it is always a bug or an attack."""

    type: EventLedgerImmutableErrorType
    pg_code: str = "45A01"


@dataclass(eq=False, kw_only=True)
class TenancyError(MailglassError):
    """Is raised when no tenant is set, or a webhook belongs to none."""

    type: TenancyErrorType
    provider: str | None = None
    reason: str | None = None


@dataclass(eq=False, kw_only=True)
class StreamPolicyError(MailglassError):
    """Is raised when a message breaks a rule of its stream; ``suggestion`` says what to change."""

    type: StreamPolicyErrorType = StreamPolicyErrorType.STREAM_POLICY_VIOLATED
    rule: str
    suggestion: str

    def __str__(self) -> str:
        """Return the message, then what to change: a rule's name alone helps nobody."""
        return f"{self.message}: {self.suggestion}"


@dataclass(eq=False, kw_only=True)
class PublishError(MailglassError):
    """Is raised when goldens differ; ``output`` holds the difference to review."""

    type: PublishErrorType = PublishErrorType.PUBLISH_BLOCKED_GOLDEN_DRIFT
    output: str


@dataclass(eq=False, kw_only=True)
class BatchFailed(MailglassError):  # noqa: N818 - the name is part of the public contract
    """Is raised for a batch of which some or all mails were refused; ``failures`` says why."""

    type: BatchFailedType
    failures: tuple[MailglassError, ...] = ()

    @property
    def retryable(self) -> bool:
        """Tell that the refused mails may be tried again, each as its own error says."""
        return True


ERROR_TYPES: Mapping[type[MailglassError], type[StrEnum]] = MappingProxyType(
    {
        SendError: SendErrorType,
        TemplateError: TemplateErrorType,
        SignatureError: SignatureErrorType,
        SuppressedError: SuppressedErrorType,
        RateLimitError: RateLimitErrorType,
        ConfigError: ConfigErrorType,
        EventLedgerImmutableError: EventLedgerImmutableErrorType,
        TenancyError: TenancyErrorType,
        StreamPolicyError: StreamPolicyErrorType,
        PublishError: PublishErrorType,
        BatchFailed: BatchFailedType,
    }
)
"""Each error class and its closed enum of types."""
