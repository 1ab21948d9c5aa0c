"""Open the unsubscribe page in Chromium: by keyboard, without scripts, on a small screen, in the dark."""

# ruff: noqa: INP001, T201 - a script that prints its findings
from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from uuid import UUID, uuid4

from chromium import Tab, chromium

from mailglass.clock import system_clock
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.tokens import Keyring, TokenKey
from mailglass.web.answers import Answer
from mailglass.web.page import Theme
from mailglass.web.texts import LANGUAGES
from mailglass.web.unsubscribe import UnsubscribePage

SMALL_SCREEN_PX: Final = 320
CONTRAST_MIN: Final = 4.5
TARGET_SIZE_MIN_PX: Final = 44
_COLOURS: Final = """
(() => { const rgb = t => t.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.map(v => { v /= 255;
    return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
    return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => { while (e) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length == 3 || c[3] > 0) return c.slice(0, 3); e = e.parentElement } return [255, 255, 255] };
  return [...document.querySelectorAll('h1, p, button')].map(e => {
    const [a, b] = [light(rgb(getComputedStyle(e).color).slice(0, 3)), light(behind(e))].sort((x, y) => x - y);
    return (b + .05) / (a + .05) }) })()
"""


class _Handler(BaseHTTPRequestHandler):
    page: ClassVar[UnsubscribePage]

    def do_GET(self) -> None:
        """Show the page."""
        self._send(self.page.show(self._token, accept_language=self._header("accept-language")))

    def do_POST(self) -> None:
        """Act, as the form or a mailbox provider asks."""
        body = self.rfile.read(int(self.headers["content-length"]))
        kind, language = self._header("content-type"), self._header("accept-language")
        self._send(self.page.act(self._token, body, content_type=kind, accept_language=language))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    @property
    def _token(self) -> str:
        return self.path.rpartition("/")[2]

    def _header(self, name: str) -> str:
        return self.headers.get(name) or ""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


@contextmanager
def served(page: UnsubscribePage) -> Iterator[str]:
    """Serve the page on this machine; yield its origin."""
    handler = type("Handler", (_Handler,), {"page": page})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Visit:
    """The browser, the page and who has left."""

    def __init__(self, tab: Tab, links: UnsubscribeLinks, left: list[UUID]) -> None:
        """Take what the checks share."""
        self.tab, self.links, self.left = tab, links, left
        self.origin = ""

    def new(self, language: str = "en") -> UUID:
        """Open the link of a new delivery in a language."""
        delivery_id = uuid4()
        token = self.links.url_of(delivery_id, now=system_clock()).rpartition("/")[2]
        self.tab.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        self.tab.open(f"{self.origin}/{token}")
        return delivery_id

    def heading(self) -> str:
        """Return the text of the page's heading."""
        return str(self.tab.look("document.querySelector('h1').textContent"))


def leaves_by_keyboard(visit: Visit) -> bool:
    """Tab reaches the button, Enter presses it, looking alone changes nothing."""
    delivery_id = visit.new()
    visit.tab.press("Tab")
    is_reached = visit.tab.look("document.activeElement.tagName") == "BUTTON"
    is_untouched = delivery_id not in visit.left
    visit.tab.press("Enter", "\r")
    visit.tab.wait_for("document.querySelector('[role=status]') != null")
    return is_reached and is_untouched and visit.left[-1] == delivery_id


def leaves_without_scripts(visit: Visit) -> bool:
    """Click the button with JavaScript switched off."""
    visit.tab.call("Emulation.setScriptExecutionDisabled", value=True)
    delivery_id = visit.new()
    where = visit.tab.look(
        "(() => { const r = document.querySelector('button').getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2] })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        visit.tab.call(
            "Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1
        )  # fmt: skip
    visit.tab.wait_for("document.querySelector('[role=status]') != null")
    visit.tab.call("Emulation.setScriptExecutionDisabled", value=False)
    return visit.left[-1] == delivery_id and visit.heading() == LANGUAGES["en"].done_title


