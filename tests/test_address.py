"""Which text is one mailbox, and when two mailboxes are the same."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated import MANY, any_addresses
from mailglass.address import Address, parse_address
from mailglass.errors import SendError, SendErrorType

GOOD: Final[dict[str, tuple[str, str, str]]] = {
    "jane@example.org": ("", "jane", "example.org"),
    "Jane@Example.ORG": ("", "Jane", "example.org"),
    "j@x.io": ("", "j", "x.io"),
    "first.last@example.org": ("", "first.last", "example.org"),
    "user+tag@example.org": ("", "user+tag", "example.org"),
    "user-name@example.org": ("", "user-name", "example.org"),
    "user_name@example.org": ("", "user_name", "example.org"),
    "_@example.org": ("", "_", "example.org"),
    "1234567890@example.org": ("", "1234567890", "example.org"),
    "o'hara@example.org": ("", "o'hara", "example.org"),
    "!#$%&'*+-/=?^_`{|}~@example.org": ("", "!#$%&'*+-/=?^_`{|}~", "example.org"),
    "bounce=jane=x.org@example.org": ("", "bounce=jane=x.org", "example.org"),
    f"{'x' * 64}@example.org": ("", "x" * 64, "example.org"),
    "a@localhost": ("", "a", "localhost"),
    "a@mail-1": ("", "a", "mail-1"),
    "a@sub.sub2.example.org": ("", "a", "sub.sub2.example.org"),
    "a@1.example.org": ("", "a", "1.example.org"),
    "a@3com.com": ("", "a", "3com.com"),
    "a@ex-am-ple.org": ("", "a", "ex-am-ple.org"),
    "a@r3---sn.example.org": ("", "a", "r3---sn.example.org"),
    f"a@{'x' * 63}.org": ("", "a", f"{'x' * 63}.org"),
    "a@xn--bcher-kva.example": ("", "a", "xn--bcher-kva.example"),
    "a@XN--BCHER-KVA.example": ("", "a", "xn--bcher-kva.example"),
    "a@bücher.example": ("", "a", "xn--bcher-kva.example"),
    "a@BÜCHER.example": ("", "a", "xn--bcher-kva.example"),
    "a@faß.de": ("", "a", "xn--fa-hia.de"),
    "a@例え.jp": ("", "a", "xn--r8jz45g.jp"),
    "a@例え。jp": ("", "a", "xn--r8jz45g.jp"),
    "a@пример.рф": ("", "a", "xn--e1afmkfd.xn--p1ai"),
    "a@παράδειγμα.gr": ("", "a", "xn--hxajbheg2az3al.gr"),
    "a@яндекс.com": ("", "a", "xn--d1acpjx3f.com"),
    "a@\uff45\uff58ample.org": ("", "a", "example.org"),
    "用户@example.org": ("", "用户", "example.org"),
    "jörg@bücher.example": ("", "jörg", "xn--bcher-kva.example"),
    "почта@пример.рф": ("", "почта", "xn--e1afmkfd.xn--p1ai"),
    "\u0131\u017f@example.org": ("", "\u0131\u017f", "example.org"),
    "<jane@example.org>": ("", "jane", "example.org"),
    "Jane <jane@example.org>": ("Jane", "jane", "example.org"),
    "Jane<jane@example.org>": ("Jane", "jane", "example.org"),
    "Jane   <jane@example.org>": ("Jane", "jane", "example.org"),
    "Jane Doe <jane@example.org>": ("Jane Doe", "jane", "example.org"),
    "Jane Q. Doe <jane@example.org>": ("Jane Q. Doe", "jane", "example.org"),
    "Jane  Doe <jane@example.org>": ("Jane  Doe", "jane", "example.org"),
    "Jane O'Hara <jane@example.org>": ("Jane O'Hara", "jane", "example.org"),
    "Jörg Müller <j@example.org>": ("Jörg Müller", "j", "example.org"),
    "日本 太郎 <j@example.org>": ("日本 太郎", "j", "example.org"),
    "\U0001f600 <j@example.org>": ("\U0001f600", "j", "example.org"),
    '"Doe, Jane" <jane@example.org>': ("Doe, Jane", "jane", "example.org"),
    '"Doe, Jane"<jane@example.org>': ("Doe, Jane", "jane", "example.org"),
    '"a \\"b\\" c" <jane@example.org>': ('a "b" c', "jane", "example.org"),
    '"a \\\\ b" <jane@example.org>': ("a \\ b", "jane", "example.org"),
    '"a@b" <jane@example.org>': ("a@b", "jane", "example.org"),
    '"<x@evil>" <jane@example.org>': ("<x@evil>", "jane", "example.org"),
    '"" <jane@example.org>': ("", "jane", "example.org"),
    '" a " <jane@example.org>': (" a ", "jane", "example.org"),
    "=?utf-8?q?x?= <jane@example.org>": ("=?utf-8?q?x?=", "jane", "example.org"),
    f"{'n' * 256} <jane@example.org>": ("n" * 256, "jane", "example.org"),
}

BAD: Final[dict[str, str]] = {
    "": "address_syntax",
    " ": "address_syntax",
    "jane": "address_syntax",
    "@": "address_syntax",
    "@example.org": "address_syntax",
    "jane@": "address_syntax",
    "_@": "address_syntax",
    "':;=?": "address_syntax",
    "<>": "address_syntax",
    "<jane>": "address_syntax",
    "<jane@example.org": "local_part",
    "jane@example.org>": "address_syntax",
    "jane@@example.org": "address_syntax",
    "jane@evil.com@example.org": "address_syntax",
    "alice@example.org,bob@evil.com": "address_syntax",
    "alice@example.org, bob@evil.com": "address_syntax",
    "alice@example.org;bob@evil.com": "address_syntax",
    "alice@example.org bob@evil.com": "address_syntax",
    "alice@example.org)bob@evil.com": "address_syntax",
    "alice@example.org]bob@evil.com": "address_syntax",
    "alice@example.org(x)": "domain",
    "alice@evil.com(<bob@example.org>": "address_syntax",
    "alice@evil.com <bob@example.org>": "address_syntax",
    "Alice, Bob <bob@example.org>": "address_syntax",
    "Alice (Sales) <bob@example.org>": "address_syntax",
    "Alice: <bob@example.org>": "address_syntax",
    "group: bob@example.org;": "local_part",
    "undisclosed-recipients:;": "address_syntax",
    "<@route.example:bob@example.org>": "address_syntax",
    "<a@b.org> <c@d.org>": "address_syntax",
    "x <a@b.org> <c@d.org>": "address_syntax",
    "x <<a@b.org>>": "local_part",
    "x <a@b.org> y": "local_part",
    '"x" <v@evil.org>, "y" <a@b.org>': "address_syntax",
    '"x" y <a@b.org>': "address_syntax",
    'x "y" <a@b.org>': "address_syntax",
    '"x <a@b.org>': "address_syntax",
    '"x\\" <a@b.org>': "address_syntax",
    'x" <a@b.org>': "address_syntax",
    "x\\ <a@b.org>": "address_syntax",
    " Jane <jane@example.org>": "address_syntax",
    " jane@example.org": "local_part",
    "jane@example.org ": "domain",
    "Jane <jane@example.org> ": "local_part",
    "< jane@example.org>": "local_part",
    "<jane@example.org >": "domain",
    '"jane"@example.org': "local_part",
    '"jane doe"@example.org': "local_part",
    '"xclow3n@gmail.com x"@internal.example.org': "address_syntax",
    "jane doe@example.org": "local_part",
    ".jane@example.org": "local_part",
    "jane.@example.org": "local_part",
    "jane..doe@example.org": "local_part",
    ".@example.org": "local_part",
    "jane,@example.org": "local_part",
    "jane:@example.org": "local_part",
    "jane;@example.org": "local_part",
    "jane<@example.org": "local_part",
    "jane(x)@example.org": "local_part",
    "(x)jane@example.org": "local_part",
    "jane[x]@example.org": "local_part",
    "jane\\@example.org": "local_part",
    "me/../../users/x": "address_syntax",
    "=?utf-8?q?=0ABcc?=@example.org": "encoded_word",
    "a=?x?B?Cg@example.org": "encoded_word",
    " <jane@example.org>": "address_syntax",
    f"{'x' * 65}@example.org": "too_long",
    f"{'ü' * 33}@example.org": "address_too_long",
    "a\u00a0b@example.org": "local_part",
    "a\u200bb@example.org": "local_part",
    "a\u3000b@example.org": "local_part",
    "a\ufeffb@example.org": "local_part",
    "a\ue000b@example.org": "local_part",
    "\u212aate@example.org": "local_part",
    "jane@[127.0.0.1]": "domain",
    "jane@[IPv6:::1]": "domain",
    "jane@127.0.0.1": "domain",
    "jane@example.123": "domain",
    "jane@example.org.": "domain",
    "jane@.example.org": "domain",
    "jane@example..org": "domain",
    "jane@.": "domain",
    "jane@-example.org": "domain",
    "jane@example-.org": "domain",
    "jane@exam_ple.org": "domain",
    "jane@exam ple.org": "domain",
    "jane@exam/ple.org": "domain",
    "jane@exam%70le.org": "domain",
    "jane@example.org:25": "domain",
    "jane@example.org#x": "domain",
    "jane@example.org?bcc=v": "domain",
    "jane@example.org\\": "domain",
    "jane@münchen": "domain",
    "jane@xn--mnchen-3ya": "domain",
    "jane@xn--a.org": "domain",
    "jane@xn--.org": "domain",
    "jane@xn--\u00fc.org": "domain",
    "jane@℀.example.org": "domain",
    "jane@ex\u00adample\u2024org": "domain",
    "jane@\u2603.example.org": "domain",
    "jane@\U0001f600.example.org": "domain",
    "jane@a\u200db.example.org": "domain",
    "jane@\u0301a.example.org": "domain",
    f"jane@{'x' * 64}.org": "domain",
    f"jane@{'ü' * 60}.org": "domain",
    f"a@{'a.' * 130}org": "too_long",
    f"a@{'ü.' * 100}org": "address_too_long",
    f"a@{'x' * 400}": "address_too_long",
    "a" * 100_000: "too_long",
    "(" * 2_000: "too_long",
    "a@" + "a." * 50_000: "too_long",
    f"{'n' * 257} <jane@example.org>": "too_long",
    "Jane\r\nBcc: v@evil.org <jane@example.org>": "control_character",
    "jane@example.org\n": "control_character",
    "jane@example.org\r\nRCPT TO:<v@evil.org>": "control_character",
    "jane\x00@example.org": "control_character",
    "\u202eenaj <jane@example.org>": "bidi_control",
    "jane\u2066@example.org": "bidi_control",
    "jane@exa\ud800mple.org": "surrogate",
}

CYRILLIC: Final = {
    "a": "\u0430",
    "c": "\u0441",
    "e": "\u0435",
    "i": "\u0456",
    "j": "\u0458",
    "o": "\u043e",
    "p": "\u0440",
    "s": "\u0455",
    "x": "\u0445",
    "y": "\u0443",
}
GREEK: Final = {"a": "\u03b1", "o": "\u03bf", "p": "\u03c1", "i": "\u03b9", "v": "\u03bd"}
BRANDS: Final = ["apple", "paypal", "microsoft", "google", "facebook", "spotify", "netflix-invoice"]
CONFUSABLES: Final = [
    f"{brand[:at]}{letters[char]}{brand[at + 1 :]}.com"
    for brand in BRANDS
    for letters in (CYRILLIC, GREEK)
    for at, char in enumerate(brand)
    if char in letters
]


def key(text: str) -> str:
    """Return the comparison key of an address."""
    return parse_address(text).key


@pytest.mark.parametrize("text", GOOD, ids=ascii)
def test_mailbox_is_read(text: str) -> None:
    """Every form of one mailbox gives its three parts (rows 4 and 5)."""
    address = parse_address(text)
    assert (address.name, address.local, address.domain) == GOOD[text]


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:50])
def test_what_is_not_one_mailbox_is_refused(text: str) -> None:
    """Lists, comments, routes, literals, quotes and hidden characters are refused (rows 5, 6, 8)."""
    with pytest.raises(SendError) as caught:
        parse_address(text)
    assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
    assert caught.value.code == BAD[text]


def test_the_corpus_is_large_enough() -> None:
    """The two tables hold at least 120 addresses (row 5)."""
    assert len(GOOD) + len(BAD) >= 120


@pytest.mark.parametrize("text", ["jane@evil.example.org>", "s3cr3t name) <x@y>", "s3cr3t@@x"])
def test_refusal_does_not_repeat_the_address(text: str) -> None:
    """An error can be logged: the address is not in it."""
    with pytest.raises(SendError) as caught:
        parse_address(text)
    told = str(caught.value.to_dict())
    assert "evil" not in told
    assert "s3cr3t" not in told


@pytest.mark.parametrize("domain", CONFUSABLES, ids=ascii)
def test_domain_label_of_two_alphabets_is_refused(domain: str) -> None:
    """A Cyrillic or Greek letter cannot hide in a Latin name (row 8)."""
    for written in (domain, domain.upper(), domain.encode("idna").decode()):
        with pytest.raises(SendError) as caught:
            parse_address(f"security@{written}")
        assert caught.value.code == "mixed_script"


def test_there_are_many_confusables() -> None:
    """The list above is not empty by accident (row 8)."""
    assert len(CONFUSABLES) >= 40


@pytest.mark.parametrize("domain", ["яндекс.com", "пример-1.example", "αβγ.example"])
def test_label_of_one_alphabet_is_a_domain(domain: str) -> None:
    """A whole label in another alphabet is a name like any other."""
    assert parse_address(f"a@{domain}").domain.startswith("xn--")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jane@Example.org", "jane@example.ORG"),
        ("Jane <jane@example.org>", "jane@example.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("JÖRG@example.org", "jörg@example.org"),
        ("jo\u0308rg@example.org", "j\u00f6rg@example.org"),
    ],
)
def test_same_mailbox_has_one_key(one: str, other: str) -> None:
    """Capitals, composition and the form of the domain make no difference (row 7)."""
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("m\u0131ke@example.org", "mike@example.org"),
        ("\u017fam@example.org", "sam@example.org"),
        ("m\u0130ke@example.org", "mike@example.org"),
        ("stra\u00dfe@example.org", "strasse@example.org"),
        ("\ufb01x@example.org", "fix@example.org"),
        ("\uff4aane@example.org", "jane@example.org"),
        ("jane+a@example.org", "jane@example.org"),
        ("ja.ne@example.org", "jane@example.org"),
    ],
)
def test_look_alike_mailboxes_have_two_keys(one: str, other: str) -> None:
    """Nobody reaches another's account by a letter that merely folds to the same (row 7)."""
    assert key(one) != key(other)


