"""Two mails compared as a browser's tree: elements, attributes, text, styles as declarations."""

from __future__ import annotations

from typing import Any

from lxml import etree


def declarations(style: str) -> list[tuple[str, str]]:
    """Return a style attribute as a list of names and values."""
    parts = (part.partition(":") for part in style.split(";"))
    return [(name.strip().lower(), " ".join(value.split())) for name, _, value in parts if value]


def tree(html: str) -> Any:
    """Return the tree of a mail as nested tuples; comments are part of it."""
    root = etree.fromstring(f"<html>{html}", etree.HTMLParser(huge_tree=True))
    return _shown(root)


def _shown(node: Any) -> Any:
    if not isinstance(node.tag, str):
        return ("comment", node.text, node.tail)
    attributes = {
        name: declarations(value) if name == "style" else value
        for name, value in node.attrib.items()
    }
    return (node.tag, attributes, node.text, node.tail, [_shown(child) for child in node])
