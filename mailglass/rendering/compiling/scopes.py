"""What is known of a template's names before any mail: constants, and nothing that a mail brings."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import Environment, Undefined, nodes

from mailglass.rendering.components import Theme

_PURE_FILTERS: Final = frozenset({
    "abs", "capitalize", "e", "escape", "first", "int", "join", "last", "length", "lower", "replace",
    "round", "safe", "safe_url", "string", "title", "trim", "upper",
})  # fmt: skip
_PURE_TESTS: Final = frozenset({
    "boolean", "even", "false", "in", "integer", "mapping", "none", "number", "odd", "sequence",
    "string", "true", "==", "eq", "equalto", "!=", "ne",
})  # fmt: skip
_COMPOSED: Final = (
    nodes.BinExpr, nodes.UnaryExpr, nodes.Compare, nodes.Concat, nodes.Getattr, nodes.Getitem,
    nodes.Tuple, nodes.List, nodes.Dict, nodes.Slice,
)  # fmt: skip
_PURE: Final = (
    nodes.Const, nodes.Name, nodes.CondExpr, nodes.Getattr, nodes.Getitem, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair,
    nodes.Test,
)  # fmt: skip
CHOICES_MAX: Final = 16
"""How many values an expression may have and still count as a choice."""


class UnknownError(Exception):
    """Is raised for an expression whose value only a mail tells."""


@dataclass(slots=True)
class Scope:
    """Names with their constants; what is in ``dynamic`` is bound to something that is none."""

    known: dict[str, object] = field(default_factory=dict)
    dynamic: set[str] = field(default_factory=set)
    outer: Scope | None = None
    base: Mapping[str, object] = field(default_factory=dict)
    """The environment's own names, for an outermost scope."""
    taken: set[str] | None = None
    """Where to note which of the environment's names were used, if a mail may have its own."""

    def look(self, name: str) -> object:
        """Return a name's constant.

        Raises:
            UnknownError: when the name has none.

        """
        if name in self.dynamic:
            raise UnknownError
        if name in self.known:
            return self.known[name]
        if self.outer is not None:
            return self.outer.look(name)
        if name not in self.base:
            raise UnknownError
        if self.taken is not None:
            self.taken.add(name)
        return self.base[name]


@dataclass(slots=True)
class Reader:
    """Parses expressions once and tells their values."""

    environment: Environment
    _parsed: dict[str, nodes.Template] = field(default_factory=dict)

    def expression(self, body: str) -> nodes.Expr | None:
        """Return an expression's tree, or None for what is more than one."""
        first = self._parse(f"{{{{ {body} }}}}").body[0]
        found = first.nodes[0] if isinstance(first, nodes.Output) else None
        return None if isinstance(found, nodes.TemplateData) else found

    def assignment(self, body: str) -> nodes.Assign | None:
        """Return the tree of ``set a = b``; None for a block."""
        try:
            first = self._parse(f"{{% {body} %}}").body[0]
        except Exception:  # noqa: BLE001 - a set block, which does not end here
            return None
        return first if isinstance(first, nodes.Assign) else None

    def call_block(self, body: str) -> nodes.CallBlock | None:
        """Return the tree of ``call x()`` without its content."""
        first = self._parse(f"{{% {body} %}}{{% endcall %}}").body[0]
        return first if isinstance(first, nodes.CallBlock) else None

    def value(self, body: str, scope: Scope, context: nodes.EvalContext) -> object:
        """Return the constant that an expression is.

        Raises:
            UnknownError: when it is none.

        """
        node = self.expression(body)
        if node is None:
            raise UnknownError
        return value_of(node, scope, context)

    def _parse(self, text: str) -> nodes.Template:
        found = self._parsed.get(text)
        if found is None:
            found = self._parsed[text] = self.environment.parse(text)
        return found


def value_of(node: nodes.Node, scope: Scope, context: nodes.EvalContext) -> object:
    """Return the constant that a tree is, computed as Jinja itself computes constants.

    Raises:
        UnknownError: when it is none.

    """
    try:
        found = _value(node, scope, context)
    except UnknownError:
        raise
    except Exception as error:
        # Jinja finds no constant, or computing it fails: then it fails when the mail is rendered.
        raise UnknownError from error
    if isinstance(found, Undefined):
        raise UnknownError
    return found


