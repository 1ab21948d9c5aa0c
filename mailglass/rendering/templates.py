"""Templates: one Jinja environment a search path, strict about what is missing and exact where."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2 import TemplateError as JinjaError

from mailglass import limits
from mailglass.compliance.unsubscribe import PLACEHOLDER
from mailglass.errors import (
    MailglassError,
    SendError,
    SendErrorType,
    TemplateError,
    TemplateErrorType,
)
from mailglass.forks import ProcessLock
from mailglass.rendering import markdown, mjml
from mailglass.rendering.compiling.compiled import (
    Compiled,
    Mode,
    ReadyMadeHtmlError,
    TemplateReport,
    compile_template,
)
from mailglass.rendering.compiling.engines import Engine, check_engine
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.compiling.spoken import NotSpokenError
from mailglass.rendering.compiling.walking import grow
from mailglass.rendering.components import Theme, component_loader, safe_url
from mailglass.rendering.i18n import Language, language
from mailglass.rendering.inlining import inline_css
from mailglass.rendering.plaintext import finished, plain_text

_ATTRIBUTE: Final = re.compile(r"has no (?:attribute|element) '?([^']+)'?")
_VARIABLE: Final = re.compile(r"'([^']+)' is undefined")
_HELPER: Final = re.compile(r"No (?:filter|test) named '([^']+)'")
_BODY_SUFFIX: Final = re.compile(r"\.(?:html|md|mjml)\.jinja\Z")
_CONVERTED: Final = {
    markdown.SUFFIX: "Markdown is turned into HTML in each mail",
    mjml.SUFFIX: "MJML is turned into HTML in each mail",
}
_COMPONENTS: Final = "components.html.jinja"
"""Ours: a fault in what it was given is the author's, at the line that calls it."""
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
LINES_KEPT_MAX: Final = 512
"""How many compiled lines, such as subjects, are kept: those that were used last."""


