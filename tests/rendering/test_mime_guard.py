"""The guard over the header block: its quick look finds all that reading every header finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailglass.errors import SendError
from mailglass.rendering import mime

PIECES = st.sampled_from(["\r\n", "\r", "\n", " ", "\t", ":", "A: 1", "Bcc: v", "x", "", "é"])


def _reads_as_meant(head: str) -> bool:
    """Tell whether the laxest reader finds the names that were meant, the slow way."""
    meant = [line.partition(":")[0] for line in mime._unfolded(head)]
    return mime.header_names(head.encode() + b"\r\nbody\r\n") == meant and all(meant)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_the_quick_look_lets_pass_reads_as_it_was_meant(head: str) -> None:
    """It may send a head to the slow way, and never past it."""
    if mime._is_even(head) and "\r\n\r\n" not in head and head.endswith("\r\n"):
        assert _reads_as_meant(head)


def test_ordinary_headers_need_no_slow_look() -> None:
    """Folded ones too, or the quick look would be for nothing."""
    assert mime._is_even("From: a\r\nSubject: b\r\n c\r\nX: d\r\n")


@pytest.mark.parametrize(
    "head",
    [
        "A: 1\nBcc: v\r\n",
        "A: 1\rBcc: v\r\n",
        "A: 1\r\n: v\r\n",
        "A: 1\r\n\r\nBcc: v\r\n",
        ": v\r\n",
        "A: 1\r\n\tB: 2\r\n",
    ],
    ids=["lf", "cr", "no name", "two blocks", "no first name", "folded by a tab"],
)
def test_odd_heads_are_refused(head: str) -> None:
    """Whoever wrote them: two readers would not agree on what stands there."""
    with pytest.raises(SendError) as caught:
        mime._guard(head.encode() + b"\r\nbody\r\n", head)
    assert caught.value.code == "header_set"
