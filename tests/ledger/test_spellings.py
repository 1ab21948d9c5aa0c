"""Spellings: an address is found however it is written, and nobody else's is."""

from __future__ import annotations

import re

import psycopg
import pytest

from mailglass.ledger.spellings import escaped_spellings, pattern_of, spellings

KEY = "anna@mail.example"


@pytest.mark.parametrize(
    ("text", "is_theirs"),
    [
        ("anna@mail.example", True),
        ("to anna@mail.example.", True),
        ("<anna@mail.example>", True),
        ("/u?to=anna%40mail.example&x=1", True),
        ("/r?next=%2fu%3fto%3danna%2540mail.example", True),
        ('{"to": "anna\\u0040mail.example"}', True),
        ('{"body": "{\\"to\\": \\"anna\\\\u0040mail.example\\"}"}', True),
        ("{'text': 'hello\\nanna@mail.example'}", True),
        ("\\u003canna@mail.example\\u003e", True),
        ("%3canna%40mail.example%3e", True),
        ("anna&#64;mail.example", True),
        ("bounce+anna=mail.example@shop.example", True),
        ("invoice-anna@mail.example.pdf", True),
        ("...anna@mail.example", True),
        ("joanna@mail.example", False),
        ("mary.anna@mail.example", False),
        ("anna@mail.examples", False),
        ("anna@mail-example", False),
        ("anna@gmail.example", False),
    ],
)
def test_an_address_is_found_as_it_is_written(
    text: str, database_url: str, *, is_theirs: bool
) -> None:
    """Python and Postgres read the same pattern alike."""
    pattern = pattern_of(KEY)
    assert (re.search(pattern, text) is not None) == is_theirs
    with psycopg.connect(database_url) as owner:
        row = owner.execute("select %s::text ~ %s::text", (text, pattern)).fetchone()
    assert row == (is_theirs,)


@pytest.mark.parametrize("domain", ["müller.example", "xn--mller-kva.example"])
def test_both_forms_of_a_domain_are_found(domain: str) -> None:
    """In letters, as a person types it, and as it travels."""
    assert re.search(pattern_of("anna@xn--mller-kva.example"), f"to anna@{domain}, please")


@pytest.mark.parametrize("local", ["a+b", "a.b-c", "o'hara", "zoë", "x|y{2}", "50%"])
def test_a_local_part_is_taken_as_it_stands(local: str) -> None:
    """No character of it means anything in the pattern."""
    pattern = pattern_of(f"{local}@mail.example")
    assert re.search(pattern, f"<{local}@mail.example>")
    assert not re.search(pattern, "a@mail.example")


def test_octets_are_looked_for_as_postgres_shows_them(database_url: str) -> None:
    """A body is bytes, and stands in the database's own escapes."""
    with psycopg.connect(database_url) as owner:
        for text in spellings("zoë@mail.example"):
            row = owner.execute("select encode(%s::bytea, 'escape')", (text.encode(),)).fetchone()
            assert row is not None
            assert row[0] in escaped_spellings("zoë@mail.example")
