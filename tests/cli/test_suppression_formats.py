"""The formats: what providers export is read as it is, wrong lines are named, and our own goes round."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mailglass import SendError, Stream, Suppression, SuppressionReason, SuppressionScope
from mailglass.cli import suppression_formats as formats
from mailglass.cli.suppression_formats import (
    BadLine,
    FileFormat,
    ListKind,
    Reading,
    SuppressionFile,
)
from mailglass.cli.suppression_writing import Writing, write

MAY = datetime(2024, 5, 6, 18, 11, 58, tzinfo=UTC)
ERASED = f"hmac1:{'0a' * 32}@erased"


def _read(text: str | bytes, **reading: Any) -> list[Suppression | BadLine]:
    raw = text if isinstance(text, bytes) else text.encode()
    fields = {"format": FileFormat.CSV, **reading}
    return list(SuppressionFile(io.BytesIO(raw), Reading(**fields)))


def _good(text: str | bytes, **reading: Any) -> list[Suppression]:
    found = _read(text, **reading)
    assert not [one for one in found if isinstance(one, BadLine)]
    return [one for one in found if isinstance(one, Suppression)]


def _brief(one: Suppression) -> tuple[str, str, str | None, datetime | None]:
    return one.value, one.reason.value, one.stream.value if one.stream else None, one.since


def _entry(**changes: Any) -> Suppression:
    fields: dict[str, Any] = {
        "scope": SuppressionScope.ADDRESS,
        "value": "zoe@mail.example",
        "reason": SuppressionReason.HARD_BOUNCE,
        "source": "test",
        "since": MAY,
    }
    return Suppression(**(fields | changes))


SES_JSON = {"EmailAddress": "a@x.example", "Reason": "BOUNCE", "LastUpdateTime": 1715019118.5}
PROVIDERS: dict[str, tuple[str, dict[str, Any], list[tuple[str, str, str | None]]]] = {
    "ses csv": (
        "a@x.example,BOUNCE\nb@x.example, COMPLAINT\n",
        {"format": FileFormat.SES},
        [("a@x.example", "hard_bounce", None), ("b@x.example", "complaint", None)],
    ),
    "ses json lines": (
        '{"emailAddress": "a@x.example", "reason": "BOUNCE"}\n'
        '{"emailAddress": "b@x.example", "reason": "COMPLAINT"}\n',
        {"format": FileFormat.SES},
        [("a@x.example", "hard_bounce", None), ("b@x.example", "complaint", None)],
    ),
    "ses listed": (
        json.dumps({"SuppressedDestinationSummaries": [SES_JSON]}, indent=2),
        {"format": FileFormat.SES},
        [("a@x.example", "hard_bounce", None)],
    ),
    "sendgrid bounces csv": (
        "status,reason,email,created\n"
        '5.1.1,"550 5.1.1 no such, user",a@x.example,1715019118\n',
        {"format": FileFormat.SENDGRID, "list": ListKind.BOUNCES},
        [("a@x.example", "hard_bounce", None)],
    ),
    "sendgrid unsubscribes": (
        "email,created\na@x.example,2024-05-06 18:11:58\n",
        {"format": FileFormat.SENDGRID, "list": ListKind.UNSUBSCRIBES},
        [("a@x.example", "unsubscribe", "bulk")],
    ),
    "sendgrid invalid, api": (
        json.dumps([{"email": "a@x.example", "created": 1715019118, "reason": "no MX"}]),
        {"format": FileFormat.SENDGRID, "list": ListKind.INVALID},
        [("a@x.example", "invalid_recipient", None)],
    ),
    "sendgrid spam reports": (
        "email,ip,created\na@x.example,192.0.2.1,1715019118\n",
        {"format": FileFormat.SENDGRID, "list": ListKind.COMPLAINTS},
        [("a@x.example", "complaint", None)],
    ),
    "postmark dump": (
        json.dumps({"Suppressions": [
            {"EmailAddress": "a@x.example", "SuppressionReason": "HardBounce",
             "Origin": "Recipient", "CreatedAt": "2024-05-06T14:11:58-04:00"},
            {"EmailAddress": "b@x.example", "SuppressionReason": "SpamComplaint",
             "Origin": "Recipient", "CreatedAt": "2024-05-06T14:11:58-04:00"},
            {"EmailAddress": "c@x.example", "SuppressionReason": "ManualSuppression",
             "Origin": "Recipient", "CreatedAt": "2024-05-06T14:11:58-04:00"},
            {"EmailAddress": "d@x.example", "SuppressionReason": "ManualSuppression",
             "Origin": "Customer", "CreatedAt": "2024-05-06T14:11:58-04:00"},
        ]}),
        {"format": FileFormat.POSTMARK},
        [("a@x.example", "hard_bounce", None), ("b@x.example", "complaint", None),
         ("c@x.example", "unsubscribe", "bulk"), ("d@x.example", "manual", None)],
    ),
    "postmark csv": (
        "Email Address,Suppression Reason,Origin,Created At\n"
        "a@x.example,HardBounce,Recipient,2024-05-06T18:11:58Z\n",
        {"format": FileFormat.POSTMARK},
        [("a@x.example", "hard_bounce", None)],
    ),
    "mailgun bounces": (
        "address,code,error,created_at\n"
        'a@x.example,550,No such mailbox,"Mon, 06 May 2024 18:11:58 UTC"\n',
        {"format": FileFormat.MAILGUN, "list": ListKind.BOUNCES},
        [("a@x.example", "hard_bounce", None)],
    ),
    "mailgun unsubscribes": (
        'address,tags,created_at\na@x.example,*,"Mon, 06 May 2024 18:11:58 UTC"\n',
        {"format": FileFormat.MAILGUN, "list": ListKind.UNSUBSCRIBES, "stream": Stream.OPERATIONAL},
        [("a@x.example", "unsubscribe", "operational")],
    ),
    "mailgun complaints, api": (
        json.dumps({"items": [
            {"address": "a@x.example", "created_at": "Mon, 06 May 2024 18:11:58 UTC"}
        ]}),
        {"format": FileFormat.MAILGUN, "list": ListKind.COMPLAINTS},
        [("a@x.example", "complaint", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(PROVIDERS))
def test_what_a_provider_exports_is_read_as_it_is(case: str) -> None:
    """CSV from the control panel and JSON from the API alike, with the provider's own dates."""
    text, reading, expected = PROVIDERS[case]
    found = _good(text, **reading)
    assert [_brief(one)[:3] for one in found] == expected
    if "ses csv" not in case and "json lines" not in case:
        assert {one.since.replace(microsecond=0) for one in found if one.since} == {MAY}


