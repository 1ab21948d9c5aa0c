"""The registry: every provider's name, its adapter class and its options, loaded when asked for.

A provider's file needs no entry of its own beyond its name here: its adapter is the class of that
file whose ``PROVIDER`` is the name, and its options are the keywords of the constructor. Names of
django-anymail's settings are understood too; a file whose options they do not fit exports
``ALIASES``, from that name in small letters and without the provider's prefix to ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final, cast

from mailglass.adapters import Adapter
from mailglass.adapters.keywords import Given, Option, Written, built, options_of, wrong
from mailglass.errors import ConfigError, ConfigErrorType

API_PROVIDERS: Final = (
    "amazon_ses",
    "brevo",
    "mailersend",
    "mailgun",
    "mailjet",
    "mailtrap",
    "mandrill",
    "postal",
    "postmark",
    "resend",
    "scaleway",
    "sendgrid",
    "sparkpost",
    "unisender_go",
)
_OTHERS: Final = MappingProxyType(
    {"fake": "FakeAdapter", "file": "FileAdapter", "smtp": "SmtpAdapter"}
)
_SAME: Final = (
    ("api_key", "server_token", "api_token", "secret_key", "token"),
    ("base_url", "api_url"),
    ("domain", "sender_domain"),
    (
        "webhook_key",
        "webhook_signing_key",
        "signing_secret",
        "tracking_webhook_verification_key",
        "webhook_verification_key",
    ),
)
"""Names for one thing: where a provider has one of them, any of the others means it."""
_ALIASES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"sparkpost": {"track_initial_open_as_opened": "first_open_is_open"}}
)
_ANYMAIL_PATHS: Final = MappingProxyType({"mailgun": "/v3", "sendgrid": "/v3"})
"""What django-anymail's API address ends in and ours does not."""
_ANYMAIL_ADDRESS: Final = "api_url"
_OFFLINE: Final = MappingProxyType({"region": "us-east-1", "base_url": "https://provider.invalid"})
UNSET: Final = "not-set"


def names() -> tuple[str, ...]:
    """Return the names of all adapters, sorted."""
    found = [name for name in API_PROVIDERS if find_spec(f"mailglass.adapters.{name}")]
    return tuple(sorted((*found, *_OTHERS)))


def adapter_class(name: str) -> type:
    """Return the adapter's class, imported now.

    Raises:
        ConfigError: ``invalid`` for a name that is not registered.

    """
    if name not in names():
        raise ConfigError(
            "there is no adapter of this name",
            type=ConfigErrorType.INVALID,
            key="adapter",
            hint=f"Adapters are {', '.join(names())}.",
        )
    module = import_module(f"mailglass.adapters.{name}")
    if name in _OTHERS:
        return cast("type", getattr(module, _OTHERS[name]))
    return next(
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and one.__module__ == module.__name__
        and vars(one).get("PROVIDER") == name
    )


def options(name: str) -> tuple[Option, ...]:
    """Return the options of an adapter.

    Raises:
        ConfigError: ``invalid`` for a name that is not registered.

    """
    return options_of(adapter_class(name))


def known_as(name: str, given: Given) -> dict[str, Written]:
    """Return options under our names; those of django-anymail are understood, in any case.

    Raises:
        ConfigError: ``invalid`` for a name that the provider does not know, or one given twice.

    """
    kind = adapter_class(name)
    known = tuple(option.name for option in options_of(kind))
    exported = getattr(import_module(kind.__module__), "ALIASES", {})
    own: Mapping[str, str] = {**_ALIASES.get(name, {}), **exported}
    found: dict[str, Written] = {}
    for written, value in given.items():
        short = written.lower().removeprefix("anymail_")
        plain = short.removeprefix(f"{name}_")
        option = _option_named((short, plain), known, own)
        if option is None:
            raise wrong(f"{name} has no option of this name", key=written, names=known)
        if option in found:
            raise wrong(f"{option} is given under two names", key=written)
        found[option] = _without_path(name, plain, value)
    return found


def _option_named(shown: Sequence[str], known: Sequence[str], own: Mapping[str, str]) -> str | None:
    for name in shown:
        if name in own:
            return own[name]
        if name in known:
            return name
    for name in shown:
        for group in _SAME:
            if name in group:
                return next((one for one in group if one in known), None)
    return None


def _without_path(name: str, shown: str, value: Written) -> Written:
    if shown != _ANYMAIL_ADDRESS or not isinstance(value, str):
        return value
    return value.rstrip("/").removesuffix(_ANYMAIL_PATHS.get(name, ""))


def build(name: str, given: Given, **parts: Any) -> Adapter:
    """Return the adapter that a name and its options describe; nothing connects yet.

    ``parts`` (a transport, a clock) go to the constructor as they are.

    Raises:
        ConfigError: ``missing`` or ``invalid``, with the option's name in ``key``.

    """
    return cast(
        "Adapter", built(adapter_class(name), known_as(name, given), provider=name, **parts)
    )


def build_offline(name: str, given: Given, **parts: Any) -> Adapter:
    """Return an adapter that sends nothing: what it needs for that alone may be missing.

    Raises:
        ConfigError: ``invalid``, with the option's name in ``key``.

    """
    known = known_as(name, given)
    for option in options(name):
        if option.is_required and option.name not in known:
            known[option.name] = _OFFLINE.get(option.name, UNSET)
    return cast("Adapter", built(adapter_class(name), known, provider=name, **parts))


def secret_values(name: str, given: Given) -> frozenset[str]:
    """Return the values among the options that nobody else may see."""
    secret = {one.name for one in options(name) if one.kind.is_secret}
    found = {key: value for key, value in known_as(name, given).items() if key in secret}
    return frozenset(
        one
        for value in found.values()
        for one in (
            value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        )
        if isinstance(one, str) and one
    )
