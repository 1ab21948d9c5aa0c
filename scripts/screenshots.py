"""Draw every component in headless Chromium, at three widths, light and dark, and check what is seen.

    scripts/screenshots [FOLDER]

The pictures go to FOLDER (default: a new folder below the temporary one). Checked of each: nothing is
wider than the window, the dark page is dark, every text has contrast, every button can be seen and
hit. Exit codes: 0 all is well, 1 something is not, 2 there is no Chromium.

Chromium is found as ``chromium``, ``chromium-browser`` or ``google-chrome`` on the path, or named by
the variable CHROMIUM. On Debian and Ubuntu: ``apt-get install chromium``.
"""

# ruff: noqa: INP001 - a script beside others
from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from component_cases import PARTS, page_of, rendered  # noqa: E402 - the path is set just above

WIDTHS_PX: Final = (320, 600, 1280)
SCHEMES: Final = ("light", "dark")
DARK_LUMINANCE_MAX: Final = 0.05
CONTRAST_MIN: Final = 4.5
BUTTON_HEIGHT_MIN_PX: Final = 44
"""What a finger can hit, by the guidelines of Apple."""
HEIGHT_MAX_PX: Final = 4000

LOOK: Final = """
(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => {
    const s = c[at] / 255;
    return sum + share * (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const c = rgb(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('p,h1,h2,h3,h4,td,th,a,code,span')].filter((one) =>
    [...one.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim()));
  const contrasts = texts.map((one) => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => x - y);
    return (b + 0.05) / (a + 0.05);
  });
  const buttons = [...document.querySelectorAll('a.mg-button,a.mg-outline')].map((one) => {
    const box = one.getBoundingClientRect();
    const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return {left: box.left, right: box.right, height: box.height, is_hit: one === hit};
  });
  const root = document.documentElement;
  return {
    width: root.scrollWidth, height: root.scrollHeight, page: light(ground(document.body)),
    contrast: Math.min(99, ...contrasts), buttons,
  };
})()
"""


class Browser:
    """Speaks the DevTools protocol over two pipes: each message is JSON and ends in NUL."""

    def __init__(self, asks: int, answers: int) -> None:
        self._asks = os.fdopen(asks, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._number = 0
        self._session: str | None = None

    def open_page(self) -> None:
        """Open the one page that everything is drawn in."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something and return the answer."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            asked["sessionId"] = self._session
        self._asks.write(json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != self._number:
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            result: dict[str, Any] = answer["result"]
            return result

    def _read(self) -> dict[str, Any]:
        found = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium ended")
            found += byte
        answer: dict[str, Any] = json.loads(found)
        return answer

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")


@contextmanager
def browser(binary: str, profile: str) -> Iterator[Browser]:
    """Start Chromium without a window and end it."""
    for_it, ours_to_write = os.pipe()
    ours_to_read, by_it = os.pipe()
    flags = [
        "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}",
    ]  # fmt: skip
    # Chromium reads from descriptor 3 and writes to 4, wherever ours are.
    script = f'exec "$@" 3<&{for_it} 4>&{by_it}'
    process = subprocess.Popen(  # noqa: S603 - the browser that was found or named
        ["/bin/bash", "-c", script, "-", binary, *flags],
        pass_fds=(for_it, by_it), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(for_it)
    os.close(by_it)
    found = Browser(ours_to_write, ours_to_read)
    try:
        yield found
        found._session = None  # noqa: SLF001 - the browser is closed, not the page
        found.call("Browser.close")
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()


def draw(page: Browser, html: str, width: int, scheme: str, to: Path) -> list[str]:
    """Draw one mail in one size and scheme; return what is wrong with what is seen."""
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    _resize(page, width, 800)
    frame = page.call("Page.getFrameTree")["frameTree"]["frame"]["id"]
    page.call("Page.setDocumentContent", frameId=frame, html=html)
    height = min(HEIGHT_MAX_PX, page.evaluate("document.documentElement.scrollHeight"))
    _resize(page, width, height)
    seen = page.evaluate(LOOK)
    shot = page.call("Page.captureScreenshot", format="png")
    to.write_bytes(base64.b64decode(shot["data"]))
    return list(faults(seen, width, scheme))


def _resize(page: Browser, width: int, height: int) -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=height, deviceScaleFactor=1, mobile=width < min(WIDTHS_PX[1:]),
    )  # fmt: skip


def faults(seen: dict[str, Any], width: int, scheme: str) -> Iterator[str]:
    """Tell what a reader would complain about."""
    if seen["width"] > width:
        yield f"it is {seen['width']} px wide"
    if scheme == "dark" and seen["page"] > DARK_LUMINANCE_MAX:
        yield f"its page has a luminance of {seen['page']:.2f} in the dark"
    if scheme == "light" and seen["page"] < 1 - CONTRAST_MIN / 10:
        yield f"its page has a luminance of {seen['page']:.2f} in the light"
    if seen["contrast"] < CONTRAST_MIN:
        yield f"a text has a contrast of {seen['contrast']:.1f}"
    for one in seen["buttons"]:
        if one["left"] < 0 or one["right"] > width or not one["is_hit"]:
            yield "a button cannot be seen whole"
        if one["height"] < BUTTON_HEIGHT_MIN_PX:
            yield f"a button is {one['height']:.0f} px high"


def main() -> int:
    """Draw all, print what is wrong, return the exit code."""
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        sys.stderr.write(__doc__ or "")
        return 2
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="mg-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    wrong = drawn = 0
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        browser(binary, f"{scratch}/profile") as page,
    ):
        page.open_page()
        for name in ("layout", "layout_rtl", *PARTS):
            source = page_of(name.removesuffix("_rtl"))
            html = rendered(source, Path(scratch), locale="he" if name.endswith("_rtl") else None)
            for width in WIDTHS_PX:
                for scheme in SCHEMES:
                    found = draw(page, html, width, scheme, folder / f"{name}-{width}-{scheme}.png")
                    drawn += 1
                    wrong += bool(found)
                    for fault in found:
                        sys.stdout.write(f"{name} at {width} px, {scheme}: {fault}\n")
    sys.stdout.write(f"{drawn} pictures in {folder}, {wrong} with a fault\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
