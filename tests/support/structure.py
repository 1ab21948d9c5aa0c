"""The floors and owners of the house, and the functions that find a breach of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mailglass"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "clock", "forks", "ids", "limits"}),
    frozenset({"headers", "events", "telemetry", "failures", "tokens"}),
    frozenset({"address", "timeline", "pacing"}),
    frozenset({"message", "settings", "tenancy"}),
    frozenset({"deliveries", "envelope", "suppression", "webhook"}),
    frozenset({"mailable", "adapters", "compliance"}),
    frozenset({"asked", "rendering", "preflight", "ledger"}),
    frozenset({"delivery"}),
    frozenset({"history", "inbound"}),
    frozenset({"webhooks"}),
    frozenset({"app"}),
    frozenset({"demo", "doctor", "installer", "testing", "web", "worker"}),
    frozenset({"publishing"}),
    frozenset({"cli"}),
    frozenset({"contrib"}),
)
"""From the ground up; a module imports from lower floors alone, or from its own package."""

OWNERS: dict[str, frozenset[str]] = {
    "psycopg": frozenset({"ledger"}),
    "psycopg_pool": frozenset({"ledger"}),
    "jinja2": frozenset({"rendering", "web"}),
    "markupsafe": frozenset({"rendering"}),
    "babel": frozenset({"rendering"}),
    "markdown_it": frozenset({"rendering"}),
    "mrml": frozenset({"rendering"}),
    "premailer": frozenset({"rendering"}),
    "cssutils": frozenset({"rendering"}),
    "asgiref": frozenset({"contrib"}),
    "css_inline": frozenset({"rendering"}),
    "lxml": frozenset({"rendering"}),
    "pydantic": frozenset({"mailable", "pacing", "settings"}),
    "pydantic_settings": frozenset({"settings"}),
    "click": frozenset({"cli", "contrib"}),
    "aiosmtpd": frozenset({"demo"}),
    "cryptography": frozenset({"adapters", "compliance", "testing"}),
    "idna": frozenset({"address"}),
    "django": frozenset({"contrib"}),
    "dns": frozenset({"doctor"}),
    "dramatiq": frozenset({"worker"}),
    "fastapi": frozenset({"contrib"}),
    "flask": frozenset({"contrib"}),
    "httpcore2": frozenset({"adapters"}),
    "httpx2": frozenset({"adapters"}),
    "opentelemetry": frozenset({"telemetry"}),
    "pytest": frozenset({"testing"}),
    "redis": frozenset({"pacing", "worker"}),
    "rich": frozenset({"cli"}),
    "starlette": frozenset({"web", "contrib"}),
    "uuid_utils": frozenset({"ids"}),
}
"""Each third-party package has one owner; a package that is not here may not be imported."""


def sources() -> dict[str, str]:
    """Return every module of the package: its path below the package, and its text."""
    return {
        str(path.relative_to(PACKAGE)): path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def floor_breaches(files: dict[str, str]) -> list[str]:
    """Return every import from the same floor's neighbour or from a higher floor."""
    found = []
    for path, text in files.items():
        room = _room(path)
        if room == "__init__":
            continue
        for line, module in _imports(text):
            parts = module.split(".")
            if parts[0] != "mailglass" or len(parts) == 1 or parts[1] == "__version__":
                continue
            other = parts[1]
            if other != room and _floor(other) >= _floor(room):
                found.append(f"{path}:{line} {room} imports {other}")
    return found


def owner_breaches(files: dict[str, str], stdlib: frozenset[str]) -> list[str]:
    """Return every import of a third-party package outside its owner."""
    found = []
    for path, text in files.items():
        for line, module in _imports(text):
            package = module.split(".")[0]
            if package in stdlib or package in {"mailglass", "__future__"}:
                continue
            if _room(path) not in OWNERS.get(package, frozenset()):
                found.append(f"{path}:{line} {package}")
    return found


def _room(path: str) -> str:
    return Path(path).parts[0].removesuffix(".py")


def _floor(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} stands on no floor: give it one in FLOORS")


def _imports(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module == "mailglass":
                yield from ((node.lineno, f"mailglass.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module
