"""``mailglass streams``: what each stream asks, in text and in JSON."""

from __future__ import annotations

import json

from click.testing import CliRunner

from mailglass.cli.group import mailglass
from mailglass.message import Stream
from mailglass.preflight.stream_policy import RULES


def test_the_rules_are_listed_with_their_texts() -> None:
    """Whoever meets a rule in an error finds it here."""
    told = CliRunner().invoke(mailglass, ["streams"])
    assert told.exit_code == 0
    for stream, rules in RULES.items():
        assert f"{stream.value}\n" in told.output
        for one in rules:
            assert one.name in told.output
            assert one.suggestion in told.output


def test_the_rules_are_a_json_document() -> None:
    """For a page of documentation, or a check of what an upgrade brought."""
    told = json.loads(CliRunner().invoke(mailglass, ["streams", "--json"]).output)
    assert list(told) == [stream.value for stream in Stream]
    assert told["bulk"][1]["name"] == "bulk_requires_mailable"
    assert set(told["bulk"][1]) == {"name", "text", "suggestion"}
