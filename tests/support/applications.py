"""Small applications of each framework, to install into."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_MANAGE: Final = """import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
_SETTINGS: Final = """SECRET_KEY = "not a secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {}
ROOT_URLCONF = "shop.urls"
USE_TZ = True
"""
_URLS: Final = """from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("shop"))]
"""

APPLICATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "django": {
        "manage.py": _MANAGE,
        "shop/__init__.py": "",
        "shop/settings.py": _SETTINGS,
        "shop/urls.py": _URLS,
    },
    "fastapi": {
        "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi>=0.115"]\n',
        "src/shop/__init__.py": "",
        ".env.example": "SHOP_NAME=Shop\n",
    },
    "flask": {"requirements.txt": "Flask==3.1\n", "shop/__init__.py": "", "tests/__init__.py": ""},
    "plain": {},
    "starlette": {"requirements.txt": "starlette\n", "shop/__init__.py": ""},
}


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder and return it."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def tree(root: Path) -> dict[str, str]:
    """Return every file below a folder, but for what Python leaves."""
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
