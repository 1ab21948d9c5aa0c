"""``mailglass publish-check``: every drift is seen, all that fails is listed, --accept alone writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from applications import APPLICATIONS, tree, write
from tests_paths import ROOT

MODULE = """
from datetime import datetime
from mailglass import Mailable, Stream

class Note(Mailable):
    sender = "Shop <shop@shop.example>"
    subject = "Your order {{ name }}"
    template = "note.html.jinja"
    name: str = "Zoë"

    def to(self):
        return "zoe@mail.example"

    @classmethod
    def previews(cls):
        return {"default": cls(), "../long name": cls(name="Wolfeschlegelsteinhausen")}
"""
PAGE = (
    '<html lang="en"><head><title>x</title></head><body><div hidden>Left today</div>'
    "<p>{{ name }}, your order left our house today.</p></body></html>"
)
SHOP = {"shop.py": MODULE, "templates/note.html.jinja": PAGE}
MANIFEST_OF_MAILS = 'format = 1\nframework = "plain"\npackage = "mails"\n\n[written]\n\n[offered]\n'
FOLDER = "goldens/mail/shop.Note"


def _run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "publish-check", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT)} | environ, cwd=folder,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return an application whose goldens are accepted."""
    write(tmp_path, SHOP)
    assert _run(tmp_path, "shop", "--accept").returncode == 0
    return tmp_path


def test_accepted_goldens_pass_and_do_not_change_by_themselves(shop: Path) -> None:
    """Ids, dates and boundaries are the same in every run, and nothing is written."""
    before = tree(shop)
    told = _run(shop, "shop")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ok    goldens: Every mail is what was reviewed" in told.stdout
    assert tree(shop) == before
    assert sorted(path for path in before if path.startswith("goldens/")) == [
        f"{FOLDER}/{name}{suffix}"
        for name in ("..%2Flong name", "default")
        for suffix in (".headers", ".html", ".txt")
    ]


def test_headers_are_those_that_are_sent(shop: Path) -> None:
    """Decoded for the reader, with those that mailglass adds and the tree of the parts."""
    lines = (shop / FOLDER / "default.headers").read_text("utf-8").splitlines()
    assert lines[:3] == [
        "From: Shop <shop@shop.example>", "To: zoe@mail.example", "Subject: Your order Zoë",
    ]  # fmt: skip
    assert "Mailglass-Mailable: shop.Note" in lines
    assert lines[-4:] == ["", "multipart/alternative", "  text/plain", "  text/html"]


def test_a_changed_template_is_a_publish_error_with_its_diff(shop: Path) -> None:
    """Each file that differs is listed; the goldens stay as they were."""
    write(shop, {"templates/note.html.jinja": PAGE.replace("today.", "yesterday.")})
    before = tree(shop)
    told = _run(shop, "shop")
    assert told.returncode == 1
    assert told.stdout.count("FAIL  goldens: changed: shop.Note/") == 4
    assert "--- a/shop.Note/default.txt" in told.stdout
    assert "+Zoë, your order left our house yesterday." in told.stdout
    assert "[PublishError.publish_blocked_golden_drift]" in told.stderr
    assert tree(shop) == before


def test_accept_shows_the_difference_and_then_writes_it(shop: Path) -> None:
    """A stale golden goes; what nobody asked for stays."""
    write(shop, {
        "shop.py": MODULE.replace("class Note", "class Letter"),
        "other.py": MODULE.replace("class Note", "class Hello"),
        "goldens/mail/other.Hello/default.txt": "theirs\n",
        "goldens/mail/shop.Note/note.md": "ours\n",
    })  # fmt: skip
    told = _run(shop, "shop", "--accept")
    assert told.returncode == 0, told.stderr
    assert "stale: shop.Note/default.html" in told.stdout
    assert "new: shop.Letter/default.html" in told.stdout
    assert "+++ /dev/null" in told.stdout
    kept = {path for path in tree(shop) if path.startswith("goldens/")}
    assert "goldens/mail/other.Hello/default.txt" in kept
    assert {path for path in kept if "shop.Note" in path} == {"goldens/mail/shop.Note/note.md"}
    assert _run(shop, "shop").returncode == 0


def test_everything_that_fails_is_listed(shop: Path) -> None:
    """A missing variable hides neither the drift of another mail nor the findings of lint."""
    more = MODULE.partition("class Note")[2].replace("note.html", "bad.html")
    write(shop, {
        "shop.py": f"{MODULE}\nclass Bad{more}",
        "templates/bad.html.jinja": "<p>{{ nobody }}</p>",
        "templates/note.html.jinja": PAGE.replace("</p>", '<a href="">x</a></p>'),
    })  # fmt: skip
    told = _run(shop, "shop", "--strict")
    assert told.returncode == 1
    assert "FAIL  previews: shop.Bad, default: TemplateError.missing_assign" in told.stdout
    assert "FAIL  goldens: changed: shop.Note/default.html" in told.stdout
    assert "FAIL  lint: shop.Note: link_dead" in told.stdout
    assert "  ?   migrations: no database is named" in told.stdout


