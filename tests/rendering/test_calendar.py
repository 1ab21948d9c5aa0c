"""Calendar invites: what a calendar needs to take an event in, move it and remove it."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front_desk import note
from generated import MANY
from mailglass import SendError, parse_address
from mailglass.rendering import mime
from mailglass.rendering.calendar import CalendarMethod, Invite, check_calendar

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _invite(**changes: Any) -> Invite:
    fields: dict[str, Any] = {
        "uid": "event-1042@shop.example",
        "sequence": 0,
        "starts_at": NOON,
        "ends_at": NOON + timedelta(hours=1),
        "made_at": datetime(2026, 2, 1, tzinfo=UTC),
        "summary": "Tasting",
        "organizer": parse_address("Shop <events@shop.example>"),
        "attendees": [parse_address("Zoë <zoe@mail.example>")],
    }
    return Invite(**(fields | changes))


def _line(invite: Invite, name: str) -> str:
    text = invite.ics().decode().replace("\r\n ", "")
    (found,) = [line for line in text.split("\r\n") if line.split(":")[0].split(";")[0] == name]
    return found


def test_invite_has_what_a_calendar_asks_for() -> None:
    """RFC 5546 §3.2.2, in the order of reading."""
    assert _invite().ics().decode().replace("\r\n ", "").split("\r\n") == [
        "BEGIN:VCALENDAR",
        "PRODID:-//mailglass//mailglass//EN",
        "VERSION:2.0",
        "CALSCALE:GREGORIAN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        "UID:event-1042@shop.example",
        "SEQUENCE:0",
        "DTSTAMP:20260201T000000Z",
        "DTSTART:20260301T120000Z",
        "DTEND:20260301T130000Z",
        "STATUS:CONFIRMED",
        "SUMMARY:Tasting",
        'ORGANIZER;CN="Shop":mailto:events@shop.example',
        'ATTENDEE;CN="Zoë";ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:zoe@mail.example',
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]


def test_cancelling_grows_the_sequence_and_keeps_the_event() -> None:
    """A calendar removes the event of that UID, and only if the mail is newer."""
    called_off = _invite(sequence=3).cancelled(made_at=NOON)
    assert _line(called_off, "METHOD") == "METHOD:CANCEL"
    assert _line(called_off, "SEQUENCE") == "SEQUENCE:4"
    assert _line(called_off, "STATUS") == "STATUS:CANCELLED"
    assert _line(called_off, "UID") == _line(_invite(), "UID")
    assert "RSVP" not in called_off.ics().decode()


@pytest.mark.parametrize("method", list(CalendarMethod))
def test_method_of_the_part_is_the_calendars(method: CalendarMethod) -> None:
    """Or readers show a file instead of an event (RFC 6047 §2.4)."""
    invite = _invite(method=method).attachment()
    payload = mime.build(
        note(attachments=[invite]), message_id="<1@shop.example>", date=NOON, boundary_seed=b"x"
    )
    parts = email.message_from_bytes(payload, policy=email.policy.default).walk()
    (part,) = [one for one in parts if one.get_content_type() == "text/calendar"]
    assert part.get_param("method") == method.value
    assert part.get_param("charset") == "utf-8"
    assert check_calendar(part.get_payload(decode=True)) is method  # type: ignore[arg-type]  # bytes


def test_same_invite_is_the_same_bytes() -> None:
    """Nothing in it is made anew."""
    assert _invite().ics() == _invite().ics()


def test_moments_are_written_in_utc() -> None:
    """Whatever zone they were given in."""
    at = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert _line(_invite(starts_at=at), "DTSTART") == "DTSTART:20260301T120000Z"


def test_whole_days_are_dates() -> None:
    """The end is the day after the last."""
    invite = _invite(starts_at=date(2026, 3, 1), ends_at=date(2026, 3, 3))
    assert _line(invite, "DTSTART") == "DTSTART;VALUE=DATE:20260301"
    assert _line(invite, "DTEND") == "DTEND;VALUE=DATE:20260303"


def test_text_cannot_become_a_property() -> None:
    """Line ends, commas, semicolons and quotes mean what they are."""
    invite = _invite(
        summary="a,b;c\\d\nATTENDEE:mailto:evil@evil.example",
        organizer=parse_address('"A \\"B\\" ^C" <events@shop.example>'),
    )
    assert _line(invite, "SUMMARY") == r"SUMMARY:a\,b\;c\\d\nATTENDEE:mailto:evil@evil.example"
    assert _line(invite, "ORGANIZER").startswith("ORGANIZER;CN=\"A ^'B^' ^^C\":")
    assert invite.ics().count(b"\r\nATTENDEE") == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"uid": ""}, "calendar_uid"),
        ({"uid": "é"}, "calendar_uid"),
        ({"uid": "a\r\nMETHOD:CANCEL"}, "control_character"),
        ({"sequence": -1}, "calendar_sequence"),
        ({"sequence": 2**31}, "calendar_sequence"),
        ({"sequence": True}, "calendar_sequence"),
        ({"attendees": []}, "calendar_attendees"),
        ({"ends_at": NOON}, "calendar_time"),
        ({"starts_at": NOON.replace(tzinfo=None)}, "calendar_time"),
        ({"starts_at": date(2026, 3, 1)}, "calendar_time"),
        ({"made_at": NOON.replace(tzinfo=None)}, "calendar_time"),
        ({"summary": "a\x00b"}, "control_character"),
        ({"location": "a\rb"}, "control_character"),
        ({"url": "http://shop.example/"}, "calendar_url"),
        ({"url": "https://shop.example/\r\nX:y"}, "calendar_url"),
    ],
)
def test_event_that_a_calendar_would_not_take_is_refused(
    changes: dict[str, Any], code: str
) -> None:
    """By name, when it is made."""
    with pytest.raises(SendError) as caught:
        _invite(**changes)
    assert (caught.value.type, caught.value.code) == ("serialization_failed", code)


@MANY
@given(st.text(max_size=300), st.text(max_size=300))
def test_every_invite_is_a_calendar(summary: str, location: str) -> None:
    """Lines of 75 octets at most, whole characters, and nothing that was not said."""
    try:
        invite = _invite(summary=summary, location=location)
    except SendError:
        return
    content = invite.ics()
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert [line.decode() for line in lines]
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert check_calendar(content) is CalendarMethod.REQUEST


def _foreign(**changes: str) -> bytes:
    lines = {
        "METHOD": "REQUEST", "BEGIN": "VEVENT", "UID": "1", "DTSTAMP": "20260201T000000Z",
        "DTSTART": "20260301T120000Z", "ORGANIZER": "mailto:a@b.example", "SEQUENCE": "", "END": "VEVENT",
    }  # fmt: skip
    inside = "".join(f"{name}:{value}\n" for name, value in (lines | changes).items() if value)
    return f"BEGIN:VCALENDAR\n{inside}END:VCALENDAR\n".encode()


def test_calendar_made_elsewhere_passes() -> None:
    """With LF alone, alarms, and a SEQUENCE that CANCEL needs."""
    assert check_calendar(_foreign()) is CalendarMethod.REQUEST
    assert check_calendar(_foreign(METHOD="cancel", SEQUENCE="1")) is CalendarMethod.CANCEL
    alarm = _foreign(ORGANIZER="mailto:a@b.example\nBEGIN:VALARM\nUID:2\nEND:VALARM")
    assert check_calendar(alarm) is CalendarMethod.REQUEST
    assert check_calendar(_foreign().replace(b"VEVENT", b"vevent")) is CalendarMethod.REQUEST
    folded = _foreign().replace(b"REQUEST", b"REQ\n UEST").replace(b"\n", b"\r\n")
    assert check_calendar(folded) is CalendarMethod.REQUEST
    task = _foreign(UID="1\nBEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE")
    assert check_calendar(task) is CalendarMethod.REQUEST


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "calendar_syntax"),
        (b"\xff", "calendar_syntax"),
        (b"BEGIN:VCALENDAR\nx\nEND:VCALENDAR", "calendar_syntax"),
        (_foreign(END="VJOURNAL"), "calendar_syntax"),
        (_foreign() + b"X:y\n", "calendar_syntax"),
        (b"X:y\n" + _foreign(), "calendar_syntax"),
        (_foreign(METHOD=""), "calendar_method"),
        (_foreign(METHOD="REPLY"), "calendar_method"),
        (_foreign(METHOD="REQUEST\nMETHOD:CANCEL"), "calendar_method"),
        (b"BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR", "calendar_event"),
        (_foreign(UID=""), "calendar_uid"),
        (_foreign(UID=" "), "calendar_uid"),
        (_foreign(UID="1\nUID:2"), "calendar_uid"),
        (_foreign(END="VEVENT\n" + _foreign(UID="2").decode()[31:-14].strip()), "calendar_uid"),
        (_foreign(ORGANIZER=""), "calendar_organizer"),
        (_foreign(ORGANIZER="https://a.example"), "calendar_organizer"),
        (_foreign(DTSTART=""), "calendar_event"),
        (_foreign(METHOD="CANCEL"), "calendar_sequence"),
        (_foreign(SEQUENCE="x"), "calendar_sequence"),
        (_foreign(SEQUENCE="1\nSEQUENCE:2"), "calendar_sequence"),
        (b"x" * (256 * 1024 + 1), "calendar_size"),
    ],
)
def test_calendar_that_readers_would_ignore_is_refused(content: bytes, code: str) -> None:
    """Better here than in the recipient's calendar."""
    with pytest.raises(SendError) as caught:
        check_calendar(content)
    assert caught.value.code == code
