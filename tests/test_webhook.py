"""Webhooks as values: strict where a forger could gain, forgiving where a provider is odd."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from mailglass.adapters.signatures import WebhookAuth, check_hmac_hex
from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType
from mailglass.events import EventType
from mailglass.webhook import (
    JSON_CONTAINERS_MAX,
    JSON_STRINGS_MAX,
    PARSED_BYTES_MAX,
    TOKEN_KEY,
    HeaderMap,
    ProviderEvent,
    WebhookRequest,
    check_age,
    decoded_base64,
    event_id_from,
    from_iso,
    from_unix,
    labels,
    parse_form,
    parse_json,
    signed_seconds,
    text,
    token_in,
    without_token,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def _request(*headers: tuple[str, str], remote_ip: str | None = None) -> WebhookRequest:
    return WebhookRequest(
        url="https://app.test/", headers=HeaderMap(headers), body=b"", remote_ip=remote_ip, now=NOW
    )


def _refusal(caught: pytest.ExceptionInfo[SignatureError]) -> SignatureErrorType:
    return caught.value.type


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": NaN}', b'{"a": 1e999}', b"1" * 21, b'{"a": 1, "a": 2}', b"[" * 33 + b"]" * 33,
     b"nul", b'"' + b"\\" * 9, b"x" * (PARSED_BYTES_MAX + 1)],
)  # fmt: skip
def test_json_that_could_harm_is_refused(body: bytes) -> None:
    """Depth, digits, size, doubled keys and numbers that no store keeps."""
    with pytest.raises(SignatureError) as caught:
        parse_json(body, provider="p")
    assert _refusal(caught) is SignatureErrorType.MALFORMED_HEADER


def test_brackets_inside_strings_are_no_depth() -> None:
    """A long text is no attack."""
    assert parse_json(b'{"a": "' + b"[" * 500 + b'"}', provider="p") == {"a": "[" * 500}


@pytest.mark.parametrize("one", [b"[]", b"{}", b'{"":0}', b'"ab"'])
def test_ten_megabytes_take_little_memory(one: bytes) -> None:
    """Some providers sign inside the body, so that anybody's is parsed before it is refused."""
    body = b"[" + b",".join([one] * (9_900_000 // (len(one) + 1))) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(SignatureError) as caught:
            parse_json(body, provider="p")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.detail == "json_values"
    assert peak < len(body)


@pytest.mark.parametrize("text", ["[{" * JSON_CONTAINERS_MAX, '\\"[\\\\' * JSON_STRINGS_MAX])
def test_brackets_and_quotes_inside_strings_are_no_values(text: str) -> None:
    """A received mail may hold any text."""
    assert parse_json(json.dumps([text]), provider="p") == [text]


def test_a_large_batch_is_read() -> None:
    """A thousand times what a provider sends at once."""
    batch = [{"event": "delivered", "n": number} for number in range(JSON_CONTAINERS_MAX - 1)]
    assert len(parse_json(json.dumps(batch), provider="p")) == len(batch)


def test_a_form_has_a_bound_on_its_fields() -> None:
    """And the last value of a name counts."""
    assert parse_form(b"a=1&a=2&b=", provider="p") == {"a": "2", "b": ""}
    with pytest.raises(SignatureError):
        parse_form(b"&".join([b"a=1"] * 1001), provider="p")


@pytest.mark.parametrize("wrong", ["nan", "١٢٣", " 1_0 ", "-1", "+1", "1e5", "", "1" * 13, "0x1"])
def test_a_signed_time_is_ascii_digits(wrong: str) -> None:
    """Python's own parsers take all of these, or crash."""
    with pytest.raises(SignatureError) as caught:
        signed_seconds(wrong, provider="p")
    assert _refusal(caught) is SignatureErrorType.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("age_s", "is_refused"), [(0, False), (300, False), (301, True), (-300, False), (-301, True)]
)
def test_a_signed_time_is_within_the_tolerance(age_s: float, *, is_refused: bool) -> None:
    """On either side of now."""
    seconds = NOW.timestamp() - age_s
    if not is_refused:
        check_age(seconds, now=NOW, tolerance_s=300, provider="p")
        return
    with pytest.raises(SignatureError) as caught:
        check_age(seconds, now=NOW, tolerance_s=300, provider="p")
    assert _refusal(caught) is SignatureErrorType.TIMESTAMP_SKEW


@pytest.mark.parametrize("wrong", ["YW*Jj", "YWJj\n", "YWI", "é", b"\xff"])
def test_base64_is_strict(wrong: str | bytes) -> None:
    """One signature has one spelling."""
    with pytest.raises(SignatureError):
        decoded_base64(wrong, provider="p", detail="signature")


@pytest.mark.parametrize("given", ["", "zz", "é" * 64, "0" * 63, "0" * 65, "0" * 64])
def test_a_wrong_mac_is_a_signature_error(given: str) -> None:
    """Whatever it is made of."""
    with pytest.raises(SignatureError):
        check_hmac_hex(given, b"payload", ["key", "other"], provider="p")


def test_a_header_that_stands_twice_is_refused() -> None:
    """Nobody knows which of the two another reader takes."""
    with pytest.raises(SignatureError) as caught:
        _request(("X-Sig", "a"), ("x-sig", "b")).header("X-SIG", provider="p")
    assert _refusal(caught) is SignatureErrorType.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, SignatureErrorType.MISSING_HEADER),
        ("Basic", SignatureErrorType.BAD_CREDENTIALS),
        ("Basic *", SignatureErrorType.MALFORMED_HEADER),
        ("Digest x", SignatureErrorType.MALFORMED_HEADER),
        ("Bearer guessed", SignatureErrorType.BAD_CREDENTIALS),
    ],
)
def test_wrong_credentials_have_their_type(header: str | None, kind: SignatureErrorType) -> None:
    """Missing, malformed and wrong are three things."""
    headers = () if header is None else (("Authorization", header),)
    with pytest.raises(SignatureError) as caught:
        WebhookAuth(credentials=["token"]).check_origin(_request(*headers), provider="p")
    assert _refusal(caught) is kind


