"""Addresses: strict parsing of mailboxes, IDNA domains, and the key for comparing them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna

from mailglass import limits
from mailglass.headers import check_text, refuse

_MAILBOX_CHARS_MAX: Final = limits.ADDRESS_CHARS_MAX + 2 * limits.DISPLAY_NAME_CHARS_MAX + 8
"""An addr-spec, a name with every character escaped, and the punctuation between them."""

_ATEXT: Final = "A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LOCAL_ATOM: Final = rf"[\x80-\U0010ffff{_ATEXT}]+"
_LOCAL: Final = re.compile(rf"{_LOCAL_ATOM}(?:\.{_LOCAL_ATOM})*")
_ENCODED_WORD: Final = re.compile(r"=\?[^?]*\?[BbQq]\?")
_LABEL: Final = re.compile("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)" *<([^<>]*)>')
_ESCAPED: Final = re.compile(r"\\(.)")
_SPECIALS: Final = re.compile(r'[()<>\[\]:;@\\,"]')
_LOOKALIKE_SCRIPTS: Final = frozenset({"ARMENIAN", "CHEROKEE", "CYRILLIC", "GREEK", "LATIN"})
_DOMAINS_CACHED_MAX: Final = 4096
_MAILBOXES_CACHED_MAX: Final = 4096
"""Senders, and recipients who are looked at several times on a mail's way."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox (RFC 5322 §3.4): a display name, which may be empty, a local part and a domain.

    Whoever makes one gets it checked. ``local`` is kept as it was given: mail goes to that. A
    ``domain`` in Unicode or in capitals is kept as its lower-case A-label form (IDNA 2008, UTS 46).

    Raises:
        SendError: ``serialization_failed``; ``code`` is ``address_too_long``, ``local_part``,
            ``domain``, ``mixed_script``, ``encoded_word``, or one of ``headers.check_text``. The
            text never holds the address.

    """

    name: str
    local: str
    domain: str

    def __post_init__(self) -> None:
        """Refuse what is not a mailbox, and bring the domain into its one form."""
        check_text("a display name", self.name, chars_max=limits.DISPLAY_NAME_CHARS_MAX)
        check_text("a local part", self.local, chars_max=limits.LOCAL_PART_OCTETS_MAX)
        check_text("a domain", self.domain, chars_max=limits.DOMAIN_OCTETS_MAX)
        _check_local(self.local)
        object.__setattr__(self, "domain", _canonical_domain(self.domain))

    def __str__(self) -> str:
        """Return the mailbox as ``parse_address`` reads it, non-ASCII characters as they are."""
        if not self.name:
            return self.addr_spec
        if _SPECIALS.search(self.name) or self.name.strip(" ") != self.name:
            escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}" <{self.addr_spec}>'
        return f"{self.name} <{self.addr_spec}>"

    @property
    def addr_spec(self) -> str:
        """Return ``local@domain``, to which mail is sent, the domain in its ASCII form."""
        return f"{self.local}@{self.domain}"

    @property
    def key(self) -> str:
        """Return the form under which two addresses are one: NFC and lower case.

        It is for comparing and for nothing else: send to ``addr_spec``, since a server may tell
        capitals apart. It is not case-folded: the dotless i and the long s stay apart from i and
        s, so that nobody gets another's mail by a look-alike (CVE-2019-19844).
        """
        if self.local.isascii():
            return f"{self.local.lower()}@{self.domain}"
        lower = unicodedata.normalize("NFC", self.local).lower()
        return f"{unicodedata.normalize('NFC', lower)}@{self.domain}"

    @property
    def domain_key(self) -> str:
        """Return the form under which two domains are one: lower-case A-labels."""
        return self.domain

    @property
    def needs_smtputf8(self) -> bool:
        """Tell whether only a server with SMTPUTF8 (RFC 6531) can take mail for this address."""
        return not self.local.isascii()


def parse_address(text: str) -> Address:
    """Return the one mailbox that ``text`` is: ``local@domain``, or that in ``<>`` after a name.

    A name with punctuation stands in double quotes: ``"Doe, Jane" <jane@example.org>``. Comments,
    groups, routes, lists, quoted local parts and address literals are refused, since readers
    disagree on them (CVE-2019-16056, CVE-2023-27043). The length is checked first and the time
    is linear in it.

    Raises:
        SendError: ``serialization_failed`` with code ``address_syntax`` or one of ``Address``.

    """
    check_text("an address", text, chars_max=_MAILBOX_CHARS_MAX)
    return _parsed(text)


@lru_cache(maxsize=_MAILBOXES_CACHED_MAX)
def _parsed(text: str) -> Address:
    name, spec = _split_mailbox(text) if text.endswith(">") else ("", text)
    if len(spec) > limits.ADDRESS_CHARS_MAX:
        raise refuse("an address is longer than 320 characters", code="address_too_long")
    local, at, domain = spec.partition("@")
    if not (local and at and domain) or "@" in domain:
        raise refuse("an address is not of the form local@domain", code="address_syntax")
    return Address(name, local, domain)


def _split_mailbox(text: str) -> tuple[str, str]:
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise refuse("a quoted display name does not end", code="address_syntax")
        return _ESCAPED.sub(r"\1", quoted[1]), quoted[2]
    name, _, rest = text.partition("<")
    if name.startswith(" ") or _SPECIALS.search(name):
        raise refuse("a display name has punctuation and no quotes", code="address_syntax")
    return name.rstrip(" "), rest.removesuffix(">")


def _check_local(local: str) -> None:
    if _ENCODED_WORD.search(local):
        raise refuse("a local part looks like an encoded word", code="encoded_word")
    if _LOCAL.fullmatch(local) is None:
        raise refuse("a local part is not a dot-atom of RFC 5322", code="local_part")
    if local.isascii():
        return
    if len(local.encode()) > limits.LOCAL_PART_OCTETS_MAX:
        raise refuse("a local part is longer than 64 octets", code="address_too_long")
    if not all(map(_may_stand_in_local, local)):
        raise refuse("a local part holds an invisible character or space", code="local_part")


def _may_stand_in_local(char: str) -> bool:
    # Characters such as the Kelvin sign become ASCII under NFC, and would meet another mailbox.
    if char.isascii():
        return True
    return unicodedata.category(char)[0] not in "ZC" and not (
        unicodedata.normalize("NFC", char).isascii()
    )


@lru_cache(maxsize=_DOMAINS_CACHED_MAX)
def _canonical_domain(domain: str) -> str:
    if len(domain.encode()) > limits.DOMAIN_OCTETS_MAX:
        raise refuse("a domain is longer than 253 octets", code="address_too_long")
    canonical = domain.lower() if domain.isascii() else _encoded(domain)
    if len(canonical) > limits.DOMAIN_OCTETS_MAX:
        raise refuse("a domain is longer than 253 octets", code="address_too_long")
    labels = canonical.split(".")
    if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise refuse("a domain does not follow RFC 5321", code="domain")
    international = [label for label in labels if label.startswith("xn--")]
    if international and len(labels) == 1:
        raise refuse("a domain of one label is not ASCII", code="domain")
    for label in international:
        _check_scripts(_decoded(label))
    return canonical


def _encoded(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (ValueError, IndexError):
        raise refuse("a domain does not follow IDNA 2008", code="domain") from None


def _decoded(label: str) -> str:
    try:
        return idna.ulabel(label)
    except (ValueError, IndexError):
        raise refuse("a domain does not follow IDNA 2008", code="domain") from None


def _check_scripts(label: str) -> None:
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in label}
    if len(scripts & _LOOKALIKE_SCRIPTS) > 1:
        raise refuse("a domain mixes alphabets that look alike", code="mixed_script")
