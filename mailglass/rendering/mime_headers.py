"""Header lines of a MIME message: folding, encoded words, addresses and parameters, both ways."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, unquote

from mailglass import limits
from mailglass.address import Address, parse_address
from mailglass.headers import check_message_ids, refuse

LINE_CHARS_GOAL: Final = 76
"""Where a header line is folded if it can be (RFC 2047 §2 asks this of lines with encoded words)."""
ENCODED_WORD_CHARS_MAX: Final = 75
_PHRASE_WORD_CHARS_MAX: Final = 60
"""A word of a display name: fits beside the longest name of an address header."""
_NAME_CHARS_BESIDE_WORD_MAX: Final = 36
"""A longer header name stands on a line of its own before encoded words."""
_WORD_OVERHEAD: Final = len("=?utf-8?q??=")

STRUCTURED_NAMES: Final = frozenset(
    {
        "auto-submitted",
        "feedback-id",
        "in-reply-to",
        "list-archive",
        "list-help",
        "list-owner",
        "list-post",
        "list-subscribe",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "message-id",
        "precedence",
        "references",
    }
)
"""Headers with a grammar of their own, in which an encoded word would be read as it stands."""

_ENCODED_WORD: Final = re.compile(r"=\?utf-8\?([bq])\?([^? ]*)\?=")
_ENCODED_WORDS: Final = re.compile(r"=\?utf-8\?[bq]\?[^? ]*\?=(?: =\?utf-8\?[bq]\?[^? ]*\?=)*")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MAILBOX: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
_PARAMETER: Final = re.compile(r'; ([a-z]+)(?:\*([0-9]+))?(\*)?=(?:"((?:[^"\\]|\\.)*)"|([^; "]+))')
_ESCAPED: Final = re.compile(r"\\(.)")
_Q_AS_IT_IS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)
"""What RFC 2047 §5 (3) lets stand in a phrase, its narrowest place."""


def text_header(name: str, value: str) -> str:
    """Return the lines of a header whose value was checked by ``check_header_value``.

    Anything but plain words is encoded as a whole, so also what looks like an encoded word
    already: a reader shows the value exactly as it was given.

    Raises:
        SendError: ``serialization_failed`` with code ``structured_header`` for a value that would
            need encoding in a header that knows none, such as ``List-Unsubscribe``.

    """
    if _is_plain(value):
        if value and len(name) + len(value) + 2 <= LINE_CHARS_GOAL:
            return f"{name}: {value}\r\n"
        return fold(name, value.split(" "))
    if name.lower() in STRUCTURED_NAMES:
        raise refuse("a structured header is not plain ASCII words", code="structured_header")
    beside = len(name) <= _NAME_CHARS_BESIDE_WORD_MAX
    first = LINE_CHARS_GOAL - len(name) - 2 if beside else ENCODED_WORD_CHARS_MAX
    words = encoded_words(value, first=first, rest=ENCODED_WORD_CHARS_MAX)
    return fold(name, words if beside else ["", *words])


def message_id_header(message_id: str) -> str:
    """Return the line of the Message-ID, which must be one id (RFC 5322 §3.6.4)."""
    check_message_ids(message_id)
    if " " in message_id or len(message_id) > limits.LINE_OCTETS_MAX - len("Message-ID: "):
        raise refuse("the Message-ID is not one id that fits a line", code="message_id")
    return f"Message-ID: {message_id}\r\n"


def address_header(name: str, addresses: Sequence[Address]) -> str:
    """Return the lines of an address header; names are quoted or encoded, never joined in."""
    words: list[str] = []
    for address in addresses:
        spec = f"<{address.addr_spec}>" if address.name else address.addr_spec
        words += [*_phrase(address.name), f"{spec},"]
    words[-1] = words[-1].removesuffix(",")
    return fold(name, words)


def parameter_header(name: str, value: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the lines of a MIME header with parameters, encoded as RFC 2231 where needed."""
    words = [value]
    for key, text in parameters:
        words += _parameter(key, text)
    return fold(name, [*(f"{word};" for word in words[:-1]), words[-1]])


def fold(name: str, words: Sequence[str]) -> str:
    """Return ``name: words`` with CRLF, with a line break where a line passes 76 characters.

    The first word stays beside the name, since some readers do not expect it lower down; it goes
    down when it is too long, or when an empty word stands before it.
    """
    whole = f"{name}: {' '.join(words)}"
    if words[0] and len(whole) <= LINE_CHARS_GOAL:
        return f"{whole}\r\n"
    lines: list[str] = []
    line = f"{name}: {words[0]}" if words[0] else f"{name}:"
    if len(line) > limits.LINE_OCTETS_MAX:
        lines, line = [f"{name}:"], f" {words[0]}"
    for word in words[1:]:
        if len(line) + 1 + len(word) > LINE_CHARS_GOAL:
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    return "\r\n".join([*lines, line, ""])


