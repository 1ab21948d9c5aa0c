"""Checks on what an author sets: no control character or forged name in a header, no row refused for it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from mailglass import limits
from mailglass.errors import SendError, SendErrorType

TOKEN_CHARS_MAX: Final = 127
"""A type or a content id; RFC 6838 §4.2 gives each half of a type 127 characters at most."""

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SUSPECT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)

_NUL_IN_JSON: Final = r"\u0000"
_HALF_IN_JSON: Final = re.compile(r"\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]")
"""Half of a surrogate pair as JSON in ASCII writes it: a high one alone, or a low one alone."""

_NAME: Final = re.compile("[!-9;-~]{1,76}")
_RESERVED_NAMES: Final = frozenset(
    {
        "authentication-results",
        "bcc",
        "bounces-to",
        "cc",
        "date",
        "delivered-to",
        "domainkey-signature",
        "envelope-to",
        "from",
        "message-id",
        "mime-version",
        "received",
        "received-spf",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)
_ORIGINAL_TO: Final = "mailglass-original-to"
"""Whom a redirected mail was for: it forges nothing, and a provider has to carry it."""
_RESERVED_PREFIXES: Final = ("arc-", "content-", "dkim-", "mailglass-", "resent-")
_THREADING_NAMES: Final = frozenset({"in-reply-to", "references"})

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM: Final = rf"{_ATEXT}(?:\.{_ATEXT})*"
_MESSAGE_ID: Final = rf"<{_DOT_ATOM}@(?:{_DOT_ATOM}|\[[!-Z^-~]*\])>"
_MESSAGE_IDS: Final = re.compile(rf"{_MESSAGE_ID}(?: +{_MESSAGE_ID})*")

_PATH: Final = re.compile(r"[/\\]|\A[A-Za-z]:|\A\.{1,2}\Z")


def refuse(message: str, *, code: str) -> SendError:
    """Return the error for a message that cannot be built; ``code`` names the broken rule."""
    return SendError(message, type=SendErrorType.SERIALIZATION_FAILED, code=code)


def check_text(what: str, value: str, *, chars_max: int) -> None:
    """Refuse a string that could break out of its line or read otherwise than it is written.

    ``what`` names the field in the error's text, which never holds the value.

    Raises:
        SendError: ``serialization_failed`` with code ``not_text``, ``too_long``,
            ``control_character`` (C0, DEL, C1, U+2028, U+2029), ``surrogate`` (half of a pair,
            which no encoding can carry) or ``bidi_control`` (U+202A-202E, U+2066-2069).

    """
    if not _is_text(value):
        raise refuse(f"{what} is not a string", code="not_text")
    if len(value) > chars_max:
        raise refuse(f"{what} is longer than {chars_max} characters", code="too_long")
    if _SUSPECT.search(value) is None:
        return
    if _CONTROLS.search(value):
        raise refuse(f"{what} holds a control character or line end", code="control_character")
    if _SURROGATES.search(value):
        raise refuse(f"{what} holds half of a surrogate pair", code="surrogate")
    raise refuse(f"{what} holds a bidirectional control character", code="bidi_control")


def check_json(what: str, shown: str) -> None:
    """Refuse JSON, in ASCII, with a character that Postgres stores in no ``jsonb``.

    Raises:
        SendError: ``serialization_failed`` with code ``nul_in_json`` or ``surrogate``.

    """
    if r"\u" not in shown:
        return
    escapes = shown.replace(r"\\", " ")  # what follows a backslash of the text is no escape
    if _NUL_IN_JSON in escapes:
        raise refuse(f"{what} hold a NUL character", code="nul_in_json")
    if _HALF_IN_JSON.search(escapes):
        raise refuse(f"{what} hold half of a surrogate pair", code="surrogate")


def check_moment(what: str, value: datetime) -> None:
    """Refuse a moment that is in UTC outside the years 1 to 9999: it is stored, and never read again.

    Raises:
        SendError: ``serialization_failed`` with code ``year_out_of_range``.

    """
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise refuse(f"{what} is not in the years 1 to 9999", code="year_out_of_range") from None


def check_header(name: str, value: str) -> None:
    """Refuse a header that the author of a message may not set, or whose value is not one line.

    The names that mailglass writes itself and those that speak for a mail server (Received,
    DKIM-*, ARC-*, Resent-* …) are reserved. ``In-Reply-To`` and ``References`` must be message ids
    (RFC 5322 §3.6.4). An encoded word (``=?utf-8?q?…?=``) in any other value is plain text: the
    builder encodes it again, so that it shows as it was given.

    Raises:
        SendError: ``serialization_failed`` with code ``header_name``, ``reserved_header``,
            ``message_id``, or one of ``check_text``.

    """
    check_header_name(name)
    lower = name.lower()
    if is_reserved(lower):
        raise refuse("a header has a name that is not yours to set", code="reserved_header")
    check_header_value(value)
    if lower in _THREADING_NAMES:
        check_message_ids(value)


def is_reserved(name: str) -> bool:
    """Tell whether a header field is one that mailglass writes, or that nobody may forge."""
    lower = name.lower()
    if lower == _ORIGINAL_TO:
        return False
    return lower in _RESERVED_NAMES or lower.startswith(_RESERVED_PREFIXES)


def check_header_name(name: str) -> None:
    """Refuse a name that is not 1 to 76 printable ASCII characters without a colon.

    Raises:
        SendError: ``serialization_failed`` with code ``header_name``.

    """
    if not _is_text(name) or _NAME.fullmatch(name) is None:
        raise refuse("a header name is not printable ASCII without a colon", code="header_name")


def check_header_value(value: str) -> None:
    """Refuse a header value that is not one line of at most 8192 octets of UTF-8.

    Raises:
        SendError: ``serialization_failed`` with a code of ``check_text``.

    """
    check_text("a header value", value, chars_max=limits.HEADER_VALUE_OCTETS_MAX)
    if len(value.encode()) > limits.HEADER_VALUE_OCTETS_MAX:
        raise refuse("a header value is longer than 8192 octets", code="too_long")


def check_message_ids(value: str) -> None:
    """Refuse anything but message ids with spaces between them (RFC 5322 §3.6.4).

    ``=?`` is refused too, although the grammar has it: lax readers decode encoded words here.

    Raises:
        SendError: ``serialization_failed`` with code ``message_id``.

    """
    if "=?" in value or _MESSAGE_IDS.fullmatch(value) is None:
        raise refuse("a message id does not follow RFC 5322", code="message_id")


def check_filename(name: str) -> None:
    """Refuse an attachment's name that is a path, is empty, or hides what it is.

    Nothing is renamed: a caller with names from outside chooses a safe one itself.

    Raises:
        SendError: ``serialization_failed`` with code ``filename_empty``, ``filename_path``,
            ``filename_too_long`` (over 150 octets of UTF-8), or one of ``check_text``.

    """
    check_text("a filename", name, chars_max=limits.HEADER_VALUE_OCTETS_MAX)
    if not name.strip():
        raise refuse("a filename is empty", code="filename_empty")
    if len(name.encode()) > limits.FILENAME_OCTETS_MAX:
        raise refuse("a filename is longer than 150 octets", code="filename_too_long")
    if _PATH.search(name):
        raise refuse("a filename is a path", code="filename_path")


def check_token(what: str, value: str, *, allow: str = "") -> None:
    """Refuse anything but 1 to 127 token characters (RFC 2045 §5.1) and those in ``allow``.

    Raises:
        SendError: ``serialization_failed`` with code ``token``.

    """
    kept = value.translate(dict.fromkeys(map(ord, allow), "x")) if _is_text(value) else ""
    if len(kept) > TOKEN_CHARS_MAX or _TOKEN.fullmatch(kept) is None:
        raise refuse(f"{what} is not a token of RFC 2045", code="token")


def check_content_type(value: str) -> None:
    """Refuse anything but ``type/subtype`` of one attachment, without parameters.

    A ``multipart/…`` or ``message/…`` part may not be encoded (RFC 2045 §6.4), so no attachment can
    be one; send a mail as ``application/octet-stream``.

    Raises:
        SendError: ``serialization_failed`` with code ``content_type``, or that of ``check_token``.

    """
    check_token("content type", value, allow="/")
    kind, slash, subtype = value.lower().partition("/")
    if not (kind and slash and subtype) or "/" in subtype or kind in {"multipart", "message"}:
        raise refuse("a content type is not one that an attachment can have", code="content_type")


def _is_text(value: object) -> bool:
    return isinstance(value, str)