def test_an_unsubscribe_takes_nobodys_receipts() -> None:
    """Row 57: an imported unsubscribe holds on bulk mail alone, a bounce everywhere."""
    text = "email,reason\na@x.example,unsubscribe\nb@x.example,hard_bounce\n"
    unsubscribe, bounce = _good(text, stream=None)
    assert (unsubscribe.scope, unsubscribe.stream) == (
        SuppressionScope.ADDRESS_STREAM, Stream.BULK,
    )  # fmt: skip
    assert bounce.scope is SuppressionScope.ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "a@x.example\nB@X.example\nbad.example\n",
        "\ufeffa@x.example\nb@x.example\nbad.example\n",
        "\ufeffemail\r\na@x.example\r\nb@x.example\r\n\r\n@bad.example\r\n",
        "Name,E-Mail,Email Address\nAnn,,a@x.example\nBo,,b@x.example\n,,bad.example\n",
    ],
)
def test_a_plain_column_of_addresses_is_enough(text: str) -> None:
    """With a header or without, with a byte order mark, in either line ending."""
    found = _good(text)
    assert [one.value for one in found] == ["a@x.example", "b@x.example", "bad.example"]
    assert found[2].scope is SuppressionScope.DOMAIN


def test_a_named_stream_is_for_what_people_choose() -> None:
    """Row 57: unsubscribes and what we refuse by hand hold on it; bounces hold everywhere."""
    text = "email,reason\na@x.example,unsubscribe\nb@x.example,manual\nc@x.example,hard_bounce\n"
    found = _good(text, stream=Stream.OPERATIONAL)
    assert [one.stream for one in found] == [Stream.OPERATIONAL, Stream.OPERATIONAL, None]


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("1715019118", MAY),
        ("1715019118000", MAY),
        ("2024-05-06T18:11:58Z", MAY),
        ("2024-05-06 20:11:58+02:00", MAY),
        ("2024-05-06 18:11:58", MAY),
        ('"Mon, 06 May 2024 18:11:58 GMT"', MAY),
        ("", None),
        ("the other day", None),
        ("99999999999999999999", None),
    ],
)
def test_a_date_is_read_in_whatever_form_and_costs_no_line(
    text: str, since: datetime | None
) -> None:
    """A refusal is worth keeping without its date."""
    (found,) = _good(
        f"email,created\na@x.example,{text}\n", format=FileFormat.SENDGRID, list=ListKind.BOUNCES
    )
    assert found.since == since