def encoded_words(text: str, *, first: int, rest: int) -> list[str]:
    """Return ``text`` as encoded words (RFC 2047): Q or B, whichever is shorter.

    ``first`` and ``rest`` bound the characters of the first word and of each other one. No
    character is split over two words.
    """
    in_q = [_q(char) for char in text]
    octets = text.encode()
    if sum(map(len, in_q)) <= (len(octets) + 2) // 3 * 4:
        pieces = _packed(in_q, first - _WORD_OVERHEAD, rest - _WORD_OVERHEAD)
        return [f"=?utf-8?q?{piece}?=" for piece in pieces]
    # Latin-1 gives each octet one character, so that lengths of strings are lengths in octets.
    units = [char.encode().decode("latin-1") for char in text]
    pieces = _packed(units, (first - _WORD_OVERHEAD) // 4 * 3, (rest - _WORD_OVERHEAD) // 4 * 3)
    encoded = [base64.b64encode(piece.encode("latin-1")).decode() for piece in pieces]
    return [f"=?utf-8?b?{piece}?=" for piece in encoded]


def decoded_text(value: str) -> str:
    """Return what ``text_header`` was given, from the unfolded value."""
    return decoded_words(value) if _ENCODED_WORDS.fullmatch(value) else value


def decoded_words(text: str) -> str:
    """Return the text of every encoded word in ``text`` put together, and nothing else."""
    return b"".join(
        binascii.a2b_base64(word) if kind == "b" else binascii.a2b_qp(word, header=True)
        for kind, word in _ENCODED_WORD.findall(text)
    ).decode()


def decoded_addresses(value: str) -> tuple[Address, ...]:
    """Return what ``address_header`` was given, from the unfolded value."""
    return tuple(_decoded_mailbox(text.strip(" ")) for text in _MAILBOX.findall(value))


def decoded_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return the bare value and the parameters that ``parameter_header`` was given."""
    parameters: dict[str, str] = {}
    for key, segment, extended, quoted, token in _PARAMETER.findall(value):
        text = _ESCAPED.sub(r"\1", quoted) or token
        if extended:
            text = unquote(text if segment not in {"", "0"} else text.removeprefix("utf-8''"))
        parameters[key] = parameters.get(key, "") + text
    return value.partition(";")[0], parameters


def _is_plain(value: str) -> bool:
    return (
        value.isascii()
        and "=?" not in value
        and "  " not in value
        and value == value.strip(" ")
        and (len(value) < limits.LINE_OCTETS_MAX or _words_fit(value))
    )


def _words_fit(value: str) -> bool:
    return max(map(len, value.split(" "))) < limits.LINE_OCTETS_MAX


def _q(char: str) -> str:
    if char in _Q_AS_IT_IS:
        return char
    return "_" if char == " " else "".join(f"={octet:02X}" for octet in char.encode())


def _packed(units: Iterable[str], first: int, rest: int) -> list[str]:
    packed: list[str] = []
    room, piece = first, ""
    for unit in units:
        if len(piece) + len(unit) > room:
            packed.append(piece)
            room, piece = rest, ""
        piece += unit
    return [*packed, piece]


def _phrase(name: str) -> list[str]:
    if not name:
        return []
    if name.isascii() and "=?" not in name:
        if _ATOMS.fullmatch(name) and max(map(len, name.split(" "))) <= _PHRASE_WORD_CHARS_MAX:
            return name.split(" ")
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) <= _PHRASE_WORD_CHARS_MAX and name == name.strip(" "):
            return [quoted]
    return encoded_words(name, first=_PHRASE_WORD_CHARS_MAX, rest=_PHRASE_WORD_CHARS_MAX)


def _decoded_mailbox(text: str) -> Address:
    name, bracket, spec = text.rpartition("<")
    if not bracket:
        return parse_address(text)
    name = name.removesuffix(" ")
    if name.startswith('"'):
        name = _ESCAPED.sub(r"\1", name[1:-1])
    bare = parse_address(spec.removesuffix(">"))
    return Address(decoded_text(name), bare.local, bare.domain)


def _parameter(key: str, value: str) -> list[str]:
    room = LINE_CHARS_GOAL - 2
    if value.isascii() and "=?" not in value and value == value.strip(" "):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        if len(plain := f'{key}="{quoted}"') <= room:
            return [plain]
    units = [quote(char, safe="") for char in value]
    if len(whole := f"{key}*=utf-8''{''.join(units)}") <= room:
        return [whole]
    pieces = _packed(["utf-8''", *units], *[room - len(f"{key}*99*=")] * 2)
    return [f"{key}*{index}*={piece}" for index, piece in enumerate(pieces)]
