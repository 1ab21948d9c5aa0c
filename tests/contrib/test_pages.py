"""Webhooks and the unsubscribe page in each framework, over the framework's own test client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.testclient import TestClient

from front_desk import note, write_templates
from mailglass import EventType, Mailable, Stream
from mailglass.contrib.django import desk
from mailglass.contrib.fastapi import get_mailglass, mail_router
from mailglass.contrib.flask import FlaskMailglass, holder_of, mail_pages
from mailglass.contrib.starlette import mail_routes
from mailglass.testing import PrivateMailglass, private_mailglass
from mailglass.webhook import BODY_BYTES_MAX
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import BASIC, delivered, postmark

HOST = "mail.shop.example"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ADDRESS = "Shop Example Ltd, 1 Harbour Street, Dublin"


class News(Mailable):
    """Bulk mail, which can be left."""

    stream = Stream.BULK
    sender = "Shop <news@shop.example>"
    subject = "News"
    template = "news.html.jinja"

    address: str = ADDRESS

    def to(self) -> str:
        """Return the reader."""
        return "zoe@mail.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call = Callable[..., Told]


def _told(answer: Any, body: bytes) -> Told:
    return Told(status=answer.status_code, headers=answer.headers, body=body)


@contextmanager
def _django(mail: PrivateMailglass) -> Iterator[Call]:
    client = Client(enforce_csrf_checks=True, headers={"Host": HOST})
    middleware = [
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]

    def call(method: str, path: str, body: bytes, kind: str, **headers: str) -> Told:
        answer = client.generic(method, path, body, content_type=kind, headers=headers)
        return _told(answer, answer.content)

    with override_settings(
        ROOT_URLCONF="mailglass.contrib.django.urls",
        ALLOWED_HOSTS=[HOST],
        MIDDLEWARE=middleware,
        DATA_UPLOAD_MAX_MEMORY_SIZE=16,
    ), desk.using_mailglass(mail):  # fmt: skip
        yield call


@contextmanager
def _flask(mail: PrivateMailglass) -> Iterator[Call]:
    app = Flask("shop")
    app.config["MAX_CONTENT_LENGTH"] = 16
    FlaskMailglass(app)
    app.register_blueprint(mail_pages())

    def call(method: str, path: str, body: bytes, kind: str, **headers: str) -> Told:
        answer = app.test_client().open(
            path, method=method, data=body, content_type=kind, headers=headers,
            base_url=f"https://{HOST}",
        )  # fmt: skip
        return _told(answer, answer.data)

    with holder_of(app).using(mail):
        yield call


def _by_test_client(app: Starlette) -> Call:
    client = TestClient(app, base_url=f"https://{HOST}", follow_redirects=False)

    def call(method: str, path: str, body: bytes, kind: str, **headers: str) -> Told:
        answer = client.request(
            method, path, content=body, headers={"Content-Type": kind, **headers}
        )
        return _told(answer, answer.content)

    return call


@contextmanager
def _starlette(mail: PrivateMailglass) -> Iterator[Call]:
    app = Starlette(routes=mail_routes())
    app.state.mailglass = mail
    yield _by_test_client(app)


@contextmanager
def _fastapi(mail: PrivateMailglass) -> Iterator[Call]:
    app = FastAPI()
    app.include_router(mail_router())
    app.dependency_overrides[get_mailglass] = lambda: mail
    assert app.openapi()["paths"] == {}
    yield _by_test_client(app)


SITES = {"django": _django, "flask": _flask, "starlette": _starlette, "fastapi": _fastapi}


@pytest.fixture
def desk_with_pages(database_url: str, tmp_path: Path) -> Iterator[PrivateMailglass]:
    """Return a Mailglass with an endpoint and unsubscribe links."""
    write_templates(tmp_path, news__html="<a href='{{ unsubscribe_url }}'>Leave</a> {{ address }}")
    endpoint = Endpoint(name="main", adapter=postmark(), tenant_id="default")
    with private_mailglass(
        database_url,
        parts={"endpoints": [endpoint]},
        unsubscribe_url=f"https://{HOST}/unsubscribe",
        token_secrets=["a-secret-of-at-least-32-characters!"],
        templates=(tmp_path,),
        physical_address=ADDRESS,
    ) as mail:
        yield mail


@pytest.fixture(params=sorted(SITES))
def call(request: pytest.FixtureRequest, desk_with_pages: PrivateMailglass) -> Iterator[Call]:
    """Return what sends a request to a site of each framework."""
    with SITES[request.param](desk_with_pages) as sends:
        yield sends


def test_a_signed_webhook_becomes_an_event(desk_with_pages: PrivateMailglass, call: Call) -> None:
    """With or without the endpoint's name, and past limits and checks that are for people's forms."""
    delivery = desk_with_pages.deliver(note())
    body = json.dumps(delivered(delivery.id)).encode()
    answers = [
        call("POST", path, body, JSON, Authorization=BASIC).status
        for path in ("/webhooks/postmark/main", "/webhooks/postmark", "/webhooks/postmark/")
    ]
    assert answers == [200, 200, 200]
    history = [one.type for one in desk_with_pages.events(delivery.id)]
    assert history[-1] is EventType.DELIVERED
    assert history.count(EventType.DELIVERED) == 1


def test_what_is_not_genuine_is_answered_as_ingest_says(call: Call) -> None:
    """The raw body is what is verified, and nobody is redirected."""
    told = call("POST", "/webhooks/postmark", b"{}", JSON)
    assert told.status == 403
    assert call("POST", "/webhooks/nobody", b"{}", JSON).status == 404
    assert call("POST", "/webhooks//postmark//", b"{}", JSON).status in {403, 404}
    assert call("DELETE", "/webhooks/postmark", b"", JSON).status == 405
    assert call("GET", "/webhooks/postmark", b"", JSON).status == 200  # a provider tries it


def test_a_body_that_is_too_long_is_not_read_to_its_end(call: Call) -> None:
    """A request must not fill the memory."""
    body = b"x" * (BODY_BYTES_MAX + 1)
    assert call("POST", "/webhooks/postmark", body, JSON, Authorization=BASIC).status == 413
    assert call("POST", "/unsubscribe/token", b"x" * 5_000, FORM).status == 413


@pytest.mark.parametrize("site", sorted(SITES))
def test_an_endpoint_for_large_mail_is_read_up_to_its_own_bound(
    database_url: str, site: str
) -> None:
    """What a provider hands over with its attachments is larger than any report."""
    bound = BODY_BYTES_MAX + 1024 * 1024
    endpoint = Endpoint(name="main", adapter=postmark(), tenant_id="default", body_bytes_max=bound)
    with (
        private_mailglass(database_url, parts={"endpoints": [endpoint]}) as mail,
        SITES[site](mail) as call,
    ):
        report = json.dumps(delivered(mail.deliver(note()).id)).encode()
        answers = [
            call("POST", "/webhooks/postmark/main/", body, JSON, Authorization=BASIC).status
            for body in (report.ljust(bound), report.ljust(bound + 1))
        ]
    assert answers == [200, 413]


def test_a_reader_leaves_by_the_page_and_by_one_click(
    desk_with_pages: PrivateMailglass, call: Call
) -> None:
    """No cookie, no token, no redirect, with a slash or without; looking changes nothing."""
    delivery = desk_with_pages.deliver(News())
    link = dict(desk_with_pages.last_mail.message.headers)["List-Unsubscribe"].strip("<>")
    path = link.removeprefix(f"https://{HOST}")
    shown = call("GET", path, b"", FORM, **{"Accept-Language": "de"})
    assert (shown.status, shown.headers["Referrer-Policy"]) == (200, "no-referrer")
    assert b'lang="de"' in shown.body
    assert HOST.encode() in shown.body
    assert EventType.UNSUBSCRIBED not in _history(desk_with_pages, delivery)
    for one in (path, f"{path}/"):
        assert call("POST", one, b"List-Unsubscribe=One-Click", FORM).status == 200
    assert _history(desk_with_pages, delivery).count(EventType.UNSUBSCRIBED) == 1
    assert call("GET", "/unsubscribe/forged", b"", FORM).status == 404


def _history(mail: PrivateMailglass, delivery: Any) -> list[EventType]:
    return [one.type for one in mail.events(delivery.id)]


def test_without_links_there_is_no_page(database_url: str) -> None:
    """As where nothing is there."""
    with private_mailglass(database_url) as mail:
        for site in SITES.values():
            with site(mail) as call:
                assert call("GET", "/unsubscribe/token", b"", FORM).status == 404
