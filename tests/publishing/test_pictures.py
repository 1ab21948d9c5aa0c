"""Pictures of mails: what the browser is given, what it may reach, and what becomes of its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from front_desk import Greeting, note, write_templates
from mailglass import Attachment, ConfigError, Mailable
from mailglass.errors import ConfigErrorType
from mailglass.publishing import Camera, Candidate, Kind, accept, examine
from mailglass.rendering.render import Renderer

BROWSER = """#!/bin/sh
for one in "$@"; do
    case "$one" in
        --screenshot=*) made=${one#--screenshot=} ;;
        file://*) page=${one#file://} ;;
        --host-resolver-rules=*) rules=$one ;;
    esac
done
[ "$rules" = "--host-resolver-rules=MAP * ~NOTFOUND" ] || exit 3
/bin/cat "$page" > "$made"
"""
LOGO = Attachment(filename="l.png", content=b"\x89P", content_type="image/png", content_id="logo")


class Pictured(Greeting):
    """A mail with one preview."""

    @classmethod
    def previews(cls) -> dict[str, Mailable]:
        """Return one."""
        return {"default": cls()}


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program named chromium whose picture is the page that it was given."""
    program = tmp_path / "bin" / "chromium"
    program.parent.mkdir()
    program.write_text(BROWSER, "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


@pytest.mark.usefixtures("browser")
def test_the_page_holds_its_inline_images() -> None:
    """A Content-ID means nothing to a browser."""
    page = Camera().picture(note(attachments=[LOGO]), '<img src="cid:logo" alt="">')
    assert page.endswith(b'"><img src="data:image/png;base64,iVA=" alt="">')
    assert b"default-src 'none'; style-src 'unsafe-inline'; img-src data:;" in page


def test_without_a_browser_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any mail is looked at."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="Chromium") as caught:
        Camera()
    assert caught.value.type is ConfigErrorType.OPTIONAL_DEP_MISSING
    assert "--screenshots" in (caught.value.hint or "")


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nexit 0\n"])
def test_a_browser_that_takes_no_picture_is_an_error(browser: Path, script: str) -> None:
    """Whether it fails or only writes nothing."""
    browser.write_text(script, "utf-8")
    with pytest.raises(ConfigError, match="took no picture"):
        Camera().picture(note(), "<p>x</p>")


@pytest.mark.usefixtures("browser")
def test_pictures_are_goldens_where_they_are_taken(tmp_path: Path) -> None:
    """They differ with the mail, count only where there is a camera, and go with their preview."""
    write_templates(tmp_path, greeting__html="<p>Hello</p>")
    goldens = tmp_path / "goldens"

    def look(*, camera: Camera | None) -> list[tuple[str, Kind]]:
        candidate = Candidate(
            mailables=[Pictured], renderer=Renderer([tmp_path]), goldens=goldens, root=tmp_path,
            camera=camera,
        )  # fmt: skip
        found = examine(candidate).differences
        accept(goldens, found)
        return [(one.path.rpartition("/")[2], one.kind) for one in found]

    assert ("default.png", Kind.NEW) in look(camera=Camera())
    assert look(camera=Camera()) == []
    write_templates(tmp_path, greeting__html="<p>Good day</p>")
    assert look(camera=None) == [("default.html", Kind.CHANGED), ("default.txt", Kind.CHANGED)]
    assert look(camera=Camera()) == [("default.png", Kind.CHANGED)]
    folder = next(goldens.iterdir())
    (folder / "gone.png").write_bytes(b"x")
    assert look(camera=None) == [("gone.png", Kind.STALE)]
