"""Lists the public names with their signatures, from the code itself, the same on every Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, Final

MODULES: Final = (
    "mailglass",
    "mailglass.adapters",
    "mailglass.contrib.django",
    "mailglass.contrib.fastapi",
    "mailglass.contrib.flask",
    "mailglass.contrib.starlette",
    "mailglass.envelope",
    "mailglass.errors",
    "mailglass.inbound.mailbox",
    "mailglass.preflight.standard",
    "mailglass.testing",
    "mailglass.web.asgi",
    "mailglass.web.tracking",
    "mailglass.web.unsubscribe",
    "mailglass.web.webhooks",
    "mailglass.webhooks.endpoint",
)
"""What docs/api_stability.md names, module by module."""
_STARS: Final[Mapping[object, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_SPECIAL: Final = frozenset(
    {"__call__", "__enter__", "__exit__", "__init__", "__iter__", "__len__"}
)


def api_text() -> str:
    """Return every public name of the modules with its kind and signature, sorted."""
    return "\n".join(line for module in MODULES for line in _module(import_module(module)))


def _module(module: ModuleType) -> Iterator[str]:
    yield f"# {module.__name__}"
    for name in sorted(_public(module)):
        yield from _name(name, getattr(module, name))
    yield ""


def _public(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    constants = inspect.get_annotations(module)
    return [
        name
        for name, found in vars(module).items()
        if not name.startswith("_")
        and (name in constants or getattr(found, "__module__", None) == module.__name__)
    ]


def _name(name: str, found: object) -> Iterator[str]:
    if isinstance(found, type):
        yield from _class(name, found)
    elif isinstance(found, FunctionType):
        yield f"def {name}{_signature(found)}"
    elif callable(found):
        yield f"def {name}(…)"
    else:
        yield f"{name}: {type(found).__name__}"


def _class(name: str, found: type) -> Iterator[str]:
    bases = ", ".join(one.__name__ for one in found.__bases__ if one is not object)
    yield f"class {name}({bases})"
    if issubclass(found, Enum):
        yield from (f"    {key} = {one.value!r}" for key, one in found.__members__.items())
    yield from (f"    {line}" for line in sorted(set(_attributes(found))))
    for key, one in sorted(_members(found).items()):
        if key == "__init__" and getattr(found, "_is_protocol", False):
            continue
        yield from _member(key, one)


def _attributes(found: type) -> Iterator[str]:
    if is_dataclass(found):
        for one in fields(found):
            if one.name.startswith("_"):
                continue
            how = " keyword-only" if one.kw_only else ""
            yield f"{one.name}: {_type(one.type)}{how}"
        return
    if issubclass(found, Enum):
        return
    for owner in found.__mro__:
        if owner.__module__.startswith("mailglass"):
            for name, kind in inspect.get_annotations(owner).items():
                if not name.startswith("_"):
                    yield f"{name}: {_type(kind)}"


def _members(found: type) -> dict[str, object]:
    """Return what the class and its bases of ours define, the nearest definition of each."""
    members: dict[str, object] = {}
    for owner in reversed(found.__mro__):
        if owner.__module__.startswith("mailglass"):
            members |= {
                name: one
                for name, one in vars(owner).items()
                if not name.startswith("_") or name in _SPECIAL
            }
    return members


def _member(name: str, one: object) -> Iterator[str]:
    match one:
        case staticmethod() | classmethod():
            kind = type(one).__name__
            yield f"    {kind} def {name}{_signature(one.__func__)}"
        case property() if one.fget is not None:
            yield f"    property {name}: {_returned(one.fget)}"
        case cached_property():
            yield f"    property {name}: {_returned(one.func)}"
        case FunctionType():
            how = "async " if inspect.iscoroutinefunction(one) else ""
            yield f"    {how}def {name}{_signature(one)}"
        case _:
            return


def _signature(function: Callable[..., Any]) -> str:
    found = inspect.signature(function)
    shown, has_star = [], False
    for one in found.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not has_star:
            shown.append("*")
            has_star = True
        has_star |= one.kind is one.VAR_POSITIONAL
        stars = _STARS.get(one.kind, "")
        kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
        shown.append(f"{stars}{one.name}{kind}{_default(one.default)}")
    return f"({', '.join(shown)}) -> {_returned(function)}"


def _returned(function: Callable[..., Any]) -> str:
    found = inspect.signature(function).return_annotation
    return "" if found is inspect.Signature.empty else _type(found)


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    return f" = {value!r}" if _is_plain(value) else " = …"


def _is_plain(value: object) -> bool:
    """Tell whether its repr is the same in every process and on every Python."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    is_simple = value is None or isinstance(value, bool | int | float | str | bytes)
    return is_simple and not isinstance(value, Enum)
