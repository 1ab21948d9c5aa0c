"""``mailglass webhooks inspect``: a captured request, offline."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailglass.cli.group import mailglass
from posted_webhooks import NOW, SPEAKERS, certificate

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
    return CliRunner().invoke(
        mailglass, ["webhooks", "inspect", provider, "--request", str(path), *options]
    )


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


def _sns(folder: Path, pem: bytes) -> Result:
    """Inspect a genuine notification of Amazon's with a certificate in a file."""
    speaker = next(one for one in SPEAKERS if one.name == "amazon_ses")
    headers, body = speaker.of("0197a000-0000-7000-8000-00000000000a")
    (folder / "sns.pem").write_bytes(pem)
    topic = f"topic_arns={speaker.settings['topic_arns']}"
    return _inspect(
        folder, "--set", topic, "--certificate", str(folder / "sns.pem"),
        provider="amazon_ses", headers=dict(headers), body=body.decode(), now=NOW.isoformat(),
    )  # fmt: skip


def test_a_notification_of_sns_is_verified_with_a_certificate_at_hand(tmp_path: Path) -> None:
    """Nothing is fetched: the file has what the request's address would have."""
    told = _sns(tmp_path, certificate("sns", "sns"))
    assert (told.exit_code, json.loads(told.output)["verified"]) == (0, True)


def test_another_certificate_proves_nothing(tmp_path: Path) -> None:
    """The file is what is believed, and so it must be the right one."""
    assert _sns(tmp_path, certificate("other", "other")).exit_code == 1
    assert _sns(tmp_path, b"no certificate").exit_code == 1
