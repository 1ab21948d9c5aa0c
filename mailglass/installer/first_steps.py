"""What somebody does after the first installation, in words and commands of the framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailglass.installer.project import Framework, Project

_EXTRAS: Final[Mapping[Framework, str]] = {
    Framework.DJANGO: "cli,embedded,testing,django",
    Framework.FASTAPI: "cli,embedded,testing,fastapi",
    Framework.FLASK: "cli,embedded,testing,flask",
    Framework.PLAIN: "cli,embedded,testing",
    Framework.STARLETTE: "cli,embedded,testing,web",
}
_WIRING: Final[Mapping[Framework, str]] = {
    Framework.DJANGO: "python manage.py migrate",
    Framework.FASTAPI: "give `lifespan` and `router` of {package}/desk.py to the application; it says how",
    Framework.FLASK: "give `desk` and `pages` of {package}/desk.py to the application; it says how",
    Framework.PLAIN: "call `desk().deliver(…)` of {package}/desk.py where a mail is due",
    Framework.STARLETTE: "give `lifespan` and `routes` of {package}/desk.py to the application; it says how",
}


def first_steps(project: Project) -> tuple[str, ...]:
    """Return what to do next, one step a line: packages, wiring, a look at the mail, its tests."""
    in_src = ("pip install -e .",) if project.package.startswith("src/") else ()
    return (
        f"pip install 'mailglass[{_EXTRAS[project.framework]}]'",
        *in_src,
        _WIRING[project.framework].format(package=project.package),
        f"mailglass render {project.module}:Welcome --text",
        "python -m pytest tests/test_mails.py",
        # Beside manage.py it is Django's database that is looked at.
        f"{'python manage.py ' if project.framework is Framework.DJANGO else ''}mailglass doctor",
    )
