"""Markdown mails: CommonMark with tables, drawn by the components, so with the theme of the mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, Template
from markupsafe import Markup, escape

from mailglass.rendering.components import Theme, safe_url

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

SUFFIX: Final = ".md.jinja"
FRAME: Final = "mailglass/markdown.html.jinja"
"""What the text is put into; a file of that name in the application's folders goes before ours."""
BUTTON: Final = "button"
"""The title that makes a button of a link which is a paragraph: ``[Open](https://… "button")``."""
NESTED_MAX: Final = 20
"""Lists and quotes inside one another; what lies deeper is shown as text."""

_SIZE: Final = re.compile(r"(\d{1,4})x(\d{1,4})")
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>&~:@=\"'])")
_BREAKS: Final = re.compile(r"[ \t]*[\r\n\x0b\x0c\x85\u2028\u2029]+[ \t]*")
_HEADINGS: Final = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 4, "h6": 4}


def escaped(value: object) -> object:
    """Return a value so that Markdown shows it as it is: the finalizer of Markdown templates.

    Line ends become spaces, since a line may begin a list or a heading. Not even ``|safe`` can bring
    HTML, which is shown as text.
    """
    if hasattr(value, "__html__"):
        return str(value)
    return _SPECIAL.sub(r"\\\1", _BREAKS.sub(" ", str(value)))


def page(environment: Environment, template: Template, variables: dict[str, object]) -> str:
    """Render a Markdown template and return the HTML of the mail.

    ``{% set preview = … %}`` and ``{% set title = … %}`` at its top are the preheader and the title;
    without a title the first heading is it. Jinja's own errors come through.
    """
    text, said = _rendered(template, variables)
    from markdown_it.tree import SyntaxTreeNode  # noqa: PLC0415 - only for mails in Markdown

    tree = SyntaxTreeNode(_parser().parse(text))
    first = next((one for one in tree.walk() if one.type == "heading"), None)
    title = said.get("title") or (_words(first) if first is not None else "")
    drawn = _Drawer(environment).blocks(tree)
    return environment.get_template(FRAME).render(
        variables | {"title": title, "preview": said.get("preview"), "body": drawn}
    )


def _rendered(template: Template, variables: dict[str, object]) -> tuple[str, dict[str, Any]]:
    """Return the Markdown and what the template sets at its top."""
    context = template.new_context(variables)
    try:
        text = "".join(template.root_render_func(context))
    except Exception:  # noqa: BLE001 - it is raised again, with the template's lines in its traceback
        template.environment.handle_exception()
    return text, context.get_exported()


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only for mails in Markdown

    options = {"html": False, "linkify": False, "maxNesting": NESTED_MAX}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def _words(node: SyntaxTreeNode) -> str:
    return "".join(one.content for one in node.walk() if one.type in {"text", "code_inline"})


