"""Calls a web application in its own process, as a provider would through a server; ASGI and WSGI."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from mailglass.doctor.check import UnverifiableError

Application: TypeAlias = Callable[..., Any]
"""An ASGI or a WSGI application."""

WAIT_S_MAX: Final = 20.0
"""How long an application may take to start and to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A POST, with its raw body."""

    url: str
    body: bytes
    content_type: str

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that any client sends."""
        return (
            ("host", urlsplit(self.url).netloc),
            ("content-type", self.content_type),
            ("content-length", str(len(self.body))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the application answered; header names are in small letters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


def post(application: Application, posted: Posted) -> Answered:
    """Call an application once, in a thread, and return its answer.

    An ASGI application is started and stopped around the call. What it prints goes to standard error.

    Raises:
        UnverifiableError: it does not answer in time.
        Exception: whatever the application itself raises.

    """
    told: list[Answered | BaseException] = []
    is_async = iscoroutinefunction(application) or iscoroutinefunction(type(application).__call__)
    call = _by_asgi if is_async else _by_wsgi

    def run() -> None:
        try:
            told.append(call(application, posted))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            told.append(error)

    thread = threading.Thread(target=run, name="mailglass-doctor", daemon=True)
    with redirect_stdout(sys.stderr):
        thread.start()
        thread.join(WAIT_S_MAX)
    if not told:
        raise UnverifiableError(f"the application did not answer within {WAIT_S_MAX:.0f} s")
    if isinstance(told[0], BaseException):
        raise told[0]
    return told[0]


def _by_wsgi(application: Application, posted: Posted) -> Answered:
    parts = urlsplit(posted.url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path),
        "QUERY_STRING": parts.query,
        "CONTENT_TYPE": posted.content_type,
        "CONTENT_LENGTH": str(len(posted.body)),
        "SERVER_NAME": parts.hostname or "localhost",
        "SERVER_PORT": str(_port(posted.url)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": parts.netloc,
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": io.BytesIO(posted.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": True,
    }
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
        begun.append((status, headers))
        return io.BytesIO().write

    chunks: Iterable[bytes] = application(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = begun[-1]
    return Answered(
        status=int(status.split()[0]),
        headers={name.lower(): value for name, value in headers},
        body=body,
    )


def _by_asgi(application: Application, posted: Posted) -> Answered:
    return asyncio.run(_served(application, posted))


async def _served(application: Application, posted: Posted) -> Answered:
    state: dict[str, Any] = {}
    life = _Life(application, state)
    await life.start()
    try:
        return await _asked(application, posted, state)
    finally:
        await life.stop()


class _Life:
    """The lifespan of an ASGI application; one that has none is called all the same."""

    def __init__(self, application: Application, state: dict[str, Any]) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._call: Callable[[], Any] = lambda: application(scope, self._said.get, self._heard.put)
        self._task: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Start the application up, where it wants that."""
        self._task = asyncio.ensure_future(self._call())
        await self._said.put({"type": "lifespan.startup"})
        told = await self._answer()
        if told == "lifespan.startup.failed":
            raise UnverifiableError("the application does not start")

    async def stop(self) -> None:
        """Shut the application down."""
        if self._task is not None and not self._task.done():
            await self._said.put({"type": "lifespan.shutdown"})
            await self._answer()
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _answer(self) -> str | None:
        """Return what the application says; None when it ends, as one without a lifespan does."""
        if self._task is None:
            return None
        heard = asyncio.ensure_future(self._heard.get())
        await asyncio.wait({heard, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if heard.done():
            return str(heard.result()["type"])
        heard.cancel()
        self._task.exception()  # an application without a lifespan may raise at the question
        return None


async def _asked(application: Application, posted: Posted, state: dict[str, Any]) -> Answered:
    parts = urlsplit(posted.url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in posted.headers],
        "server": (parts.hostname or "localhost", _port(posted.url)),
        "client": ("127.0.0.1", 0),
        "state": dict(state),
    }
    given = [{"type": "http.request", "body": posted.body, "more_body": False}]
    heard: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        heard.append(message)

    await application(scope, receive, send)
    (begun,) = [one for one in heard if one["type"] == "http.response.start"]
    return Answered(
        status=int(begun["status"]),
        headers={
            bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
            for name, value in begun.get("headers", ())
        },
        body=b"".join(bytes(one.get("body", b"")) for one in heard if one is not begun),
    )


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
