"""Messages: what cannot be a mail is refused when it is made."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from front_desk import note
from mailglass import Attachment, SendError, limits, parse_address
from mailglass.errors import Json, SendErrorType
from mailglass.message import StoredTemplate, Tracking

BYTES = Attachment(filename="a.bin", content=b"x")
PAST_ALL_YEARS = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
"""It is in the year 10000 in UTC, which Postgres stores and Python cannot hold."""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": ()}, "no_recipient"),
        ({"to": (), "bcc": "a@b.example"}, "no_recipient"),
        ({"to": [f"u{n}@mail.example" for n in range(51)]}, "too_many_recipients"),
        ({"cc": "Zoë <ZOE@mail.EXAMPLE>"}, "duplicate_recipient"),
        ({"text": None}, "no_body"),
        ({"text": "  \n"}, "no_body"),
        ({"text": "a\x00b"}, "nul_in_body"),
        ({"text": "x" * (limits.BODY_BYTES_MAX + 1)}, "body_too_large"),
        ({"headers": {f"X-{n}": "v" for n in range(101)}}, "too_many_headers"),
        ({"headers": [("X-A", "1"), ("x-a", "2")]}, "duplicate_header"),
        ({"attachments": [BYTES] * 51}, "too_many_attachments"),
        ({"attachments": [Attachment(filename="a.png", content=b"x", content_id="a")] * 2},
         "duplicate_content_id"),
        ({"tags": ["t"] * 21}, "too_many_tags"),
        ({"metadata": {"k": "v" * 8192}}, "metadata_too_large"),
        ({"idempotency_key": ""}, "empty_key"),
        ({"expires_at": datetime(2026, 1, 1)}, "naive_datetime"),  # noqa: DTZ001 - the point
        ({"send_at": datetime(2026, 1, 1)}, "naive_datetime"),  # noqa: DTZ001 - the point
        ({"provider_send_at": datetime(2026, 1, 1)}, "naive_datetime"),  # noqa: DTZ001 - the point
        ({"expires_at": PAST_ALL_YEARS}, "year_out_of_range"),
        ({"send_at": PAST_ALL_YEARS}, "year_out_of_range"),
        ({"send_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "year_out_of_range"),
        ({"provider_send_at": PAST_ALL_YEARS}, "year_out_of_range"),
        ({"provider_options": {"a": {1}}}, "not_json"),
        ({"provider_options": {"a": [{"b": "\x00"}]}}, "nul_in_json"),
        ({"provider_options": {"\udc00": 1}}, "surrogate"),
        ({"locale": "en\x00"}, "control_character"),
        ({"locale": "\ud83d"}, "surrogate"),
        ({"locale": "x" * 129}, "too_long"),
    ],
)  # fmt: skip
def test_what_is_no_mail_is_refused(changes: dict[str, object], code: str) -> None:
    """Row 12: a typed error before anything else happens."""
    with pytest.raises(SendError) as caught:
        note(**changes)
    assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
    assert caught.value.code == code
    assert not caught.value.retryable


@pytest.mark.parametrize("field", ["sender", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "wrong",
    ["", "canary", "canary@", "@mail.example", "canary@mail.example\r\nBcc: x@evil.example",
     "canary@mail.example, b@mail.example", "canary@mail.example)x@evil.example", "a b@mail.example"],
)  # fmt: skip
def test_a_wrong_address_is_refused_anywhere(field: str, wrong: str) -> None:
    """Rows 1, 4, 5: and the error does not show it."""
    with pytest.raises(SendError) as caught:
        note(**{field: wrong})
    assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
    assert "canary" not in f"{caught.value!r}"


@pytest.mark.parametrize(
    "name", ["From", "bcc", "Message-ID", "Content-Type", "DKIM-Signature", "X A", "X-A:"]
)
def test_a_second_from_and_other_headers_of_ours_are_refused(name: str) -> None:
    """Rows 3, 14: there is one From, and mailglass writes it."""
    with pytest.raises(SendError):
        note(headers={name: "v@evil.example"})


@pytest.mark.parametrize("field", ["subject", "tags", "metadata", "headers", "idempotency_key"])
@pytest.mark.parametrize("control", ["\r", "\n", "\x00", "\x1b", "\x7f", "\u2028", "\u202e"])
def test_no_control_character_gets_into_a_header(field: str, control: str) -> None:
    """Row 1: not even one that only some reader takes for a line end."""
    value = f"a{control}Bcc: v@evil.example"
    made = {"tags": [value], "metadata": {"k": value}, "headers": {"X-A": value}}.get(field, value)
    with pytest.raises(SendError):
        note(**{field: made})


@pytest.mark.parametrize(
    "sources", [{}, {"content": b"x", "path": __import__("pathlib").Path("a")}]
)
def test_an_attachment_has_one_source(sources: dict[str, object]) -> None:
    """Bytes or a path."""
    with pytest.raises(SendError) as caught:
        Attachment(filename="a", **sources)  # type: ignore[arg-type]  # the point
    assert caught.value.code == "attachment_source"


def test_one_string_stands_for_one_recipient() -> None:
    """No list is needed for the common case."""
    message = note(to="Zoë <zoe@mail.example>")
    assert [address.addr_spec for address in message.to] == ["zoe@mail.example"]
    assert message.to[0].name == "Zoë"


def test_a_message_cannot_be_changed_but_replaced() -> None:
    """Frozen, and checked anew when it is copied."""
    message = note()
    with pytest.raises(AttributeError):
        message.subject = "x"  # type: ignore[misc]  # the point
    assert message.replace(subject="Other").subject == "Other"
    with pytest.raises(SendError):
        message.replace(to=())


def test_the_stored_address_is_the_typed_one() -> None:
    """Row 7: comparing folds case, sending does not."""
    (address,) = note(to="Zoe.X@Mail.EXAMPLE").to
    assert address.local == "Zoe.X"
    assert address.key == "zoe.x@mail.example"


def test_a_stored_template_may_be_all_of_the_body() -> None:
    """By its id; placeholders without one need a body to stand in."""
    stored = StoredTemplate(id="welcome", variables={"name": "Ada"})
    assert note(text=None, stored_template=stored).stored_template == stored
    with pytest.raises(SendError) as caught:
        note(text=None, stored_template=StoredTemplate(variables={"name": "Ada"}))
    assert caught.value.code == "no_body"


def test_a_recipients_own_variables_win() -> None:
    """Whatever the case of their address."""
    stored = StoredTemplate(
        id="t", variables={"a": 1, "b": 2}, per_recipient={"Zoe@mail.EXAMPLE": {"b": 3}}
    )
    assert stored.is_individual
    assert stored.variables_for(parse_address("zoe@mail.example")) == {"a": 1, "b": 3}
    assert stored.variables_for(parse_address("bob@mail.example")) == {"a": 1, "b": 2}
    assert StoredTemplate(id="t", per_recipient={}).is_individual
    assert not StoredTemplate(id="t").is_individual


def test_variables_cannot_be_changed_afterwards() -> None:
    """The template keeps a copy, and JSON is all that it holds."""
    variables: dict[str, Json] = {"a": [1]}
    stored = StoredTemplate(id="t", variables=variables)
    variables["a"] = 2
    assert stored.variables == {"a": [1]}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"id": ""}, "empty_template_id"),
        ({"id": "t", "variables": {"a": object()}}, "not_json"),
        ({"id": "t", "variables": {"a": float("nan")}}, "not_json"),
        ({"id": "t", "variables": {"a": "x" * 300_000}}, "provider_json_too_large"),
        ({"id": "t", "variables": {"a": r"\x" "\x00"}}, "nul_in_json"),
        ({"id": "t", "variables": {"a": "\ud83d"}}, "surrogate"),
        ({"id": "t", "variables": {"a": "\ud83d\\\ude00"}}, "surrogate"),
        ({"id": "t", "variables": {"a": "\U0001f600\ude00"}}, "surrogate"),
        ({"per_recipient": {"zoe@mail.example": {"a": "\x00"}}}, "nul_in_json"),
        ({"own_metadata": {"zoe@mail.example": {"a": "\ud83d"}}}, "surrogate"),
        ({"own_headers": {"zoe@mail.example": {"a": "\x00"}}}, "nul_in_json"),
    ],
)
def test_a_template_that_cannot_be_stored_is_refused(wrong: dict[str, Any], code: str) -> None:
    """Before any row exists."""
    with pytest.raises(SendError) as caught:
        StoredTemplate(**wrong)
    assert caught.value.code == code


def test_switches_have_three_values_and_are_off_by_default() -> None:
    """None leaves the provider's account as it is, and asks for nothing."""
    assert not Tracking()
    assert not Tracking(opens=None, clicks=None)
    assert Tracking(opens=None, clicks=True)


