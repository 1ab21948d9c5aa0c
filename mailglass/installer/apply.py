"""Applying a plan: each file is written beside its place and moved there, so that none is ever half."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.installer.plan import Plan


def apply(plan: Plan, root: Path) -> None:
    """Write and remove what the plan says, the manifest last.

    Raises:
        ConfigError: ``conflicting`` for a path that a link leads out of the project; nothing was
            written then.

    """
    changes = plan.changes
    for name in changes:
        refuse_outside(root, name)
    for name, text in changes.items():
        if text is None:
            _remove(root, root / name)
        else:
            _write(root / name, text)


def refuse_outside(root: Path, name: str) -> None:
    """Refuse a path that a link leads out of the project.

    Raises:
        ConfigError: ``conflicting``.

    """
    path = root / name
    if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"{name} is a link, or lies behind one",
            type=ConfigErrorType.CONFLICTING,
            key="package",
            hint="Install into the folder that it leads to.",
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".mailglass-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="", errors="surrogateescape") as file:
            file.write(text)
        Path(fresh).chmod(mode)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink()
        raise


def _remove(root: Path, path: Path) -> None:
    path.unlink()
    with suppress(OSError):  # a folder that is not empty stays
        for folder in path.parents:
            if folder == root:
                break
            folder.rmdir()
