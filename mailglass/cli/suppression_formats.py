"""The files that suppressions come in as: our own CSV, and what four providers export."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum, unique
from itertools import chain
from typing import IO, Any, Final, TypeVar

from mailglass.errors import SendError
from mailglass.headers import refuse
from mailglass.message import Stream
from mailglass.suppression import (
    SOURCE_CHARS_MAX,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    check_remark,
)

LINE_BYTES_MAX: Final = 1024 * 1024
JSON_BYTES_MAX: Final = 512 * 1024 * 1024
FORMULA: Final = ("=", "+", "-", "@", "'")
"""What a spreadsheet may take for the beginning of a formula, and the apostrophe that stops it."""
_UNIX_MS_MIN: Final = 100_000_000_000
_NOT_IN_NAME: Final = re.compile("[^a-z0-9]")
_DOCUMENTS: Final = ("SuppressedDestinationSummaries", "Suppressions", "items")
"""Under which key the rows stand in a JSON answer of SES, Postmark and Mailgun."""


@unique
class FileFormat(StrEnum):
    """Whose file it is."""

    CSV = "csv"
    SES = "ses"
    SENDGRID = "sendgrid"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"


@unique
class ListKind(StrEnum):
    """Which of a provider's lists a file holds, where the rows themselves do not say."""

    BOUNCES = "bounces"
    COMPLAINTS = "complaints"
    UNSUBSCRIBES = "unsubscribes"
    INVALID = "invalid"


