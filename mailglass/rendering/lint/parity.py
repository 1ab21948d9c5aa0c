"""Parity: whether the text part says what the HTML says, and whether the subject is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailglass.message import Message
from mailglass.rendering.lint.findings import SUBJECT_CHARS_SHOWN, Finding, found
from mailglass.rendering.lint.pages import Page
from mailglass.rendering.plaintext import plain_text

_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_NUMBER: Final = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d[\d.,:]*\d|\d")
_LOUD: Final = re.compile(r"[!?]{2,}\s*$|\${2,}")
_WORDS_MIN: Final = 8
_SHARE_MIN: Final = 0.6
_CAPITALS_MIN: Final = 8


def parity_findings(message: Message, page: Page) -> Iterator[Finding]:
    """Find where the text part and the HTML went apart."""
    if message.text is None or not message.text.strip():
        yield found("text_missing", "the text part")
        return
    said = plain_text(page.html)
    addresses = {
        one.attributes["href"].strip()
        for one in page.named("a")
        if not one.is_hidden and one.attributes.get("href", "").lower().startswith("http")
    }
    lost = sum(address not in message.text for address in addresses)
    if lost:
        yield found("text_links_differ", "the text part", count=lost)
    for address in addresses:
        said = said.replace(address, " ")
    words, known = _words(said), _words(message.text)
    if len(words) >= _WORDS_MIN and len(words & known) < _SHARE_MIN * len(words):
        share = round(100 * len(words & known) / len(words))
        yield found("text_drifts", "the text part", share=share)
    missing = _numbers(said) - _numbers(message.text)
    if missing:
        yield found("text_numbers_differ", "the text part", count=len(missing))


def subject_findings(subject: str) -> Iterator[Finding]:
    """Find what is wrong with a subject."""
    if not subject.strip():
        yield found("subject_empty", "the subject")
    if len(subject) > SUBJECT_CHARS_SHOWN:
        yield found("subject_long", "the subject", chars=len(subject), most=SUBJECT_CHARS_SHOWN)
    letters = [one for one in subject if one.isalpha()]
    is_loud = len(letters) >= _CAPITALS_MIN and subject.isupper()
    if is_loud or _LOUD.search(subject):
        yield found("subject_loud", "the subject")


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _numbers(text: str) -> set[str]:
    return {re.sub(r"\D", "", number) for number in _NUMBER.findall(text)}