class _Drawer:
    """Draws a tree of Markdown with the macros of the components."""

    def __init__(self, environment: Environment) -> None:
        self._mg: Any = environment.get_template("mailglass/components.html.jinja").module
        theme = environment.globals["theme"]
        if not isinstance(theme, Theme):
            raise TypeError("the environment has no theme")
        self._theme = theme
        self._blocks: dict[str, Callable[[SyntaxTreeNode], str]] = {
            "heading": self._heading, "paragraph": self._paragraph, "bullet_list": self._list,
            "ordered_list": self._list, "blockquote": self._quote, "fence": self._code,
            "code_block": self._code, "hr": self._rule, "table": self._table,
        }  # fmt: skip
        self._inlines: dict[str, Callable[[SyntaxTreeNode], str]] = {
            "link": self._link, "image": self._image, "softbreak": lambda _: "\n",
            "hardbreak": lambda _: "<br>",
        }  # fmt: skip

    def blocks(self, node: SyntaxTreeNode) -> Markup:
        """Return the HTML of what a block holds."""
        return _joined(self._blocks[one.type](one) for one in node.children)

    def _inline(self, node: SyntaxTreeNode) -> Markup:
        return _joined(self._run(one) for each in node.children for one in each.children)

    def _run(self, node: SyntaxTreeNode) -> str:
        if node.type in self._inlines:
            return self._inlines[node.type](node)
        if node.type in {"strong", "em", "s"}:
            inside = _joined(self._run(one) for one in node.children)
            return f"<{node.type}>{inside}</{node.type}>"
        if node.type == "code_inline":
            return (
                f'<code style="font-family:{self._theme.font_code}">{escape(node.content)}</code>'
            )
        return str(escape(node.content))

    def _heading(self, node: SyntaxTreeNode) -> str:
        return str(self._mg.heading(self._inline(node), level=_HEADINGS[node.tag]))

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        only = node.children[0].children if node.children else []
        if len(only) == 1 and only[0].type == "link" and only[0].attrs.get("title") == BUTTON:
            return str(self._mg.button(_words(only[0]), only[0].attrs["href"]))
        if len(only) == 1 and only[0].type == "image" and _size(only[0]) is not None:
            width, height = _size(only[0]) or (0, 0)
            return str(self._mg.image(only[0].attrs["src"], _words(only[0]), width, height))
        return str(self._mg.text(self._inline(node)))

    def _list(self, node: SyntaxTreeNode) -> str:
        tag = "ol" if node.type == "ordered_list" else "ul"
        start = node.attrs.get("start", 1)
        begins = f' start="{start}"' if tag == "ol" and start != 1 else ""
        items = "".join(f"<li>{self._item(one)}</li>" for one in node.children)
        side = "right" if self._theme.direction == "rtl" else "left"
        style = f"{self._words_style()};margin:0 0 16px;padding:0;padding-{side}:24px"
        return f'<{tag}{begins} class="mg-text" style="{style}">{items}</{tag}>'

    def _item(self, node: SyntaxTreeNode) -> str:
        """Return an item; in a tight list its paragraphs are plain text."""
        return "".join(
            self._inline(one) if one.type == "paragraph" and one.hidden else self._blocks[one.type](one)
            for one in node.children
        )  # fmt: skip

    def _quote(self, node: SyntaxTreeNode) -> str:
        side = "right" if self._theme.direction == "rtl" else "left"
        style = f"margin:0 0 16px;padding:0 16px;border-{side}:3px solid {self._theme.line}"
        return f'<blockquote class="mg-line" style="{style}">{self.blocks(node)}</blockquote>'

    def _code(self, node: SyntaxTreeNode) -> str:
        return str(self._mg.code(node.content.rstrip("\n")))

    def _rule(self, _node: SyntaxTreeNode) -> str:
        return str(self._mg.hr())

    def _table(self, node: SyntaxTreeNode) -> str:
        rows = [
            [self._inline(cell) for cell in row.children]
            for part in node.children
            for row in part.children
        ]
        aligns = [_align(cell) for cell in node.children[0].children[0].children]
        return str(self._mg.table(rows[0], rows[1:], aligns=aligns))

    def _link(self, node: SyntaxTreeNode) -> str:
        label = _joined(self._run(one) for one in node.children)
        return str(self._mg.link(label, node.attrs["href"]))

    def _image(self, node: SyntaxTreeNode) -> str:
        size = _size(node)
        sides = f' width="{size[0]}" height="{size[1]}"' if size is not None else ""
        source = escape(safe_url(node.attrs["src"]))
        return f'<img src="{source}" alt="{escape(_words(node))}"{sides} style="max-width:100%">'

    def _words_style(self) -> str:
        theme = self._theme
        return f"font-family:{theme.font};font-size:16px;line-height:24px;color:{theme.text}"


def _joined(parts: Any) -> Markup:
    return Markup("").join(Markup(part) for part in parts)  # noqa: S704 - drawn here, from escaped text


def _size(node: SyntaxTreeNode) -> tuple[int, int] | None:
    found = _SIZE.fullmatch(str(node.attrs.get("title", "")))
    return None if found is None else (int(found[1]), int(found[2]))


def _align(cell: SyntaxTreeNode) -> str:
    style = str(cell.attrs.get("style", ""))
    return "end" if "right" in style else "center" if "center" in style else "start"
