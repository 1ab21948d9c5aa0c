"""The doctor calls the application's own route: what mailglass answers, and what stands before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, redirect, request
from starlette.applications import Starlette

from mailglass import Mailglass
from mailglass.contrib.flask import EXTENSION, FlaskMailglass, mail_pages
from mailglass.contrib.starlette import lifespan_with, mail_routes
from mailglass.doctor import CHECKS, Result, Status, UnverifiableError, examine, route
from mailglass.doctor.route import Answered, Application, Posted, post
from patients import healthy

SETTINGS: dict[str, Any] = {
    "adapter": "postmark",
    "provider_options": {"server_token": "t", "webhook_secret": "hook:a-long-password"},
    "database_url": "postgresql://127.0.0.1:1/none",
}
"""A forged request is refused before any database is asked."""


def _told(application: Application | None = None, **given: Any) -> Result:
    checks = [one for one in CHECKS if one.id == "webhooks.reachable"]
    find = None if application is None else lambda: application
    parts = {"application": find} | given
    (found,) = examine(healthy(**(SETTINGS | parts)), checks)
    return found


@pytest.fixture
def flask_app() -> Iterator[Flask]:
    """Return a Flask application that mounts mailglass."""
    app = Flask("shop")
    settings = {f"MAILGLASS_{name.upper()}": value for name, value in SETTINGS.items()}
    app.config.update(settings)
    FlaskMailglass(app)
    app.register_blueprint(mail_pages())
    yield app
    app.extensions[EXTENSION].close()


def _starlette(make: Callable[[], Mailglass]) -> Starlette:
    return Starlette(routes=mail_routes(), lifespan=lifespan_with(make))


def test_mailglass_behind_flask_refuses_a_forged_request(flask_app: Flask) -> None:
    """By WSGI, so the way is open."""
    assert _told(flask_app).status is Status.OK


def test_mailglass_behind_starlette_refuses_a_forged_request() -> None:
    """By ASGI, with the lifespan that opens a Mailglass and closes it again."""
    made: list[Mailglass] = []

    def make() -> Mailglass:
        made.append(Mailglass.from_env(**SETTINGS))
        return made[-1]

    assert _told(_starlette(make)).status is Status.OK
    assert len(made) == 1


@pytest.mark.parametrize("provider", ["mailgun", "sendgrid", "resend", "brevo", "amazon_ses"])
def test_each_providers_refusal_is_known(provider: str, flask_app: Flask) -> None:
    """They differ, since providers repeat what they take for a fault of the moment."""
    options = {
        "mailgun": {"api_key": "k", "webhook_signing_key": "s"},
        "sendgrid": {"api_key": "k", "webhook_secret": "hook:a-long-password"},
        "resend": {"api_key": "k", "webhook_key": "whsec_" + "QUJDRA==" * 4},
        "brevo": {"api_key": "k", "webhook_secret": "hook:a-long-password"},
        "amazon_ses": {"access_key_id": "k", "secret_access_key": "s", "region": "eu-west-1",
                       "webhook_secret": "hook:a-long-password"},
    }  # fmt: skip
    given = {"adapter": provider, "provider_options": options[provider]}
    flask_app.config.update(
        MAILGLASS_ADAPTER=provider, MAILGLASS_PROVIDER_OPTIONS=options[provider]
    )
    found = _told(flask_app, **given)
    assert (found.status, found.seen) == (Status.OK, "")


def test_a_redirect_is_a_fault(flask_app: Flask) -> None:
    """A login page has taken its place."""
    flask_app.before_request(lambda: redirect("/login"))
    assert _told(flask_app).seen == (
        "postmark/default: 302: it is sent elsewhere, and a provider does not follow"
    )


def test_the_refusal_of_somebody_else_is_a_fault(flask_app: Flask) -> None:
    """A CSRF check answers 403, as Postmark's webhooks do when mailglass refuses them."""
    flask_app.before_request(lambda: ("CSRF token missing", 403))
    assert _told(flask_app).seen.startswith("postmark/default: 403: something before mailglass")


