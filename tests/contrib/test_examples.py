"""Each example, served by a real server in a process of its own: an order, its receipt, its webhook."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from uuid import UUID

import pytest

from mailglass import EventType
from mailglass.testing import signed_webhook
from tests_paths import ROOT

SECRET: Final = "hook:a-long-password"
ORDER: Final = {"number": 7, "total": "11.50", "customer": "zoe@mail.example"}
MAILGLASS: Final = "from mailglass.cli import main; main()"
START_S: Final = 60.0
STOP_S: Final = 20.0
UVICORN: Final = ("-m", "uvicorn", "--log-level", "warning", "--port", "{port}", "app:app")
SERVERS: Final[Mapping[str, Sequence[str]]] = {
    "django": ("manage.py", "runserver", "--noreload", "{port}"),
    "fastapi": UVICORN,
    "flask": ("-m", "flask", "run", "--port", "{port}"),
    "starlette": UVICORN,
}


class _Postmark(BaseHTTPRequestHandler):
    """Takes every mail."""

    def do_POST(self) -> None:
        """Keep the mail and say yes."""
        mail = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.mails.append(mail)  # type: ignore[attr-defined]  # set by provider()
        body = json.dumps({"ErrorCode": 0, "Message": "OK", "MessageID": "pm-1"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def provider() -> Iterator[tuple[str, list[Any]]]:
    """Yield the address of a provider on this machine, and what it took."""
    mails: list[Any] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Postmark) as server:
        server.mails = mails  # type: ignore[attr-defined]  # read by the handler
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", mails
        finally:
            server.shutdown()
            thread.join()


@dataclass(slots=True, kw_only=True)
class Site:
    """An example that is served."""

    name: str
    variables: Mapping[str, str] = field(repr=False)
    port: int = 0

    def command(self, *words: str) -> None:
        """Run a command of the example and expect it to succeed."""
        done = subprocess.run(
            [sys.executable, *words], cwd=self._folder, env=dict(self.variables), timeout=120,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def _folder(self) -> str:
        return str(ROOT / "examples" / self.name)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve it until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = [one.format(port=self.port) for one in SERVERS[self.name]]
        process = subprocess.Popen(
            [sys.executable, *words], cwd=self._folder, env=dict(self.variables),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            self._wait(process)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def _wait(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert process.poll() is None, process.stdout and process.stdout.read()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("it does not start")

    def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status, and the JSON of an answer that is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            read = answer.read()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(read) if is_json else None


def _variables(name: str, database_url: str, provider_url: str) -> dict[str, str]:
    kept = {key: one for key, one in os.environ.items() if not key.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    options = {"server_token": "token", "base_url": provider_url, "webhook_secret": SECRET}
    where = "SHOP_DATABASE_URL" if name == "django" else "MAILGLASS_DATABASE_URL"
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        where: database_url,
        "MAILGLASS_DATABASE_ROLE": "mailglass_app",
        "MAILGLASS_ADAPTER": "postmark",
        "MAILGLASS_ENABLE_REAL_NETWORK": "1",  # the provider is this test's own
        "MAILGLASS_PROVIDER_OPTIONS": json.dumps(options),
    }


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_an_order_is_mailed_and_its_bounce_is_heard(name: str, database_url: str) -> None:
    """By HTTP from end to end; what is not signed is refused."""
    with provider() as (url, mails):
        site = Site(name=name, variables=_variables(name, database_url, url))
        run = ("manage.py", "mailglass") if name == "django" else ("-c", MAILGLASS)
        if name == "django":
            site.command("manage.py", "migrate", "--verbosity", "0")
        with site.served():
            json_kind = {"Content-Type": "application/json"}
            status, told = site.call("POST", "/orders", json.dumps(ORDER).encode(), json_kind)
            assert status == 202
            delivery_id = told["delivery"]
            assert site.call("POST", "/orders", b"{}", json_kind)[0] == 422
            site.command(*run, "worker", "--drain")
            assert [one["To"] for one in mails] == ["zoe@mail.example"]
            request = signed_webhook(
                "postmark", EventType.BOUNCED, recipient="zoe@mail.example",
                delivery_id=UUID(delivery_id), message_id="pm-1", secret=SECRET,
            )  # fmt: skip
            given = {"Content-Type": "application/json"}
            assert site.call("POST", "/webhooks/postmark", request.body, given)[0] == 403
            given["Authorization"] = request.headers.all("authorization")[0]
            assert site.call("POST", "/webhooks/postmark", request.body, given)[0] == 200
            history = site.call("GET", f"/deliveries/{delivery_id}")[1]
    assert history == ["queued", "attempt_started", "dispatched", "bounced"]


def test_every_example_is_served_here() -> None:
    """A new one needs its line; the one without a framework has its own test."""
    folders = {one.name for one in (ROOT / "examples").iterdir() if one.is_dir()}
    assert folders == {*SERVERS, "asgi"}
