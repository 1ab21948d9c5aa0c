"""``mailglass install``, ``uninstall`` and ``new``: what they write, say and exit with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from applications import APPLICATIONS, tree, write
from tests_paths import ROOT

MAIL = "shop/mails/welcome.py"


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", *arguments],
        cwd=root, env=kept | {"PYTHONPATH": os.pathsep.join([str(root), str(ROOT)])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a Flask application."""
    return write(tmp_path, APPLICATIONS["flask"])


def test_install_says_what_it_wrote_and_a_second_run_changes_nothing(shop: Path) -> None:
    """The package is inside the application's own."""
    first = _run(shop, "install")
    assert first.returncode == 0, first.stderr
    assert f"create    {MAIL}" in first.stdout
    assert "framework flask, mails in shop/mails" in first.stdout
    before = tree(shop)
    again = _run(shop, "install")
    assert again.returncode == 0
    assert "create" not in again.stdout
    assert tree(shop) == before


def test_the_first_installation_says_what_comes_next(shop: Path) -> None:
    """Packages, wiring, a look and the tests; somebody who runs it again knows."""
    first = _run(shop, "install").stdout
    assert "next:\n  pip install 'mailglass[cli,embedded,testing,flask]'\n" in first
    assert "`desk` and `pages` of shop/mails/desk.py" in first
    assert "mailglass render shop.mails:Welcome --text" in first
    assert "next:" not in _run(shop, "install").stdout


def test_beside_manage_py_the_doctor_looks_at_djangos_database(tmp_path: Path) -> None:
    """Alone it would look at the embedded one, where no mail is."""
    first = _run(write(tmp_path, APPLICATIONS["django"]), "install").stdout
    assert first.endswith("\n  python manage.py mailglass doctor\n")


def test_a_package_in_src_is_installed_before_it_is_looked_at(tmp_path: Path) -> None:
    """Neither the command nor pytest finds it there otherwise."""
    first = _run(write(tmp_path, APPLICATIONS["fastapi"]), "install").stdout
    assert first.index("pip install -e .") < first.index("mailglass render shop.mails:Welcome")


def test_a_dry_run_with_diff_shows_all_and_writes_nothing(shop: Path) -> None:
    """It can be reviewed first."""
    told = _run(shop, "install", "--dry-run", "--diff")
    assert told.returncode == 0
    assert f"+++ b/{MAIL}" in told.stdout
    assert "+class Welcome(Mailable):" in told.stdout
    assert tree(shop) == APPLICATIONS["flask"]


def test_a_conflict_exits_1_and_says_what_to_do(shop: Path) -> None:
    """A file of that name was there before; forced, it moves aside."""
    write(shop, {MAIL: "mine = 1\n"})
    told = _run(shop, "install")
    assert told.returncode == 1
    assert f"conflict  {MAIL}" in told.stdout
    assert f"then delete {MAIL}.mailglass-new" in told.stdout
    assert (shop / MAIL).read_text("utf-8") == "mine = 1\n"
    forced = _run(shop, "install", "--force")
    assert forced.returncode == 0
    assert (shop / f"{MAIL}.mailglass-old").read_text("utf-8") == "mine = 1\n"


def test_the_package_is_remembered(shop: Path) -> None:
    """A second run needs no option."""
    assert _run(shop, "install", "--framework", "plain", "--package", "shop/post").returncode == 0
    assert (shop / "shop/post/desk.py").is_file()
    again = _run(shop, "install", "--framework", "plain")
    assert "mails in shop/post" in again.stdout
    assert not (shop / "shop/mails").exists()


def test_uninstall_takes_away_what_was_written(shop: Path) -> None:
    """What was edited stays, and exits 1."""
    assert _run(shop, "uninstall").returncode == 2
    _run(shop, "install")
    assert _run(shop, "uninstall").returncode == 0
    assert tree(shop) == APPLICATIONS["flask"]
    _run(shop, "install")
    write(shop, {MAIL: "mine = 1\n"})
    told = _run(shop, "uninstall")
    assert told.returncode == 1
    assert f"conflict  {MAIL}" in told.stdout
    assert tree(shop) == {**APPLICATIONS["flask"], MAIL: "mine = 1\n"}


def test_a_new_mailable_renders(shop: Path) -> None:
    """Class, template and preview fit together."""
    _run(shop, "install")
    told = _run(shop, "new", "mailable", "HTTPErrorNotice", "--stream", "operational")
    assert told.returncode == 0, told.stderr
    assert "create    shop/mails/http_error_notice.py" in told.stdout
    assert "name HTTPErrorNotice in shop/mails/__init__.py" in told.stdout
    looked = _run(shop, "templates", "shop.mails.http_error_notice")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "http_error_notice.html.jinja" in looked.stdout
    text = (shop / "shop/mails/http_error_notice.py").read_text("utf-8")
    assert "class HTTPErrorNotice(Mailable):" in text
    assert "stream = Stream.OPERATIONAL" in text


@pytest.mark.parametrize("name", ["Welcome", "welcome", "../Evil", "Class-", "é", ""])
def test_a_new_mailable_touches_nothing_that_is_there(shop: Path, name: str) -> None:
    """And its name is that of a class."""
    _run(shop, "install")
    before = tree(shop)
    told = _run(shop, "new", "mailable", name)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert tree(shop) == before


@pytest.mark.parametrize("package", ["../elsewhere", "/etc", "a b", "shop/../.."])
def test_a_package_outside_the_application_is_refused(shop: Path, package: str) -> None:
    """Nothing is written."""
    assert _run(shop, "install", "--package", package).returncode == 2
    assert _run(shop, "new", "mailable", "Fresh", "--package", package).returncode == 2
    assert tree(shop) == APPLICATIONS["flask"]


def test_a_new_mailable_stays_in_the_project(
    shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A package behind a link that leads out of it is refused, as by the installer."""
    outside = tmp_path_factory.mktemp("outside")
    (shop / "mails").symlink_to(outside)
    found = _run(shop, "new", "mailable", "OrderReceipt", "--package", "mails")
    assert found.returncode == 2
    assert "lies behind" in found.stderr
    assert list(outside.iterdir()) == []
