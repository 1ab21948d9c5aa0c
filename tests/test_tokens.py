"""Signed tokens."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType
from mailglass.tokens import PAYLOAD_BYTES_MAX, TOKEN_CHARS_MAX, Keyring, Purpose, TokenKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _key(name: str, not_after: datetime | None = None) -> TokenKey:
    return TokenKey(secret=name.encode().ljust(32, b"."), not_after=not_after)


RING = Keyring([_key("new"), _key("old")])


def _refusal(
    ring: Keyring, token: str, *, purpose: Purpose = Purpose.CLICK, now: datetime = NOW
) -> SignatureErrorType:
    with pytest.raises(SignatureError) as caught:
        ring.open(purpose, token, now=now, max_age=YEAR)
    return caught.value.type


@given(payload=st.binary(max_size=200), purpose=st.sampled_from(Purpose))
def test_a_token_gives_back_what_was_signed(payload: bytes, purpose: Purpose) -> None:
    """Any payload, for the purpose it was signed for."""
    token = RING.sign(purpose, payload, now=NOW)
    assert RING.open(purpose, token, now=NOW, max_age=YEAR) == payload


@given(payload=st.binary(max_size=64))
def test_every_single_bit_flip_is_refused(payload: bytes) -> None:
    """Row 58: whichever bit of the signed bytes changes, nothing comes out."""
    token = RING.sign(Purpose.CLICK, payload, now=NOW)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for at in range(len(raw) * 8):
        raw[at // 8] ^= 1 << at % 8
        forged = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        assert _refusal(RING, forged) is SignatureErrorType.BAD_SIGNATURE
        raw[at // 8] ^= 1 << at % 8


def test_a_token_can_be_written_in_one_way_only() -> None:
    """Row 58: no other last character, which a lax decoder would read alike, is accepted."""
    for size in range(3):
        token = RING.sign(Purpose.CLICK, b"x" * size, now=NOW)
        for char in set(ALPHABET) - {token[-1]}:
            _refusal(RING, token[:-1] + char)


@pytest.mark.parametrize("purpose", [Purpose.UNSUBSCRIBE, Purpose.OPEN])
def test_a_click_token_is_worth_nothing_elsewhere(purpose: Purpose) -> None:
    """Row 58: a token for one purpose does not verify for another."""
    token = RING.sign(Purpose.CLICK, b"x", now=NOW)
    assert _refusal(RING, token, purpose=purpose) is SignatureErrorType.BAD_SIGNATURE


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é" * 40,
        "A" * 33,
        "A" * 40 + "=",
        "A" * 20 + "\n" + "A" * 20,
        "A" * 20 + " " + "A" * 20,
        "A" * 20 + "+/" + "A" * 20,
        "A" * (TOKEN_CHARS_MAX + 4),
        RING.sign(Purpose.CLICK, b"x", now=NOW)[:-3],
        RING.sign(Purpose.CLICK, b"x", now=NOW) + "A",
        "\ud800" * 40,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Rows 36, 58: nothing but strict base64url of the right length is looked at."""
    assert _refusal(RING, token) in {
        SignatureErrorType.MALFORMED_HEADER, SignatureErrorType.BAD_SIGNATURE,
    }  # fmt: skip


@given(token=st.one_of(st.text(), st.text(ALPHABET, min_size=34)))
def test_no_text_makes_another_error(token: str) -> None:
    """Row 35: only a SignatureError comes out, whatever goes in."""
    _refusal(RING, token)


def test_links_of_three_generations_of_keys_work() -> None:
    """Row 68: a link in an old mail outlives two changes of the key."""
    for generation in ("first", "second", "third"):
        token = Keyring([_key(generation)]).sign(Purpose.UNSUBSCRIBE, b"x", now=NOW)
        ring = Keyring([_key("third"), _key("second"), _key("first")])
        assert ring.open(Purpose.UNSUBSCRIBE, token, now=NOW, max_age=YEAR) == b"x"


