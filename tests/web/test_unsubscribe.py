"""The unsubscribe page as plain functions."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest

from mailglass.web.answers import PRIVATE_HEADERS
from pages import BAD_TOKENS, DELIVERY, TOKEN, away, page

ONE_CLICK = b"List-Unsubscribe=One-Click"
BOUNDARY = "multipart/form-data; boundary=xyz"
MULTIPART = b'--xyz\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--xyz--\r\n'


def test_looking_changes_nothing() -> None:
    """Row 56: only a POST acts."""
    left: list[UUID] = []
    shown = page(left.append).show(TOKEN)
    assert shown.status == 200
    assert b'<form method="post">' in shown.body
    assert left == []


def test_one_click_leaves() -> None:
    """RFC 8058 §3.2: an empty 200."""
    left: list[UUID] = []
    answer = page(left.append).act(TOKEN, ONE_CLICK)
    assert (answer.status, answer.body, left) == (200, b"", [DELIVERY])


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_one_click_answers_any_token_alike(token: str) -> None:
    """Rows 58, 65: nothing is learned from the answer, and nothing is written."""
    left: list[UUID] = []
    subject = page(left.append)
    answer = subject.act(token, ONE_CLICK)
    assert left == []
    assert answer == subject.act(TOKEN, ONE_CLICK)


def test_one_click_again_is_the_same() -> None:
    """A replay is handed on and answered alike: the write knows what has been left."""
    left: list[UUID] = []
    subject = page(left.append)
    assert subject.act(TOKEN, ONE_CLICK) == subject.act(TOKEN, ONE_CLICK)
    assert left == [DELIVERY, DELIVERY]


def test_a_failed_write_is_an_empty_500(caplog: pytest.LogCaptureFixture) -> None:
    """The mailbox provider tries again; the log names the kind of failure and not its text."""
    caplog.set_level(logging.DEBUG)
    answer = page(away).act(TOKEN, ONE_CLICK)
    assert (answer.status, answer.body) == (500, b"")
    assert "ConnectionError" in caplog.text
    assert "canary" not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (ONE_CLICK, "application/x-www-form-urlencoded"),
        (ONE_CLICK, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
        (ONE_CLICK + b"\r\n", "application/x-www-form-urlencoded"),
        (b"List%2DUnsubscribe=One%2DClick", "application/x-www-form-urlencoded"),
        (MULTIPART, BOUNDARY),
        (MULTIPART, 'Multipart/Form-Data; boundary="xyz"'),
        (b"preamble\r\n" + MULTIPART, BOUNDARY),
    ],
)
def test_both_forms_of_one_click_are_understood(body: bytes, content_type: str) -> None:
    """Row 59: RFC 8058 §3.2 allows urlencoded and multipart bodies."""
    left: list[UUID] = []
    assert page(left.append).act(TOKEN, body, content_type=content_type).status == 200
    assert left == [DELIVERY]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe=One-Click", ""),
        (b"List-Unsubscribe=One-Click", "text/plain"),
        (b"List-Unsubscribe=one-click", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe=One-Click&a=b", "application/x-www-form-urlencoded"),
        (b"a=b&" * 100, "application/x-www-form-urlencoded"),
        (b"\xff=\xff", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (ONE_CLICK.ljust(5000), "application/x-www-form-urlencoded"),
        (MULTIPART, "multipart/form-data"),
        (MULTIPART, "multipart/form-data; boundary=abc"),
        (MULTIPART.replace(b"One-Click", b"No"), BOUNDARY),
        (MULTIPART.replace(b"xyz--", b"xyz"), BOUNDARY),
        (MULTIPART.replace(b"name=", b"nom="), BOUNDARY),
        (MULTIPART.replace(b"--xyz--", MULTIPART), BOUNDARY),
        (b"--xyz--xyz--", BOUNDARY),
    ],
)
def test_any_other_body_is_refused(body: bytes, content_type: str) -> None:
    """Row 59: an empty 400, and nobody is unsubscribed."""
    left: list[UUID] = []
    answer = page(left.append).act(TOKEN, body, content_type=content_type)
    assert (answer.status, answer.body, left) == (400, b"", [])


def test_a_person_is_told() -> None:
    """The button of the page gets a page back."""
    left: list[UUID] = []
    answer = page(left.append).act(TOKEN, b"confirmed=yes")
    assert answer.status == 200
    assert left == [DELIVERY]
    assert b"You are unsubscribed" in answer.body
    assert b"<form" not in answer.body


def test_a_person_is_told_of_a_failure() -> None:
    """Nobody believes to have left who has not."""
    answer = page(away).act(TOKEN, b"confirmed=yes")
    assert answer.status == 500
    assert b"did not work" in answer.body
    assert b"canary" not in answer.body


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_person_with_a_broken_link_is_told(token: str) -> None:
    """Row 58: 404, one page for all of them, without the button."""
    subject = page(away)
    shown = subject.show(token)
    assert shown.status == 404
    assert b"<form" not in shown.body
    assert shown == subject.show("another") == subject.act(token, b"confirmed=yes")


@pytest.mark.parametrize("token", [TOKEN, "x"])
@pytest.mark.parametrize("body", [None, ONE_CLICK, b"confirmed=yes", b""])
def test_every_answer_is_private(token: str, body: bytes | None) -> None:
    """Row 69: no cache, no referrer, no search engine; no cookie and no redirect (row 59)."""
    subject = page(lambda _: None)
    answer = subject.show(token) if body is None else subject.act(token, body)
    assert set(PRIVATE_HEADERS) <= set(answer.headers)
    assert {name.lower() for name, _ in answer.headers}.isdisjoint({"set-cookie", "location"})