def test_bad_lines_are_named_and_hold_up_no_other() -> None:
    """Each with its number and the rule that it breaks."""
    text = (
        b"value,reason,stream,scope,expires_at\n"
        b"good@x.example,manual,,,\n"
        b"ann,manual,,,\n"
        b",manual,,,\n"
        b"a@x.example,because,,,\n"
        b"a@x.example,manual,nightly,,\n"
        b"a@x.example,manual,,planet,\n"
        b"a@x.example,complaint,,,2030-01-01\n"
        b"a@x.example,manual,,,soon\n"
        b"caf\xe9@x.example,manual,,,\n"
        b"also@x.example,manual,,,\n"
    )
    found = _read(text)
    bad = [(one.line, one.code) for one in found if isinstance(one, BadLine)]
    assert bad == [
        (3, "domain"), (4, "no_value"), (5, "reason"), (6, "stream"), (7, "scope"),
        (8, "complaint_expires"), (9, "expires_at"), (10, "surrogate"),
    ]  # fmt: skip
    assert len(found) == 10


def test_a_source_with_an_address_is_a_bad_line() -> None:
    """It would stay in the history after the address was erased."""
    (bad,) = _read("email,source\na@x.example,told by ann@shop.example\n")
    assert isinstance(bad, BadLine)
    assert bad.code == "remark_address"


def test_a_field_without_end_is_one_bad_line() -> None:
    """A quote that is never closed costs what it swallowed, and the rest is read."""
    text = 'email\n"' + "x" * 200_000 + "\nb@x.example\n"
    found = _read(text)
    assert [one.code for one in found if isinstance(one, BadLine)] == ["csv"]
    assert isinstance(found[-1], Suppression)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name,town\nAnn,Dublin\n", "no_address_column"),
        ('{"Suppressions": [\n', "json"),
    ],
)
def test_a_file_of_another_kind_is_refused_whole(text: str, code: str) -> None:
    """With what was looked for, and the page that says so."""
    with pytest.raises(SendError) as caught:
        _read(text, format=FileFormat.POSTMARK)
    assert caught.value.code == code


def test_a_json_line_that_is_none_is_a_bad_line() -> None:
    """The others are read."""
    text = '{"emailAddress": "a@x.example", "reason": "BOUNCE"}\n{nonsense\n[3]\n'
    found = _read(text, format=FileFormat.SES)
    assert [getattr(one, "code", "good") for one in found] == ["good", "json", "json"]


def test_a_letter_cut_in_two_by_a_long_line_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON document on one line is read in pieces."""
    monkeypatch.setattr(formats, "LINE_BYTES_MAX", 7)
    text = json.dumps(
        [{"email": "zo\u00e9@x.example"}, {"email": "\u00e9\u00e9@x.example"}], ensure_ascii=False
    )
    found = _good(text, format=FileFormat.SENDGRID, list=ListKind.BOUNCES)
    assert [one.value for one in found] == ["zo\u00e9@x.example", "\u00e9\u00e9@x.example"]


def test_a_json_document_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held in memory whole, unlike lines."""
    monkeypatch.setattr(formats, "JSON_BYTES_MAX", 20)
    with pytest.raises(SendError) as caught:
        _read('{\n"items":\n [{"address": "a@x.example"}]}', format=FileFormat.MAILGUN)
    assert caught.value.code == "json_too_large"


