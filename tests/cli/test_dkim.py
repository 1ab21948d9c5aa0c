"""The commands for DKIM keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailglass import ConfigError
from mailglass.cli.group import mailglass
from mailglass.compliance.dkim_keys import DkimKey

NAMES = ("--domain", "shop.example", "--selector", "s1")


def _run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(mailglass, ["dkim", *arguments], input=text)


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_key_is_made_with_its_record(tmp_path: Path, algorithm: str) -> None:
    """The private half goes to a file of its owner alone, the public half to the screen."""
    file = tmp_path / "key.pem"
    told = _run("keygen", *NAMES, "--algorithm", algorithm, "--out", str(file))
    assert told.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    key = DkimKey.from_pem(file.read_bytes(), domain="shop.example", selector="s1")
    assert told.output.splitlines() == [
        "name   s1._domainkey.shop.example",
        "type   TXT",
        f"value  {key.record.value}",
    ]


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    """Mail on its way was signed with it."""
    file = tmp_path / "key.pem"
    file.write_text("precious")
    told = _run("keygen", *NAMES, "--out", str(file))
    assert told.exit_code == 2
    assert file.read_text() == "precious"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """One line, no traceback."""
    told = _run("keygen", *NAMES, "--out", str(tmp_path / "none" / "key.pem"))
    assert told.exit_code == 2
    assert "No such file" in told.output


def test_the_record_is_shown_again(tmp_path: Path) -> None:
    """From the file or from standard input, and as a line for a zone file."""
    file = tmp_path / "key.pem"
    made = _run("keygen", *NAMES, "--out", str(file))
    assert _run("record", *NAMES, str(file)).output == made.output
    zone = _run("record", *NAMES, "--zone", "-", text=file.read_text()).output
    assert zone.startswith("s1._domainkey.shop.example. IN TXT ( ")
    assert "".join(re.findall(r'"([^"]*)"', zone)) in made.output


def test_a_wrong_key_is_refused() -> None:
    """The file's content is not shown."""
    told = _run("record", *NAMES, "-", text="canary")
    assert isinstance(told.exception, ConfigError)
    assert "canary" not in f"{told.output}{told.exception!r}"
