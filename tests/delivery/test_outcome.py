"""What becomes of a mail after an attempt whose configuration was wrong, or whose time is short."""

from __future__ import annotations

from uuid import UUID

import pytest

from mailglass import DispatchState
from mailglass.delivery.outcome import Settlement, settle
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from mailglass.settings import load_settings


def _after(failure: FailureClass, expires_in_s: float | None) -> Settlement:
    return settle(
        Verdict(delivery_id=UUID(int=1), failure_class=failure, code="http 401"),
        attempt=1,
        expires_in_s=expires_in_s,
        settings=load_settings(retry_base_s=10, retry_cap_s=900),
        jitter=lambda bound: bound,
    )


@pytest.mark.parametrize(
    ("expires_in_s", "wait_s"),
    [(None, 900), (86_400, 900), (1_000, 500), (900, 450), (100, 50), (15, 10), (1, 10)],
)
def test_a_wrong_configuration_is_tried_again_within_what_is_left(
    expires_in_s: float | None, wait_s: float
) -> None:
    """Login mail lives for 15 minutes, and an operator may mend a key in five; later it expires."""
    found = _after(FailureClass.CONFIGURATION, expires_in_s)
    assert (found.state, found.retry_in_s) == (DispatchState.QUEUED, wait_s)


def test_what_can_only_be_tried_after_its_time_has_failed() -> None:
    """Nothing that waiting could mend is waited for in vain."""
    assert _after(FailureClass.NOT_SENT, 9).state is DispatchState.FAILED
    assert _after(FailureClass.NOT_SENT, 11).state is DispatchState.QUEUED