def test_the_first_key_signs() -> None:
    """A new key in front is used at once."""
    token = Keyring([_key("new"), _key("old")]).sign(Purpose.OPEN, b"x", now=NOW)
    assert Keyring([_key("new")]).open(Purpose.OPEN, token, now=NOW, max_age=YEAR) == b"x"
    assert _refusal(Keyring([_key("old")]), token) is SignatureErrorType.BAD_SIGNATURE


def test_a_key_ends() -> None:
    """F25: after ``not_after`` what the key signed is refused; until then it is accepted."""
    ring = Keyring([_key("new"), _key("old", not_after=NOW)])
    token = Keyring([_key("old")]).sign(Purpose.CLICK, b"x", now=NOW)
    assert ring.open(Purpose.CLICK, token, now=NOW, max_age=YEAR) == b"x"
    late = NOW + timedelta(seconds=1)
    assert _refusal(ring, token, now=late) is SignatureErrorType.BAD_SIGNATURE


def test_a_token_grows_too_old() -> None:
    """A token lives as long as it is said when it is opened, to the second."""
    token = RING.sign(Purpose.CLICK, b"x", now=NOW)
    assert RING.open(Purpose.CLICK, token, now=NOW + YEAR, max_age=YEAR) == b"x"
    late = NOW + YEAR + timedelta(seconds=1)
    assert _refusal(RING, token, now=late) is SignatureErrorType.TIMESTAMP_SKEW


def test_the_longest_payload_fits_the_longest_token() -> None:
    """The two bounds agree."""
    token = RING.sign(Purpose.CLICK, b"x" * PAYLOAD_BYTES_MAX, now=NOW)
    assert len(token) == TOKEN_CHARS_MAX
    assert len(RING.open(Purpose.CLICK, token, now=NOW, max_age=YEAR)) == PAYLOAD_BYTES_MAX


def test_a_longer_token_is_not_even_decoded() -> None:
    """A URL may be as long as its sender likes; the work on it is bounded."""
    assert _refusal(RING, "A" * (TOKEN_CHARS_MAX + 4)) is SignatureErrorType.MALFORMED_HEADER


def test_a_longer_payload_is_refused() -> None:
    """A token that could not be opened is never made."""
    with pytest.raises(ConfigError) as caught:
        RING.sign(Purpose.CLICK, b"x" * (PAYLOAD_BYTES_MAX + 1), now=NOW)
    assert caught.value.type is ConfigErrorType.INVALID


def test_a_weak_key_is_refused() -> None:
    """Anything shorter than 32 bytes, and no key at all."""
    with pytest.raises(ConfigError) as caught:
        TokenKey(secret=b"x" * 31)
    assert caught.value.type is ConfigErrorType.INVALID
    with pytest.raises(ConfigError) as caught:
        Keyring([])
    assert caught.value.type is ConfigErrorType.MISSING


@pytest.mark.parametrize("naive", [datetime(2026, 1, 1)])  # noqa: DTZ001 - the mistake itself
def test_moments_need_a_zone(naive: datetime) -> None:
    """A moment that could be meant in any zone is refused where it enters."""
    with pytest.raises(ConfigError):
        RING.sign(Purpose.CLICK, b"x", now=naive)
    with pytest.raises(ConfigError):
        _key("x", not_after=naive)


def test_the_key_that_signs_has_no_end() -> None:
    """Else every link would break on one day."""
    with pytest.raises(ConfigError) as caught:
        Keyring([_key("x", not_after=NOW)])
    assert caught.value.type is ConfigErrorType.INVALID


def test_no_repr_holds_a_secret() -> None:
    """Row 82: keys can be logged by accident without harm."""
    shown = repr(RING) + repr(_key("canary"))
    assert "canary" not in shown
    assert shown == "<Keyring of 2>TokenKey(not_after=None)"
