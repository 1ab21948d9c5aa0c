"""The tenant of each request, in each framework."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from fastapi import FastAPI
from flask import Flask
from flask import Request as FlaskRequest
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from front_desk import note
from mailglass import ContextTenancy, TenancyError
from mailglass.contrib.django.desk import get_mailglass, using_mailglass
from mailglass.contrib.django.middleware import tenant_middleware
from mailglass.contrib.fastapi import Mail, TenantMiddleware
from mailglass.contrib.fastapi import get_mailglass as fastapi_mailglass
from mailglass.contrib.flask import FlaskMailglass, holder_of, set_tenant
from mailglass.testing import PrivateMailglass

HEADER = "X-Shop"


def of_request(request: Any) -> str | None:
    """Return the tenant that a request of Django names."""
    found: str | None = request.headers.get(HEADER)
    return found


def pay(_request: HttpRequest) -> HttpResponse:
    """Send mail for the tenant of the request."""
    return HttpResponse(get_mailglass().deliver(note()).tenant_id)


async def apay(_request: HttpRequest) -> HttpResponse:
    """Send mail from an async view."""
    return HttpResponse((await get_mailglass().adeliver(note())).tenant_id)


urlpatterns = [path("pay", pay), path("apay", apay)]
DJANGO = override_settings(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["mailglass.contrib.django.middleware.tenant_middleware"],
    MAILGLASS_TENANT_OF=f"{__name__}.of_request",
)


def _no_tenant_is_left() -> bool:
    with pytest.raises(TenancyError):
        ContextTenancy().current()
    return True


@pytest.mark.parametrize("view", ["/pay", "/apay"])
def test_django_sets_it_around_a_request(mailbox: PrivateMailglass, view: str) -> None:
    """Around a view of either kind, and no longer than the request."""
    with DJANGO, using_mailglass(mailbox):
        client = Client()
        told = [client.get(view, headers=one).content for one in ({HEADER: "acme"}, {})]
    assert told == [b"acme", b"default"]
    assert _no_tenant_is_left()


def test_django_sets_it_under_asgi(mailbox: PrivateMailglass) -> None:
    """As a coroutine, around an async view."""

    async def ask() -> bytes:
        answer = await AsyncClient().get("/apay", headers={HEADER: "acme"})
        return bytes(answer.content)

    with DJANGO, using_mailglass(mailbox):
        assert asyncio.run(ask()) == b"acme"


def test_django_adapts_to_what_it_wraps() -> None:
    """An async handler makes the middleware async; without the setting it does not start."""

    async def answer(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    with DJANGO:
        assert iscoroutinefunction(tenant_middleware(answer))
        assert not iscoroutinefunction(tenant_middleware(pay))
    with pytest.raises(ImproperlyConfigured, match="MAILGLASS_TENANT_OF"):
        tenant_middleware(pay)


def test_a_tenant_that_is_no_id_is_refused() -> None:
    """Rather than the mail of nobody."""
    request = RequestFactory().get("/pay", headers={HEADER: "x" * 201})
    with DJANGO, pytest.raises(TenancyError):
        tenant_middleware(pay)(request)


def test_flask_sets_it_around_a_request(mailbox: PrivateMailglass) -> None:
    """Also where the view fails, and no longer than the request."""
    app = Flask("shop")
    desk = FlaskMailglass(app)

    def tenant_of(request: FlaskRequest) -> str | None:
        return request.headers.get(HEADER)

    set_tenant(app, tenant_of)
    views: dict[str, Callable[[], str]] = {
        "/pay": lambda: desk.mail.deliver(note()).tenant_id, "/fail": lambda: str(1 / 0),
    }  # fmt: skip
    for rule, view in views.items():
        app.add_url_rule(rule, rule, view)
    with holder_of(app).using(mailbox):
        client = app.test_client()
        assert client.get("/fail", headers={HEADER: "acme"}).status_code == 500
        assert client.get("/pay", headers={HEADER: "acme"}).text == "acme"
        assert client.get("/pay").text == "default"
    assert _no_tenant_is_left()


@pytest.mark.parametrize("is_async", [False, True])
def test_starlette_and_fastapi_set_it_around_a_request(
    mailbox: PrivateMailglass, *, is_async: bool
) -> None:
    """Around a coroutine and around a function that a thread runs."""

    def tenant_of(connection: HTTPConnection) -> str | None:
        return connection.headers.get(HEADER)

    app = FastAPI(middleware=[Middleware(TenantMiddleware, tenant_of=tenant_of)])
    app.dependency_overrides[fastapi_mailglass] = lambda: mailbox
    if is_async:

        @app.get("/pay")
        async def apay(mail: Mail) -> str:
            return (await mail.adeliver(note())).tenant_id
    else:

        @app.get("/pay")
        def pay(mail: Mail) -> str:
            return mail.deliver(note()).tenant_id

    with TestClient(app) as client:
        told = [client.get("/pay", headers=one).json() for one in ({HEADER: "acme"}, {})]
    assert told == ["acme", "default"]