def test_any_of_several_credentials_will_do() -> None:
    """While one replaces the other."""
    auth = WebhookAuth(credentials=["old", lambda: "new"])
    auth.check_origin(_request(("Authorization", "Bearer new")), provider="p")


@pytest.mark.parametrize(
    ("remote_ip", "is_refused"),
    [("192.0.2.9", False), ("::ffff:192.0.2.9", False), ("198.51.100.1", True), (None, True),
     ("unknown", True)],
)  # fmt: skip
def test_the_caller_is_in_a_given_network(remote_ip: str | None, *, is_refused: bool) -> None:
    """An address that nobody knows is in none."""
    auth = WebhookAuth(networks=["192.0.2.0/24"])
    if not is_refused:
        auth.check_origin(_request(remote_ip=remote_ip), provider="p")
        return
    with pytest.raises(SignatureError) as caught:
        auth.check_origin(_request(remote_ip=remote_ip), provider="p")
    assert _refusal(caught) is SignatureErrorType.IP_DISALLOWED


def test_a_network_that_is_none_is_refused_at_once() -> None:
    """Not at the first request."""
    with pytest.raises(ConfigError):
        WebhookAuth(networks=["192.0.2.1/24"])


def test_without_any_key_the_error_says_so() -> None:
    """Nothing is believed by default; credentials do where signing is optional."""
    for check in (WebhookAuth().secrets, WebhookAuth().optional_secrets):
        with pytest.raises(ConfigError) as caught:
            check("p")
        assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING
    assert WebhookAuth(credentials=["c"]).optional_secrets("p") == []
    assert WebhookAuth(credentials=["c"], keys=["k"]).optional_secrets("p") == ["k"]


def test_a_key_may_have_lines() -> None:
    """As PEM has."""
    assert WebhookAuth(keys=["-----BEGIN X-----\na\n"]).secrets("p") == ["-----BEGIN X-----\na\n"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-14T10:29:58.1234567+01:00", datetime(2026, 3, 14, 9, 29, 58, 123456, UTC)),
        ("2026-03-14T09:29:58Z", datetime(2026, 3, 14, 9, 29, 58, tzinfo=UTC)),
        ("2026-03-14 09:29:58", datetime(2026, 3, 14, 9, 29, 58, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("2" * 100, None),
        (5, None),
    ],
)
def test_iso_times_are_read_or_absent(value: Any, expected: datetime | None) -> None:
    """Seven digits of a fraction, any zone, or none, which is UTC."""
    assert from_iso(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, True), ("1773480570", True), (1773480570.5, True), (True, False), ("nan", False),
     (1e300, False), (-1, False), (None, False), ([], False)],
)  # fmt: skip
def test_unix_times_are_read_or_absent(value: Any, *, expected: bool) -> None:
    """A number or its digits."""
    assert (from_unix(value) is not None) == expected


def test_texts_fit_any_store() -> None:
    """NUL and half surrogates are replaced, and long ones cut."""
    assert text("a\x00b\ud800") == "a\ufffdb\ufffd"
    assert len(text("x" * 5000) or "") == 2000
    assert text("") is None
    assert text([]) is None
    assert text(7) == "7"


def test_our_token_comes_back_and_is_no_metadata() -> None:
    """And a value that is no id of ours is none."""
    token = "0197a000-0000-7000-8000-00000000000a"
    metadata = labels({TOKEN_KEY: token, "customer": 7})
    assert token_in(metadata) == UUID(token)
    assert dict(without_token(metadata)) == {"customer": "7"}
    assert token_in({TOKEN_KEY: "x"}) is None


def test_an_event_shows_no_person() -> None:
    """It may be logged."""
    event = ProviderEvent(
        type=EventType.CLICKED, occurred_at=NOW, provider="p", provider_event_id="e",
        recipient="canary@a.test", click_url="https://canary.test", user_agent="canary",
        description="canary", mta_response="canary", metadata={"k": "canary"},
    )  # fmt: skip
    assert "canary" not in repr(event)
    assert "canary" not in repr(_request(("X", "canary")))


def test_an_event_id_of_ours_tells_its_parts_apart() -> None:
    """And is the same each time."""
    assert event_id_from("a", "bc") == event_id_from("a", "bc")
    assert event_id_from("a", "bc") != event_id_from("ab", "c")
