"""Settings: what is read, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.settings import PREFIX, AdapterName, RateLimit, Settings, load_settings

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os  # noqa: PLC0415 - only here

    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_defaults_work_without_any_variable() -> None:
    """A newcomer starts with nothing set."""
    assert load_settings().adapter is AdapterName.FAKE


def test_variables_are_read_and_keywords_go_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment configures, the code decides."""
    monkeypatch.setenv("MAILGLASS_RETRY_BASE_S", "2.5")
    monkeypatch.setenv("MAILGLASS_RATE_LIMIT_PER_TENANT", '{"capacity": 5, "per_s": 0.5}')
    monkeypatch.setenv("MAILGLASS_ATTEMPTS_MAX", "3")
    found = load_settings(attempts_max=4)
    assert found.retry_base_s == 2.5
    assert found.rate_limit_per_tenant == RateLimit(capacity=5, per_s=0.5)
    assert found.attempts_max == 4


def test_an_unknown_variable_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt setting does not silently do nothing."""
    monkeypatch.setenv("MAILGLASS_SMPT_HOST", "relay.example")
    with pytest.raises(ConfigError, match="MAILGLASS_SMPT_HOST is not a setting") as caught:
        load_settings()
    assert caught.value.type is ConfigErrorType.INVALID
    assert caught.value.hint == "Did you mean MAILGLASS_SMTP_HOST?"


def test_an_unknown_keyword_is_refused() -> None:
    """The same in code."""
    with pytest.raises(ConfigError) as caught:
        load_settings(smpt_host="relay.example")
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.INVALID, "smpt_host")


@pytest.mark.parametrize(
    ("given", "kind", "key"),
    [
        ({"adapter": "smtp"}, ConfigErrorType.MISSING, "smtp_host"),
        ({"adapter": "file"}, ConfigErrorType.MISSING, "file_folder"),
        ({"smtp_username": "u"}, ConfigErrorType.CONFLICTING, "smtp_username"),
        ({"retry_base_s": 10, "retry_cap_s": 5}, ConfigErrorType.CONFLICTING, "retry_base_s"),
        ({"smtp_port": 0}, ConfigErrorType.INVALID, "smtp_port"),
        ({"adapter": "pigeon"}, ConfigErrorType.INVALID, "adapter"),
        ({"rate_limit_per_domain": {"capacity": -1, "per_s": 1}}, ConfigErrorType.INVALID,
         "rate_limit_per_domain"),
    ],
)  # fmt: skip
def test_wrong_settings_are_told_at_boot(
    given: dict[str, object], kind: ConfigErrorType, key: str
) -> None:
    """Nothing waits for the first mail to fail."""
    with pytest.raises(ConfigError) as caught:
        load_settings(**given)
    assert (caught.value.type, caught.value.key) == (kind, key)


def test_json_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nested value that is not JSON names its setting and keeps its value to itself."""
    monkeypatch.setenv("MAILGLASS_RATE_LIMIT_PER_TENANT", CANARY)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.key == "rate_limit_per_tenant"
    assert CANARY not in f"{caught.value!r} {caught.value.to_dict()}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_no_error_shows_a_value(name: str) -> None:
    """Row 52, 82: a password in the wrong place is not printed."""
    with pytest.raises(ConfigError) as caught:
        load_settings(**{name: {CANARY: {CANARY: CANARY}}})
    shown = f"{caught.value!r} {caught.value} {caught.value.to_dict()} {caught.value.__cause__!r}"
    assert CANARY not in shown


def test_secrets_are_hidden_in_repr() -> None:
    """Row 82: settings can be logged."""
    found = load_settings(
        database_url=f"postgresql://u:{CANARY}@h/d", smtp_username="u", smtp_password=CANARY
    )
    assert CANARY not in f"{found!r} {found}"
    assert found.smtp_password is not None
    assert found.smtp_password.get_secret_value() == CANARY


def test_settings_cannot_be_changed() -> None:
    """One object, read at boot, the same for ever."""
    found = load_settings()
    with pytest.raises(Exception, match="frozen"):
        found.file_folder = Path("x")


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployment tools pass variables that nobody filled in."""
    monkeypatch.setenv("MAILGLASS_SMTP_HOST", "")
    monkeypatch.setenv("MAILGLASS_ATTEMPTS_MAX", "")
    assert load_settings().smtp_host is None
    assert load_settings().attempts_max == 20


@pytest.mark.parametrize("name", ["smtp_host", "smtp_password", "default_tenant", "database_url"])
def test_an_empty_text_is_no_value(name: str) -> None:
    """Code that passes one has lost something on the way."""
    with pytest.raises(ConfigError) as caught:
        load_settings(**{name: ""})
    assert caught.value.key == name


def test_null_in_a_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a tenant of that name."""
    monkeypatch.setenv("MAILGLASS_DEFAULT_TENANT", "null")
    assert load_settings().default_tenant is None


def test_a_misspelt_variable_in_small_letters_is_refused_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Variables count in any case, so their mistakes do."""
    monkeypatch.setenv("mailglass_smtp_hots", "mail.shop.example")
    with pytest.raises(ConfigError, match="smtp_hots"):
        load_settings()


@pytest.mark.parametrize("capacity", [float("inf"), float("nan")])
def test_a_limit_is_a_number(capacity: float) -> None:
    """An endless one is None."""
    with pytest.raises(ConfigError):
        load_settings(rate_limit_per_tenant={"capacity": capacity, "per_s": 1})