class Templates:
    """Compiles and renders the templates on one search path; threads may share it."""

    def __init__(
        self,
        folders: Sequence[Path],
        engine: Engine = Engine.PREMAILER,
        *,
        theme: Theme = Theme(),  # noqa: B008 - it is frozen
        spoken_in: Language | None = None,
        physical_address: str | None = None,
    ) -> None:
        check_engine(engine)
        self._engine = engine
        self._compiled: dict[str, Compiled] = {}
        self._texts: dict[str, bool] = {}
        self._compiling = ProcessLock()
        self._environment = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader([str(folder) for folder in folders]), component_loader()]
            ),
            autoescape=_escapes,  # noqa: S701 - all but .txt.jinja files are escaped
            undefined=StrictUndefined,
            auto_reload=False,
            keep_trailing_newline=True,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        )
        self._line = lru_cache(LINES_KEPT_MAX)(self._environment.from_string)
        (spoken_in or language(None)).install(self._environment)
        self._environment.globals["theme"] = theme
        self._environment.globals["unsubscribe_url"] = PLACEHOLDER
        if physical_address is not None:
            self._environment.globals["physical_address"] = physical_address
        self._environment.filters["safe_url"] = safe_url
        self._markdown = self._environment.overlay(autoescape=False, finalize=markdown.escaped)

    @property
    def environment(self) -> Environment:
        """Return the environment that the templates are compiled in."""
        return self._environment

    @property
    def lines_kept(self) -> int:
        """Return how many compiled lines are kept, ``LINES_KEPT_MAX`` at most."""
        return self._line.cache_info().currsize

    def sources(self, name: str) -> tuple[Source, ...]:
        """Return a template with what it extends, includes and calls, taken apart.

        Raises:
            TemplateError: when Jinja cannot compile it.

        """
        _check_name(name)
        with _explained(name):
            return grow(self._environment, name).written()

    def has(self, name: str) -> bool:
        """Tell whether a template of that name is on the path."""
        try:
            self._environment.get_template(name)
        except TemplateNotFound as missing:
            if missing.name == name:
                return False
            raise _compile_error(missing, name) from missing
        except TemplateSyntaxError:
            return True
        return True

    def render(self, name: str, variables: Mapping[str, object]) -> str:
        """Render a template file; HTML files escape what they insert, ``.txt.jinja`` files do not.

        Raises:
            TemplateError: with the template's name, the line and the missing variable or helper.
            SendError: ``rendering_failed`` when code called by the template raises.

        """
        _check_name(name)
        with _explained(name):
            return _capped(self._environment.get_template(name).render(variables), name)

    def compiled(self, name: str) -> Compiled:
        """Return a template compiled, or with the reasons why it cannot be; the first call compiles.

        Raises:
            TemplateError: when Jinja cannot compile it.
            ConfigError: when the inliner is not installed.

        """
        found = self._compiled.get(name)
        if found is None:
            _check_name(name)
            with self._compiling, _explained(name):
                found = self._compiled.get(name)
                if found is None:
                    found = self._compile(name)
                    self._compiled[name] = found
        return found

    def _compile(self, name: str) -> Compiled:
        begun = time.perf_counter()
        self._environment.get_template(name)
        converted = next((why for end, why in _CONVERTED.items() if name.endswith(end)), None)
        if converted is None:
            return compile_template(self._environment, name, self._engine)
        spent_ms = (time.perf_counter() - begun) * 1000
        return Compiled(
            report=TemplateReport(
                name=name, mode=Mode.FALLBACK, reasons=(converted,), compile_ms=spent_ms
            )
        )

    def fall_back(self, name: str, reason: str) -> None:
        """Inline each mail of a template from now on, for a reason found by rendering it."""
        report = self.compiled(name).report
        self._compiled[name] = Compiled(
            report=replace(report, mode=Mode.FALLBACK, reasons=(*report.reasons, reason))
        )

    def render_mail(self, name: str, variables: Mapping[str, object]) -> tuple[str, str]:
        """Return the HTML of a mail with its styles in the elements, and its text.

        Raises:
            TemplateError, SendError: as ``render``, and ``inliner_failed``.

        """
        html = self._html(self.compiled(name), name, variables)
        beside = _BODY_SUFFIX.sub(".txt.jinja", name)
        if beside != name and self._has_text(beside):
            return html, self.render(beside, variables)
        return html, self._spoken(self.compiled(name), name, html, variables)

    def _html(self, page: Compiled, name: str, variables: Mapping[str, object]) -> str:
        if page.html is not None and page.taken.isdisjoint(variables):
            try:
                with _explained(name):
                    return _capped(page.html.render(variables), name)
            except ReadyMadeHtmlError:
                # Only this mail is inlined after rendering: its values bring elements of their own.
                return self.inlined(name, variables)
        return self.inlined(name, variables)

    def _spoken(self, page: Compiled, name: str, html: str, variables: Mapping[str, object]) -> str:
        # An iterator among the values is used up by the HTML.
        is_used_up = any(isinstance(one, Iterator) for one in variables.values())
        if page.text is None or is_used_up or not page.taken.isdisjoint(variables):
            return plain_text(html)
        try:
            with _explained(name):
                return finished(page.text.render(variables))
        except NotSpokenError:
            # A value of this mail brings HTML, whose text only the HTML tells.
            return plain_text(html)

    def inlined(self, name: str, variables: Mapping[str, object]) -> str:
        """Render a template and inline the result: what a compiled template must be equal to."""
        if name.endswith(markdown.SUFFIX):
            html = self._from_markdown(name, variables)
        elif name.endswith(mjml.SUFFIX):
            html = _capped(mjml.to_html(self.render(name, variables), template=name), name)
        else:
            html = self.render(name, variables)
        return inline_css(html, template=name, engine=self._engine)

    def _from_markdown(self, name: str, variables: Mapping[str, object]) -> str:
        _check_name(name)
        with _explained(name):
            template = self._markdown.get_template(name)
            return _capped(markdown.page(self._environment, template, dict(variables)), name)

    def _has_text(self, name: str) -> bool:
        found = self._texts.get(name)
        if found is None:
            found = self._texts.setdefault(name, self.has(name))
        return found

    def render_line(self, source: str, variables: Mapping[str, object], *, name: str) -> str:
        """Render a template given as text, such as a subject; nothing is escaped.

        A text is compiled once for as long as it is among the ``LINES_KEPT_MAX`` used last.

        Raises:
            TemplateError, SendError: as ``render``.

        """
        with _explained(name):
            return self._line(source).render(variables)


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None or ".." in name:
        raise TemplateError(
            "a template name is a relative path of letters, digits, '_', '-', '.' and '/'",
            type=TemplateErrorType.JINJA_COMPILE,
        )