def _value(node: nodes.Node, scope: Scope, context: nodes.EvalContext) -> object:
    match node:
        case nodes.Const():
            return node.value
        case nodes.Name(ctx="load"):
            return scope.look(node.name)
        case nodes.CondExpr() if node.expr2 is not None:
            is_first = value_of(node.test, scope, context)
            return value_of(node.expr1 if is_first else node.expr2, scope, context)
        case nodes.And() | nodes.Or():
            left = value_of(node.left, scope, context)
            goes_on = bool(left) is isinstance(node, nodes.And)
            return value_of(node.right, scope, context) if goes_on else left
        case nodes.Call(node=nodes.Getattr(attr="but") as method):
            return _other_theme(node, method, scope, context)
        case nodes.Filter() if node.name not in _PURE_FILTERS or node.node is None:
            raise UnknownError
        case nodes.Test() if node.name not in _PURE_TESTS:
            raise UnknownError
        case _ if isinstance(node, (nodes.Filter, nodes.Test, *_COMPOSED)):
            return _with_values(node, scope, context).as_const(context)
        case _:
            raise UnknownError


def _other_theme(
    call: nodes.Call, method: nodes.Getattr, scope: Scope, context: nodes.EvalContext
) -> object:
    theme = value_of(method.node, scope, context)
    given = {one.key: value_of(one.value, scope, context) for one in call.kwargs}
    if type(theme) is not Theme or call.args or call.dyn_args or call.dyn_kwargs:
        raise UnknownError
    return theme.but(**given)  # type: ignore[arg-type]  # the theme refuses what is wrong


def _with_values(node: Any, scope: Scope, context: nodes.EvalContext) -> Any:
    def replaced(child: Any) -> Any:
        if isinstance(child, nodes.Expr):
            return nodes.Const(value_of(child, scope, context))
        if isinstance(child, nodes.Node):
            return _with_values(child, scope, context)
        return [replaced(one) for one in child] if isinstance(child, list) else child

    made = copy.copy(node)
    for name, child in node.iter_fields():
        setattr(made, name, replaced(child))
    return made


def choices_of(node: nodes.Node, scope: Scope, context: nodes.EvalContext) -> tuple[object, ...]:
    """Return the values that an expression can have, whatever a mail brings.

    Raises:
        UnknownError: when they cannot be told, or are more than CHOICES_MAX.

    """
    found = list(dict.fromkeys(_choices(node, scope, context)))
    if len(found) > CHOICES_MAX:
        raise UnknownError
    return tuple(found)


def _choices(node: nodes.Node, scope: Scope, context: nodes.EvalContext) -> Iterator[object]:
    try:
        yield value_of(node, scope, context)
    except UnknownError:
        match node:
            case nodes.CondExpr() if node.expr2 is not None:
                yield from _choices(node.expr1, scope, context)
                yield from _choices(node.expr2, scope, context)
            case nodes.Getitem(ctx="load"):
                held = value_of(node.node, scope, context)
                if isinstance(held, dict):
                    yield from held.values()
                elif isinstance(held, (list, tuple)):
                    yield from held
                else:
                    raise
            case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="loop"), attr="cycle")):
                if node.dyn_args or node.kwargs:
                    raise
                for one in node.args:
                    yield from _choices(one, scope, context)
            case _:
                raise


def is_pure(node: nodes.Node) -> bool:
    """Tell whether a tree gives the same twice and changes nothing."""
    parts = (node, *node.find_all(nodes.Node))
    cycles = [one for one in parts if _is_cycle(one)]
    return all(isinstance(one, _PURE) or one in cycles for one in parts)


def _is_cycle(node: nodes.Node) -> bool:
    match node:
        case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="loop"), attr="cycle")):
            return True
        case _:
            return False


def stored_names(parts: Iterable[nodes.Node]) -> Counter[str]:
    """Return how often each name is bound in some parts of a template."""
    found: Counter[str] = Counter()
    for part in parts:
        for node in (part, *part.find_all(nodes.Node)):
            match node:
                case nodes.Name(ctx="store" | "param") | nodes.NSRef() | nodes.Macro():
                    found[node.name] += 1
                case nodes.Import():
                    found[node.target] += 1
                case nodes.FromImport():
                    found.update(one if isinstance(one, str) else one[1] for one in node.names)
                case _:
                    continue
    return found
