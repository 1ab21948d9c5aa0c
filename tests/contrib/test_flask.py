"""Flask: an application with its own configuration, and the commands."""

from __future__ import annotations

import os

import pytest
from flask import Flask, current_app

from front_desk import note
from mailglass import Mailglass
from mailglass.contrib.flask import EXTENSION, FlaskMailglass, holder_of, settings_of
from mailglass.testing import PrivateMailglass, private_mailglass


def _app(**config: object) -> tuple[Flask, FlaskMailglass]:
    app = Flask("shop")
    app.config.update(config)
    desk = FlaskMailglass()
    desk.init_app(app)

    @app.post("/pay")
    def pay() -> str:
        return str(desk.mail.deliver(note()).state)

    return app, desk


@pytest.fixture
def own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variables that a command sets."""
    for name in [one for one in os.environ if one.startswith("MAILGLASS_")]:
        monkeypatch.delenv(name)
    for name in ("MAILGLASS_DATABASE_URL", "MAILGLASS_ADAPTER", "MAILGLASS_DATABASE_ROLE"):
        monkeypatch.setenv(name, "set so that it is restored")
        monkeypatch.delenv(name)


def test_a_view_sends_mail(database_url: str) -> None:
    """A test gives the application a private Mailglass."""
    app, _ = _app()
    with private_mailglass(database_url) as mailbox, holder_of(app).using(mailbox):
        assert app.test_client().post("/pay").text == "sent"
        mailbox.assert_mail_sent(to="zoe@mail.example")


def test_the_applications_configuration_is_taken(database_url: str) -> None:
    """MAILGLASS_… keys, under the names of the settings; it is made once, at first use."""
    app, desk = _app(MAILGLASS_DATABASE_URL=database_url, MAILGLASS_ATTEMPTS_MAX=3, OTHER=1)
    assert settings_of(app) == {"database_url": database_url, "attempts_max": 3}
    with app.app_context():
        try:
            assert isinstance(desk.mail, Mailglass)
            assert desk.mail is desk.mail
            assert desk.mail.settings.attempts_max == 3
        finally:
            holder_of(app).close()


def test_each_application_has_its_own(database_url: str) -> None:
    """One FlaskMailglass serves several applications."""
    first, desk = _app()
    second = Flask("other")
    FlaskMailglass(second)
    assert first.extensions[EXTENSION] is not second.extensions[EXTENSION]
    with private_mailglass(database_url) as mailbox, holder_of(first).using(mailbox):
        with first.app_context():
            assert current_app.extensions[EXTENSION].get() is desk.mail is mailbox


def test_a_forgotten_init_app_is_told() -> None:
    """With what to do."""
    with Flask("shop").app_context(), pytest.raises(RuntimeError, match="init_app"):
        _ = FlaskMailglass().mail


@pytest.mark.usefixtures("own_variables")
@pytest.mark.parametrize(("arguments", "code"), [(["migrate", "--check"], 0), (["--nonsense"], 2)])
def test_the_commands_run_with_the_applications_settings(
    database_url: str, arguments: list[str], code: int
) -> None:
    """``flask mailglass migrate``, on the application's database."""
    app, _ = _app(MAILGLASS_DATABASE_URL=database_url, MAILGLASS_ADAPTER="fake")
    told = app.test_cli_runner().invoke(args=["mailglass", *arguments])
    assert told.exit_code == code, told.output
    assert ("up to date" in told.output) is (code == 0)


def test_a_holder_makes_one_for_all_threads(mailbox: PrivateMailglass) -> None:
    """And another after it was closed."""
    from mailglass.contrib.holder import Holder  # noqa: PLC0415 - here alone

    made = []

    def make() -> Mailglass:
        made.append(1)
        return mailbox

    holder = Holder(make)
    assert holder.get() is holder.get()
    holder.close()
    holder.get()
    assert len(made) == 2
