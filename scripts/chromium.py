"""A Chromium without a window, driven over its debugging pipe; needs nothing but the browser."""

# ruff: noqa: INP001 - beside the scripts that use it
from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
ANSWER_TIMEOUT_S: Final = 20.0
_OPTIONS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
_READS_FROM: Final = 3
_WRITES_TO: Final = 4


class Tab:
    """One page: commands of the DevTools protocol go in, their results and events come out."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        """Open a tab over the two ends of the pipe."""
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events on the way are kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def look(self, expression: str) -> Any:
        """Return what a JavaScript expression gives in the page, also where its scripts are off."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while not self.look(expression):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.02)

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.wait_for(f"document.readyState == 'complete' && location.href == {json.dumps(url)}")

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text,
                windowsVirtualKeyCode=code,
            )  # fmt: skip

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], ANSWER_TIMEOUT_S)
            if not ready:
                raise TimeoutError("the browser does not answer")
            read = os.read(self._from, 1 << 20)
            if not read:
                raise ConnectionError("the browser has gone")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def chromium() -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it afterwards."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise SystemExit("chromium is needed (on Debian: apt-get install chromium)")
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()

    def place() -> None:
        # The pipe has to be at 3 and 4; copies out of the way first, in case one is there already.
        reads, writes = os.dup(browser_reads), os.dup(browser_writes)
        os.dup2(reads, _READS_FROM)
        os.dup2(writes, _WRITES_TO)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(  # noqa: S603 - the browser found above
            [program, *_OPTIONS, f"--user-data-dir={profile}"],
            close_fds=False, preexec_fn=place,  # noqa: PLW1509 - no thread is running yet
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield Tab(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait(timeout=ANSWER_TIMEOUT_S)
            for end in (browser_reads, to_browser, from_browser, browser_writes):
                os.close(end)
