"""SNS over ASGI: whose certificates are fetched, whose subscriptions are confirmed, and where."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from front_desk import count
from mailglass import Mailglass
from mailglass.adapters.http import HttpTransport, Request, Response
from mailglass.web.webhooks import webhook_app
from mailglass.webhooks.endpoint import Endpoint
from posted_webhooks import BASE_URL, NOW, SPEAKERS, Pages, Posted, Speaker, scaleway, ses
from webhook_requests import hooked

_OURS: Final[dict[str, tuple[Callable[..., Posted], str]]] = {
    "amazon_ses": (ses, "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"),
    "scaleway": (scaleway, "https://sns.mnq.fr-par.scaleway.com/?Action=ConfirmSubscription&Token=t"),
}  # fmt: skip
_OTHER_TOPICS: Final = {
    "amazon_ses": "arn:aws:sns:eu-west-1:999999999999:mail",
    "scaleway": "arn:scw:sns:fr-par:project-2:mail",
}
_SPEAKERS: Final = [one for one in SPEAKERS if one.name in _OURS]
_ELSEWHERE: Final = (
    "http://169.254.169.254/latest/meta-data/",
    "https://localhost:8000/?Token=t",
    "https://10.0.0.7/?Token=t",
    "https://sns.eu-west-1.amazonaws.com.attacker.example/?Token=t",
    "https://sns.eu-west-1.amazonaws.com@attacker.example/?Token=t",
    "http://sns.eu-west-1.amazonaws.com/?Token=t",
    "https://attacker.s3.amazonaws.com/?Token=t",
    "file:///etc/passwd",
    "",
)

both = pytest.mark.parametrize("speaker", _SPEAKERS, ids=lambda one: one.name)


@contextmanager
def _desk(
    database_url: str, speaker: Speaker, pages: Any
) -> Iterator[tuple[Mailglass, Callable[[Posted], int]]]:
    endpoint = Endpoint(name="main", adapter=speaker.adapter(pages), tenant_id="default")
    with hooked(database_url, endpoints=[endpoint]) as mail:
        client = TestClient(webhook_app(mail.ingest, clock=lambda: NOW), base_url=BASE_URL)

        def post(posted: Posted) -> int:
            headers, body = posted
            url = f"/webhooks/{speaker.name}"
            return client.post(url, content=body, headers=dict(headers)).status_code

        yield mail, post
    assert count(database_url, "events") == 0


def _confirmation(speaker: Speaker, **changes: Any) -> Posted:
    posted, url = _OURS[speaker.name]
    asked = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": url}
    return posted("You have chosen to subscribe", **(asked | changes))


def _confirmed(pages: Pages, speaker: Speaker) -> int:
    return pages.asked.count(_OURS[speaker.name][1])


@both
def test_a_subscription_of_our_topic_is_confirmed_once(database_url: str, speaker: Speaker) -> None:
    """One GET on the provider's own host, and nothing is stored."""
    pages = Pages(more={_OURS[speaker.name][1]: Response(status=200)})
    with _desk(database_url, speaker, pages) as (_, post):
        assert post(_confirmation(speaker)) == 200
    assert _confirmed(pages, speaker) == 1
    assert count(database_url, "webhook_receipts") == 0


@both
def test_a_redirect_is_not_followed(database_url: str, speaker: Speaker) -> None:
    """The provider is asked to come again, and whoever it names is not asked."""
    inner = Response(status=302)
    pages = Pages(more={_OURS[speaker.name][1]: inner})
    with _desk(database_url, speaker, pages) as (_, post):
        assert post(_confirmation(speaker)) == 503
    assert {urlsplit(one).hostname for one in pages.asked} <= {
        urlsplit(_OURS[speaker.name][1]).hostname,
        "messaging.s3.fr-par.scw.cloud",
    }


@both
def test_a_subscription_of_another_topic_is_refused_before_anything_is_fetched(
    database_url: str, speaker: Speaker
) -> None:
    """Whoever has an account can have it signed."""
    pages = Pages()
    with _desk(database_url, speaker, pages) as (_, post):
        assert post(_confirmation(speaker, topic=_OTHER_TOPICS[speaker.name])) == 401
        assert post(_confirmation(speaker, TopicArn=_OTHER_TOPICS[speaker.name])) == 401
    assert pages.asked == []


@both
def test_a_subscription_is_confirmed_nowhere_else(database_url: str, speaker: Speaker) -> None:
    """A genuine signature over an internal address is refused as well."""
    pages = Pages()
    with _desk(database_url, speaker, pages) as (_, post):
        found = [post(_confirmation(speaker, SubscribeURL=one)) for one in _ELSEWHERE]
    assert found == [401] * len(_ELSEWHERE)
    assert not set(_ELSEWHERE) & set(pages.asked)


@both
def test_a_certificate_is_fetched_nowhere_else(database_url: str, speaker: Speaker) -> None:
    """Whoever names the key would name his own."""
    pages = Pages()
    posted, _ = _OURS[speaker.name]
    with _desk(database_url, speaker, pages) as (_, post):
        found = [post(posted("{}", certified=one)) for one in _ELSEWHERE]
    assert found == [401] * len(_ELSEWHERE)
    assert pages.asked == []


class _Confirming(BaseHTTPRequestHandler):
    """Answers every GET with where it leads, and remembers it."""

    asked: list[str]
    status: int

    def do_GET(self) -> None:
        """Answer as the server is told to."""
        self.asked.append(self.path)
        self.send_response(self.status)
        self.send_header("Location", f"http://{self.headers['Host']}/inside")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _server(status: int) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Confirming,), {"asked": asked, "status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "answer"), [(200, 200), (302, 503), (500, 503)])
@both
def test_the_real_client_asks_once_and_follows_nothing(
    database_url: str, speaker: Speaker, status: int, answer: int
) -> None:
    """A server on this machine stands in for the provider's host, behind the check of the address."""
    pages, client = Pages(), HttpTransport()
    url = _OURS[speaker.name][1]
    with _server(status) as (base, asked):

        def routed(request: Request) -> Response:
            if request.url != url:
                return pages(request)
            parts = urlsplit(url)
            return client(replace(request, url=f"{base}{parts.path}?{parts.query}"))

        with _desk(database_url, speaker, routed) as (_, post):
            assert post(_confirmation(speaker)) == answer
    client.close()
    assert asked == ["/?Action=ConfirmSubscription&Token=t"]
