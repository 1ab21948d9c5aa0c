"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
from email import message_from_string
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import pytest

import wheels
from mailglass import __version__

USE = """
import sys
import mailglass
from mailglass import Mailable, Mailglass

class Receipt(Mailable):
    sender = "Shop <orders@shop.example>"
    subject = "Order {{ number }}"
    template = "receipt.html.jinja"
    number: int

    def to(self):
        return "zoe@mail.example"

with Mailglass.from_env() as mail:
    delivery = mail.deliver(Receipt(number=7))
    print(mailglass.__file__)
    print(delivery.state, *(event.type for event in mail.events(delivery.id)))
"""
TEMPLATE = """{% import "mailglass/components.html.jinja" as mg %}<p>{{ mg.text("Hello") }}</p>"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_the_package_the_sql_and_nothing_else(wheel: Path) -> None:
    """Templates, migrations and py.typed are in it; tests, goldens and scripts are not."""
    assert wheels.faults(wheels.names_in(wheel), wheels.expected()) == []


@pytest.mark.parametrize(
    ("added", "taken", "told"),
    [
        ("tests/conftest.py", None, "not wanted: tests/conftest.py"),
        ("goldens/schema.sql", None, "not wanted: goldens/schema.sql"),
        ("mailglass/cli/group.py.orig", None, "not wanted: mailglass/cli/group.py.orig"),
        ("mailglass/__pycache__/app.pyc", None, "not wanted: mailglass/__pycache__/app.pyc"),
        (None, "mailglass/py.typed", "missing: mailglass/py.typed"),
        (None, "mailglass/_sql/migrations/0001_ledger.sql",
         "missing: mailglass/_sql/migrations/0001_ledger.sql"),
        (None, "mailglass-1.dist-info/licenses/LICENSE", "missing: licenses/LICENSE"),
        ("mailglass-1.dist-info/direct_url.json", None,
         "not wanted: mailglass-1.dist-info/direct_url.json"),
    ],
)  # fmt: skip
def test_a_planted_fault_of_the_wheel_is_told(
    added: str | None, taken: str | None, told: str
) -> None:
    """Also a file that lies in the package's own folder and so would be built in."""
    whole = {*wheels.expected(), *(f"mailglass-1.dist-info/{one}" for one in wheels.INFO)}
    assert wheels.faults(whole, wheels.expected()) == []
    names = (whole | {added} if added else whole) - {taken}
    wanted = wheels.expected() | ({added} if added and added.endswith(".orig") else set())
    assert wheels.faults([one for one in names if one], [one for one in wanted if one]) == [told]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Its version, its entry points, and that the command line is an extra."""
    with ZipFile(wheel) as archive:
        info = f"mailglass-{__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert not [one for one in metadata.get_all("Requires-Dist", [])
                if one.startswith("click") and "extra" not in one]  # fmt: skip
    assert "mailglass = mailglass.cli:main" in entry_points
    assert "mailglass = mailglass.testing.plugin" in entry_points


def test_the_wheel_works_by_itself(
    wheel: Path, tmp_path: Path, postgres_server: object, request: pytest.FixtureRequest
) -> None:
    """In an environment of its own it migrates an empty database, and sends a mail."""
    server, name = postgres_server, f"mg_test_{uuid4().hex}"
    server.execute("CREATE DATABASE {name}", name=name)  # type: ignore[attr-defined]  # TestServer of the root conftest
    request.addfinalizer(lambda: server.drop(name))  # type: ignore[attr-defined]  # as above
    python = wheels.installed_alone(wheel, tmp_path / "venv")
    (tmp_path / "receipt.html.jinja").write_text(TEMPLATE, "utf-8")
    (tmp_path / "use.py").write_text(USE, "utf-8")
    url = server.url(name)  # type: ignore[attr-defined]  # as above
    environ = {"MAILGLASS_DATABASE_URL": url, "PATH": os.environ["PATH"]}

    def run(*arguments: str) -> str:
        told = subprocess.run(
            [python, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    main = ("-c", "from mailglass.cli import main; main()")
    assert "applied 0001_ledger" in run(*main, "migrate")
    path, states = run("use.py").splitlines()
    assert Path(path).is_relative_to(tmp_path / "venv")
    assert states == "sent queued attempt_started dispatched"
    assert "create    mails/welcome.py" in run(*main, "install")
    assert "accepted 3 in goldens/mail" in run(*main, "publish-check", "--accept")
    assert "ok    goldens" in run(*main, "publish-check")
