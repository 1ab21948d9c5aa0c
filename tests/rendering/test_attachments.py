"""Attachments by path: inside the root, without links, regular and not too large."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from front_desk import front_desk, note, rows
from mailglass import Attachment, ConfigError, SendError
from mailglass.errors import ConfigErrorType
from mailglass.rendering.attachments import load_attachments, typed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a file, a folder, links and things that are no files."""
    folder = tmp_path / "root"
    (folder / "deep" / "er").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("canary")
    (folder / "invoice.pdf").write_bytes(b"%PDF")
    (folder / "deep" / "er" / "terms.txt").write_text("terms")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "inner.txt").symlink_to("invoice.pdf")
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


def _with(path: str) -> Attachment:
    return Attachment(filename="a.txt", path=Path(path))


@pytest.mark.parametrize(
    ("path", "content"),
    [("invoice.pdf", b"%PDF"), ("deep/er/terms.txt", b"terms"), ("./invoice.pdf", b"%PDF")],
)
def test_a_file_inside_the_root_is_read(root: Path, path: str, content: bytes) -> None:
    """The message that comes back has bytes and no path."""
    (one,) = load_attachments(note(attachments=[_with(path)]), root).attachments
    assert (one.content, one.path) == (content, None)


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "/etc/passwd", "deep/../../secret.txt", "link.txt", "inner.txt", "out/secret.txt",
     "loop", "pipe", "deep", "missing.txt", ".", "deep/er/terms.txt/x", "file:///etc/passwd", "/dev/zero"],
)  # fmt: skip
def test_anything_else_is_refused(root: Path, path: str) -> None:
    """Row 11: no way out of the root, no link, no device; the error holds no path."""
    with pytest.raises(ConfigError) as caught:
        load_attachments(note(attachments=[_with(path)]), root)
    assert caught.value.type is ConfigErrorType.INVALID
    assert path not in str(caught.value).split()
    assert "canary" not in f"{caught.value}"


def test_a_path_without_a_root_is_refused_before_any_row(database_url: str) -> None:
    """Reading files is opt-in."""
    with front_desk(database_url) as mail, pytest.raises(ConfigError) as caught:
        mail.deliver(note(attachments=[_with("invoice.pdf")]))
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.MISSING, "attachments_root")
    assert rows(database_url) == {"messages": 0, "deliveries": 0, "events": 0}


def test_attachments_together_have_a_limit(root: Path) -> None:
    """Row 12: bytes in memory and files from disk count together."""
    (root / "big.bin").write_bytes(bytes(13 * 1024 * 1024))
    big = Attachment(filename="big.bin", path=Path("big.bin"))
    held = Attachment(filename="held.bin", content=bytes(13 * 1024 * 1024))
    load_attachments(note(attachments=[big]), root)
    with pytest.raises(SendError) as caught:
        load_attachments(note(attachments=[held, big]), root)
    assert caught.value.code == "attachment_too_large"


def test_a_delivered_file_is_in_the_bytes(database_url: str, root: Path) -> None:
    """From the path to the wire."""
    with front_desk(database_url, attachments_root=root) as mail:
        delivery = mail.deliver(note(attachments=[_with("deep/er/terms.txt")]))
        stored = mail.store.frozen_payload("default", delivery.message_id)
    assert stored is not None
    assert b'filename="a.txt"' in (stored[0] or b"")


def test_a_type_is_guessed_from_the_name() -> None:
    """And only a type that is known."""
    assert typed("a.pdf", b"x").content_type == "application/pdf"
    assert typed("a.tar.gz", b"x").content_type == "application/octet-stream"