def test_neither_message_nor_parts_show_what_they_hold() -> None:
    """Each may be logged."""
    message = note(
        to="canary@mail.example",
        subject="canary",
        text="canary",
        attachments=[Attachment(filename="canary.txt", content=b"canary")],
        stored_template=StoredTemplate(id="t", variables={"a": "canary"}),
    )
    assert "canary" not in f"{message!r}{message.attachments!r}{message.stored_template!r}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": 123},
        {"text": b"bytes"},
        {"html": ["<p>"]},
        {"subject": None},
        {"stream": "nope"},
        {"stream": None},
        {"on_unknown": "maybe"},
        {"tags": "abc"},
        {"tags": 5},
        {"to": 5},
        {"to": [5]},
        {"to": None},
        {"sender": 5},
        {"cc": [None]},
        {"headers": 5},
        {"headers": "X-Order: 7"},
        {"headers": [("X-Order",)]},
        {"headers": [7]},
        {"metadata": "abc"},
        {"metadata": ["ab"]},
        {"attachments": ["file.pdf"]},
        {"attachments": "file.pdf"},
        {"tracking": True},
        {"authenticates": "yes"},
        {"unsubscribe": 1},
        {"mailable": 7},
        {"locale": 7},
        {"send_at": "tomorrow"},
        {"expires_at": 7},
        {"idempotency_key": 7},
        {"ordering_key": b"k"},
        {"stored_template": "welcome"},
    ],
    ids=str,
)
def test_an_argument_of_the_wrong_type_is_a_typed_error(wrong: dict[str, Any]) -> None:
    """A slip in application code reads as one, names the field and never shows its value."""
    with pytest.raises(SendError) as caught:
        note(**wrong)
    assert caught.value.code == "wrong_type"


def test_an_attachment_holds_bytes() -> None:
    """Text has to be encoded by who knows how."""
    with pytest.raises(SendError) as caught:
        Attachment(filename="a.txt", content="text")  # type: ignore[arg-type]  # what is refused
    assert caught.value.code == "wrong_type"
