"""The registry: names, options read from constructors, and other clients' names for them."""

from __future__ import annotations

from typing import Any

import pytest

from mailglass.adapters.api import ApiAdapter
from mailglass.adapters.postmark import PostmarkAdapter
from mailglass.adapters.providers import (
    API_PROVIDERS,
    adapter_class,
    build,
    build_offline,
    known_as,
    names,
    options,
    secret_values,
)
from mailglass.adapters.signatures import WebhookAuth
from mailglass.adapters.smtp import SmtpAdapter
from mailglass.errors import ConfigError, ConfigErrorType


def test_every_name_has_its_class() -> None:
    """Found in the provider's own file."""
    for name in names():
        kind = adapter_class(name)
        assert issubclass(kind, ApiAdapter) == (name in API_PROVIDERS)


def test_an_unknown_name_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(ConfigError) as caught:
        adapter_class("pigeon")
    assert caught.value.type is ConfigErrorType.INVALID
    assert "postmark" in (caught.value.hint or "")


def test_the_constructor_says_what_the_options_are() -> None:
    """Kinds come from annotations; what cannot be written is left out."""
    found = {one.name: one for one in options("postmark")}
    assert found["server_token"].kind.is_secret
    assert found["server_token"].is_required
    assert not found["message_stream"].is_required
    assert found["webhook_networks"].kind.value == "texts"
    assert "webhook_tolerance_s" not in found
    assert not {"transport", "clock", "webhooks"} & set(found)


def test_a_value_of_several_fields_is_several_options() -> None:
    """SES's credentials are one keyword of the constructor."""
    found = {one.name: one.kind.value for one in options("amazon_ses")}
    assert (found["access_key_id"], found["secret_access_key"]) == ("text", "secret")
    assert found["topic_arns"] == "texts"


def test_an_adapter_is_built_from_texts() -> None:
    """Numbers, choices and switches are read."""
    assert isinstance(build("postmark", {"server_token": "t"}), PostmarkAdapter)
    smtp = build("smtp", {"host": "mail.example", "port": "2525", "security": "tls"})
    assert isinstance(smtp, SmtpAdapter)
    assert build("sendgrid", {"api_key": "k", "sandbox": "yes"}).name == "sendgrid"


@pytest.mark.parametrize(
    ("name", "given", "kind", "key"),
    [
        ("postmark", {}, ConfigErrorType.MISSING, "server_token"),
        ("postmark", {"server_token": "t", "colour": "x"}, ConfigErrorType.INVALID, "colour"),
        ("sendgrid", {"api_key": "k", "sandbox": "canary"}, ConfigErrorType.INVALID, "sandbox"),
        ("smtp", {"host": "h", "port": "canary"}, ConfigErrorType.INVALID, "port"),
        ("smtp", {"host": "h", "security": "canary"}, ConfigErrorType.INVALID, "security"),
        ("postmark", {"server_token": ["a", "b"]}, ConfigErrorType.INVALID, "server_token"),
        ("postmark", {"server_token": "a", "API_KEY": "b"}, ConfigErrorType.INVALID, "API_KEY"),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not(
    name: str, given: dict[str, str | list[str]], kind: ConfigErrorType, key: str
) -> None:
    """The value may be a secret."""
    with pytest.raises(ConfigError) as caught:
        build(name, given)
    assert (caught.value.type, caught.value.key) == (kind, key)
    assert "canary" not in f"{caught.value!r}"


@pytest.mark.parametrize(
    ("name", "written", "option"),
    [
        ("postmark", "POSTMARK_SERVER_TOKEN", "server_token"),
        ("postmark", "ANYMAIL_POSTMARK_SERVER_TOKEN", "server_token"),
        ("postmark", "WEBHOOK_SECRET", "webhook_secret"),
        ("mailgun", "Mailgun_Webhook_Signing_Key", "webhook_key"),
        ("mailgun", "MAILGUN_SENDER_DOMAIN", "domain"),
        ("sendgrid", "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", "webhook_key"),
        ("mandrill", "MANDRILL_WEBHOOK_KEY", "webhook_key"),
        ("mandrill", "MANDRILL_WEBHOOK_URL", "webhook_url"),
        ("sparkpost", "SPARKPOST_TRACK_INITIAL_OPEN_AS_OPENED", "first_open_is_open"),
    ],
)
def test_names_of_django_anymail_are_understood(name: str, written: str, option: str) -> None:
    """In any case, with and without its prefix."""
    assert known_as(name, {written: "v"}) == {option: "v"}


def test_an_api_address_of_django_anymail_loses_its_version() -> None:
    """Our own is the base alone."""
    written = {"MAILGUN_API_URL": "https://api.eu.mailgun.net/v3"}
    assert known_as("mailgun", written) == {"base_url": "https://api.eu.mailgun.net"}


def test_what_is_never_sent_needs_no_key() -> None:
    """For looking at requests and webhooks."""
    for name in API_PROVIDERS:
        if name in names():
            assert build_offline(name, {}).name == name


def test_secret_values_are_those_of_secret_options() -> None:
    """They are masked wherever they would be shown."""
    given = {"POSTMARK_SERVER_TOKEN": "t", "message_stream": "s", "webhook_secret": ["a:b", "c:d"]}
    assert secret_values("postmark", given) == {"t", "a:b", "c:d"}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("postmark", "webhook_key"),
        ("sparkpost", "webhook_key"),
        ("brevo", "webhook_key"),
        ("mailjet", "webhook_tolerance_s"),
        ("amazon_ses", "webhook_key"),
        ("sendgrid", "webhook_url"),
    ],
)
def test_an_option_that_proves_nothing_is_refused(name: str, option: str) -> None:
    """A key that is never looked at would only look safe."""
    with pytest.raises(ConfigError) as caught:
        build_offline(name, {option: "600"})
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.INVALID, option)


@pytest.mark.parametrize(
    "auth", [{"keys": ["k"]}, {"url": "https://a.example"}, {"tolerance_s": 9}]
)
def test_a_part_that_proves_nothing_is_refused_in_code_as_well(auth: dict[str, Any]) -> None:
    """The same without settings."""
    with pytest.raises(ConfigError, match="not checked with"):
        PostmarkAdapter(server_token="token", webhooks=WebhookAuth(**auth))
