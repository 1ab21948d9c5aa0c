"""The files that suppressions go out as: our own CSV, and what four providers take."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import IO, Final

from mailglass.cli.suppression_formats import FORMULA, REASON_OF_LIST, FileFormat, ListKind
from mailglass.message import Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a file is written: for whom, which list, and whose stream's unsubscribes it holds."""

    format: FileFormat
    list: ListKind | None = None
    stream: Stream | None = None


_SES_WORD: Final = {
    SuppressionReason.HARD_BOUNCE: "BOUNCE",
    SuppressionReason.INVALID_RECIPIENT: "BOUNCE",
    SuppressionReason.COMPLAINT: "COMPLAINT",
}
_POSTMARK_WORDS: Final = {
    SuppressionReason.HARD_BOUNCE: ("HardBounce", "Recipient"),
    SuppressionReason.COMPLAINT: ("SpamComplaint", "Recipient"),
    SuppressionReason.UNSUBSCRIBE: ("ManualSuppression", "Recipient"),
}
_HEADERS: Final[dict[tuple[FileFormat, ListKind | None], tuple[str, ...]]] = {
    (FileFormat.CSV, None): (
        "value", "scope", "stream", "reason", "source", "note", "expires_at", "since",
    ),
    (FileFormat.POSTMARK, None): ("EmailAddress", "SuppressionReason", "Origin", "CreatedAt"),
    (FileFormat.MAILGUN, ListKind.BOUNCES): ("address", "code", "error", "created_at"),
    (FileFormat.MAILGUN, ListKind.COMPLAINTS): ("address", "created_at"),
    (FileFormat.MAILGUN, ListKind.UNSUBSCRIBES): ("address", "tags", "created_at"),
    **{(FileFormat.SENDGRID, kind): ("email", "created") for kind in ListKind},
}  # fmt: skip


def write(entries: Iterable[Suppression], out: IO[str], writing: Writing) -> tuple[int, int]:
    """Write a file; return how many rows it has, and how many could not be said in this format.

    A provider's format has no domains, no erased addresses, and no streams but the one named.
    """
    rows = csv.writer(out, lineterminator="\n")
    header = _HEADERS.get((writing.format, writing.list))
    if header is not None:
        rows.writerow(header)
    written = left_out = 0
    for entry in entries:
        row = _row(entry, writing)
        if row is None:
            left_out += 1
        else:
            rows.writerow(row)
            written += 1
    return written, left_out


def _row(entry: Suppression, writing: Writing) -> tuple[str, ...] | None:
    if writing.format is FileFormat.CSV:
        return _own_row(entry)
    is_sayable = entry.scope is SuppressionScope.ADDRESS or (
        writing.stream is not None and entry.stream is writing.stream
    )
    if not is_sayable or entry.is_erased:
        return None
    if writing.list is not None and REASON_OF_LIST[writing.list] is not entry.reason:
        return None
    since = entry.since or datetime.now(UTC)
    match writing.format:
        case FileFormat.SES:
            word = _SES_WORD.get(entry.reason)
            return None if word is None else (entry.value, word)
        case FileFormat.POSTMARK:
            words = _POSTMARK_WORDS.get(entry.reason, ("ManualSuppression", "Customer"))
            return (entry.value, *words, since.isoformat(timespec="seconds"))
        case FileFormat.SENDGRID:
            return (entry.value, str(int(since.timestamp())))
        case FileFormat.MAILGUN:
            told = {ListKind.BOUNCES: ("550", ""), ListKind.UNSUBSCRIBES: ("*",)}
            between = told.get(writing.list, ()) if writing.list else ()
            return (entry.value, *between, format_datetime(since.astimezone(UTC)))


def _own_row(entry: Suppression) -> tuple[str, ...]:
    return (
        _guarded(entry.value),
        entry.scope.value,
        entry.stream.value if entry.stream else "",
        entry.reason.value,
        _guarded(entry.source),
        _guarded(entry.note or ""),
        entry.expires_at.isoformat() if entry.expires_at else "",
        entry.since.isoformat() if entry.since else "",
    )


def _guarded(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
