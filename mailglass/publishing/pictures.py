"""Pictures of mails, taken by a Chromium that reaches no network."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.message import Message

SUFFIX: Final = ".png"
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH_PX: Final = 680
HEIGHT_PX: Final = 1600
TIMEOUT_S: Final = 60.0
"""How long one picture may take."""
_OPTIONS: Final = (
    "--headless=new", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--font-render-hinting=none", f"--window-size={WIDTH_PX},{HEIGHT_PX}",
    # No name resolves, so images of a mail that are not in it stay empty everywhere.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
_HEAD: Final = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:\">"
)
"""No script runs, and nothing but what the mail itself holds is loaded."""


class Camera:
    """Takes pictures of mails; the same mail gives the same bytes on the same machine.

    Fonts differ between machines and so do pictures: take them in one place, such as one container.
    """

    def __init__(self) -> None:
        """Find the browser.

        Raises:
            ConfigError: ``optional_dep_missing`` where there is none.

        """
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise ConfigError(
                "pictures need a Chromium",
                type=ConfigErrorType.OPTIONAL_DEP_MISSING,
                dep="chromium",
                hint="Install it (on Debian: apt-get install chromium), or leave --screenshots out.",
            )
        # Chromium's own sandbox does not start as root; what it shows is the application's mail.
        self._command = (program, *_OPTIONS, *(("--no-sandbox",) if os.geteuid() == 0 else ()))

    def picture(self, message: Message, html: str) -> bytes:
        """Return a PNG of the HTML of a mail, its inline images included.

        Raises:
            ConfigError: ``invalid`` when the browser takes none in ``TIMEOUT_S`` seconds.

        """
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            page, made = folder / "mail.html", folder / "mail.png"
            page.write_text(_with_images(message, html), "utf-8")
            try:
                self._take(folder, page, made)
                return made.read_bytes()
            except (OSError, subprocess.SubprocessError) as error:
                raise ConfigError(
                    "the browser took no picture",
                    type=ConfigErrorType.INVALID,
                    key="screenshots",
                    hint="Try the browser alone: chromium --headless --screenshot about:blank",
                ) from error

    def _take(self, folder: Path, page: Path, made: Path) -> None:
        subprocess.run(  # noqa: S603 - the browser found above, on a page written here
            [*self._command, f"--user-data-dir={folder / 'profile'}", f"--screenshot={made}",
             page.as_uri()],
            check=True, timeout=TIMEOUT_S, capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _with_images(message: Message, html: str) -> str:
    """Return the page with each inline image in the place of its Content-ID."""
    for one in message.attachments:
        if one.content_id:
            content = base64.b64encode(one.content or b"").decode()
            html = html.replace(
                f"cid:{one.content_id}", f"data:{one.content_type};base64,{content}"
            )
    return _HEAD + html
