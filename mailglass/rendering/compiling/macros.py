"""Macros: where each is defined and imported, which calls can be written out, and with what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from jinja2 import Environment, nodes
from jinja2 import TemplateError as JinjaError

from mailglass.rendering.compiling.constructs import Construct, constructs, settled
from mailglass.rendering.compiling.folding import bind
from mailglass.rendering.compiling.scopes import (
    Reader,
    Scope,
    UnknownError,
    stored_names,
    value_of,
)
from mailglass.rendering.compiling.translating import with_calls

_LOADED: Final[WeakKeyDictionary[Environment, dict[str, Module]]] = WeakKeyDictionary()
"""Files are read once: the environments never read a changed file anew."""
ARGUMENTS: Final = frozenset({"varargs", "kwargs"})
_CALLED: Final = re.compile(r"(?<![\w.])(?:([A-Za-z_]\w*)\s*\.\s*)?([A-Za-z_]\w*)\s*\(")
_STRING: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import binds: a file, or one macro of it."""

    file: str
    macro: str | None
    with_context: bool
    at: int
    """The place of the import among the file's outermost statements."""


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """A macro as written: the file, the tree, the text from ``macro`` to ``endmacro``."""

    file: str
    node: nodes.Macro
    start: int
    end: int
    at: int
    """Its place among the file's outermost statements."""

    @property
    def name(self) -> str:
        """Return the name it is defined by."""
        return str(self.node.name)


@dataclass(slots=True, eq=False)
class Module:
    """A file's outermost statements: what it defines, imports and binds."""

    name: str
    text: str
    filename: str | None
    tree: nodes.Template
    stores: Counter[str]
    macros: dict[str, Macro] = field(default_factory=dict)
    imports: dict[str, Imported] = field(default_factory=dict)
    all_defined: frozenset[str] = frozenset()

    def context(self, environment: Environment) -> nodes.EvalContext:
        """Return what Jinja's constants depend on in this file."""
        return nodes.EvalContext(environment, self.name)


@dataclass(slots=True)
class Library:
    """The files of a template, each loaded once."""

    environment: Environment
    reader: Reader
    modules: dict[str, Module] = field(default_factory=dict)
    scanned: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    """What was read of each macro's text; the same call means the same."""
    taken: set[str] = field(default_factory=set)
    """The environment's names that were used as constants where a mail may have its own."""

    def module(self, name: str) -> Module:
        """Load a file with all that it imports; Jinja's own errors come through."""
        found = self.modules.get(name)
        if found is None:
            loaded = _LOADED.setdefault(self.environment, {})
            if name not in loaded:
                loaded[name] = self._load(name)
            found = self.modules[name] = loaded[name]
            for one in found.imports.values():
                try:
                    self.module(one.file)
                except JinjaError:
                    # It is told where something of it is called, or by Jinja when it renders.
                    continue
        return found

    def _load(self, name: str) -> Module:
        environment = self.environment
        if environment.loader is None:
            raise TypeError("the environment has no loader")
        text, filename, _ = environment.loader.get_source(environment, name)
        text = with_calls(environment, settled(text))
        tree = environment.parse(text, name, filename)
        outermost = [one for one in tree.body if not isinstance(one, nodes.Macro)]
        stores = stored_names(outermost)
        defined = [one for one in tree.body if isinstance(one, nodes.Macro)]
        stores.update(one.name for one in defined)
        found = Module(name, text, filename, tree, stores)
        found.all_defined = frozenset(one.name for one in tree.find_all(nodes.Macro))
        found.macros = {one.name: one for one in _macros_of(found) if stores[one.name] == 1}
        found.imports = {alias: one for alias, one in _imports_of(tree) if stores[alias] == 1}
        return found

    def resolve(self, callee: nodes.Node, module: Module, hidden: frozenset[str]) -> Found | None:
        """Return the macro that a call in a file means, or None for what is none."""
        match callee:
            case nodes.Name(name=name) if name not in hidden and name in module.macros:
                return Found(module, module.macros[name], None)
            case nodes.Name(name=alias) if alias not in hidden:
                imported = module.imports.get(alias)
                name = (imported.macro if imported else None) or ""
            case nodes.Getattr(node=nodes.Name(name=alias), attr=name) if alias not in hidden:
                imported = module.imports.get(alias)
                imported = None if imported and imported.macro else imported
            case _:
                return None
        other = self.modules.get(imported.file) if imported else None
        if other is None or name not in other.macros or name.startswith("_"):
            return None
        return Found(other, other.macros[name], imported)

    def scope_of(self, found: Found, module: Module) -> Scope:
        """Return what a macro sees around it: its file, seen with the caller's context or without."""
        if found.imported is None:
            return self.outermost(found.module, self._base(), until=found.macro.at)
        if not found.imported.with_context:
            free = Scope(base=self._globals())
            return self.outermost(found.module, free, until=found.macro.at)
        around = self.outermost(module, self._base(), until=found.imported.at)
        return self.outermost(found.module, around, until=found.macro.at)

    def outermost(self, module: Module, around: Scope, *, until: int | None = None) -> Scope:
        """Return the constants that a file binds before one of its outermost statements."""
        scope = Scope(dynamic=set(module.stores), outer=around)
        settable = frozenset(name for name, times in module.stores.items() if times == 1)
        for one in module.tree.body[:until]:
            if isinstance(one, nodes.Assign):
                bind(one, scope, module.context(self.environment), settable)
        return scope

    def page(self, module: Module) -> Scope:
        """Return the scope of a file that is part of the page, before its first statement."""
        return Scope(dynamic=set(module.stores), outer=self._base())

    def _base(self) -> Scope:
        return Scope(base=self._globals(), taken=self.taken)

    def _globals(self) -> Mapping[str, object]:
        return {name: one for name, one in self.environment.globals.items() if not callable(one)}


