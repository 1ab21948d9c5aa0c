"""``mailglass webhooks inspect``: a captured request, offline."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailglass.cli.webhooks import command

BOUNCE = {
    "RecordType": "Bounce",
    "ID": 7,
    "Type": "HardBounce",
    "MessageID": "m-1",
    "Email": "ada@recipient.test",
    "BouncedAt": "2026-03-14T09:29:00Z",
}
LOGIN = "Basic " + base64.b64encode(b"hooks:pass").decode()
SET = ("--set", "webhook_secret=hooks:pass")


def _inspect(folder: Path, *options: str, provider: str = "postmark", **changes: Any) -> Result:
    document: dict[str, Any] = {
        "method": "POST",
        "url": "https://app.test/webhooks/postmark",
        "headers": {"Authorization": LOGIN},
        "body": json.dumps(BOUNCE),
        "body_encoding": "utf-8",
        "now": "2026-03-14T09:30:00+00:00",
    }
    path = folder / "request.json"
    path.write_text(json.dumps(document | changes), "utf-8")
    return CliRunner().invoke(command, ["inspect", provider, "--request", str(path), *options])


def test_a_genuine_request_is_verified_and_read(tmp_path: Path) -> None:
    """Every key of an event stands there, known or not."""
    told = _inspect(tmp_path, *SET)
    assert told.exit_code == 0
    assert json.loads(told.stdout) == {
        "verified": True,
        "error": None,
        "events": [
            {
                "event_type": "bounced",
                "timestamp": "2026-03-14T09:29:00+00:00",
                "event_id": "7",
                "message_id": "m-1",
                "message_ids": ["m-1"],
                "recipient": "ada@recipient.test",
                "reject_reason": "bounced",
                "description": None,
                "mta_response": None,
                "tags": [],
                "metadata": {},
                "click_url": None,
                "user_agent": None,
                "permanent": True,
                "machine": False,
                "word": "HardBounce",
            }
        ],
    }


def test_a_forged_request_is_refused_and_still_read(tmp_path: Path) -> None:
    """The operator sees what it claims."""
    told = _inspect(tmp_path, "--set", "WEBHOOK_SECRET=hooks:other")
    shown = json.loads(told.stdout)
    assert told.exit_code == 1
    assert shown["verified"] is False
    assert shown["error"] == {
        "type": "bad_credentials",
        "class": "SignatureError",
        "detail": "authorization",
    }
    assert shown["events"][0]["event_type"] == "bounced"


def test_without_a_key_nothing_is_believed(tmp_path: Path) -> None:
    """And the error says what is missing."""
    told = _inspect(tmp_path)
    error = json.loads(told.stdout)["error"]
    assert told.exit_code == 1
    assert (error["class"], error["type"]) == ("ConfigError", "webhook_verification_key_missing")


def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    """Genuine or not."""
    told = _inspect(tmp_path, *SET, body="{")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["error"]["type"] == "malformed_header"


def test_headers_may_be_pairs_and_the_body_base64(tmp_path: Path) -> None:
    """As a capture has them."""
    body = base64.b64encode(json.dumps(BOUNCE).encode()).decode()
    told = _inspect(
        tmp_path, *SET, headers=[["authorization", LOGIN]], body=body, body_encoding="base64"
    )
    assert told.exit_code == 0


def test_several_secrets_may_be_given(tmp_path: Path) -> None:
    """While one replaces the other."""
    assert _inspect(tmp_path, "--set", "webhook_secret=hooks:next", *SET).exit_code == 0


@pytest.mark.parametrize(
    "changes",
    [{"colour": 1}, {"body_encoding": "utf-7"}, {"body_encoding": "base64", "body": "*"},
     {"now": "yesterday"}, {"headers": 5}],
)  # fmt: skip
def test_a_wrong_file_is_misuse(tmp_path: Path, changes: dict[str, Any]) -> None:
    """It says so, and exits with 2."""
    told = _inspect(tmp_path, *SET, **changes)
    assert told.exit_code == 2
    assert "Error" in told.stderr


@pytest.mark.parametrize("options", [("--set", "novalue"), ("--nonsense",)])
def test_a_wrong_option_is_misuse(tmp_path: Path, options: tuple[str, ...]) -> None:
    """An option is key=value."""
    assert _inspect(tmp_path, *options).exit_code == 2


def test_smtp_sends_no_webhooks(tmp_path: Path) -> None:
    """Nor do the file and the fake."""
    assert _inspect(tmp_path, provider="smtp").exit_code == 2
