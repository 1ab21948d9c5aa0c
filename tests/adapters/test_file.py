"""The file adapter: whole files, private, and errors that say what the disk said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mailglass.adapters import Adapter
from mailglass.adapters.file import FileAdapter
from mailglass.errors import FailureClass, SendError
from tests.adapters.envelopes import PAYLOAD, an_envelope


def test_each_recipient_gets_a_file_with_the_payload(tmp_path: Path) -> None:
    """The same bytes that SMTP would send, readable by their owner only."""
    adapter = FileAdapter(tmp_path / "not" / "there")
    envelope = an_envelope("ada@recipient.test", "bob@recipient.test")
    accepted = adapter.send(envelope)
    assert accepted.provider == adapter.name == "file"
    for recipient, verdict in zip(envelope.recipients, accepted.verdicts, strict=True):
        name = f"{envelope.message_id}-{recipient.delivery_id}.eml"
        assert verdict.is_accepted
        assert (verdict.delivery_id, verdict.provider_message_id) == (recipient.delivery_id, name)
        path = tmp_path / "not" / "there" / name
        assert path.read_bytes() == PAYLOAD
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list((tmp_path / "not" / "there").iterdir())) == 2


def test_a_second_attempt_replaces_the_file(tmp_path: Path) -> None:
    """One recipient, one file, however often dispatch had to try."""
    adapter = FileAdapter(tmp_path)
    envelope = an_envelope()
    adapter.send(envelope)
    adapter.send(envelope)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_not_sent(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"")
    with pytest.raises(SendError) as caught:
        FileAdapter(blocked).send(an_envelope())
    assert caught.value.failure_class is FailureClass.NOT_SENT
    assert caught.value.code == "EEXIST"
    assert caught.value.retryable


def test_a_later_disk_error_is_the_verdict_of_its_recipient(tmp_path: Path) -> None:
    """Who has a file keeps it, and no draft is left behind."""
    envelope = an_envelope("ada@recipient.test", "bob@recipient.test")
    taken = tmp_path / f"{envelope.message_id}-{envelope.recipients[1].delivery_id}.eml"
    taken.mkdir()
    verdicts = FileAdapter(tmp_path).send(envelope).verdicts
    assert [verdict.failure_class for verdict in verdicts] == [None, FailureClass.NOT_SENT]
    assert verdicts[1].code == "EISDIR"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_the_adapter_satisfies_the_protocol(tmp_path: Path) -> None:
    """Dispatch sees only this."""
    adapter = FileAdapter(tmp_path)
    assert isinstance(adapter, Adapter)
    adapter.check(an_envelope().thaw())
    adapter.close()
    assert str(tmp_path) in repr(adapter)
