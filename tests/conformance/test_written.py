"""Our own cases: each captured request verifies as it should and means what it should."""

from __future__ import annotations

from typing import Any

import pytest

from recorded import written, written_differences, written_ids


@pytest.mark.parametrize(("provider", "case"), list(written()), ids=written_ids())
def test_a_request_means_what_is_written(provider: str, case: dict[str, Any]) -> None:
    """A webhook is verified and normalised as its case says."""
    assert written_differences(provider, case) == []
