"""Calendar invites: events that a reader's calendar takes in, moves and removes (RFC 5545, 5546)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum, unique
from typing import Final, Self

from mailglass import limits
from mailglass.address import Address
from mailglass.headers import check_text, refuse
from mailglass.message import Attachment

LINE_OCTETS_MAX: Final = 75
"""RFC 5545 §3.1, without the line end."""
CALENDAR_BYTES_MAX: Final = 256 * 1024
TEXT_CHARS_MAX: Final = 8_000
SEQUENCE_MAX: Final = 2**31 - 1
"""RFC 5545 §3.3.8: an INTEGER has 32 bits."""
FILENAME: Final = "invite.ics"

_UNFOLD: Final = re.compile(r"\r?\n[ \t]")
_CONTENT_LINE: Final = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^":;]*))*):(.*)')
_ESCAPED: Final = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})
_IN_PARAMETER: Final = str.maketrans({"^": "^^", '"': "^'"})
"""RFC 6868: a quote has no other way into a parameter."""
_URL: Final = re.compile(r"https://[!-~]+")
_ORGANIZER: Final = re.compile(r"mailto:[^\s@]+@[^\s@]+", re.IGNORECASE)


@unique
class CalendarMethod(StrEnum):
    """What a calendar mail asks for: REQUEST invites or moves, CANCEL calls off (RFC 5546 §3.2)."""

    REQUEST = "REQUEST"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """One event with those who are asked to it.

    ``uid`` stays the same for the life of an event, and ``sequence`` grows with each change that is
    sent: a calendar ignores what is not newer than what it has. Both times are moments with a time
    zone (written in UTC), or both are dates, the second being the day after the last. ``made_at`` is
    when this version was made; keep it with the event, so that rendering twice gives the same bytes.

    Raises:
        SendError: ``serialization_failed``; ``code`` is ``calendar_uid``, ``calendar_sequence``,
            ``calendar_time``, ``calendar_attendees``, ``calendar_url`` or one of
            ``headers.check_text``. The text never holds a value.

    """

    uid: str
    sequence: int
    starts_at: datetime | date
    ends_at: datetime | date
    made_at: datetime
    summary: str
    organizer: Address
    attendees: Sequence[Address]
    method: CalendarMethod = CalendarMethod.REQUEST
    location: str = ""
    description: str = ""
    url: str | None = None

    def __post_init__(self) -> None:
        """Refuse what a calendar would not take, or take for another event."""
        object.__setattr__(self, "attendees", tuple(self.attendees))
        check_text("the uid of an event", self.uid, chars_max=255)
        if not self.uid.isascii() or not self.uid.strip():
            raise refuse("the uid of an event is empty or not ASCII", code="calendar_uid")
        if isinstance(self.sequence, bool) or not 0 <= self.sequence <= SEQUENCE_MAX:
            raise refuse("the sequence of an event is out of range", code="calendar_sequence")
        if not self.attendees or len(self.attendees) > limits.RECIPIENTS_MAX:
            raise refuse("an event has no attendees, or too many", code="calendar_attendees")
        for what in ("summary", "location", "description"):
            # A line end is written as \n in a calendar; every other control character is refused.
            text = getattr(self, what).replace("\r\n", "\n").replace("\n", " ")
            check_text(f"the {what} of an event", text, chars_max=TEXT_CHARS_MAX)
        if self.url is not None and _URL.fullmatch(self.url) is None:
            raise refuse("the url of an event is not an https URL", code="calendar_url")
        _check_times(self.starts_at, self.ends_at, self.made_at)

    def cancelled(self, *, made_at: datetime) -> Self:
        """Return the invite that calls the event off: the next sequence, the method CANCEL."""
        return replace(
            self, method=CalendarMethod.CANCEL, sequence=self.sequence + 1, made_at=made_at
        )

    def ics(self) -> bytes:
        """Return the calendar: CRLF line ends, no line over 75 octets; the same value, the same bytes."""
        return "".join(map(_folded, self._lines())).encode()

    def attachment(self) -> Attachment:
        """Return it for ``Mailable.attachments``; the part's method will be the calendar's own."""
        return Attachment(filename=FILENAME, content=self.ics(), content_type="text/calendar")

    def _lines(self) -> Iterator[str]:
        is_cancel = self.method is CalendarMethod.CANCEL
        yield "BEGIN:VCALENDAR"
        yield "PRODID:-//mailglass//mailglass//EN"
        yield "VERSION:2.0"
        yield "CALSCALE:GREGORIAN"
        yield f"METHOD:{self.method.value}"
        yield "BEGIN:VEVENT"
        yield f"UID:{self.uid.translate(_ESCAPED)}"
        yield f"SEQUENCE:{self.sequence}"
        yield f"DTSTAMP:{_utc(self.made_at)}"
        yield f"DTSTART{_when(self.starts_at)}"
        yield f"DTEND{_when(self.ends_at)}"
        yield f"STATUS:{'CANCELLED' if is_cancel else 'CONFIRMED'}"
        yield f"SUMMARY:{_text(self.summary)}"
        if self.location:
            yield f"LOCATION:{_text(self.location)}"
        if self.description:
            yield f"DESCRIPTION:{_text(self.description)}"
        if self.url is not None:
            yield f"URL:{self.url}"
        yield f"ORGANIZER{_named(self.organizer)}:mailto:{self.organizer.addr_spec}"
        for one in self.attendees:
            asks = "" if is_cancel else ";ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE"
            yield f"ATTENDEE{_named(one)}{asks}:mailto:{one.addr_spec}"
        yield "END:VEVENT"
        yield "END:VCALENDAR"


def check_calendar(content: bytes) -> CalendarMethod:
    """Check a calendar made elsewhere, and return its method.

    Calendars act on a mail only when it has one METHOD of REQUEST or CANCEL, and in every event a
    UID, an ORGANIZER, a DTSTAMP, a DTSTART and, for CANCEL, a SEQUENCE (RFC 5546 §3.2.2, §3.2.5).

    Raises:
        SendError: ``serialization_failed`` with code ``calendar_size``, ``calendar_syntax``,
            ``calendar_method``, ``calendar_event``, ``calendar_uid``, ``calendar_sequence`` or
            ``calendar_organizer``; the text names the property and never its value.

    """
    if len(content) > CALENDAR_BYTES_MAX:
        raise refuse("a calendar is larger than 256 KiB", code="calendar_size")
    lines = list(_parsed(content))
    if lines[:1] != [("BEGIN", "VCALENDAR")] or lines[-1:] != [("END", "VCALENDAR")]:
        raise refuse("a calendar does not begin and end as one", code="calendar_syntax")
    methods = [value for name, value in lines if name == "METHOD"]
    if len(methods) != 1 or methods[0].upper() not in list(CalendarMethod):
        raise refuse("a calendar needs one METHOD, REQUEST or CANCEL", code="calendar_method")
    method = CalendarMethod(methods[0].upper())
    events = list(_events(lines))
    if not events:
        raise refuse("a calendar holds no event", code="calendar_event")
    for event in events:
        _check_event(event, method)
    if len({event["UID"][0] for event in events}) > 1:
        raise refuse("a calendar mail is about one UID", code="calendar_uid")
    return method


def _check_event(event: dict[str, list[str]], method: CalendarMethod) -> None:
    for name in ("UID", "ORGANIZER", "DTSTAMP", "DTSTART"):
        if len(event.get(name, ())) != 1 or not event[name][0].strip():
            code = {"UID": "calendar_uid", "ORGANIZER": "calendar_organizer"}.get(name)
            raise refuse(f"an event needs one {name}", code=code or "calendar_event")
    if _ORGANIZER.fullmatch(event["ORGANIZER"][0]) is None:
        raise refuse("an event's ORGANIZER is not a mailto address", code="calendar_organizer")
    sequences = event.get("SEQUENCE", [])
    is_number = all(one.isascii() and one.isdecimal() and len(one) <= 10 for one in sequences)  # noqa: PLR2004 - digits of 2**31
    is_missing = method is CalendarMethod.CANCEL and not sequences
    if is_missing or not is_number or len(sequences) > 1:
        raise refuse("an event's SEQUENCE is missing or no number", code="calendar_sequence")


def _events(lines: Sequence[tuple[str, str]]) -> Iterator[dict[str, list[str]]]:
    """Yield the properties of each event, without those of the alarms in it."""
    event: dict[str, list[str]] | None = None
    inside: list[str] = []
    for name, value in lines:
        if name == "BEGIN":
            inside.append(value)
            event = {} if value == "VEVENT" else event
        elif name == "END":
            if not inside or inside.pop() != value:
                raise refuse("the parts of a calendar do not end in order", code="calendar_syntax")
            if value == "VEVENT" and event is not None:
                yield event
        elif inside[-1:] == ["VEVENT"] and event is not None:
            event.setdefault(name, []).append(value)
    if inside:
        raise refuse("a part of a calendar does not end", code="calendar_syntax")


def _parsed(content: bytes) -> Iterator[tuple[str, str]]:
    try:
        text = _UNFOLD.sub("", content.decode())
    except UnicodeDecodeError as error:
        raise refuse("a calendar is not UTF-8", code="calendar_syntax") from error
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        found = _CONTENT_LINE.fullmatch(line)
        if found is None:
            raise refuse("a line of a calendar is none", code="calendar_syntax")
        name, value = found[1].upper(), found[3]
        yield name, value.upper() if name in {"BEGIN", "END"} else value


def _check_times(starts_at: date, ends_at: date, made_at: datetime) -> None:
    moments = [one for one in (starts_at, ends_at) if isinstance(one, datetime)]
    if len(moments) == 1:
        raise refuse("an event begins with a date and ends with a moment", code="calendar_time")
    if any(one.tzinfo is None for one in (*moments, made_at)):
        raise refuse("a time of an event has no time zone", code="calendar_time")
    if not starts_at < ends_at:
        raise refuse("an event ends before it begins", code="calendar_time")


def _when(value: datetime | date) -> str:
    if isinstance(value, datetime):
        return f":{_utc(value)}"
    return f";VALUE=DATE:{value:%Y%m%d}"


def _utc(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    return value.replace("\r\n", "\n").translate(_ESCAPED)


def _named(one: Address) -> str:
    return f';CN="{one.name.translate(_IN_PARAMETER)}"' if one.name else ""


def _folded(line: str) -> str:
    """Return a content line in pieces of 75 octets, none of which splits a character."""
    pieces, piece, octets = [], "", 0
    for character in line:
        size = len(character.encode())
        if octets + size > LINE_OCTETS_MAX:
            pieces.append(piece)
            piece, octets = " ", 1
        piece += character
        octets += size
    return "\r\n".join((*pieces, piece)) + "\r\n"
