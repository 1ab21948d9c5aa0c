"""The command that checks mails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from front_desk import write_templates
from mailglass.installer import apply, plan, read_project
from mailglass.installer.mailable import mailable_files, write_new
from mailglass.message import Stream

MODULE = """
from mailglass import Mailable

class Note(Mailable):
    sender = "shop@shop.example"
    subject = "Your order"
    template = "note.html.jinja"
    name: str = "Zoe"

    def to(self):
        return "zoe@mail.example"

    @classmethod
    def previews(cls):
        return {"default": cls()}

class Dead(Note):
    template = "dead.html.jinja"
"""
GOOD = (
    '<html lang="en"><head><title>x</title></head><body><div hidden>Left today</div>'
    "<p>{{ name }}, your order left our house today.</p>LINK</body></html>"
)


def _run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop_mails.py").write_text(MODULE, "utf-8")
    write_templates(
        folder,
        note__html=GOOD.replace("LINK", ""),
        dead__html=GOOD.replace("LINK", '\n<a href="">x</a>'),
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "lint", *arguments],
        env=kept | {"MAILGLASS_TEMPLATES": json.dumps([str(folder)])} | environ, cwd=folder,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_clean_mail_exits_0(tmp_path: Path) -> None:
    """And shows how large each part is."""
    told = _run(tmp_path, "shop_mails:Note")
    assert told.returncode == 0
    assert "shop_mails.Note: no findings" in told.stdout
    assert "bytes of default: html " in told.stdout


def test_error_exits_1_with_place_reason_and_fix(tmp_path: Path) -> None:
    """A pipeline stops; a person sees what to do."""
    told = _run(tmp_path, "shop_mails")
    assert told.returncode == 1
    assert "link_dead" in told.stdout
    assert "dead.html.jinja line 2" in told.stdout
    assert "Traceback" not in told.stderr


def test_json_is_one_document(tmp_path: Path) -> None:
    """Each finding has id, severity, place, why and fix."""
    told = _run(tmp_path, "shop_mails:Dead", "--json")
    (report,) = json.loads(told.stdout)["reports"]
    assert told.returncode == 1
    assert report["of"] == "shop_mails.Dead"
    assert [sorted(one) for one in report["findings"]] == [
        ["fix", "id", "place", "severity", "why"]
    ]
    assert report["weights"]["default"]["html"] > 0


def test_without_a_name_the_sources_are_checked(tmp_path: Path) -> None:
    """Every template of the configured folders."""
    write_templates(tmp_path, odd__html="<p title={{ name }}>x</p>")
    told = _run(tmp_path, "--json")
    found = {one["of"]: one["findings"] for one in json.loads(told.stdout)["reports"]}
    assert told.returncode == 1
    assert [one["id"] for one in found["odd.html.jinja"]] == ["value_unquoted"]
    assert found["note.html.jinja"] == []


def test_unknown_module_is_misuse(tmp_path: Path) -> None:
    """Exit code 2, and no traceback."""
    told = _run(tmp_path, "no_such_module")
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_without_a_module_the_installed_mails_are_checked(tmp_path: Path) -> None:
    """What the installer writes has no finding."""
    apply(plan(read_project(tmp_path)), tmp_path)
    told = _run(tmp_path)
    assert "mails.welcome.Welcome: no findings" in told.stdout, told.stderr


def test_a_new_mailable_has_no_finding(tmp_path: Path) -> None:
    """Nor has what `mailglass new mailable` begins beside it."""
    apply(plan(read_project(tmp_path)), tmp_path)
    write_new(mailable_files("Farewell", package="mails", stream=Stream.TRANSACTIONAL), tmp_path)
    told = _run(tmp_path, "mails.farewell")
    assert "mails.farewell.Farewell: no findings" in told.stdout, told.stderr


def test_a_mail_that_the_package_does_not_import_is_checked_too(tmp_path: Path) -> None:
    """``mailglass new mailable`` adds a module and no line to the package."""
    apply(plan(read_project(tmp_path)), tmp_path)
    write_new(mailable_files("Farewell", package="mails", stream=Stream.TRANSACTIONAL), tmp_path)
    for named in ((), ("mails",)):
        told = _run(tmp_path, *named)
        assert "mails.farewell.Farewell: no findings" in told.stdout, told.stderr


def test_bulk_mail_is_told_what_it_lacks(tmp_path: Path) -> None:
    """Each "policy_broken" rule of its stream with what to do; with the settings nothing is left."""
    apply(plan(read_project(tmp_path)), tmp_path)
    write_new(mailable_files("News", package="mails", stream=Stream.BULK), tmp_path)
    told = _run(tmp_path, "mails.news")
    assert told.returncode == 0
    assert "the rule bulk_requires_physical_address" in told.stdout
    assert "the rule bulk_requires_one_click" in told.stdout
    assert "Set MAILGLASS_UNSUBSCRIBE_URL" in told.stdout
    whole = _run(
        tmp_path, "mails.news",
        MAILGLASS_PHYSICAL_ADDRESS="Shop Ltd, 1 Harbour Street, Dublin",
        MAILGLASS_UNSUBSCRIBE_URL="https://shop.example/unsubscribe",
        MAILGLASS_TOKEN_SECRETS=json.dumps(["s" * 32]),
    )  # fmt: skip
    assert "mails.news.News: no findings" in whole.stdout, whole.stdout


def test_nothing_to_check_is_said(tmp_path: Path) -> None:
    """Silence would read as a clean result."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    told = subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "lint"],
        env=kept, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (0, "")
    assert "nothing to check" in told.stderr