def test_a_preview_that_changes_by_itself_is_told(tmp_path: Path) -> None:
    """A golden of it would be wrong tomorrow."""
    write(tmp_path, SHOP | {"shop.py": MODULE.replace('name="Wolfeschlegelsteinhausen"',
                                                      "name=str(datetime.now())")})  # fmt: skip
    told = _run(tmp_path, "shop", "--accept")
    assert told.returncode == 1
    assert "../long name: it is another mail each time" in told.stdout
    assert (tmp_path / FOLDER / "default.txt").exists()
    assert not (tmp_path / FOLDER / "..%2Flong name.txt").exists()


def test_json_is_one_document(shop: Path) -> None:
    """Checks with status and guide; differences with their diff."""
    (shop / FOLDER / "default.html").unlink()
    told = _run(shop, "shop", "--json")
    found = json.loads(told.stdout)
    assert told.returncode == 1
    assert {one["id"]: one["status"] for one in found["checks"]} == {
        "previews": "ok", "goldens": "error", "lint": "ok", "migrations": "cannot_verify",
        "install": "ok",
    }  # fmt: skip
    (difference,) = found["differences"]
    assert difference["path"] == "shop.Note/default.html"
    assert difference["kind"] == "new"
    assert difference["diff"].startswith("--- /dev/null\n")


def test_a_database_that_lacks_a_migration_stops_the_deploy(shop: Path, database_url: str) -> None:
    """Reached, it must have all of them; not reached, it cannot be verified."""
    assert _run(shop, "shop", "--strict", "--database-url", database_url).returncode == 0
    with psycopg.connect(database_url) as owner:
        owner.execute("delete from mailglass.migrations where name like '0002%'")
    told = _run(shop, "shop", MAILGLASS_DATABASE_URL=database_url)
    assert told.returncode == 1
    assert "FAIL  migrations: not applied: 0002_ledger_guard" in told.stdout
    away = "postgresql://app:canary7f3a@127.0.0.1:1/none"
    unsure = _run(shop, "shop", MAILGLASS_DATABASE_URL=away)
    assert unsure.returncode == 0
    assert "  ?   migrations: database none on 127.0.0.1:1" in unsure.stdout
    assert "canary7f3a" not in unsure.stdout + unsure.stderr
    assert _run(shop, "shop", "--strict", MAILGLASS_DATABASE_URL=away).returncode == 1


def test_an_installed_application_needs_no_names(tmp_path: Path) -> None:
    """The manifest says where the mails are; a text of an older version is drift."""
    write(tmp_path, APPLICATIONS["fastapi"])
    subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "install"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=60,
        capture_output=True,
    )  # fmt: skip
    assert _run(tmp_path, "--accept").returncode == 0
    assert (tmp_path / "goldens/mail/shop.mails.welcome.Welcome/default.html").is_file()
    assert "ok    install" in _run(tmp_path).stdout
    manifest = tmp_path / ".mailglass-install.toml"
    lines = manifest.read_text("utf-8").splitlines(keepends=True)
    manifest.write_text("".join(one for one in lines if "desk.py" not in one), "utf-8")
    (tmp_path / "src/shop/mails/desk.py").unlink()
    told = _run(tmp_path)
    assert told.returncode == 1
    assert "FAIL  install: create: src/shop/mails/desk.py" in told.stdout


def test_a_mail_that_the_package_does_not_import_stops_the_deploy(tmp_path: Path) -> None:
    """Each module of the installed package is looked at; those that set mailglass up are not."""
    write(tmp_path, {".mailglass-install.toml": MANIFEST_OF_MAILS, "mails/__init__.py": "",
                     "mails/note.py": MODULE.replace("note.html", "gone.html"),
                     "mails/desk.py": "raise SystemExit(9)\n"})  # fmt: skip
    told = _run(tmp_path)
    assert told.returncode == 1, told.stderr
    assert "FAIL  previews: mails.note.Note" in told.stdout


def test_where_no_mail_was_looked_at_nothing_is_called_good(tmp_path: Path) -> None:
    """An empty package is a blind spot."""
    write(tmp_path, {".mailglass-install.toml": MANIFEST_OF_MAILS, "mails/__init__.py": ""})
    told = _run(tmp_path)
    for name in ("previews", "goldens", "lint"):
        assert f"  ?   {name}: no mailable was looked at" in told.stdout


@pytest.mark.parametrize("arguments", [[], ["no_such_module"], ["shop:Nobody"]])
def test_misuse_exits_2(arguments: list[str], tmp_path: Path) -> None:
    """Nothing is installed here, and nothing of that name is there."""
    told = _run(write(tmp_path, SHOP), *arguments)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_goldens_are_not_written_through_a_link(shop: Path) -> None:
    """A folder that leads elsewhere is refused, and nothing is written."""
    elsewhere = shop / "elsewhere"
    elsewhere.mkdir()
    write(shop, {"shop.py": MODULE.replace("class Note", "class Letter")})
    (shop / "goldens/mail/shop.Letter").symlink_to(elsewhere)
    told = _run(shop, "shop", "--accept")
    assert told.returncode == 2
    assert "leaves their folder" in told.stderr
    assert list(elsewhere.iterdir()) == []
    assert (shop / FOLDER / "default.html").exists()
