"""What needs a package that is not installed says which extra has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from tests_paths import ROOT

WITHOUT = """
import json, sys


class Without:
    def __init__(self, finder, package):
        self.finder, self.package = finder, package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            return None
        return self.finder.find_spec(name, path, target)


package, code = sys.argv[1:3]
sys.meta_path[:] = [Without(one, package) for one in sys.meta_path]
from mailglass.errors import ConfigError
from mailglass.settings import load_settings
try:
    exec(code)
except ConfigError as error:
    print(json.dumps({"type": error.type, "dep": error.dep, "hint": error.hint}))
"""
"""Runs code as if a package were not installed, and tells of the error of ours that it raised."""
BROKER = (
    "from mailglass.worker.brokers import broker_from; broker_from(load_settings(broker_url={!r}))"
)
RENDERED = (
    "from mailglass.demo.mailables import Receipt; from mailglass.rendering.render import Renderer;"
    "[Renderer(css_inliner='css-inline').render(one) for one in Receipt.previews().values()]"
)
CASES = [
    ("flask", "flask", "import mailglass.contrib.flask"),
    ("fastapi", "fastapi", "import mailglass.contrib.fastapi"),
    ("fastapi", "starlette", "import mailglass.contrib.fastapi"),
    ("web", "starlette", "import mailglass.contrib.starlette"),
    ("django", "django", "import mailglass.contrib.django"),
    ("django", "django", "import mailglass.contrib.django.urls"),
    ("redis", "dramatiq", "from mailglass.worker import BrokerWake;"
     "BrokerWake(load_settings(broker_url='redis://a'))"),
    ("redis", "redis", BROKER.format("redis://a")),
    ("redis", "redis", "from mailglass.pacing.redis_passes import RedisPasses; RedisPasses('redis://a')"),
    ("rabbitmq", "pika", BROKER.format("amqp://a")),
    ("prometheus", "prometheus_client", "from mailglass.worker.brokers import prometheus; prometheus()"),
    ("otel", "opentelemetry", "from mailglass.telemetry import export_by_otel; export_by_otel()"),
    ("inline", "css_inline", RENDERED),
    ("mjml", "mrml", "from mailglass.rendering.mjml import to_html; to_html('<mjml></mjml>', template='a')"),
    ("doctor", "dns", "from mailglass.doctor.dns import system_lookup; system_lookup()"),
    ("demo", "aiosmtpd", "from mailglass.cli.demo import command; command([], standalone_mode=False)"),
]  # fmt: skip
NOT_HERE = {
    "cli": "tested below: it is a line and an exit code",
    "celery": "tested below: whoever uses it brings an application of it",
    "embedded": "tests/ledger tells of a host without any PostgreSQL",
    "testing": "pytest itself loads it",
    "worker": "it is what redis and rabbitmq have in common",
    "test": "for those who work on mailglass",
    "lint": "for those who work on mailglass",
    "dev": "for those who work on mailglass",
}


def _without(package: str, code: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, package, code],
        env=kept | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(("extra", "package", "code"), CASES)
def test_what_lacks_its_package_names_the_extra(extra: str, package: str, code: str) -> None:
    """By a ConfigError whose hint can be copied."""
    told = _without(package, code)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    assert found["type"] == "optional_dep_missing"
    assert found["dep"]
    assert f"mailglass[{extra}]" in found["hint"]


def test_every_extra_is_tried() -> None:
    """One that is new gets a case here, or the reason why not."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    assert extras == {extra for extra, _, _ in CASES} | set(NOT_HERE)


def test_celerys_tasks_need_no_celery_to_be_imported() -> None:
    """The application that they are registered with is given."""
    told = _without("celery", "import mailglass.contrib.celery; print('imported')")
    assert told.stdout == "imported\n", told.stderr


@pytest.mark.parametrize("package", ["click"])
def test_the_command_line_says_what_it_lacks(package: str) -> None:
    """Without a traceback, with exit code 2."""
    told = _without(package, "from mailglass.cli import main; main()")
    assert told.returncode == 2
    assert told.stderr == "mailglass: the command line needs click: pip install 'mailglass[cli]'\n"


def test_nothing_that_is_core_needs_an_extra() -> None:
    """A mail is made, rendered and signed without any of them; so is a key for DKIM."""
    code = (
        "import mailglass.app, mailglass.compliance.dkim, mailglass.adapters.smtp, mailglass.worker;"
        "import mailglass.adapters.amazon_ses, mailglass.rendering.render, mailglass.contrib.pages;"
        "print('whole')"
    )
    for package in ("click", "starlette", "redis", "dramatiq", "css_inline", "mrml", "dns"):
        told = _without(package, code)
        assert told.stdout == "whole\n", told.stderr
