"""Starlette and FastAPI: the lifespan, and the Mailglass of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from front_desk import note
from mailglass import ConfigError, Mailglass
from mailglass.contrib.fastapi import Mail, get_mailglass
from mailglass.contrib.starlette import lifespan, lifespan_with, mailglass_of
from mailglass.testing import private_mailglass


async def _pay(request: Request) -> PlainTextResponse:
    delivery = await mailglass_of(request).adeliver(note())
    return PlainTextResponse(str(delivery.state))


def test_starlette_holds_a_mailglass_while_it_runs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made at start and closed at the end."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    app = Starlette(routes=[Route("/pay", _pay, methods=["POST"])], lifespan=lifespan)
    with TestClient(app) as client:
        assert client.post("/pay").text == "sent"
        mail = app.state.mailglass
        assert isinstance(mail, Mailglass)
    assert not hasattr(app.state, "mailglass")
    with pytest.raises(ConfigError, match="closed"):
        mail.deliver(note())


def test_an_inner_lifespan_runs_inside(database_url: str) -> None:
    """And sees the Mailglass."""
    seen: list[object] = []

    @asynccontextmanager
    async def inner(app: Starlette) -> AsyncIterator[None]:
        seen.append(app.state.mailglass)
        yield
        seen.append("end")

    with private_mailglass(database_url) as mailbox:
        with TestClient(Starlette(lifespan=lifespan_with(lambda: mailbox, inner))):
            assert seen == [mailbox]
        assert seen == [mailbox, "end"]


def test_a_given_mailglass_is_used_and_not_closed(database_url: str) -> None:
    """A test puts its own into the state before the application starts."""
    app = Starlette(routes=[Route("/pay", _pay, methods=["POST"])], lifespan=lifespan)
    with private_mailglass(database_url) as mailbox:
        app.state.mailglass = mailbox
        with TestClient(app) as client:
            client.post("/pay")
        mailbox.assert_mail_sent(to="zoe@mail.example")
        mailbox.deliver(note())


def test_fastapi_gives_it_to_a_path_operation(database_url: str) -> None:
    """As a dependency, which a test overrides."""
    app = FastAPI()

    @app.post("/pay")
    async def pay(mail: Mail) -> str:
        return str((await mail.adeliver(note())).state)

    with private_mailglass(database_url) as mailbox:
        app.dependency_overrides[get_mailglass] = lambda: mailbox
        assert TestClient(app).post("/pay").json() == "sent"
        mailbox.assert_mail_sent(to="zoe@mail.example")


def test_fastapi_runs_with_the_lifespan(database_url: str) -> None:
    """The dependency finds what the lifespan holds."""
    with private_mailglass(database_url) as mailbox:
        app = FastAPI(lifespan=lifespan_with(lambda: mailbox))

        @app.post("/pay")
        async def pay(mail: Mail) -> str:
            return str((await mail.adeliver(note())).state)

        with TestClient(app) as client:
            assert client.post("/pay").json() == "sent"


def test_a_forgotten_lifespan_is_told() -> None:
    """With what to do."""
    app = Starlette(routes=[Route("/pay", _pay, methods=["POST"])])
    with pytest.raises(RuntimeError, match="lifespan"):
        TestClient(app).post("/pay")
