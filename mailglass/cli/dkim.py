"""``mailglass dkim``: make a DKIM key, and show the DNS record that belongs to one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

if TYPE_CHECKING:
    from mailglass.compliance.dkim_keys import DkimKey

_PEM_BYTES_MAX: Final = 65_536
_ALGORITHMS: Final = ("rsa", "ed25519")

_domain = click.option("--domain", required=True, help="The d= domain, that of the From address.")
_selector = click.option("--selector", required=True, help="Names this key among the domain's.")
_zone = click.option("--zone", is_flag=True, help="Print a line for a zone file.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("dkim")
def command() -> None:
    """Make DKIM keys and show their DNS records (RFC 6376, RFC 8463)."""


@command.command("keygen")
@_domain
@_selector
@click.option("--algorithm", type=click.Choice(_ALGORITHMS), default="rsa", show_default=True)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new file for the private key; an existing file is never replaced.",
)
@_zone
@_json
def keygen(  # noqa: PLR0913 - click passes each option as a keyword
    *, domain: str, selector: str, algorithm: str, out: Path, zone: bool, as_json: bool
) -> None:
    """Write a new private key, readable by its owner alone, and print its DNS record.

    Publish the record and wait until it can be seen before you sign with the key. To change keys
    use a new selector, and keep the old record for some weeks, since mail on its way needs it.
    """
    from mailglass.compliance import dkim_keys as keys

    kind = keys.DkimAlgorithm(f"{algorithm}-sha256")
    key: DkimKey = keys.generate_key(kind, domain=domain, selector=selector)
    with _new_file(out) as file:
        file.write(keys.private_pem(key))
    _show(key, as_zone=zone, as_json=as_json)


@command.command("record")
@_domain
@_selector
@click.argument("key_file", type=click.File("rb"))
@_zone
@_json
def record(*, domain: str, selector: str, key_file: BinaryIO, zone: bool, as_json: bool) -> None:
    """Print the DNS record of the private key in KEY_FILE (- reads standard input)."""
    from mailglass.compliance import dkim_keys as keys

    pem = key_file.read(_PEM_BYTES_MAX)
    _show(
        keys.DkimKey.from_pem(pem, domain=domain, selector=selector), as_zone=zone, as_json=as_json
    )


def _show(key: DkimKey, *, as_zone: bool, as_json: bool) -> None:
    found = key.record
    if as_json:
        told = {"name": found.name, "type": "TXT", "value": found.value, "zone": found.zone_line}
        click.echo(json.dumps(told, indent=2))
        return
    if as_zone:
        click.echo(found.zone_line)
        return
    click.echo(f"name   {found.name}")
    click.echo("type   TXT")
    click.echo(f"value  {found.value}")


def _new_file(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.UsageError(f"{path} exists; a private key is never replaced") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
    return os.fdopen(descriptor, "wb")
