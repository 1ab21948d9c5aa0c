"""``manage.py mailglass``: the command line with Django's settings."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mailglass.contrib.commands import run
from mailglass.contrib.django.desk import database_url, given_settings, takes_djangos_database


class Command(BaseCommand):  # type: ignore[misc]  # Django publishes no types
    """Passes everything after its name on."""

    help = "Runs a command of mailglass: migrate, doctor, worker …"
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own class attribute

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whatever stands there: it is for the command line of mailglass to judge."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run ``manage.py mailglass …``, whose options are not Django's."""
        self.handle(arguments=argv[2:])

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's own signature
        """Run, also with ``call_command("mailglass", "migrate", "--check")``."""
        given = given_settings()
        if takes_djangos_database():
            given["database_url"] = database_url()
        run(options["arguments"], given, said_by="Django's settings")