def test_our_own_csv_goes_round() -> None:
    """Everything that can be held is the same after export and import."""
    entries = [
        _entry(),
        _entry(scope=SuppressionScope.DOMAIN, value="bad.example", note="never, ever"),
        _entry(
            scope=SuppressionScope.ADDRESS_STREAM, stream=Stream.BULK, value="zo\u00e9@x.example",
            reason=SuppressionReason.UNSUBSCRIBE, expires_at=MAY,
        ),
        _entry(value=ERASED),
        _entry(value="=cmd@x.example", note="+1", source="-x"),
        _entry(value="'=a@x.example"),
        _entry(value="'a@x.example"),
        _entry(reason=SuppressionReason.COMPLAINT, scope=SuppressionScope.ADDRESS_STREAM,
               stream=Stream.OPERATIONAL),
    ]  # fmt: skip
    out = io.StringIO()
    assert write(entries, out, Writing(format=FileFormat.CSV)) == (len(entries), 0)
    assert _good(out.getvalue()) == entries


@pytest.mark.parametrize("value", ["=cmd@x.example", "+1@x.example", "-1@x.example"])
def test_no_cell_is_a_formula(value: str) -> None:
    """Row 96: a spreadsheet shows it as text."""
    out = io.StringIO()
    write([_entry(value=value, note="=1+1")], out, Writing(format=FileFormat.CSV))
    _, row = csv.reader(out.getvalue().splitlines())
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


HELD = [
    _entry(value="bounce@x.example"),
    _entry(value="spam@x.example", reason=SuppressionReason.COMPLAINT),
    _entry(value="left@x.example", reason=SuppressionReason.UNSUBSCRIBE,
           scope=SuppressionScope.ADDRESS_STREAM, stream=Stream.BULK),
    _entry(value="us@x.example", reason=SuppressionReason.MANUAL),
    _entry(value="bad.example", scope=SuppressionScope.DOMAIN, reason=SuppressionReason.POLICY),
    _entry(value=ERASED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("writing", "text", "left_out"),
    [
        ({"format": FileFormat.SES}, "bounce@x.example,BOUNCE\nspam@x.example,COMPLAINT\n", 4),
        ({"format": FileFormat.SENDGRID, "list": ListKind.BOUNCES},
         "email,created\nbounce@x.example,1715019118\n", 5),
        ({"format": FileFormat.POSTMARK, "stream": Stream.BULK},
         "EmailAddress,SuppressionReason,Origin,CreatedAt\n"
         "bounce@x.example,HardBounce,Recipient,2024-05-06T18:11:58+00:00\n"
         "spam@x.example,SpamComplaint,Recipient,2024-05-06T18:11:58+00:00\n"
         "left@x.example,ManualSuppression,Recipient,2024-05-06T18:11:58+00:00\n"
         "us@x.example,ManualSuppression,Customer,2024-05-06T18:11:58+00:00\n", 2),
        ({"format": FileFormat.MAILGUN, "list": ListKind.BOUNCES},
         "address,code,error,created_at\n"
         'bounce@x.example,550,,"Mon, 06 May 2024 18:11:58 +0000"\n', 5),
        ({"format": FileFormat.MAILGUN, "list": ListKind.UNSUBSCRIBES, "stream": Stream.BULK},
         'address,tags,created_at\nleft@x.example,*,"Mon, 06 May 2024 18:11:58 +0000"\n', 5),
        ({"format": FileFormat.MAILGUN, "list": ListKind.COMPLAINTS},
         'address,created_at\nspam@x.example,"Mon, 06 May 2024 18:11:58 +0000"\n', 5),
    ],
)  # fmt: skip
def test_a_providers_file_holds_what_it_can_say(
    writing: dict[str, Any], text: str, left_out: int
) -> None:
    """Domains, erased addresses and other streams are counted, not bent."""
    out = io.StringIO()
    written, missing = write(HELD, out, Writing(**writing))
    assert (out.getvalue(), missing) == (text, left_out)
    assert written + missing == len(HELD)