@dataclass(frozen=True, slots=True)
class Found:
    """The macro that a call means, and the import it came by."""

    module: Module
    macro: Macro
    imported: Imported | None


def bound(
    call: nodes.Call,
    macro: Macro,
    caller: Scope,
    around: Scope,
    contexts: Sequence[nodes.EvalContext],
) -> Scope:
    """Return the scope of a macro's body for one call.

    Raises:
        UnknownError: for arguments that the macro does not take.

    """
    node = macro.node
    names = [one.name for one in node.args]
    inner = stored_names([node])
    inner.subtract([macro.name])
    scope = Scope(dynamic={name for name, times in inner.items() if times > 0}, outer=around)
    given = dict(zip(names, call.args, strict=False))
    given |= {one.key: one.value for one in call.kwargs}
    refused = len(call.args) > len(names) or call.dyn_args or call.dyn_kwargs
    if refused or given.keys() - set(names) or len(given) != len(call.args) + len(call.kwargs):
        raise UnknownError
    defaults = dict(zip(names[len(names) - len(node.defaults) :], node.defaults, strict=True))
    for name in names:
        try:
            if inner[name] > 1:
                continue
            if name in given:
                scope.known[name] = value_of(given[name], caller, contexts[0])
            elif name in defaults:
                scope.known[name] = value_of(defaults[name], scope, contexts[1])
            else:
                continue
            scope.dynamic.discard(name)
        except UnknownError:
            continue
    return scope


@dataclass(frozen=True, slots=True)
class Placed:
    """A call whose HTML stands where it is called: its tree, and where its name and it end."""

    call: nodes.Call
    name_end: int
    end: int
    is_conditional: bool
    is_reached: bool


Decide = Callable[[nodes.Node], bool | None]


def calls_in(node: nodes.Expr, body: str, body_start: int, decide: Decide) -> list[Placed]:
    """Return the calls that an output consists of; none where they cannot be told apart."""
    found = list(_alternatives(node, decide, is_conditional=False, is_reached=True))
    names = {_spelled(call.node) for call, _, _ in found}
    every = [one for one in (node, *node.find_all(nodes.Call)) if isinstance(one, nodes.Call)]
    spans = [one for one in _spans(body) if one[0] in names]
    if not len(spans) == len(found) == sum(_spelled(one.node) in names for one in every):
        return []
    return [
        Placed(call, body_start + name_end, body_start + end, is_conditional, is_reached)
        for (call, is_conditional, is_reached), (_, name_end, end) in zip(found, spans, strict=True)
    ]


def _alternatives(
    node: nodes.Node, decide: Decide, *, is_conditional: bool, is_reached: bool
) -> Iterator[tuple[nodes.Call, bool, bool]]:
    if isinstance(node, nodes.Call) and _spelled(node.node):
        yield node, is_conditional, is_reached
    elif isinstance(node, nodes.CondExpr):
        decided = decide(node.test)
        is_open = is_conditional or decided is None
        for branch, wanted in ((node.expr1, True), (node.expr2, False)):
            if branch is not None:
                here = is_reached and decided in {None, wanted}
                yield from _alternatives(branch, decide, is_conditional=is_open, is_reached=here)


def _spelled(callee: nodes.Node) -> str:
    match callee:
        case nodes.Name(name=name):
            return str(name)
        case nodes.Getattr(node=nodes.Name(name=alias), attr=attr):
            return f"{alias}.{attr}"
        case _:
            return ""


def _spans(body: str) -> Iterator[tuple[str, int, int]]:
    """Yield each call's name, and where its name and the call end."""
    plain = _STRING.sub(lambda found: "'" * len(found[0]), body)
    for found in _CALLED.finditer(plain):
        depth, at = 0, found.end() - 1
        while at < len(plain):
            depth += (plain[at] in "([{") - (plain[at] in ")]}")
            at += 1
            if depth == 0:
                break
        yield f"{found[1]}.{found[2]}" if found[1] else found[2], found.end(2), at


def _macros_of(module: Module) -> Iterator[Macro]:
    outermost = [
        (at, one) for at, one in enumerate(module.tree.body) if isinstance(one, nodes.Macro)
    ]
    places = _definitions(constructs(module.text))
    if len(places) == len(outermost):
        for (at, node), (start, end) in zip(outermost, places, strict=True):
            yield Macro(module.name, node, start, end, at)


def _definitions(found: Sequence[Construct]) -> list[tuple[int, int]]:
    """Return where the outermost macros stand."""
    places: list[tuple[int, int]] = []
    awaited: list[str] = []
    start = 0
    for one in found:
        if one.kind != "statement":
            continue
        if one.word in {"if", "for", "with", "block", "call", "filter", "macro", "trans"} and (
            not awaited or awaited[-1] != "endtrans"
        ):
            if one.word == "macro" and not awaited:
                start = one.start
            awaited.append(f"end{one.word}")
        elif awaited and one.word == awaited[-1]:
            awaited.pop()
            if one.word == "endmacro" and not awaited:
                places.append((start, one.end))
    return places


def _imports_of(tree: nodes.Template) -> Iterator[tuple[str, Imported]]:
    for at, node in enumerate(tree.body):
        if not isinstance(node, (nodes.Import, nodes.FromImport)):
            continue
        file = node.template.value if isinstance(node.template, nodes.Const) else None
        if not isinstance(file, str):
            continue
        if isinstance(node, nodes.Import):
            yield node.target, Imported(file, None, node.with_context, at)
            continue
        for one in node.names:
            name, alias = (one, one) if isinstance(one, str) else one
            yield alias, Imported(file, name, node.with_context, at)
