"""MJML mails, by the extra ``mjml``: what a template renders to is turned into HTML by mrml."""

from __future__ import annotations

import re
from typing import Any, Final

from mailglass import limits
from mailglass.errors import ConfigError, ConfigErrorType, TemplateError, TemplateErrorType
from mailglass.rendering.compiling.scanning import VOID

SUFFIX: Final = ".mjml.jinja"
INPUT_BYTES_MAX: Final = 512 * 1024

_TAG: Final = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][^\s/>]*)[^<>]*?(?P<closed>/?)>")
_PLAIN_REASON: Final = re.compile(r"[a-z ]{1,80}(?: at position \d+:\d+)?")
"""A reason in words alone, which cannot repeat what the document says."""


def to_html(mjml: str, *, template: str) -> str:
    """Return the HTML of an MJML document.

    ``mj-include`` reads nothing: include with Jinja. No web font is linked, since mail may not load
    one from elsewhere.

    Raises:
        TemplateError: ``jinja_compile`` for what is no MJML; the text never holds what it says.
        ConfigError: ``optional_dep_missing`` without the extra ``mjml``.

    """
    if len(mjml.encode("utf-8", "surrogatepass")) > INPUT_BYTES_MAX:
        raise _refused(template, f"more than {INPUT_BYTES_MAX} bytes of MJML")
    if _depth(mjml) > limits.INLINER_DEPTH_MAX:
        # mrml walks by recursion and would take the process down with it.
        raise _refused(template, f"elements nested more than {limits.INLINER_DEPTH_MAX} deep")
    mrml = _mrml()
    try:
        made = mrml.to_html(
            mjml,
            parser_options=mrml.ParserOptions(include_loader=mrml.noop_loader()),
            render_options=mrml.RenderOptions(disable_comments=True, fonts={}),
        )
    except OSError as error:
        where = _PLAIN_REASON.fullmatch(str(error))
        reason = f": {where[0]}" if where else ""
        raise _refused(template, f"it is not valid MJML{reason}") from error
    html: str = made.content
    return html


def _depth(mjml: str) -> int:
    """Return how deep tags nest, wherever they stand; what is never closed counts as open."""
    stack: list[str] = []
    deepest = 0
    for found in _TAG.finditer(mjml):
        name = found["name"].lower()
        if found["end"]:
            if name in stack[-8:]:
                while stack.pop() != name:
                    continue
        elif not found["closed"] and name not in VOID:
            stack.append(name)
            deepest = max(deepest, len(stack))
    return deepest


def _mrml() -> Any:
    try:
        # Imported at the first use: it is optional.
        import mrml  # noqa: PLC0415 - as said above
    except ImportError as error:
        raise ConfigError(
            "a template is MJML, and mrml is not installed",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            key="template",
            dep="mrml",
            hint="Install mailglass[mjml].",
        ) from error
    return mrml


def _refused(template: str, reason: str) -> TemplateError:
    return TemplateError(
        f"{template}: {reason}", type=TemplateErrorType.JINJA_COMPILE, template=template
    )
