"""A check with a bug refuses the mail that it was asked about, and no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg
import pytest

from front_desk import front_desk, note, rows
from mailglass import DispatchState, Message, SendError
from mailglass.errors import FailureClass, SendErrorType
from mailglass.preflight import Check, Context
from mailglass.preflight.standard import CHECKS


def _clumsy(message: Message, _context: Context) -> None:
    if message.subject == "bad":
        raise KeyError("canary@mail.example")


MINE: Sequence[Check] = (*CHECKS, _clumsy)


def _is_a_refusal(error: BaseException | None) -> bool:
    return (
        isinstance(error, SendError)
        and error.type is SendErrorType.PREFLIGHT_REJECTED
        and error.code == "KeyError"
        and error.failure_class is FailureClass.NOT_SENT
        and isinstance(error.__cause__, KeyError)
        and "canary" not in str(error)
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_check_with_a_bug_loses_one_mail_of_a_batch(database_url: str, place: int) -> None:
    """The others are queued, as with a mailable that has a bug."""
    mails = [note(subject="bad" if number == place else "good") for number in range(3)]
    with front_desk(database_url, checks=MINE) as mail:
        found = list(mail.deliver_many(mails))
        assert _is_a_refusal(found.pop(place).error)
        assert [one.state for one in found] == [DispatchState.QUEUED] * 2
    assert rows(database_url)["messages"] == 2


@pytest.mark.parametrize("step", ["deliver", "deliver_later", "prepare"])
def test_a_check_with_a_bug_refuses_a_single_mail(database_url: str, step: str) -> None:
    """With an error of ours, whose cause is the bug; no row exists."""
    with front_desk(database_url, checks=MINE) as mail, pytest.raises(SendError) as caught:
        getattr(mail, step)(note(subject="bad"))
    assert _is_a_refusal(caught.value)
    assert rows(database_url)["messages"] == 0


def test_a_bug_is_reported_by_its_kind(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its text may hold what no log may."""
    with (
        caplog.at_level(logging.ERROR, "mailglass"),
        front_desk(database_url, checks=MINE) as mail,
    ):
        mail.deliver_many([note(subject="bad")])
    (said,) = [one for one in caplog.records if one.message.startswith("attempt.check_raised")]
    assert "error_type=KeyError" in said.message
    assert "canary" not in caplog.text


def test_a_database_that_is_away_is_no_bug_of_a_check() -> None:
    """A standard check asks it, and the caller hears what psycopg says."""
    down = "postgresql://postgres@127.0.0.1:1/none"
    with (
        front_desk(down, checks=MINE, database_connect_timeout_s=0.5) as mail,
        pytest.raises(psycopg.OperationalError),
    ):
        mail.deliver_later(note())
