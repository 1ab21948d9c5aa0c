"""``mailglass streams``: the rules of each stream, and what to do about a breach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mailglass.errors import Json

if TYPE_CHECKING:
    from mailglass.preflight.stream_policy import Rule


@click.command("streams")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, as_json: bool) -> None:
    """List the rules of each stream: name, what it asks, and what to do about a breach.

    A mail that breaks one is refused before it is queued, with the rule's name in the error. Your
    application may have rules of its own besides.
    """
    from mailglass.preflight.stream_policy import RULES

    if as_json:
        told: dict[str, Json] = {
            stream.value: [_json(one) for one in rules] for stream, rules in RULES.items()
        }
        click.echo(json.dumps(told, indent=2))
        return
    for stream, rules in RULES.items():
        click.echo(f"{stream.value}")
        for one in rules:
            click.echo(f"  {one.name}\n    {one.text}\n    To fix: {one.suggestion}")


def _json(one: Rule) -> Json:
    return {"name": one.name, "text": one.text, "suggestion": one.suggestion}