def reads_in_every_language(visit: Visit) -> bool:
    """Heading and direction follow the reader's language, and nothing is cut on a small screen."""
    visit.tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=SMALL_SCREEN_PX, height=640, deviceScaleFactor=2, mobile=True,
    )  # fmt: skip
    good = True
    for language, texts in LANGUAGES.items():
        visit.new(language)
        good &= visit.heading() == texts.ask_title
        good &= visit.tab.look("getComputedStyle(document.body).direction") == texts.direction
        good &= visit.tab.look("document.documentElement.scrollWidth") <= SMALL_SCREEN_PX
        height = visit.tab.look("document.querySelector('button').getBoundingClientRect().height")
        good &= height >= TARGET_SIZE_MIN_PX
    visit.tab.call("Emulation.clearDeviceMetricsOverride")
    return bool(good)


def can_be_read_in_light_and_dark(visit: Visit) -> bool:
    """WCAG 2.2, 1.4.3: text has a contrast of 4.5 to 1 to what is behind it."""
    lowest = []
    for scheme in ("light", "dark"):
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        visit.tab.call("Emulation.setEmulatedMedia", features=wanted)
        visit.new()
        lowest.append(min(visit.tab.look(_COLOURS)))
    visit.tab.call("Emulation.setEmulatedMedia", features=[])
    return bool(min(lowest) >= CONTRAST_MIN)


def speaks_to_a_screen_reader(visit: Visit) -> bool:
    """One main part, one heading, one button with a name, then a status that is announced."""
    visit.new()
    nodes = visit.tab.call("Accessibility.getFullAXTree")["nodes"]
    found = [(_value(node, "role"), _value(node, "name")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in found]
    texts = LANGUAGES["en"]
    return (
        roles.count("main") == 1
        and [name for role, name in found if role == "heading"] == [texts.ask_title]
        and [name for role, name in found if role == "button"] == [texts.button]
    )


def asks_nobody_else(visit: Visit) -> bool:
    """No request left for another host, and the browser had nothing to complain of."""
    seen = visit.tab.events
    urls = [
        one["params"]["request"]["url"]
        for one in seen
        if one["method"] == "Network.requestWillBeSent"
    ]
    # A browser asks for an icon by itself.
    strangers = [url for url in urls if not url.startswith(visit.origin)]
    complaints = [
        one for one in seen
        if one["method"] == "Runtime.exceptionThrown"
        or (one["method"] == "Log.entryAdded" and "favicon" not in str(one["params"]))
    ]  # fmt: skip
    return bool(urls) and not strangers and not complaints


CHECKS: Final[tuple[Callable[[Visit], bool], ...]] = (
    leaves_by_keyboard,
    leaves_without_scripts,
    reads_in_every_language,
    can_be_read_in_light_and_dark,
    speaks_to_a_screen_reader,
    asks_nobody_else,
)


def main() -> int:
    """Run every check; return 1 when one fails."""
    left: list[UUID] = []
    keys = Keyring([TokenKey(secret=secrets.token_bytes(32))])
    links = UnsubscribeLinks(url="https://mail.shop.example/leave", keys=keys)
    page = UnsubscribePage(links=links, unsubscribe=left.append, theme=Theme(name="Shop & Sons"))
    results: dict[str, bool] = {}
    with chromium() as tab, served(page) as origin:
        visit = Visit(tab, links, left)
        visit.origin = origin
        for check in CHECKS:
            results[check.__name__] = check(visit)
    for name, is_good in results.items():
        print(f"{'ok' if is_good else 'FAILED':<7} {name}")
    return 0 if all(results.values()) else 1


def _value(node: dict[str, Any], name: str) -> str:
    return str(node.get(name, {}).get("value", ""))


if __name__ == "__main__":
    sys.exit(main())
