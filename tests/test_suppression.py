"""Suppressions as values: every way of typing one is the same refusal, and none names a person aloud."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailglass import ConfigError, SendError, Stream, Suppression, parse_address
from mailglass.suppression import (
    SuppressionReason,
    SuppressionScope,
    asked_values,
    erased_value,
    key_mark,
    value_key,
)

KEY = b"0123456789abcdef0123456789abcdef"


def _entry(**changes: Any) -> Suppression:
    fields: dict[str, Any] = {
        "scope": SuppressionScope.ADDRESS,
        "value": "zoe@mail.example",
        "reason": SuppressionReason.MANUAL,
        "source": "test",
    }
    return Suppression(**(fields | changes))


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("Zoe@Mail.Example", "zoe@mail.example"),
        ("  zoe@mail.example\t", "zoe@mail.example"),
        ('"Doe, Zoe" <ZOE@mail.example>', "zoe@mail.example"),
        ("zoe@B\u00dcCHER.example", "zoe@xn--bcher-kva.example"),
        ("zoe@xn--BCHER-KVA.example", "zoe@xn--bcher-kva.example"),
        ("Zoe\u0301@mail.example", "zo\u00e9@mail.example"),
        ("zoe+news@mail.example", "zoe+news@mail.example"),
    ],
)
def test_every_way_of_typing_an_address_is_one_key(typed: str, key: str) -> None:
    """Row 70: capitals, IDN forms and composed letters do not let mail through."""
    assert _entry(value=typed).value == key


@pytest.mark.parametrize("typed", ["Mail.Example", "@mail.example", " MAIL.example "])
def test_every_way_of_typing_a_domain_is_one_key(typed: str) -> None:
    """Row 70: a domain too."""
    assert value_key(SuppressionScope.DOMAIN, typed) == "mail.example"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"value": "nobody"}, "address_syntax"),
        ({"value": "a@b@c"}, "address_syntax"),
        ({"scope": SuppressionScope.DOMAIN, "value": "zoe@mail.example"}, "address_syntax"),
        ({"scope": SuppressionScope.DOMAIN, "value": "exa mple"}, "domain"),
        ({"stream": Stream.BULK}, "suppression_stream"),
        ({"scope": SuppressionScope.ADDRESS_STREAM}, "suppression_stream"),
        ({"expires_at": datetime(2027, 1, 1)}, "naive_datetime"),  # noqa: DTZ001 - the case
        ({"since": datetime(2020, 1, 1)}, "naive_datetime"),  # noqa: DTZ001 - the case
        (
            {"reason": SuppressionReason.COMPLAINT, "expires_at": datetime(2027, 1, 1, tzinfo=UTC)},
            "complaint_expires",
        ),
        ({"note": " "}, "remark_empty"),
        ({"source": "x" * 201}, "too_long"),
        ({"source": "a\nb"}, "control_character"),
        ({"note": "told us\r\nby phone"}, "control_character"),
        ({"note": "ann@mail.example asked"}, "remark_address"),
        ({"value": f"hmac1:{'0' * 40}@erased"}, "local_part"),
    ],
)
def test_what_is_no_refusal_is_refused(changes: dict[str, Any], code: str) -> None:
    """A list with a wrong line is found when it is read, not when a mail slips through."""
    with pytest.raises(SendError) as caught:
        _entry(**changes)
    assert caught.value.code == code


def test_a_suppression_shows_no_address() -> None:
    """Row 82: neither repr nor an error names the person."""
    assert "zoe" not in repr(_entry(note="rang us"))
    with pytest.raises(SendError) as caught:
        _entry(value="canary and more@mail.example")
    assert "canary" not in f"{caught.value!r} {caught.value.to_dict()}"


def test_complaints_and_unsubscribes_are_the_recipients_will() -> None:
    """The others are ours to take back."""
    theirs = {one for one in SuppressionReason if one.is_the_recipients_will}
    assert theirs == {SuppressionReason.COMPLAINT, SuppressionReason.UNSUBSCRIBE}


def test_an_erased_address_is_one_hash_a_tenant() -> None:
    """Nobody can compare the lists of two tenants, nor try addresses without the key."""
    here = erased_value(KEY, "a", "zoe@mail.example")
    assert here == erased_value(KEY, "a", "zoe@mail.example")
    others = {
        erased_value(KEY, "b", "zoe@mail.example"),
        erased_value(KEY[::-1], "a", "zoe@mail.example"),
        erased_value(KEY, "a", "ann@mail.example"),
        erased_value(KEY, "az", "oe@mail.example"),
    }
    assert len(others | {here}) == 5
    assert "zoe" not in here


def test_an_erased_value_is_its_own_key() -> None:
    """It survives export and import, and says that it is erased."""
    entry = _entry(value=erased_value(KEY, "a", "zoe@mail.example"))
    assert entry.is_erased
    assert entry.value == erased_value(KEY, "a", "zoe@mail.example")
    assert not _entry().is_erased


def test_a_short_erasure_key_is_refused() -> None:
    """A guessable key is as good as none."""
    with pytest.raises(ConfigError) as caught:
        erased_value(b"short", "a", "zoe@mail.example")
    assert caught.value.key == "erasure_key"


def test_everything_that_could_refuse_a_recipient_is_asked() -> None:
    """Row 70: the key, the domain and, where there is a key, the hash and the mark of the key."""
    address = parse_address("Zoe@Mail.Example")
    plain = {"zoe@mail.example", "mail.example"}
    assert asked_values([address.key], tenant_id="a", erasure_key=None) == plain
    keyed = asked_values([address.key], tenant_id="a", erasure_key=KEY)
    assert keyed == plain | {erased_value(KEY, "a", "zoe@mail.example"), key_mark(KEY, "a")}


def test_a_tagged_address_is_asked_for_with_and_without_its_tag() -> None:
    """Row 70: with its hashes too, and a tag without a name is no tag."""
    tagged = asked_values(["zoe+a+b@x.example"], tenant_id="a", erasure_key=KEY)
    assert {"zoe+a+b@x.example", "zoe@x.example", "x.example"} < tagged
    assert erased_value(KEY, "a", "zoe@x.example") in tagged
    bare = asked_values(["+a@x.example"], tenant_id="a", erasure_key=None)
    assert bare == {"+a@x.example", "x.example"}
