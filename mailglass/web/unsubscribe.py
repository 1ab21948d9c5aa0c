"""The unsubscribe page as plain functions: looking changes nothing, a POST acts (RFC 8058)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID

from mailglass.clock import Clock, system_clock
from mailglass.compliance.unsubscribe import ONE_CLICK, UnsubscribeLinks
from mailglass.errors import SignatureError
from mailglass.telemetry import Signal, report
from mailglass.web.answers import Answer
from mailglass.web.page import PageState, Theme, page_answer

BODY_BYTES_MAX: Final = 4_096
_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = re.compile(
    r'multipart/form-data\s*;\s*boundary="?([A-Za-z0-9\'()+_,./:=? -]{1,70}?)"?\s*', re.IGNORECASE
)
_FIELD_NAME: Final = re.compile(
    rb'content-disposition:[^\r\n]*;\s*name="([^"\r\n]*)"', re.IGNORECASE
)
_FIELDS_MAX: Final = 4
_PARTS_OF_ONE_FIELD: Final = 3


class _Intent(Enum):
    """What a POST asks for, and by whom."""

    ONE_CLICK = auto()
    CONFIRMED = auto()


_INTENTS: Final = {
    tuple(ONE_CLICK.split("=")): _Intent.ONE_CLICK,
    ("confirmed", "yes"): _Intent.CONFIRMED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribePage:
    """The page behind the links of ``UnsubscribeLinks``.

    ``unsubscribe`` writes: it gets the delivery's id, and does nothing for one that is unknown or
    has been left before. Whatever it raises means that nothing was written. Neither method reads a
    cookie, a session or the Host header, so both belong outside of login and CSRF checks.
    """

    links: UnsubscribeLinks
    unsubscribe: Callable[[UUID], object]
    theme: Theme
    clock: Clock = system_clock

    def show(self, token: str, *, accept_language: str = "") -> Answer:
        """Return the question, or 404 for a link that is not ours; nothing is read or written."""
        state = PageState.INVALID if self._delivery(token) is None else PageState.ASK
        return page_answer(self.theme, state, accept_language=accept_language)

    def act(
        self, token: str, body: bytes, *, content_type: str = _FORM, accept_language: str = ""
    ) -> Answer:
        """Unsubscribe; the body says whether a mailbox provider or a person at the page asks.

        A provider's answer has no body and never redirects: 200 for a good, a replayed, a forged and
        an expired token alike, 500 when the write failed, so that it tries again, and 400 when the
        body is not RFC 8058's. A person gets a page.
        """
        intent = _intent(body, content_type)
        if intent is None:
            return Answer(status=400)
        delivery_id = self._delivery(token)
        is_written = delivery_id is None or self._is_written(delivery_id)
        if intent is _Intent.ONE_CLICK:
            return Answer(status=200 if is_written else 500)
        if not is_written:
            state = PageState.FAILED
        else:
            state = PageState.INVALID if delivery_id is None else PageState.DONE
        return page_answer(self.theme, state, accept_language=accept_language)

    def _delivery(self, token: str) -> UUID | None:
        try:
            return self.links.delivery_of(token, now=self.clock())
        except SignatureError:
            return None

    def _is_written(self, delivery_id: UUID) -> bool:
        try:
            self.unsubscribe(delivery_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the provider has to try again
            name = type(error).__name__
            report(Signal.UNSUBSCRIBE_FAILED, level=logging.ERROR, error_type=name)
            return False
        return True


def _intent(body: bytes, content_type: str) -> _Intent | None:
    if len(body) > BODY_BYTES_MAX:
        return None
    multipart = _MULTIPART.fullmatch(content_type.strip())
    if multipart is not None:
        pair = _only_part(body, multipart[1].encode())
    elif content_type.partition(";")[0].strip().lower() == _FORM:
        pair = _only_pair(body)
    else:
        return None
    return None if pair is None else _INTENTS.get(pair)


def _only_pair(body: bytes) -> tuple[str, str] | None:
    try:
        pairs = parse_qsl(body.strip().decode(), strict_parsing=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return None
    return pairs[0] if len(pairs) == 1 else None


def _only_part(body: bytes, boundary: bytes) -> tuple[str, str] | None:
    parts = body.split(b"--" + boundary)
    if len(parts) != _PARTS_OF_ONE_FIELD or not parts[2].startswith(b"--"):
        return None
    head, _, value = parts[1].partition(b"\r\n\r\n")
    name = _FIELD_NAME.search(head)
    if name is None:
        return None
    return name[1].decode("latin-1"), value.removesuffix(b"\r\n").decode("latin-1")