REASON_OF_LIST: Final = {
    ListKind.BOUNCES: SuppressionReason.HARD_BOUNCE,
    ListKind.COMPLAINTS: SuppressionReason.COMPLAINT,
    ListKind.UNSUBSCRIBES: SuppressionReason.UNSUBSCRIBE,
    ListKind.INVALID: SuppressionReason.INVALID_RECIPIENT,
}
_Word = TypeVar("_Word", Stream, SuppressionScope)
_OF_EVERY_STREAM: Final = frozenset(
    {
        SuppressionReason.HARD_BOUNCE,
        SuppressionReason.COMPLAINT,
        SuppressionReason.INVALID_RECIPIENT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The columns of a format, as folded names: lower case, letters and digits alone.

    ``page`` is the provider's own documentation of them. ``words`` are the format's reasons.
    ``lists`` are the lists of which each file is one; with none, a row names its reason.
    """

    page: str
    value: tuple[str, ...]
    since: str
    reason: str | None = None
    words: Mapping[str, SuppressionReason] = field(default_factory=dict)
    lists: tuple[ListKind, ...] = ()
    without_header: tuple[str, ...] = ()


SHAPES: Final[dict[FileFormat, Shape]] = {
    FileFormat.CSV: Shape(
        page="mailglass suppressions export --format csv",
        value=("value", "email", "address", "emailaddress"),
        since="since",
        reason="reason",
        words={one.value: one for one in SuppressionReason},
        without_header=("value", "reason"),
    ),
    FileFormat.SES: Shape(
        page="https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html",
        value=("emailaddress",),
        since="lastupdatetime",
        reason="reason",
        words={
            "bounce": SuppressionReason.HARD_BOUNCE,
            "complaint": SuppressionReason.COMPLAINT,
        },
        without_header=("emailaddress", "reason"),
    ),
    FileFormat.SENDGRID: Shape(
        page="https://www.twilio.com/docs/sendgrid/api-reference/bounces-api",
        value=("email",),
        since="created",
        lists=(
            ListKind.BOUNCES,
            ListKind.COMPLAINTS,
            ListKind.UNSUBSCRIBES,
            ListKind.INVALID,
        ),
    ),
    FileFormat.POSTMARK: Shape(
        page="https://postmarkapp.com/developer/api/suppressions-api",
        value=("emailaddress", "email"),
        since="createdat",
        reason="suppressionreason",
        words={
            "hardbounce": SuppressionReason.HARD_BOUNCE,
            "spamcomplaint": SuppressionReason.COMPLAINT,
            "manualsuppression": SuppressionReason.MANUAL,
        },
    ),
    FileFormat.MAILGUN: Shape(
        page="https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/bounces",
        value=("address",),
        since="createdat",
        lists=(ListKind.BOUNCES, ListKind.COMPLAINTS, ListKind.UNSUBSCRIBES),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is read: whose it is, which list, and what its rows do not say themselves.

    Unsubscribes hold on ``stream`` alone, on bulk mail unless another is named, so that nobody who
    left a newsletter loses receipts; bounces, complaints and invalid addresses hold on all.
    """

    format: FileFormat
    list: ListKind | None = None
    reason: SuppressionReason = SuppressionReason.MANUAL
    stream: Stream | None = None
    source: str = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no suppression: its number from 1, the broken rule, and what it holds."""

    line: int
    code: str
    text: str = field(repr=False)


class SuppressionFile:
    """Reads a file as a stream; ``bytes_read`` grows while it does."""

    def __init__(self, file: IO[bytes], reading: Reading) -> None:
        self._file = file
        self._reading = reading
        self._shape = SHAPES[reading.format]
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Suppression | BadLine]:
        """Yield a suppression, or what is wrong, for every row."""
        for line, record in self._records():
            if isinstance(record, BadLine):
                yield record
                continue
            try:
                yield _entry(record, self._shape, self._reading)
            except SendError as error:
                text = ",".join(str(one) for one in record.values())
                yield BadLine(line=line, code=error.code or "", text=text)

    def _records(self) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
        lines = self._lines()
        first = next(lines, "")
        read = self._of_json if first.lstrip()[:1] in {"{", "["} else self._of_csv
        return read(chain([first], lines))

    def _lines(self) -> Iterator[str]:
        while raw := self._file.readline(LINE_BYTES_MAX):
            self.bytes_read += len(raw)
            # Bytes that are no UTF-8 become surrogates, which no address may hold.
            yield raw.decode("utf-8-sig" if self.bytes_read == len(raw) else "utf-8", _ESCAPE)

    def _of_csv(self, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
        rows = csv.reader(lines)
        names: tuple[str, ...] = ()
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                yield rows.line_num, BadLine(line=rows.line_num, code="csv", text="")
                continue
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names, is_header = self._names(row)
                if is_header:
                    continue
            yield rows.line_num, dict(zip(names, row, strict=False))

    def _names(self, row: Sequence[str]) -> tuple[tuple[str, ...], bool]:
        folded = tuple(_NOT_IN_NAME.sub("", cell.lower()) for cell in row)
        if any(name in folded for name in self._shape.value):
            return folded, True
        if self._shape.without_header and not any(name in folded for name in ("reason", "scope")):
            return self._shape.without_header, False
        raise refuse(
            f"the file has no column of {self._reading.format.value} with addresses: "
            f"{', '.join(self._shape.value)} (see {self._shape.page})",
            code="no_address_column",
        )

    def _of_json(self, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
        whole: list[str] = []
        is_first = True
        for line, text in enumerate(lines, start=1):
            if whole:
                self._keep(whole, text)
                continue
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except ValueError:
                if is_first:
                    self._keep(whole, text)
                else:
                    yield line, BadLine(line=line, code="json", text=text.strip())
                continue
            is_first = False
            for record in _of_document(value):
                yield line, _folded(record, line)
        if whole:
            yield from self._of_whole("".join(whole))

    def _keep(self, whole: list[str], text: str) -> None:
        whole.append(text)
        if self.bytes_read > JSON_BYTES_MAX:
            raise refuse("a JSON document is larger than 512 MiB", code="json_too_large")

    def _of_whole(self, text: str) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
        try:
            # A letter that was cut in two between reads is whole again as bytes.
            document = json.loads(text.encode("utf-8", _ESCAPE).decode("utf-8", _ESCAPE))
        except ValueError:
            raise refuse("the file is no JSON document", code="json") from None
        for place, record in enumerate(_of_document(document), start=1):
            yield place, _folded(record, place)


_ESCAPE: Final = "surrogateescape"


def _of_document(value: Any) -> Sequence[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        for name in _DOCUMENTS:
            if isinstance(value.get(name), list):
                found: list[Any] = value[name]
                return found
    return (value,)


def _folded(record: Any, line: int) -> Mapping[str, Any] | BadLine:
    if not isinstance(record, dict):
        return BadLine(line=line, code="json", text=str(record))
    return {_NOT_IN_NAME.sub("", str(name).lower()): value for name, value in record.items()}


def _entry(record: Mapping[str, Any], shape: Shape, reading: Reading) -> Suppression:
    typed = next((str(record[name]) for name in shape.value if record.get(name)), "")
    value = _without_guard(typed) if reading.format is FileFormat.CSV else typed
    if not value.strip():
        raise refuse("the row has no address", code="no_value")
    reason = _reason(record, shape, reading)
    if reading.format is FileFormat.CSV:
        return _own_entry(record, value, reason, reading)
    scope = _scope(value, reason, reading.stream)
    return Suppression(
        scope=scope,
        value=value,
        reason=reason,
        source=reading.source,
        stream=_stream_of(scope, reading.stream),
        since=_moment(record.get(shape.since)),
    )


def _own_entry(
    record: Mapping[str, Any], value: str, reason: SuppressionReason, reading: Reading
) -> Suppression:
    stream = _one_of(Stream, record, "stream") or reading.stream
    scope = _one_of(SuppressionScope, record, "scope") or _scope(value, reason, stream)
    source = _text(record, "source") or reading.source
    check_remark("source", source, chars_max=SOURCE_CHARS_MAX)
    return Suppression(
        scope=scope,
        value=value,
        reason=reason,
        source=source,
        stream=_stream_of(scope, stream),
        note=_text(record, "note"),
        expires_at=_expiry(record),
        since=_moment(record.get("since")),
    )


def _reason(record: Mapping[str, Any], shape: Shape, reading: Reading) -> SuppressionReason:
    if reading.list is not None:
        return REASON_OF_LIST[reading.list]
    word = str(record.get(shape.reason or "") or "").strip()
    if not word:
        return reading.reason
    known = shape.words.get(word.lower())
    if known is None:
        raise refuse("the row has a reason that is not known", code="reason")
    if reading.format is FileFormat.POSTMARK and known is SuppressionReason.MANUAL:
        theirs = str(record.get("origin", "")).lower() == "recipient"
        return SuppressionReason.UNSUBSCRIBE if theirs else known
    return known


def _scope(value: str, reason: SuppressionReason, stream: Stream | None) -> SuppressionScope:
    if "@" not in value.strip().removeprefix("@"):
        if "." not in value:
            raise refuse("a domain without a dot is a slip of the pen", code="domain")
        return SuppressionScope.DOMAIN
    is_of_stream = reason is SuppressionReason.UNSUBSCRIBE or stream is not None
    if is_of_stream and reason not in _OF_EVERY_STREAM:
        return SuppressionScope.ADDRESS_STREAM
    return SuppressionScope.ADDRESS


def _stream_of(scope: SuppressionScope, stream: Stream | None) -> Stream | None:
    return stream or Stream.BULK if scope is SuppressionScope.ADDRESS_STREAM else None


def _one_of(kind: type[_Word], record: Mapping[str, Any], column: str) -> _Word | None:
    word = _text(record, column)
    if word is None:
        return None
    try:
        return kind(word)
    except ValueError:
        raise refuse(f"the row has a {column} that is not known", code=column) from None


def _text(record: Mapping[str, Any], name: str) -> str | None:
    return _without_guard(str(record.get(name) or "").strip()) or None


def _expiry(record: Mapping[str, Any]) -> datetime | None:
    text = _text(record, "expiresat")
    if text is None:
        return None
    found = _moment(text)
    if found is None:
        raise refuse("the row ends at a time that cannot be read", code="expires_at")
    return found


def _moment(value: Any) -> datetime | None:
    """Return a time given as ISO 8601, RFC 5322 or seconds since 1970; None where it is none.

    A refusal is worth keeping without its date, so a wrong one is left out.
    """
    text = str(value or "").strip()
    for parse in (_of_seconds, datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return None


def _of_seconds(text: str) -> datetime:
    seconds = float(text)
    return datetime.fromtimestamp(seconds / 1000 if seconds > _UNIX_MS_MIN else seconds, UTC)


def _without_guard(text: str) -> str:
    """Take off the apostrophe that our own export puts before what looks like a formula."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text