def test_an_application_that_fails_is_no_refusal(flask_app: Flask) -> None:
    """A framework turns what it cannot handle into 500."""

    @flask_app.before_request
    def fail() -> None:
        raise RuntimeError("canary7f3a")

    assert _told(flask_app).seen == (
        "postmark/default: 500: the application failed; what it logs says why"
    )


def test_a_body_that_was_read_before_is_a_fault(flask_app: Flask) -> None:
    """A form parser or a log of bodies leaves nothing for the signature."""

    @flask_app.before_request
    def read() -> None:
        request.stream.read()

    assert "the raw body was read before" in _told(flask_app).seen


def test_a_route_that_is_elsewhere_is_found_by_its_address(flask_app: Flask) -> None:
    """404 where there is none."""
    flask_app.register_blueprint(mail_pages(), name="other", url_prefix="/mail")
    assert _told(flask_app, webhooks_url="https://shop.example/mail/webhooks").seen == ""
    found = _told(flask_app, webhooks_url="https://shop.example/elsewhere")
    assert found.seen.startswith("postmark/default: 404: no route leads to mailglass")


def test_an_application_that_raises_is_a_fault_without_its_text() -> None:
    """It may hold anything."""

    def broken(_environ: object, _start: object) -> list[bytes]:
        raise RuntimeError("canary7f3a")

    found = _told(broken)
    assert found.status is Status.ERROR
    assert found.seen == "postmark/default: the application raised RuntimeError"


def test_without_an_application_it_cannot_be_verified() -> None:
    """With the reason, and only where a provider sends webhooks."""

    def absent() -> Application:
        raise UnverifiableError("no web application was found here")

    checks = [one for one in CHECKS if one.id == "webhooks.reachable"]
    for find in (None, absent):
        (found,) = examine(healthy(**(SETTINGS | {"application": find})), checks)
        assert found.status is Status.CANNOT_VERIFY
        assert "no " in found.seen
    relay: dict[str, Any] = {"adapter": "smtp", "provider_options": {}}
    assert _told(**relay).status is Status.OK


def test_an_application_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, with the reason."""
    monkeypatch.setattr(route, "WAIT_S_MAX", 0.05)

    def slow(_environ: object, _start: object) -> list[bytes]:
        time.sleep(0.3)
        return []

    found = _told(slow)
    assert found.status is Status.CANNOT_VERIFY
    assert "did not answer" in found.seen


def test_what_the_application_prints_stays_out_of_the_answer(
    flask_app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to the command, which may print JSON."""

    @flask_app.before_request
    def chat() -> None:
        print("hello")  # noqa: T201 - what an application may do

    _told(flask_app)
    told = capsys.readouterr()
    assert told.out == ""
    assert "hello" in told.err


def test_an_application_without_a_lifespan_is_called_all_the_same() -> None:
    """It raises at the question, as the specification allows."""

    async def plain(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 202, "headers": [(b"X-A", b"b")]})
        await send({"type": "http.response.body", "body": body})

    posted = Posted(url="http://shop.example:8000/w", body=b"raw", content_type="text/plain")
    assert post(plain, posted) == Answered(status=202, headers={"x-a": "b"}, body=b"raw")


def test_an_application_that_does_not_start_cannot_be_verified() -> None:
    """Its lifespan says so."""

    def make() -> Mailglass:
        raise RuntimeError("no database")

    assert _told(_starlette(make)).status is Status.CANNOT_VERIFY


def test_an_answer_that_is_streamed_is_closed() -> None:
    """As WSGI asks of servers."""
    closed: list[bool] = []

    class Streamed:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

        def close(self) -> None:
            closed.append(True)

    def streaming(_environ: object, start: Callable[..., object]) -> Iterable[bytes]:
        start("200 OK", [])
        return Streamed()

    posted = Posted(url="https://shop.example/w", body=b"", content_type="text/plain")
    assert post(streaming, posted).body == b"ab"
    assert closed == [True]