def _escapes(name: str | None) -> bool:
    return name is not None and not name.endswith((".txt.jinja", ".txt"))


def _capped(text: str, name: str) -> str:
    if len(text) > limits.TEMPLATE_OUTPUT_CHARS_MAX:
        raise SendError(
            f"{name} rendered to more than {limits.TEMPLATE_OUTPUT_CHARS_MAX} characters",
            type=SendErrorType.RENDERING_FAILED,
            code="output_too_large",
        )
    return text


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except UndefinedError as error:
        raise _missing(error, name) from error
    except JinjaError as error:
        raise _compile_error(error, name) from error
    except (MailglassError, ReadyMadeHtmlError, NotSpokenError):
        raise
    except Exception as error:
        where, line, inner = _blamed(error.__traceback__, name)
        raise SendError(
            f"{where} line {line}{inner}: {type(error).__name__} while rendering",
            type=SendErrorType.RENDERING_FAILED,
            code=type(error).__name__,
        ) from error


def _missing(error: UndefinedError, name: str) -> TemplateError:
    where, line, inner = _blamed(error.__traceback__, name)
    text = error.message or ""
    found = _ATTRIBUTE.search(text) or _VARIABLE.search(text)
    # The key of a subscript may be a recipient's data; only what could be a name is told.
    assign = found[1] if found and found[1].isidentifier() else None
    return TemplateError(
        f"{where} line {line}{inner}: {assign or 'a value'} is missing",
        type=TemplateErrorType.MISSING_ASSIGN,
        template=where,
        assign=assign,
        line=line,
    )


def _compile_error(error: JinjaError, name: str) -> TemplateError:
    named: object = None
    line: int | None = None
    if isinstance(error, TemplateSyntaxError):
        named, line = error.name, error.lineno
    elif isinstance(error, TemplateNotFound):
        named = error.name
    where = named if isinstance(named, str) else name
    kind, assign = TemplateErrorType.JINJA_COMPILE, None
    if isinstance(error, TemplateNotFound):
        text = f"{where} is in none of the template folders"
    elif helper := _HELPER.search(str(error.message)):
        # Inside a condition Jinja finds it missing when it renders, not when it compiles.
        line = line or _place(error.__traceback__, name)[1]
        kind, assign = TemplateErrorType.HELPER_UNDEFINED, helper[1]
        text = f"{where} line {line}: there is no filter or test {assign}"
    else:
        text = f"{where} line {line}: {error.message}"
    return TemplateError(text, type=kind, template=where, assign=assign, line=line)


def _blamed(traceback: TracebackType | None, name: str) -> tuple[str, int | None, str]:
    """Return the author's template and line, and in words where in a component it came to light."""
    places = list(_places(traceback, name))
    authors = [one for one in places if one[0] != _COMPONENTS] or places
    if not places:
        return name, None, ""
    where, line = authors[-1]
    inner = "" if authors[-1] is places[-1] else f", in {places[-1][0]} line {places[-1][1]}"
    return where, line, inner


def _place(traceback: TracebackType | None, name: str) -> tuple[str, int | None]:
    """Find the innermost template and line that Jinja wrote into the traceback."""
    return next(iter([*_places(traceback, name)][-1:]), (name, None))


def _places(traceback: TracebackType | None, name: str) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        if "__jinja_exception__" in traceback.tb_frame.f_globals:
            file = Path(traceback.tb_frame.f_code.co_filename)
            is_asked = file.name in {"<template>", Path(name).name}
            yield name if is_asked else file.name, traceback.tb_lineno
        traceback = traceback.tb_next
