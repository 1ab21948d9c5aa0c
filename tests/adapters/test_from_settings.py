"""Adapters from settings alone: by name, with the options that the provider's adapter takes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from front_desk import note
from mailglass import ConfigError, Message, SendError, StoredTemplate
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.file import FileAdapter
from mailglass.adapters.from_settings import adapter_from
from mailglass.adapters.providers import names
from mailglass.adapters.smtp import SmtpAdapter
from mailglass.settings import AdapterName, load_settings

SECRET = "canary-7f3a"


def test_every_provider_can_be_named_in_settings() -> None:
    """A provider that has a file has a name here too."""
    assert {one.value for one in AdapterName} == set(names())


def test_a_provider_is_built_from_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a deployment gives them: JSON in a variable; none of them is ever shown."""
    monkeypatch.setenv("MAILGLASS_ADAPTER", "postmark")
    monkeypatch.setenv("MAILGLASS_PROVIDER_OPTIONS", f'{{"server_token": "{SECRET}"}}')
    settings = load_settings()
    assert adapter_from(settings).name == "postmark"
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("options", [{}, {"server_token": "x", "nonsense": "y"}], ids=str)
def test_missing_and_unknown_options_are_told_by_name(options: dict[str, str]) -> None:
    """Before the first mail."""
    with pytest.raises(ConfigError) as caught:
        adapter_from(load_settings(adapter="postmark", provider_options=options))
    assert caught.value.key in {"server_token", "postmark_server_token", "nonsense"}


@pytest.mark.parametrize(
    "asked",
    [
        note(stored_template=StoredTemplate(id="welcome")),
        note(provider_send_at=datetime(2031, 1, 1, tzinfo=UTC)),
        note(provider_options={"a": 1}),
    ],
)
def test_what_only_a_provider_has_is_refused_where_there_is_none(
    asked: Message, tmp_path: Path
) -> None:
    """Nothing that the author asked for is dropped in silence."""
    for adapter in (FileAdapter(tmp_path), SmtpAdapter(host="127.0.0.1")):
        with pytest.raises(SendError) as caught:
            adapter.check(asked)
        assert caught.value.code == "unsupported_feature"
    FakeAdapter().check(asked)