def test_mail_goes_to_the_address_as_it_was_given() -> None:
    """The local part is kept as it is; only the key is normalised (row 7)."""
    address = parse_address("JaNe+A@Example.org")
    assert address.addr_spec == "JaNe+A@example.org"
    assert address.key == "jane+a@example.org"
    assert address.domain_key == "example.org"


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("a@example.org", False),
        ("a@bücher.example", False),
        ("ü <a@b.org>", False),
        ("ü@b.org", True),
    ],
)
def test_only_a_local_part_outside_ascii_needs_smtputf8(text: str, needs: object) -> None:
    """Names are encoded and domains have an ASCII form; local parts have none (RFC 6531)."""
    assert parse_address(text).needs_smtputf8 is needs


@pytest.mark.parametrize(
    "make",
    [
        lambda: Address("", "a b", "example.org"),
        lambda: Address("", "a@b", "example.org"),
        lambda: Address("", "", "example.org"),
        lambda: Address("", "a", ""),
        lambda: Address("", "a", "exa mple.org"),
        lambda: Address("a\r\nBcc: v", "a", "example.org"),
        lambda: Address("x" * 257, "a", "example.org"),
        lambda: Address(None, "a", "b.org"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_address_made_by_hand_is_checked_too(make: Callable[[], Address]) -> None:
    """There is no way around the checks of an address (row 4)."""
    with pytest.raises(SendError):
        make()


def test_address_made_by_hand_has_the_one_form_of_its_domain() -> None:
    """The domain becomes lower-case A-labels however the address is made."""
    assert Address("", "a", "BÜCHER.example") == parse_address("a@xn--bcher-kva.example")


@MANY
@given(any_addresses)
def test_mailbox_survives_writing_and_reading(address: Address) -> None:
    """parse(str(x)) == x for names with quotes, commas, encoded words and all else (row 4)."""
    assert parse_address(str(address)) == address


@MANY
@given(any_addresses)
def test_key_of_a_key_is_the_key(address: Address) -> None:
    """Normalising twice changes nothing, and a key is in NFC (row 7)."""
    assert Address("", address.key.rpartition("@")[0], address.domain).key == address.key
    assert unicodedata.is_normalized("NFC", address.key)


@MANY
@given(
    st.one_of(
        st.text(),
        st.text('ab.@<>"\\ ,;:()[]=?-xn\u00fc\u0430\u3002', max_size=40),
        st.text("xn-.abü\u0301\u200d\u0660\u05d0", max_size=30).map("a@xn--{}".format),
    )
)
def test_any_text_is_an_address_or_our_refusal(text: str) -> None:
    """No other exception escapes, and what is accepted has exactly one @ (rows 5 and 6)."""
    try:
        address = parse_address(text)
    except SendError:
        return
    assert address.addr_spec.count("@") == 1
    assert address.domain.isascii()
    assert address.domain == address.domain.lower()


@pytest.mark.parametrize(
    "shape",
    [
        lambda n: "a." * n + "@",
        lambda n: "a@" + "a." * n,
        lambda n: '"' + "\\a" * n,
        lambda n: '"' + "a" * n + '" ' + " " * n + "<",
        lambda n: "<" * n + ">",
        lambda n: " " * n + "<a@b>",
        lambda n: "(" * n,
        lambda n: "é" * n + "@x",
        lambda n: "a@" + "é." * n,
    ],
)
def test_hostile_text_costs_no_time(shape: Callable[[int], str]) -> None:
    """The length is checked first, so the longest and a far longer text are both quick (row 97)."""
    began = time.perf_counter()
    for size in (100, 400, 800, 100_000):
        with pytest.raises(SendError):
            parse_address(shape(size))
    assert time.perf_counter() - began < 0.5
