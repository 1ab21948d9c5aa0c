"""The closed table of failures, written out once more: a change of one row is a change here."""

from __future__ import annotations

from itertools import product

import pytest

from mailglass.errors import FailureClass
from mailglass.failures import (
    TABLE,
    Signal,
    SmtpPhase,
    class_of,
    http_signal,
    of_http_status,
    of_smtp_reply,
    smtp_signal,
)

N, P = FailureClass.NOT_SENT, FailureClass.PERMANENT
U, S = FailureClass.UNKNOWN, FailureClass.SUPPRESSED
C = FailureClass.CONFIGURATION

ROWS = {
    "dns_failed": N,
    "connect_failed": N,
    "pool_timeout": N,
    "tls_handshake_failed": N,
    "certificate_invalid": C,
    "credential_source_failed": N,
    "http_lost_before_request": N,
    "http_lost_after_request": U,
    "http_goaway_below_stream": N,
    "http_goaway_above_stream": U,
    "http_cancelled_before_request": N,
    "http_cancelled_after_request": U,
    "http_accepted": None,
    "http_accepted_unparseable": U,
    "http_accepted_per_item": None,
    "http_unexpected_status": U,
    "http_redirected": P,
    "http_refused": P,
    "http_account_refused": C,
    "http_recipient_suppressed": S,
    "http_idempotency_concurrent": N,
    "http_rate_limited": N,
    "http_provider_error": N,
    "http_gateway_error": U,
    "smtp_opening_refused": N,
    "smtp_starttls_missing": C,
    "smtp_account_refused": C,
    "smtp_go_ahead": None,
    "smtp_temporary_before_dot": N,
    "smtp_temporary_at_dot": N,
    "smtp_permanent": P,
    "smtp_mailbox_refused": S,
    "smtp_bad_reply_before_dot": N,
    "smtp_bad_reply_at_dot": U,
    "smtp_lost_before_dot": N,
    "smtp_lost_at_dot": U,
    "smtp_timeout_before_dot": N,
    "smtp_timeout_at_dot": U,
    "smtp_trouble_after_acceptance": None,
    "message_too_large": P,
    "smtputf8_unsupported": P,
    "8bitmime_unsupported": P,
    "build_failed": P,
}


def test_the_table_is_closed() -> None:
    """Every signal has one class, and no row is missing here."""
    assert {signal.value: class_of(signal) for signal in Signal} == ROWS
    assert set(TABLE) == set(Signal)


PHASES = [
    "banner",
    "ehlo",
    "starttls",
    "auth",
    "check",
    "mail",
    "rcpt",
    "data",
    "body",
    "dot",
    "quit",
]
"""In the order of the columns below."""

GRID = {
    # code: one class a phase; "-" lets the session go on or is ignored
    220: "- N - N N N N N N U -",
    221: "N N N N N N N N N U -",
    235: "N N N - N N N N N U -",
    250: "N - N N - - - N N - -",
    251: "N N N N N N - N N U -",
    252: "N N N N N N N N N U -",
    334: "N N N N N N N N N U -",
    354: "N N N N N N N - N U -",
    421: "N N N N N N N N N N -",
    432: "N N N N N N N N N N -",
    450: "N N N N N N N N N N -",
    451: "N N N N N N N N N N -",
    452: "N N N N N N N N N N -",
    454: "N N N N N N N N N N -",
    500: "N N C C N P P P P P -",
    521: "N N C C N P P P P P -",
    530: "C C C C C C C C C C -",
    534: "C C C C C C C C C C -",
    535: "C C C C C C C C C C -",
    538: "C C C C C C C C C C -",
    550: "N N C C N P P P P P -",
    552: "N N C C N P P P P P -",
    554: "N N C C N P P P P P -",
}
LETTERS = {"N": N, "P": P, "U": U, "S": S, "C": C, "-": None}


@pytest.mark.parametrize("code", GRID)
def test_every_smtp_reply_at_every_phase(code: int) -> None:
    """F13, every phase and every class of code."""
    found = [of_smtp_reply(SmtpPhase(phase), code, None) for phase in PHASES]
    assert found == [LETTERS[letter] for letter in GRID[code].split()]
    assert set(PHASES) == set(SmtpPhase)


@pytest.mark.parametrize(("phase", "enhanced"), [*product(SmtpPhase, ["5.1.1", "5.1.10", "5.2.1"])])
def test_only_a_refusal_of_the_recipient_suppresses(phase: SmtpPhase, enhanced: str) -> None:
    """5.1.1 at MAIL speaks of the sender."""
    suppresses = phase in {SmtpPhase.RCPT, SmtpPhase.DATA, SmtpPhase.DOT}
    assert (of_smtp_reply(phase, 550, enhanced) is S) == suppresses
    assert of_smtp_reply(phase, 450, f"4{enhanced[1:]}") is (None if phase is SmtpPhase.QUIT else N)


@pytest.mark.parametrize("enhanced", ["5.1.2", "5.2.2", "5.7.1", "5.1.11", "5.2.10", None])
def test_other_refusals_of_the_recipient_are_permanent(enhanced: str | None) -> None:
    """A full mailbox or a policy is no standing refusal of the address."""
    assert of_smtp_reply(SmtpPhase.RCPT, 550, enhanced) is P


def test_passwords_switched_off_are_a_matter_of_configuration() -> None:
    """Microsoft's 550 5.7.30, at MAIL; elsewhere the code means REQUIRETLS (RFC 8689)."""
    assert of_smtp_reply(SmtpPhase.MAIL, 550, "5.7.30") is C
    assert of_smtp_reply(SmtpPhase.RCPT, 550, "5.7.30") is P


HTTP = {
    # status: with the provider's JSON, without
    100: (U, U),
    200: (None, U),
    202: (None, U),
    301: (P, P),
    307: (P, P),
    400: (P, P),
    401: (C, C),
    402: (C, C),
    403: (C, C),
    404: (P, P),
    408: (N, N),
    409: (N, N),
    410: (P, P),
    413: (P, P),
    422: (P, P),
    425: (N, N),
    429: (N, N),
    500: (N, U),
    501: (N, U),
    502: (U, U),
    503: (N, U),
    504: (U, U),
    520: (N, U),
    599: (N, U),
    999: (U, U),
}


@pytest.mark.parametrize("status", HTTP)
def test_every_http_status(status: int) -> None:
    """F15: a proxy's page says nothing about what the provider did."""
    with_json = of_http_status(status, has_json_body=True)
    without = of_http_status(status, has_json_body=False)
    assert (with_json, without) == HTTP[status]


def test_every_status_and_reply_has_a_row() -> None:
    """No number falls through."""
    for status, has_json in product(range(1000), [True, False]):
        assert http_signal(status, has_json_body=has_json) in TABLE
    for phase, code in product(SmtpPhase, range(200, 600)):
        assert smtp_signal(phase, code, None) in TABLE
