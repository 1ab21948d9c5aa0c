"""The closed table of what can go wrong in one attempt, and what each thing means for the mail.

Every adapter asks here, so that the same answer never means two things. A signal is one row, and
``class_of`` reads the table; ``of_smtp_reply`` and ``of_http_status`` find the row of a reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from mailglass.errors import FailureClass


@unique
class Signal(StrEnum):
    """What was observed; the value is also the ``code`` of a verdict when no reply came with it."""

    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    POOL_TIMEOUT = "pool_timeout"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    CERTIFICATE_INVALID = "certificate_invalid"
    CREDENTIAL_SOURCE_FAILED = "credential_source_failed"

    HTTP_LOST_BEFORE_REQUEST = "http_lost_before_request"
    HTTP_LOST_AFTER_REQUEST = "http_lost_after_request"
    HTTP_GOAWAY_BELOW_STREAM = "http_goaway_below_stream"
    HTTP_GOAWAY_ABOVE_STREAM = "http_goaway_above_stream"
    HTTP_CANCELLED_BEFORE_REQUEST = "http_cancelled_before_request"
    HTTP_CANCELLED_AFTER_REQUEST = "http_cancelled_after_request"
    HTTP_ACCEPTED = "http_accepted"
    HTTP_ACCEPTED_UNPARSEABLE = "http_accepted_unparseable"
    HTTP_ACCEPTED_PER_ITEM = "http_accepted_per_item"
    HTTP_UNEXPECTED_STATUS = "http_unexpected_status"
    HTTP_REDIRECTED = "http_redirected"
    HTTP_REFUSED = "http_refused"
    HTTP_ACCOUNT_REFUSED = "http_account_refused"
    HTTP_RECIPIENT_SUPPRESSED = "http_recipient_suppressed"
    HTTP_IDEMPOTENCY_CONCURRENT = "http_idempotency_concurrent"
    HTTP_RATE_LIMITED = "http_rate_limited"
    HTTP_PROVIDER_ERROR = "http_provider_error"
    HTTP_GATEWAY_ERROR = "http_gateway_error"

    SMTP_OPENING_REFUSED = "smtp_opening_refused"
    SMTP_STARTTLS_MISSING = "smtp_starttls_missing"
    SMTP_ACCOUNT_REFUSED = "smtp_account_refused"
    SMTP_GO_AHEAD = "smtp_go_ahead"
    SMTP_TEMPORARY_BEFORE_DOT = "smtp_temporary_before_dot"
    SMTP_TEMPORARY_AT_DOT = "smtp_temporary_at_dot"
    SMTP_PERMANENT = "smtp_permanent"
    SMTP_MAILBOX_REFUSED = "smtp_mailbox_refused"
    SMTP_BAD_REPLY_BEFORE_DOT = "smtp_bad_reply_before_dot"
    SMTP_BAD_REPLY_AT_DOT = "smtp_bad_reply_at_dot"
    SMTP_LOST_BEFORE_DOT = "smtp_lost_before_dot"
    SMTP_LOST_AT_DOT = "smtp_lost_at_dot"
    SMTP_TIMEOUT_BEFORE_DOT = "smtp_timeout_before_dot"
    SMTP_TIMEOUT_AT_DOT = "smtp_timeout_at_dot"
    SMTP_TROUBLE_AFTER_ACCEPTANCE = "smtp_trouble_after_acceptance"

    MESSAGE_TOO_LARGE = "message_too_large"
    SMTPUTF8_UNSUPPORTED = "smtputf8_unsupported"
    EIGHTBITMIME_UNSUPPORTED = "8bitmime_unsupported"
    BUILD_FAILED = "build_failed"


_N: Final = FailureClass.NOT_SENT
_P: Final = FailureClass.PERMANENT
_U: Final = FailureClass.UNKNOWN
_S: Final = FailureClass.SUPPRESSED
_C: Final = FailureClass.CONFIGURATION

TABLE: Mapping[Signal, FailureClass | None] = MappingProxyType(
    {
        Signal.DNS_FAILED: _N,
        Signal.CONNECT_FAILED: _N,
        Signal.POOL_TIMEOUT: _N,
        Signal.TLS_HANDSHAKE_FAILED: _N,
        Signal.CERTIFICATE_INVALID: _C,
        Signal.CREDENTIAL_SOURCE_FAILED: _N,
        Signal.HTTP_LOST_BEFORE_REQUEST: _N,
        Signal.HTTP_LOST_AFTER_REQUEST: _U,
        Signal.HTTP_GOAWAY_BELOW_STREAM: _N,
        Signal.HTTP_GOAWAY_ABOVE_STREAM: _U,
        Signal.HTTP_CANCELLED_BEFORE_REQUEST: _N,
        Signal.HTTP_CANCELLED_AFTER_REQUEST: _U,
        Signal.HTTP_ACCEPTED: None,
        Signal.HTTP_ACCEPTED_UNPARSEABLE: _U,
        Signal.HTTP_ACCEPTED_PER_ITEM: None,
        Signal.HTTP_UNEXPECTED_STATUS: _U,
        Signal.HTTP_REDIRECTED: _P,
        Signal.HTTP_REFUSED: _P,
        Signal.HTTP_ACCOUNT_REFUSED: _C,
        Signal.HTTP_RECIPIENT_SUPPRESSED: _S,
        Signal.HTTP_IDEMPOTENCY_CONCURRENT: _N,
        Signal.HTTP_RATE_LIMITED: _N,
        Signal.HTTP_PROVIDER_ERROR: _N,
        Signal.HTTP_GATEWAY_ERROR: _U,
        Signal.SMTP_OPENING_REFUSED: _N,
        Signal.SMTP_STARTTLS_MISSING: _C,
        Signal.SMTP_ACCOUNT_REFUSED: _C,
        Signal.SMTP_GO_AHEAD: None,
        Signal.SMTP_TEMPORARY_BEFORE_DOT: _N,
        Signal.SMTP_TEMPORARY_AT_DOT: _N,
        Signal.SMTP_PERMANENT: _P,
        Signal.SMTP_MAILBOX_REFUSED: _S,
        Signal.SMTP_BAD_REPLY_BEFORE_DOT: _N,
        Signal.SMTP_BAD_REPLY_AT_DOT: _U,
        Signal.SMTP_LOST_BEFORE_DOT: _N,
        Signal.SMTP_LOST_AT_DOT: _U,
        Signal.SMTP_TIMEOUT_BEFORE_DOT: _N,
        Signal.SMTP_TIMEOUT_AT_DOT: _U,
        Signal.SMTP_TROUBLE_AFTER_ACCEPTANCE: None,
        Signal.MESSAGE_TOO_LARGE: _P,
        Signal.SMTPUTF8_UNSUPPORTED: _P,
        Signal.EIGHTBITMIME_UNSUPPORTED: _P,
        Signal.BUILD_FAILED: _P,
    }
)
"""The class of every signal; None where the signal by itself refuses nobody."""


def class_of(signal: Signal) -> FailureClass | None:
    """Return what the signal means; None when it is no failure, or when each item has its own."""
    return TABLE[signal]


@unique
class SmtpPhase(StrEnum):
    """Where an SMTP session is: the command whose reply is awaited.

    ``body`` is the time between the 354 and the first byte of the final dot. ``check`` is the NOOP
    or RSET before a transaction.
    """

    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    CHECK = "check"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    QUIT = "quit"


SMTP_GO_AHEAD: Mapping[SmtpPhase, frozenset[int]] = MappingProxyType(
    {
        SmtpPhase.BANNER: frozenset({220}),
        SmtpPhase.EHLO: frozenset({250}),
        SmtpPhase.STARTTLS: frozenset({220}),
        SmtpPhase.AUTH: frozenset({235}),
        SmtpPhase.CHECK: frozenset({250}),
        SmtpPhase.MAIL: frozenset({250}),
        SmtpPhase.RCPT: frozenset({250, 251}),
        SmtpPhase.DATA: frozenset({354}),
        SmtpPhase.BODY: frozenset(),
        SmtpPhase.DOT: frozenset({250}),
        SmtpPhase.QUIT: frozenset({221}),
    }
)
"""The only replies that let a session go on, by phase (RFC 5321 §4.3.2, RFC 3207, RFC 4954)."""

_ACCOUNT_CODES: Final = frozenset({530, 534, 535, 538})
_MAILBOX_CODES: Final = frozenset({"5.1.1", "5.1.10", "5.2.1"})
_BASIC_AUTH_OFF: Final = "5.7.30"
_OPENING: Final = frozenset({SmtpPhase.BANNER, SmtpPhase.EHLO, SmtpPhase.CHECK})
_OF_THE_ACCOUNT: Final = frozenset({SmtpPhase.STARTTLS, SmtpPhase.AUTH})
_OF_THE_RECIPIENT: Final = frozenset({SmtpPhase.RCPT, SmtpPhase.DATA, SmtpPhase.DOT})


def smtp_signal(phase: SmtpPhase, code: int, enhanced: str | None) -> Signal:
    """Return the row of an SMTP reply; ``enhanced`` is its RFC 3463 code, such as ``5.1.1``.

    One recipient a transaction makes 5.1.1, 5.1.10 and 5.2.1 say the same about it at RCPT, DATA
    and the dot; at MAIL they speak of the sender.
    """
    if phase is SmtpPhase.QUIT:
        return Signal.SMTP_TROUBLE_AFTER_ACCEPTANCE
    if code in SMTP_GO_AHEAD[phase]:
        return Signal.SMTP_GO_AHEAD
    at_dot = phase is SmtpPhase.DOT
    match code // 100:
        case 4:
            return Signal.SMTP_TEMPORARY_AT_DOT if at_dot else Signal.SMTP_TEMPORARY_BEFORE_DOT
        case 5:
            return _smtp_refusal(phase, code, enhanced)
        case _:
            return Signal.SMTP_BAD_REPLY_AT_DOT if at_dot else Signal.SMTP_BAD_REPLY_BEFORE_DOT


def _smtp_refusal(phase: SmtpPhase, code: int, enhanced: str | None) -> Signal:
    if code in _ACCOUNT_CODES or phase in _OF_THE_ACCOUNT:
        return Signal.SMTP_ACCOUNT_REFUSED
    if phase is SmtpPhase.MAIL and enhanced == _BASIC_AUTH_OFF:
        return Signal.SMTP_ACCOUNT_REFUSED
    if phase in _OPENING:
        return Signal.SMTP_OPENING_REFUSED
    if phase in _OF_THE_RECIPIENT and enhanced in _MAILBOX_CODES:
        return Signal.SMTP_MAILBOX_REFUSED
    return Signal.SMTP_PERMANENT


def of_smtp_reply(phase: SmtpPhase, code: int, enhanced: str | None) -> FailureClass | None:
    """Return what an SMTP reply means; None lets the session go on (or, at QUIT, is ignored)."""
    return class_of(smtp_signal(phase, code, enhanced))


_HTTP: Mapping[int, Signal] = MappingProxyType(
    {
        401: Signal.HTTP_ACCOUNT_REFUSED,
        402: Signal.HTTP_ACCOUNT_REFUSED,
        403: Signal.HTTP_ACCOUNT_REFUSED,
        408: Signal.HTTP_PROVIDER_ERROR,
        409: Signal.HTTP_IDEMPOTENCY_CONCURRENT,
        425: Signal.HTTP_PROVIDER_ERROR,
        429: Signal.HTTP_RATE_LIMITED,
        502: Signal.HTTP_GATEWAY_ERROR,
        504: Signal.HTTP_GATEWAY_ERROR,
    }
)


def http_signal(status: int, *, has_json_body: bool) -> Signal:
    """Return the row of an HTTP status; ``has_json_body`` tells the provider's JSON from a proxy's.

    A 409 counts as a request with the same key still running: an adapter that reads another reason
    in the body decides itself. A provider that answers 2xx without a body is not asked about here.
    """
    if status in _HTTP:
        return _HTTP[status]
    match status // 100:
        case 2:
            return Signal.HTTP_ACCEPTED if has_json_body else Signal.HTTP_ACCEPTED_UNPARSEABLE
        case 3:
            return Signal.HTTP_REDIRECTED
        case 4:
            return Signal.HTTP_REFUSED
        case 5:
            return Signal.HTTP_PROVIDER_ERROR if has_json_body else Signal.HTTP_GATEWAY_ERROR
        case _:
            return Signal.HTTP_UNEXPECTED_STATUS


def of_http_status(status: int, *, has_json_body: bool) -> FailureClass | None:
    """Return what an HTTP status means; None for a 2xx with JSON, whose body says the rest."""
    return class_of(http_signal(status, has_json_body=has_json_body))
