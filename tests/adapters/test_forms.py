"""Forms as providers post them: every field in order, nothing beyond the bounds."""

from __future__ import annotations

import pytest

from mailglass.adapters.forms import form_fields, form_kind
from mailglass.errors import SignatureError, SignatureErrorType
from mailglass.webhook import FORM_FIELDS_MAX, PARSED_BYTES_MAX
from tests.adapters.wire import a_webhook

ENCODED = "application/x-www-form-urlencoded"


def fields_of(body: bytes, kind: str) -> tuple[tuple[str, str], ...]:
    """Return the fields of a body of a content type."""
    return form_fields(a_webhook(body, headers={"Content-Type": kind}), provider="test")


def parts(*heads_and_contents: tuple[str, bytes], boundary: str = "b") -> bytes:
    """Return a multipart body; each head is what stands behind ``form-data``."""
    mark = boundary.encode()
    lines = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (mark, head.encode(), content)
        for head, content in heads_and_contents
    ]
    return b"".join(lines) + b"--%b--\r\n" % mark


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (f"{ENCODED}; charset=utf-8", ENCODED),
        ("Multipart/Form-Data; boundary=b", "multipart/form-data"),
        ("application/json", None),
        ("", None),
    ],
)
def test_a_form_is_known_by_its_content_type(kind: str, expected: str | None) -> None:
    """Whatever its capitals and its parameters."""
    assert form_kind(a_webhook(b"", headers={"Content-Type": kind})) == expected


def test_a_name_given_twice_stands_twice() -> None:
    """Some providers mean the first value and some the last."""
    assert fields_of(b"a=1&b=&a=2", ENCODED) == (("a", "1"), ("b", ""), ("a", "2"))


@pytest.mark.parametrize("boundary", ["b", "----Web'(Kit)+_,./:=?9", "a b"])
def test_a_boundary_may_be_quoted(boundary: str) -> None:
    """RFC 2046 §5.1.1 names its characters."""
    body = parts(('name="a"', b"1\r\n--not the end"), boundary=boundary)
    found = fields_of(body, f'multipart/form-data; boundary="{boundary}"')
    assert found == (("a", "1\r\n--not the end"),)


def test_names_and_values_are_utf_8() -> None:
    """A quote in a name is escaped as browsers do."""
    body = parts(('name="gr%22ö"', "ß".encode()), ('name="raw"', b"\xff"))
    found = fields_of(body, "multipart/form-data; boundary=b")
    assert found == (('gr"ö', "ß"), ("raw", "\ufffd"))


@pytest.mark.parametrize("head", ['name="a"; filename="f"', "name=\"a\"; filename*=utf-8''f"])
def test_a_file_is_left_out(head: str) -> None:
    """Only texts are fields."""
    body = parts((head, b"\x00"), ('name="b"', b"1"))
    assert fields_of(body, "multipart/form-data; boundary=b") == (("b", "1"),)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a=1", "text/plain"),
        (b"&".join([b"a=1"] * (FORM_FIELDS_MAX + 1)), ENCODED),
        (b"a" * (PARSED_BYTES_MAX + 1), ENCODED),
        (parts(), "multipart/form-data"),
        (parts(), "multipart/form-data; boundary="),
        (parts(('name="a"', b"1"))[:-4], "multipart/form-data; boundary=b"),
        (parts(('name="a"', b"1")), "multipart/form-data; boundary=c"),
        (parts(("", b"1")), "multipart/form-data; boundary=b"),
        (b"--b\r\nX-A: b\r\n\r\n1\r\n--b--", "multipart/form-data; boundary=b"),
        (b"--b\r\nno end of the head\r\n--b--", "multipart/form-data; boundary=b"),
        (parts(*[('name="a"', b"1")] * (FORM_FIELDS_MAX + 1)), "multipart/form-data; boundary=b"),
    ],
    ids=[
        "type",
        "fields",
        "bytes",
        "no boundary",
        "empty boundary",
        "no end",
        "other boundary",
        "no name",
        "no disposition",
        "no head",
        "parts",
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str) -> None:
    """A typed refusal, and no more work than the bounds allow."""
    with pytest.raises(SignatureError) as caught:
        fields_of(body, kind)
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER
