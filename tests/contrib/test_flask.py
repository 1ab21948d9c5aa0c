"""Flask: an application with its own configuration, and the commands."""

from __future__ import annotations

import os

import pytest
from flask import Flask, current_app

from front_desk import note
from mailglass import ConfigError, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.contrib.flask import EXTENSION, FlaskMailglass, holder_of, settings_of
from mailglass.ledger.database import SAID_BY
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
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in ("MAILGLASS_DATABASE_URL", "MAILGLASS_ADAPTER", "MAILGLASS_DATABASE_ROLE",
                 SAID_BY):  # fmt: skip
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


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"MAILGLASS_DELIVERTO": "dev@shop.example"}, "Did you mean MAILGLASS_DELIVER_TO?"),
        ({"MAILGLASS_ADAPTER": "smtp"}, "Set MAILGLASS_SMTP_HOST."),
        ({"MAILGLASS_ADAPTER": "postmark"}, "server_token"),
        ({"MAILGLASS_UNSUBSCRIBE_URL": "https://shop.example/u"}, "MAILGLASS_TOKEN_SECRETS"),
        ({"MAILGLASS_ENVIRONMENT": "production"}, "MAILGLASS_DATABASE_URL"),
        ({"MAILGLASS_DATABASE_URL": "sqlite:///x"}, "postgresql://"),
    ],
)
@pytest.mark.usefixtures("own_variables")
def test_wrong_settings_stop_the_factory(config: dict[str, str], said: str) -> None:
    """A misspelt key would otherwise be ignored, and real mail go out."""
    with pytest.raises(ConfigError) as caught:
        _app(**config)
    assert said in f"{caught.value} {caught.value.hint}"


@pytest.mark.usefixtures("own_variables")
def test_the_factory_leaves_the_applications_adapters_open() -> None:
    """They are used from the first mail on."""
    fake = FakeAdapter()
    fake.close = lambda: pytest.fail("it was closed")  # type: ignore[method-assign]  # to see a call
    FlaskMailglass(Flask("shop"), adapters={"default": fake})


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
    assert ("(from the application's configuration)" in told.output) is (code == 0)


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
