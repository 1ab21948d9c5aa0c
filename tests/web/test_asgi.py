"""The pages as ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailglass.web import asgi
from mailglass.web.asgi import unsubscribe_app, unsubscribe_routes
from mailglass.web.unsubscribe import BODY_BYTES_MAX
from pages import BAD_TOKENS, DELIVERY, TOKEN, away, page

FORM = {"content-type": "application/x-www-form-urlencoded"}
ONE_CLICK = b"List-Unsubscribe=One-Click"
PATH = f"/leave/{TOKEN}"
AGENTS = [
    "Mozilla/5.0", "GoogleImageProxy", "Barracuda Sentinel", "Proofpoint", "curl/8.0",
    "python-requests/2.32", "SafeLinks", "Slackbot-LinkExpanding 1.0", "", "Outlook-iOS",
]  # fmt: skip


def _client(left: list[UUID] | None = None) -> TestClient:
    write = away if left is None else left.append
    return TestClient(unsubscribe_app(page(write)), follow_redirects=False)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_only_a_post_acts(method: str) -> None:
    """Row 56: scanners look as much as they like."""
    left: list[UUID] = []
    client = _client(left)
    for agent in AGENTS:
        for _ in range(17):
            client.request(method, PATH, headers={"user-agent": agent})
    assert left == []


def test_a_provider_unsubscribes() -> None:
    """RFC 8058 §3.2, over the wire: no cookie, no redirect, no body."""
    left: list[UUID] = []
    answer = _client(left).post(PATH, content=ONE_CLICK, headers=FORM)
    assert (answer.status_code, answer.content, left) == (200, b"", [DELIVERY])
    assert "set-cookie" not in answer.headers


def test_cookies_and_host_make_no_difference() -> None:
    """Rows 59, 67: the token alone counts."""
    left: list[UUID] = []
    headers = FORM | {
        "cookie": "session=evil",
        "host": "evil.example",
        "origin": "https://x.example",
    }
    answer = _client(left).post(PATH, content=ONE_CLICK, headers=headers)
    assert (answer.status_code, answer.content, left) == (200, b"", [DELIVERY])
    shown = _client(left).get(PATH, headers=headers)
    assert "evil" not in shown.text


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", "/leave", "/leave/", "/", f"//{PATH}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_redirects(method: str, path: str) -> None:
    """Row 59: a redirect would lose the POST."""
    answer = _client([]).request(method, path, content=ONE_CLICK, headers=FORM)
    assert not answer.is_redirect


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_any_token_gets_the_same_answer(token: str) -> None:
    """Row 58: also in its headers."""
    client = _client([])
    good = client.post(PATH, content=ONE_CLICK, headers=FORM)
    bad = client.post(f"/leave/{token}", content=ONE_CLICK, headers=FORM)
    assert (bad.status_code, bad.content, bad.headers) == (200, b"", good.headers)


def test_a_failed_write_is_an_empty_500() -> None:
    """The provider tries again."""
    answer = _client().post(PATH, content=ONE_CLICK, headers=FORM)
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_long_body_is_refused() -> None:
    """Row 46: chunks are counted while they come, without a length to believe."""
    left: list[UUID] = []
    chunks = (b"x" * BODY_BYTES_MAX for _ in range(2))
    answer = _client(left).post(PATH, content=chunks, headers=FORM)
    assert (answer.status_code, left) == (413, [])


def test_a_person_goes_through_the_page() -> None:
    """Look, press, be told."""
    left: list[UUID] = []
    client = _client(left)
    assert "Abmelden" in client.get(PATH, headers={"accept-language": "de"}).text
    done = client.post(PATH, data={"confirmed": "yes"}, headers={"accept-language": "de"})
    assert "Sie sind abgemeldet" in done.text
    assert left == [DELIVERY]


class _Csrf:
    """A middleware as frameworks have it: no POST without its cookie, and none without a login."""

    def __init__(self, app: ASGIApp, exempt: str) -> None:
        self.app = app
        self.exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(self.exempt):
            await Response("forbidden", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def test_the_route_lives_in_an_application_with_csrf_checks() -> None:
    """Row 59: exempt by its path, it works; the rest of the application stays guarded."""
    left: list[UUID] = []

    async def other(_request: Request) -> Response:
        return Response("secret")

    app = Starlette(
        routes=unsubscribe_routes(page(left.append)),
        middleware=[Middleware(_Csrf, exempt="/leave/")],
    )
    app.add_route("/other", other)
    client = TestClient(app, follow_redirects=False)
    assert client.post(PATH, content=ONE_CLICK, headers=FORM).status_code == 200
    assert client.get("/other").status_code == 403
    assert left == [DELIVERY]


def _spoken(receive: Callable[[], Awaitable[Message]], left: list[UUID]) -> list[Message]:
    """Return what the application says to a client that behaves as ``receive`` does."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": PATH, "query_string": b"", "scheme": "https",
        "headers": [(b"content-type", FORM["content-type"].encode())],
    }  # fmt: skip
    asyncio.run(unsubscribe_app(page(left.append))(scope, receive, send))
    return said


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 46: a slow client costs a few seconds, not a connection for ever."""
    monkeypatch.setattr(asgi, "BODY_TIMEOUT_S", 0.01)

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    left: list[UUID] = []
    said = _spoken(silence, left)
    assert (said[0]["status"], left) == (408, [])


def test_a_client_that_goes_away_changes_nothing() -> None:
    """Half a body is no request."""

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    left: list[UUID] = []
    said = _spoken(gone, left)
    assert (said[0]["status"], left) == (400, [])


def test_a_body_may_come_in_pieces() -> None:
    """As networks deliver it."""
    pieces = [bytes([one]) for one in ONE_CLICK]

    async def piece() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    left: list[UUID] = []
    said = _spoken(piece, left)
    assert (said[0]["status"], left) == (200, [DELIVERY])
