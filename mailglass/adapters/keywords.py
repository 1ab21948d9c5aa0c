"""Keywords: the options of an adapter, read from its constructor and built from written values.

The constructor is the only place that lists them: its annotations say what each is. What cannot be
written in a setting (a transport, a clock, a callable) is none.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import StrEnum, unique
from os import PathLike
from typing import Any, Final

from mailglass.adapters.signatures import SIGNED_PARTS, Secret, WebhookAuth
from mailglass.errors import ConfigError, ConfigErrorType

Written = str | int | float | Sequence[str]
"""A text, a number or a switch, or several texts where an option may be given more than once."""
Given = Mapping[str, Written]
"""Options as they are written."""


@unique
class OptionKind(StrEnum):
    """What is written for an option; ``secrets`` and ``texts`` may be given more than once."""

    TEXT = "text"
    TEXTS = "texts"
    SECRET = "secret"  # noqa: S105 - the name of a kind, not a secret
    SECRETS = "secrets"
    FLAG = "flag"
    INTEGER = "integer"
    SECONDS = "seconds"
    CHOICE = "choice"

    @property
    def is_secret(self) -> bool:
        """Tell whether its value is shown to nobody."""
        return self in {OptionKind.SECRET, OptionKind.SECRETS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: ``target`` is the keyword it goes to, ``part`` the field of the value there."""

    name: str
    kind: OptionKind
    is_required: bool = False
    target: str
    part: str | None = None
    choices: tuple[str, ...] = ()
    read: Callable[[str], Any] = str


_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _flag(written: str) -> bool:
    return _FLAGS[written.lower()]


_WEBHOOK_PARTS: Final[tuple[tuple[str, str, OptionKind, Callable[[str], Any]], ...]] = (
    ("webhook_secret", "credentials", OptionKind.SECRETS, str),
    ("webhook_key", "keys", OptionKind.SECRETS, str),
    ("webhook_networks", "networks", OptionKind.TEXTS, str),
    ("webhook_url", "url", OptionKind.TEXT, str),
    ("webhook_tolerance_s", "tolerance_s", OptionKind.SECONDS, float),
)
"""``webhook_secret`` is ``user:password`` or a bearer token; ``webhook_key`` signs webhooks."""
_SECRET_NAMES: Final = frozenset({"password", "secret_access_key", "session_token"})
_SCALARS: Final[Mapping[Any, tuple[OptionKind, Callable[[str], Any]]]] = {
    str: (OptionKind.TEXT, str),
    bool: (OptionKind.FLAG, _flag),
    int: (OptionKind.INTEGER, int),
    float: (OptionKind.SECONDS, float),
}


def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options of an adapter's class, in the order of its constructor.

    What the check of the provider's webhooks never looks at is none.
    """
    hints = _hints(kind)
    found: list[Option] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        is_required = parameter.default is inspect.Parameter.empty
        found += _options(name, hints[name], is_required=is_required)
    used = getattr(kind, "WEBHOOK_PARTS", SIGNED_PARTS.keys())
    unused = {name for part, name in SIGNED_PARTS.items() if part not in used}
    return tuple(one for one in found if one.name not in unused)


def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind.__init__)  # type: ignore[misc]  # the constructor is asked for its annotations, and not called


def _options(name: str, hint: Any, *, is_required: bool) -> Iterator[Option]:
    members = _members(hint)
    if WebhookAuth in members:
        for own_name, part, shape, read in _WEBHOOK_PARTS:
            yield Option(name=own_name, kind=shape, target=name, part=part, read=read)
        return
    parts = next((one for one in members if _is_parts(one)), None)
    if parts is not None:
        yield from _of_parts(parts, target=name, is_required=is_required)
        return
    option = _option(name, members)
    if option is not None:
        yield replace(option, is_required=is_required)


def _of_parts(parts: Any, *, target: str, is_required: bool) -> Iterator[Option]:
    hints = typing.get_type_hints(parts)
    for field in fields(parts):
        needed = is_required and field.default is MISSING
        for one in _options(field.name, hints[field.name], is_required=needed):
            yield replace(one, target=target, part=field.name)


def _is_parts(member: Any) -> bool:
    return isinstance(member, type) and is_dataclass(member)


def _members(hint: Any) -> tuple[Any, ...]:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    many = typing.get_args(hint) if is_union else (hint,)
    return tuple(one for one in many if one is not type(None))


def _option(name: str, members: tuple[Any, ...]) -> Option | None:
    """Return the option that an annotation describes; None where no text can stand for it."""
    if Secret in members or (name in _SECRET_NAMES and str in members):
        return Option(name=name, kind=OptionKind.SECRET, target=name)
    for member in members:
        if typing.get_origin(member) in {Sequence, tuple} and typing.get_args(member)[0] is str:
            return Option(name=name, kind=OptionKind.TEXTS, target=name)
        if typing.get_origin(member) is PathLike:
            return Option(name=name, kind=OptionKind.TEXT, target=name)
        if isinstance(member, type) and issubclass(member, StrEnum):
            choices = tuple(one.value for one in member)
            return Option(
                name=name, kind=OptionKind.CHOICE, target=name, choices=choices, read=member
            )
        if member in _SCALARS:
            shape, read = _SCALARS[member]
            return Option(name=name, kind=shape, target=name, read=read)
    return None


def built(kind: type, given: Given, *, provider: str, **parts: Any) -> Any:
    """Return the adapter that the options describe; ``parts`` go to the constructor as they are.

    Raises:
        ConfigError: ``missing`` for a required option, ``invalid`` for an unknown one, a second
            value or a value of the wrong form; the value is not in the error.

    """
    known = {option.name: option for option in options_of(kind)}
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise wrong(f"{provider} has no option of this name", key=unknown, names=tuple(known))
    keywords: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for option in known.values():
        if option.name in given:
            into = keywords if option.part is None else nested.setdefault(option.target, {})
            into[option.part or option.target] = _value(option, given[option.name])
        elif option.is_required:
            raise ConfigError(
                f"{option.name} is not set", type=ConfigErrorType.MISSING, key=option.name
            )
    for target, values in nested.items():
        keywords[target] = _part_type(kind, target)(**values)
    return kind(**keywords | parts)


def _part_type(kind: type, target: str) -> Any:
    return next(one for one in _members(_hints(kind)[target]) if _is_parts(one))


def _value(option: Option, written: Written) -> Any:
    shown = str(written) if isinstance(written, int | float) else written
    many = (shown,) if isinstance(shown, str) else tuple(shown)
    if option.kind in {OptionKind.TEXTS, OptionKind.SECRETS}:
        return many
    if len(many) != 1:
        raise wrong("the option is given more than once", key=option.name)
    try:
        return option.read(many[0])
    except (ValueError, KeyError):
        hint = f"It is one of {', '.join(option.choices)}." if option.choices else None
        raise ConfigError(
            f"the option {option.name} is no {option.kind.value}",
            type=ConfigErrorType.INVALID,
            key=option.name,
            hint=hint,
        ) from None


def wrong(message: str, *, key: str, names: Sequence[str] = ()) -> ConfigError:
    """Return the error for an option that cannot be; ``names`` are those that can."""
    hint = f"Its options are {', '.join(names)}." if names else None
    return ConfigError(message, type=ConfigErrorType.INVALID, key=key, hint=hint)
