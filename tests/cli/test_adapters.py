"""``mailglass adapters``: what each provider can do, and the request it would be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailglass.adapters.providers import API_PROVIDERS, names
from mailglass.cli.group import mailglass
from mailglass.errors import SendError

MAIL = {"from": "Shop <shop@sender.test>", "to": "ada@recipient.test", "subject": "S", "text": "T"}


def _request(folder: Path, provider: str, *options: str, **changes: Any) -> Result:
    path = folder / "message.json"
    path.write_text(json.dumps(MAIL | changes), "utf-8")
    return CliRunner().invoke(
        mailglass, ["adapters", "request", provider, "--message", str(path), *options]
    )


def test_every_adapter_is_listed() -> None:
    """In a table and as JSON."""
    table = CliRunner().invoke(mailglass, ["adapters"]).stdout
    listed = json.loads(CliRunner().invoke(mailglass, ["adapters", "--json"]).stdout)
    assert [one["name"] for one in listed] == list(names())
    assert all(name in table for name in names())
    postmark = next(one for one in listed if one["name"] == "postmark")
    assert postmark["features"]["tags_max"] == 1
    assert "server_token" in {one["name"] for one in postmark["options"]}


@pytest.mark.parametrize("provider", [name for name in names() if name in API_PROVIDERS])
def test_every_provider_shows_its_request(tmp_path: Path, provider: str) -> None:
    """Without a key, a network or a database."""
    told = _request(
        tmp_path,
        provider,
        subject="Your receipt",
        text="Thanks, and see you.",
        html="<p>Thanks</p>",
    )
    assert told.exit_code == 0, told.output
    (made,) = json.loads(told.stdout)["requests"]
    assert made["method"] == "POST"
    assert set(made) == {"method", "url", "headers", "body", "body_encoding"}


def test_a_credential_is_masked_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Wherever it stands."""
    options = ("--set", "server_token=canary")
    assert "canary" not in _request(tmp_path, "postmark", *options).output
    told = _request(tmp_path, "postmark", *options, "--show-secrets")
    headers = json.loads(told.stdout)["requests"][0]["headers"]
    assert headers["X-Postmark-Server-Token"] == "canary"


@pytest.mark.parametrize("provider", [name for name in names() if name in API_PROVIDERS])
def test_no_request_shows_a_key(tmp_path: Path, provider: str) -> None:
    """Some providers want it in the body."""
    listed = json.loads(CliRunner().invoke(mailglass, ["adapters", "--json"]).stdout)
    its = next(one for one in listed if one["name"] == provider)["options"]
    keys = [one["name"] for one in its if one["required"] and one["kind"] == "secret"]
    settings = [part for key in keys for part in ("--set", f"{key}=canary-{key}")]
    told = _request(
        tmp_path, provider, *settings, subject="Your receipt", text="Thanks, and see you."
    )
    assert "canary" not in told.output


def test_the_whole_message_travels(tmp_path: Path) -> None:
    """Each key of the file reaches the request."""
    told = _request(
        tmp_path, "sendgrid", cc=["c@x.test"], reply_to="r@x.test", headers={"X-A": "1"},
        tags=["order"], metadata={"k": "v"}, tracking={"opens": True},
        attachments=[{"filename": "a.txt", "content": "YQ==", "content_type": "text/plain"}],
        stored_template={"id": "d-1", "variables": {"n": 1}}, provider_send_at=1764577800,
        provider_options={"asm": {"group_id": 4}},
    )  # fmt: skip
    body = json.loads(told.stdout)["requests"][0]["body"]
    assert body["send_at"] == 1764577800
    assert body["tracking_settings"] == {"open_tracking": {"enable": True}}
    assert body["personalizations"][0]["dynamic_template_data"] == {"n": 1}
    assert {"asm", "attachments", "categories", "headers", "reply_to"} <= set(body)


def test_a_feature_that_the_provider_lacks_is_its_error(tmp_path: Path) -> None:
    """Nothing is dropped in silence."""
    told = _request(tmp_path, "postmark", tags=["a", "b"])
    assert told.exit_code == 1
    assert isinstance(told.exception, SendError)
    assert told.exception.code == "unsupported_feature"


@pytest.mark.parametrize(
    "changes", [{"colour": 1}, {"to": 5}, {"stored_template": {"colour": 1}}, {"attachments": [{}]}]
)
def test_a_wrong_file_is_misuse(tmp_path: Path, changes: dict[str, Any]) -> None:
    """It says so, and exits with 2."""
    assert _request(tmp_path, "postmark", **changes).exit_code == 2


@pytest.mark.parametrize("provider", ["smtp", "file", "fake"])
def test_an_adapter_without_http_shows_none(tmp_path: Path, provider: str) -> None:
    """It is handed MIME."""
    assert _request(tmp_path, provider).exit_code == 2
