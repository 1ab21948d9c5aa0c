"""Goldens as texts in a folder: compared whole, told as a diff, accepted by path."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applications import tree, write
from mailglass import ConfigError, PublishError
from mailglass.publishing import Findings, Kind, accept, compare, read_goldens
from mailglass.publishing.goldens import GOLDEN_BYTES_MAX
from mailglass.publishing.stale import is_gone

TEXTS = st.dictionaries(
    st.sampled_from(["a/x.txt", "a/y.txt", "b/x.txt", "c.txt"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=30),
)


@given(kept=TEXTS, made=TEXTS)
def test_what_is_accepted_no_longer_differs(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, str], made: dict[str, str]
) -> None:
    """And a folder without goldens goes with its last one."""
    root = write(tmp_path_factory.mktemp("goldens"), kept)
    accept(root, compare(read_goldens(root, {".txt"}), made))
    assert read_goldens(root, {".txt"}) == made
    assert compare(read_goldens(root, {".txt"}), made) == ()
    assert all(any(one.iterdir()) for one in root.iterdir() if one.is_dir())


def test_each_difference_says_what_it_is() -> None:
    """New, changed or stale, with a diff that any tool reads."""
    found = compare(
        {"a": "1\n2\n", "b": "x\n", "same": "s"}, {"a": "1\n3", "c": "y\n", "same": "s"}
    )
    assert [(one.path, one.kind) for one in found] == [
        ("a", Kind.CHANGED), ("b", Kind.STALE), ("c", Kind.NEW),
    ]  # fmt: skip
    assert found[0].diff == (
        "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n\\ No newline at end of file\n"
    )
    assert found[2].diff.startswith("--- /dev/null\n+++ b/c\n")


def test_line_ends_of_a_checkout_do_not_matter(tmp_path: Path) -> None:
    """Git may write CRLF; the mail is the same."""
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    assert compare(read_goldens(tmp_path, {".txt"}), {"a.txt": "one\ntwo\n"}) == ()


@pytest.mark.parametrize("content", [b"\xff\n", b"x" * (GOLDEN_BYTES_MAX + 1)])
def test_what_is_no_golden_is_refused(content: bytes, tmp_path: Path) -> None:
    """Not text, or larger than any mail."""
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.txt"):
        read_goldens(tmp_path, {".txt"})
    assert tree(tmp_path / "none") == {}


def test_drift_is_a_publish_error_with_every_diff() -> None:
    """The output is what a person reviews."""
    differences = compare({"a": "1\n"}, {"a": "2\n", "b": "3\n"})
    with pytest.raises(PublishError, match="2 goldens differ") as caught:
        Findings(results=(), differences=differences).refuse_drift()
    assert caught.value.output == differences[0].diff + differences[1].diff
    Findings(results=(), differences=()).refuse_drift()


@pytest.mark.parametrize(
    ("folder", "gone"),
    [
        ("front_desk.Greeting", False),
        ("front_desk.Nobody", True),
        ("front_desk.NOON", True),
        ("mailglass.demo.mailables.Receipt", False),
        ("no_such_module.Welcome", True),
        ("front_desk.Greeting.Inner", True),
        ("plainfile", True),
        ("..Welcome", True),
    ],
)
def test_goldens_of_a_mailable_that_is_gone_are_stale(folder: str, gone: bool) -> None:  # noqa: FBT001 - a column of the table
    """Those of one that was not asked for are left alone."""
    import front_desk  # noqa: F401, PLC0415 - the module that is asked about has to be loaded

    assert is_gone(folder) is gone
