"""``mailglass doctor``: checks settings, database, traffic, mailables and, on request, DNS."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from mailglass.cli.database import database_option
from mailglass.cli.mailables import mailables_of
from mailglass.cli.progress import progress

if TYPE_CHECKING:
    from mailglass.doctor import Patient, Result

_MARKS: Final = {"ok": "ok  ", "warning": "WARN", "error": "FAIL", "cannot_verify": "  ? "}


@click.command("doctor")
@click.argument("modules", metavar="[MODULE[:MAILABLE]]...", nargs=-1)
@click.option(
    "--network",
    is_flag=True,
    help="Ask DNS about the domains that mail is sent from; log in at SMTP servers, sending nothing.",
)
@click.option(
    "--domain", "domains", multiple=True, metavar="NAME", help="With --network; repeatable."
)
@click.option(
    "--selector", "selectors", multiple=True, metavar="NAME", help="A DKIM selector; repeatable."
)
@click.option(
    "--ip", "addresses", multiple=True, metavar="ADDRESS", help="Mail leaves from here; repeatable."
)
@click.option(
    "--quiet-minutes",
    type=click.IntRange(1, 10_080),
    default=60,
    show_default=True,
    help="Nothing sent for so long while mail waits is an error.",
)
@click.option(
    "--app",
    "application",
    metavar="MODULE:NAME",
    help="The web application that takes webhooks; else what is found here.",
)
@click.option(
    "--webhooks-url",
    metavar="URL",
    default="https://localhost/webhooks",
    show_default=True,
    help="Where the public address of webhooks begins; nothing is asked there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--strict", is_flag=True, help="Warnings and what cannot be verified exit 1 too.")
@database_option
def command(  # noqa: PLR0913 - click passes each option as a keyword
    *,
    modules: Sequence[str],
    network: bool,
    domains: Sequence[str],
    selectors: Sequence[str],
    addresses: Sequence[str],
    quiet_minutes: int,
    application: str | None,
    webhooks_url: str,
    as_json: bool,
    strict: bool,
    database_url: str | None,
) -> None:
    """Check the whole set-up; each finding says what was seen, how to mend it and where to read on.

    MODULE names mailables, whose previews are rendered and whose senders' domains are looked up;
    without it all of the installed package are meant. Where an adapter's provider sends webhooks, the
    web application is called in this process with a forged one, which mailglass has to refuse.

    Exits 0 when nothing is wrong, 1 when something is, 2 when it is misused.
    """  # fmt: skip
    from mailglass.cli.applications import application_of
    from mailglass.cli.probes import call_broker
    from mailglass.doctor import examine, exit_code

    for address in addresses:
        _check_address(address)
    found, why_none = _mailables(modules)
    known: dict[str, Any] = {
        "mailables": tuple(found),
        "mailables_error": why_none,
        "selectors": tuple(selectors),
        "addresses": tuple(addresses),
        "quiet_s": quiet_minutes * 60.0,
        "domains": _domains(domains, found),
        "call_broker": call_broker,
        "application": application_of(application),
        "webhooks_url": _checked_url(webhooks_url),
    }
    with ExitStack() as stack:
        if network:
            from mailglass.doctor.dns import system_lookup

            known["lookup"] = system_lookup()
        patient = _patient(stack, database_url, known)
        with progress("checks", hidden=as_json) as done:
            results = examine(patient, on_check=done)
    if as_json:
        click.echo(json.dumps({"checks": [asdict(one) for one in results]}, indent=2))
    else:
        _show(results)
    raise click.exceptions.Exit(exit_code(results, is_strict=strict))


def _patient(stack: ExitStack, database_url: str | None, known: dict[str, Any]) -> Patient:
    from mailglass.doctor import patient_from
    from mailglass.errors import ConfigError
    from mailglass.ledger.opening import open_database
    from mailglass.settings import load_settings

    given = {} if database_url is None else {"database_url": database_url}
    try:
        known["settings"] = load_settings(**given)
        known["database"], server = open_database(database_url, known["settings"])
    except ConfigError as error:
        if "settings" in known:
            known["database_error"] = error.message
        return patient_from(os.environ, **known)
    if server is not None:
        stack.callback(server.stop)
    patient = patient_from(os.environ, **known)
    if patient.store is not None:
        stack.callback(patient.store.close)
    return patient


def _mailables(modules: Sequence[str]) -> tuple[Sequence[Any], str | None]:
    """Return the mailables; why there is none where those of the installed package cannot be had."""
    if modules:
        return mailables_of(modules) or (), None
    try:
        return mailables_of(()) or (), None
    except Exception as error:  # noqa: BLE001 - the author's code; the other checks are made all the same
        return (), f"the installed package cannot be imported: {type(error).__name__}"


def _domains(named: Sequence[str], mailables: Sequence[Any]) -> tuple[str, ...]:
    from mailglass.address import parse_address

    senders = [kind.sender for kind in mailables if isinstance(getattr(kind, "sender", None), str)]
    asked = [f"postmaster@{name}" for name in named] or senders
    return tuple(dict.fromkeys(parse_address(one).domain_key for one in asked))


def _checked_url(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise click.UsageError(
            "--webhooks-url takes an address such as https://shop.example/webhooks"
        )
    return url


def _check_address(address: str) -> None:
    from ipaddress import ip_address

    try:
        ip_address(address)
    except ValueError:
        raise click.UsageError("--ip takes an IPv4 or IPv6 address") from None


def _show(results: Sequence[Result]) -> None:
    for one in results:
        click.echo(f"{_MARKS[one.status]}  {one.id}: {one.seen or one.title}")
        if one.fix:
            click.echo(f"      {one.fix}\n      {one.guide}")
    counts = {status: sum(one.status == status for one in results) for status in _MARKS}
    click.echo(", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items()))
