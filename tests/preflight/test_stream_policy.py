"""The rules of the streams: named, explained, and open to an application's own."""

from __future__ import annotations

import pytest

from front_desk import BULK, front_desk, note, rows
from mailglass import Message, Stream, StreamPolicyError
from mailglass.preflight import Context, Phase
from mailglass.preflight.standard import CHECKS
from mailglass.preflight.stream_policy import (
    ONE_CLICK,
    RULES,
    rule,
    stream_policy,
    stream_rules_are_kept,
)
from mailglass.settings import Settings

HERE = "1 Harbour Street, Dublin"
LEAVE = ("List-Unsubscribe", "<https://shop.example/u/1>")
POST = ("List-Unsubscribe-Post", ONE_CLICK)


def _context(phase: Phase = Phase.INTAKE, **settings: object) -> Context:
    return Context(
        tenant_id="a",
        phase=phase,
        settings=Settings(**(BULK | settings)),
        suppressions=lambda _values, _stream: (),
        take=lambda _request: None,
    )


def _with(message: Message, *headers: tuple[str, str]) -> Message:
    """Return the message with headers that an author may set through other doors than Message."""
    object.__setattr__(message, "headers", headers)
    return message


def _bulk(**changes: object) -> Message:
    fields = {"stream": Stream.BULK, "mailable": "app.News", "text": f"News. {HERE}"}
    return note(**(fields | changes))


def test_every_rule_explains_itself() -> None:
    """Who meets one in an error can read what it asks and what to do."""
    for rules in RULES.values():
        for one in rules:
            assert one.text.startswith("Ask that ")
            assert one.suggestion.endswith((".", "pair."))
    assert len({one.name for one in RULES[Stream.BULK]}) == len(RULES[Stream.BULK])


@pytest.mark.parametrize(
    ("headers", "broken"),
    [
        ((), []),
        ((LEAVE, POST), []),
        ((("LIST-UNSUBSCRIBE", "<mailto:x@shop.example>, <HTTPS://shop.example/u>"), POST), []),
        ((LEAVE,), ["unsubscribe_is_one_click"]),
        ((POST,), ["unsubscribe_is_one_click"]),
        ((("List-Unsubscribe", "<http://shop.example/u/1>"), POST), ["unsubscribe_is_one_click"]),
        ((("List-Unsubscribe", "<mailto:x@shop.example>"), POST), ["unsubscribe_is_one_click"]),
        ((LEAVE, ("List-Unsubscribe-Post", "yes")), ["unsubscribe_is_one_click"]),
    ],
)
@pytest.mark.parametrize("stream", [Stream.BULK, Stream.OPERATIONAL])
def test_an_authors_own_unsubscribe_headers_are_a_one_click_pair(
    headers: tuple[tuple[str, str], ...], broken: list[str], stream: Stream
) -> None:
    """Row 61: half a pair, http or a mailbox alone is not what RFC 8058 asks."""
    message = _with(_bulk(stream=stream), *headers)
    found = [one.name for one in RULES[stream] if not one.is_kept(message, _context())]
    assert found == broken


@pytest.mark.parametrize("header", [LEAVE, POST])
def test_transactional_mail_offers_no_way_out(header: tuple[str, str]) -> None:
    """Row 57: a receipt or a reset is not something to leave."""
    with pytest.raises(StreamPolicyError) as caught:
        stream_rules_are_kept(_with(note(), header), _context())
    assert caught.value.rule == "transactional_has_no_unsubscribe"


def test_bulk_mail_without_a_way_out_is_refused() -> None:
    """Row 61: set by the author as a pair, or by mailglass where it knows the page."""
    nowhere = _context(unsubscribe_url=None)
    with pytest.raises(StreamPolicyError) as caught:
        stream_rules_are_kept(_bulk(), nowhere)
    assert caught.value.rule == "bulk_requires_one_click"
    assert "stream: Set MAILGLASS_UNSUBSCRIBE_URL, so that" in str(caught.value)
    stream_rules_are_kept(_with(_bulk(), LEAVE, POST), nowhere)
    stream_rules_are_kept(_bulk(), _context())


@pytest.mark.parametrize("stream", [Stream.TRANSACTIONAL, Stream.OPERATIONAL])
def test_marketing_by_another_name_is_found_by_a_rule_of_the_application(stream: Stream) -> None:
    """Row 75: an application knows its own words."""

    @rule("Send it on the bulk stream.")
    def is_no_offer(message: Message, _context: Context) -> bool:
        """Ask that offers are bulk mail."""
        return "% off" not in message.subject

    check = stream_policy({stream: (is_no_offer,)})
    check(note(stream=stream), _context())
    with pytest.raises(StreamPolicyError) as caught:
        check(note(stream=stream, subject="20% off"), _context())
    assert (caught.value.rule, caught.value.suggestion) == (
        "is_no_offer", "Send it on the bulk stream.",
    )  # fmt: skip


def test_rules_of_the_application_come_after_ours_and_replace_none(database_url: str) -> None:
    """Adding a rule loosens nothing, and the front desk takes the check as it is."""

    @rule("Never mind.")
    def anything_goes(_message: Message, _context: Context) -> bool:
        """Ask nothing."""
        return True

    checks = (*CHECKS[:-1], stream_policy({Stream.BULK: (anything_goes,)}))
    with front_desk(database_url, checks=checks, **BULK) as mail:
        with pytest.raises(StreamPolicyError) as caught:
            mail.deliver(_bulk(mailable=None))
        assert caught.value.rule == "bulk_requires_mailable"
        assert rows(database_url)["messages"] == 0
        mail.deliver(_bulk())


def test_the_body_is_not_read_again_at_dispatch() -> None:
    """What held when it was frozen holds when it leaves."""
    gone = _bulk(text="News.")
    stream_rules_are_kept(gone, _context(Phase.DISPATCH))
    with pytest.raises(StreamPolicyError):
        stream_rules_are_kept(gone, _context())


def test_the_physical_address_may_stand_in_html_alone() -> None:
    """However it is broken into lines and spelt in capitals."""
    html = "<p>News</p><p>1 HARBOUR\n Street,  Dublin</p>"
    stream_rules_are_kept(_bulk(text=None, html=html), _context())
