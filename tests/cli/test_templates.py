"""The command that lists templates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from front_desk import write_templates

MODULE = """
from mailglass import Mailable

class Note(Mailable):
    sender = "shop@shop.example"
    subject = "x"
    template = "note.html.jinja"
    name: str = "Zoe"

class Loud(Note):
    template = "loud.html.jinja"

    @classmethod
    def previews(cls):
        raise KeyError("canary")
"""


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "templates", *arguments],
        env=kept | {"MAILGLASS_TEMPLATES": json.dumps([str(folder)])}, cwd=folder,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def _templates(folder: Path) -> Path:
    (folder / "shop_mails.py").write_text(MODULE, "utf-8")
    return write_templates(
        folder,
        note__html="<style>p{color:red}</style><p>{{ name }}</p>",
        loud__html="<style>p{color:red}</style><p>{{ name }}</p>",
        odd__html='<style>.a{color:red}</style>\n<p class="{{ name }}">x</p>',
    )


def test_templates_of_the_folders_are_listed(tmp_path: Path) -> None:
    """Compiled or fallback, with the reason and its line."""
    told = _run(_templates(tmp_path), "--json")
    listed = {one["template"]: one for one in json.loads(told.stdout)["templates"]}
    assert told.returncode == 0
    assert listed["note.html.jinja"]["mode"] == "compiled"
    assert listed["note.html.jinja"]["compile_ms"] > 0
    assert listed["odd.html.jinja"]["mode"] == "fallback"
    assert listed["odd.html.jinja"]["reasons"] == [
        "odd.html.jinja line 2: a dynamic class, which selectors look at"
    ]


def test_templates_of_a_module_are_checked_on_their_previews(tmp_path: Path) -> None:
    """A preview that fails is told, and never its text."""
    told = _run(_templates(tmp_path), "shop_mails")
    assert told.returncode == 0
    assert "compiled" in told.stdout
    assert "shop_mails.Note" in told.stdout
    assert "the previews cannot be rendered (KeyError)" in told.stdout
    assert "canary" not in told.stdout + told.stderr


def test_one_mailable_and_a_wrong_name(tmp_path: Path) -> None:
    """MODULE:MAILABLE picks one; what is not there is misuse."""
    folder = _templates(tmp_path)
    assert len(_run(folder, "shop_mails:Note").stdout.splitlines()) == 1
    for wrong in ("shop_mails:Nobody", "no_such_module"):
        told = _run(folder, wrong)
        assert told.returncode == 2
        assert "Traceback" not in told.stderr


def test_a_template_that_does_not_compile_is_a_failure(tmp_path: Path) -> None:
    """The others are listed all the same."""
    write_templates(_templates(tmp_path), wrong__html="<p>{% if %}</p>")
    told = _run(tmp_path)
    assert told.returncode == 1
    assert "error" in told.stdout
    assert "wrong.html.jinja line 1" in told.stdout
    assert "note.html.jinja" in told.stdout
