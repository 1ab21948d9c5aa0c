"""Recorded cases: what a mature client made of each request, and where we differ on purpose.

Without the recorded cases there is nothing to compare, and these tests are none.
"""

from __future__ import annotations

from typing import Any

import pytest

from recorded import (
    cases,
    corpus,
    deviating_fields,
    deviations,
    send_differences,
    webhook_differences,
)
from recorded_inbound import inbound_cases, inbound_differences

_WEBHOOKS: list[Any] = cases("webhook_cases.json")
_SENDS: list[Any] = cases("send_cases.json")
_MAILS: list[Any] = inbound_cases()
_KNOWN = deviations()
_FIELDS = deviating_fields()


def _ids(many: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in many]


def _as_expected(case: dict[str, Any], found: list[str]) -> None:
    if case["id"] in _KNOWN:
        assert found, "it deviates no longer: take it out of deviations.json"
        fields = [one.partition(":")[0] for one in found]
        assert fields == _FIELDS.get(case["id"], fields)
    else:
        assert found == []


@pytest.mark.parametrize("case", _WEBHOOKS or [None], ids=_ids(_WEBHOOKS) or ["none"])
def test_a_recorded_webhook_reads_as_recorded(case: dict[str, Any] | None) -> None:
    """Or its deviation is written down with its reason."""
    if case is None:
        assert corpus() is None
        return
    _as_expected(case, webhook_differences(case))


@pytest.mark.parametrize("case", _MAILS or [None], ids=_ids(_MAILS) or ["none"])
def test_a_recorded_mail_reads_as_recorded(case: dict[str, Any] | None) -> None:
    """Whole, with its files, whoever handed it over; or its deviation is written down."""
    if case is None:
        assert corpus() is None
        return
    _as_expected(case, inbound_differences(case))


@pytest.mark.parametrize("case", _SENDS or [None], ids=_ids(_SENDS) or ["none"])
def test_a_recorded_message_makes_the_recorded_request(case: dict[str, Any] | None) -> None:
    """For what both have; or its deviation is written down with its reason."""
    if case is None:
        assert corpus() is None
        return
    found = send_differences(case)
    if found is not None or case["id"] in _KNOWN:
        _as_expected(case, found or [])


def test_a_mail_that_deviates_does_so_in_fields_that_are_told() -> None:
    """Of a received mail no other difference hides behind one that is known."""
    deviating = {case["id"] for case in _MAILS} & _KNOWN.keys()
    assert deviating <= _FIELDS.keys()


def test_every_deviation_has_a_reason() -> None:
    """A name alone explains nothing."""
    assert all(len(reason) > 20 for reason in _KNOWN.values())
