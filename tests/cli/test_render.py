"""The command that renders a preview."""

from __future__ import annotations

import email
import email.policy
import json
import os
import subprocess
import sys
from pathlib import Path

from front_desk import write_templates
from mailglass.demo.mailables import Receipt
from mailglass.rendering.render import Renderer

MODULE = """
from mailglass import Mailable

class Note(Mailable):
    sender = "shop@shop.example"
    subject = "Für {{ name }}"
    template = "note.html.jinja"
    name: str = "Zoë"

    def to(self):
        return "zoe@mail.example"

    @classmethod
    def previews(cls):
        return {"default": cls(), "other": cls(name="Kim")}

class Bare(Note):
    @classmethod
    def previews(cls):
        return {}
"""


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "shop_mails.py").write_text(MODULE, "utf-8")
    write_templates(folder, note__html="<style>p{color:red}</style><p>{{ name }}</p>")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "render", *arguments],
        env=kept | {"MAILGLASS_TEMPLATES": json.dumps([str(folder)])}, cwd=folder,
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def test_html_is_what_a_send_has(tmp_path: Path) -> None:
    """To the byte, styles in the elements."""
    (preview,) = Receipt.previews().values()
    told = _run(tmp_path, "mailglass.demo.mailables:Receipt")
    assert told.returncode == 0, told.stderr
    assert told.stdout == (Renderer().render(preview).html or "").encode()


def test_named_preview_and_text(tmp_path: Path) -> None:
    """Without a name it is the first."""
    assert _run(tmp_path, "shop_mails:Note", "--text").stdout == "Zoë\n".encode()
    assert _run(tmp_path, "shop_mails:Note", "--text", "--preview", "other").stdout == b"Kim\n"


def test_eml_is_a_whole_mail(tmp_path: Path) -> None:
    """Every mail reader opens it."""
    told = _run(tmp_path, "shop_mails:Note", "--eml", "-o", "note.eml")
    assert (told.returncode, told.stdout) == (0, b"")
    payload = (tmp_path / "note.eml").read_bytes()
    parsed = email.message_from_bytes(payload, policy=email.policy.default)
    assert parsed["Subject"] == "Für Zoë"
    assert parsed["Mailglass-Mailable"] == "shop_mails.Note"
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/alternative", "text/plain", "text/html",
    ]  # fmt: skip
    assert payload.replace(b"\r\n", b"").count(b"\n") == 0


def test_misuse_says_what_there_is(tmp_path: Path) -> None:
    """A wrong preview, none at all, more than one mailable, a wrong module."""
    for arguments, told in (
        (["shop_mails:Note", "--preview", "nobody"], b"it has default, other"),
        (["shop_mails:Bare"], b"define previews()"),
        (["shop_mails"], b"name one of the mailables of shop_mails: Note, Bare"),
        (["no_such_module"], b"there is no module no_such_module"),
    ):
        ended = _run(tmp_path, *arguments)
        assert ended.returncode == 2
        assert told in ended.stderr
        assert b"Traceback" not in ended.stderr


def test_template_error_is_one_line(tmp_path: Path) -> None:
    """Exit code 1, with the template and the line."""
    (tmp_path / "shop_mails.py").write_text(MODULE, "utf-8")
    ended = _run(tmp_path, "shop_mails:Note")
    assert ended.returncode == 0
    write_templates(tmp_path, note__txt="{{ nothing }}")
    ended = _run(tmp_path, "shop_mails:Note")
    assert ended.returncode == 1
    assert b"note.txt.jinja line 1: nothing is missing" in ended.stderr
