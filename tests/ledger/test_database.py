"""Which database is taken, and what is said about it."""

from __future__ import annotations

import pytest

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.database import DatabaseChoice, choose_database

BOTH = {
    "MAILGLASS_DATABASE_URL": "postgresql://own@a/own",
    "DATABASE_URL": "postgresql://app@b/app",
}


def chosen(explicit: str | None, environ: dict[str, str]) -> DatabaseChoice:
    """Return the choice where there must be one."""
    choice = choose_database(explicit, environ)
    assert choice is not None
    return choice


@pytest.mark.parametrize(
    ("explicit", "environ", "source", "url"),
    [
        ("postgresql://me@c/mine", BOTH, "database_url", "postgresql://me@c/mine"),
        (None, BOTH, "MAILGLASS_DATABASE_URL", "postgresql://own@a/own"),
        (None, BOTH | {"MAILGLASS_DATABASE_URL": " "}, "DATABASE_URL", "postgresql://app@b/app"),
        (None, {}, "embedded", ""),
    ],
)
def test_the_nearest_named_database_is_taken(
    explicit: str | None, environ: dict[str, str], source: str, url: str
) -> None:
    """What the caller says beats our variable, which beats everybody's, which beats nothing."""
    choice = chosen(explicit, environ)
    assert (choice.source, choice.url, choice.is_embedded) == (source, url, source == "embedded")


def test_no_database_is_an_answer_where_the_embedded_one_is_not_wanted() -> None:
    """A production command must not start a server of its own."""
    assert choose_database(None, {}, allows_embedded=False) is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_every_usual_scheme_is_taken(scheme: str) -> None:
    """Hosting providers and SQLAlchemy spell the same thing differently."""
    assert chosen(f"{scheme}://u:p@h:1/db?sslmode=require", {}).url == (
        "postgresql://u:p@h:1/db?sslmode=require"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hush",
        "host=h password=hush",
        "mysql://u:hush@h/db",
        "postgresql+asyncpg://u:hush@h/db",
        "postgresql://u:hush%zz@h/db",
        "postgresql://u:hu@sh@h/db",
        "postgresql://u:12/hush@h/db",
        "postgresql://u:12/hush@h",
        "postgresql://u:hush/12@h/db",
        "postgresql://u:hush@h:port/db",
        "postgresql://u:hush@h:65536/db",
        "postgresql://u:hush@h/db?hush=1",
        "postgresql://u:hush@[::1/db",
        "postgresql://u:hush@h/db\x00",
    ],
)
@pytest.mark.parametrize("key", ["database_url", "DATABASE_URL"])
def test_a_malformed_url_is_never_echoed(url: str, key: str) -> None:
    """The error says which setting is wrong, and nothing of its value, not even in its cause."""
    if key != "database_url" and not url:
        assert chosen(None, {key: url}).is_embedded
        return
    with pytest.raises(ConfigError) as caught:
        choose_database(url if key == "database_url" else None, {key: url})
    error = caught.value
    assert (error.type, error.key) == (ConfigErrorType.INVALID, key)
    assert (error.__cause__, error.__context__) == (None, None)
    assert "hu" not in f"{error.to_dict()}"


def test_the_description_names_the_place_and_no_credential() -> None:
    """People see which database was taken; logs see no password."""
    choice = chosen(None, {"DATABASE_URL": "postgres://ann:hush@db.example:5433/app?user=bob"})
    assert choice.describe() == "database app on db.example:5433 (from DATABASE_URL)"
    assert "hush" not in repr(choice)
    assert chosen(None, {}).describe() == "embedded PostgreSQL (no database URL is set)"
