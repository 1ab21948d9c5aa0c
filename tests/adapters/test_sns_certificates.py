"""Certificates of topics: a stranger who makes names up makes the server fetch little."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailglass import SendError
from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.adapters.sns_certificates import (
    CERTIFICATES_MAX,
    FETCHES_MAX,
    FETCHES_OF_ONE_MAX,
    WINDOW_S,
    Certificates,
)
from webhook_requests import request

ARN = "arn:aws:sns:eu-west-1:123456789012:mail"
NOBODY = request(b"{}")


def _counting(asked: list[str]) -> Certificates:
    def fetch(url: str) -> bytes:
        asked.append(url)
        return b"pem"

    return Certificates(provider="amazon_ses", fetch=fetch)


def _tried(certificates: Certificates, number: int, asked: Any = NOBODY) -> int:
    """Return how many of so many made-up names were refused."""
    refused = 0
    for one in range(number):
        try:
            certificates.pem(f"https://sns.example/{one}.pem", asked)
        except SendError as error:
            assert error.retryable  # noqa: PT017 - each of many is looked at
            refused += 1
    return refused


def test_made_up_names_are_fetched_a_few_times_a_minute() -> None:
    """Each would be a request of ours, for a message that nobody signed."""
    asked: list[str] = []

    def transport(made: Request) -> Response:
        asked.append(made.url)
        return Response(status=403)

    adapter: Any = build_offline("amazon_ses", {"topic_arns": [ARN]}, transport=transport)
    for number in range(50):
        body = {
            "Type": "Notification",
            "MessageId": str(number),
            "TopicArn": ARN,
            "Message": "x",
            "Timestamp": "2026-03-01T12:00:00.000Z",
            "SignatureVersion": "2",
            "Signature": "AAAA",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/"
            f"SimpleNotificationService-{number:032x}.pem",
        }
        with pytest.raises(SendError):
            adapter.verify(request(body))
    assert len(asked) == FETCHES_OF_ONE_MAX


def test_who_asks_for_much_keeps_nobody_else_from_a_fetch() -> None:
    """SNS calls from elsewhere than the stranger."""
    certificates = _counting([])
    assert _tried(certificates, 50, replace(NOBODY, remote_ip="203.0.113.9")) == 45
    assert _tried(certificates, 1, replace(NOBODY, remote_ip="198.51.100.1")) == 0


def test_all_callers_together_have_a_bound() -> None:
    """Addresses are cheap."""
    asked: list[str] = []
    certificates = _counting(asked)
    for number in range(50):
        _tried(certificates, 1, replace(NOBODY, remote_ip=f"203.0.113.{number}"))
    assert len(asked) == FETCHES_MAX


def test_a_minute_later_it_is_fetched_again() -> None:
    """The message comes again for an hour."""
    certificates = _counting([])
    assert _tried(certificates, FETCHES_OF_ONE_MAX + 1) == 1
    later = replace(NOBODY, now=NOBODY.now + timedelta(seconds=WINDOW_S + 1))
    assert _tried(certificates, FETCHES_OF_ONE_MAX + 1, later) == 1


def test_what_is_kept_is_not_fetched_and_has_a_bound() -> None:
    """The topic's own certificate verifies whoever else calls."""
    asked: list[str] = []
    certificates = _counting(asked)
    for number in range(CERTIFICATES_MAX + 1):
        certificates.keep(f"https://sns.example/kept-{number}.pem", b"pem")
    _tried(certificates, 50)
    asked.clear()
    assert certificates.pem(f"https://sns.example/kept-{CERTIFICATES_MAX}.pem", NOBODY) == b"pem"
    with pytest.raises(SendError):
        certificates.pem("https://sns.example/kept-0.pem", NOBODY)
    assert asked == []
