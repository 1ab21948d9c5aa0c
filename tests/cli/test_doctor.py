"""``mailglass doctor``: what it prints and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailglass.installer import apply, plan, read_project

FLASK_APP = """
from flask import Flask
from mailglass.contrib.flask import FlaskMailglass, mail_pages

print("starting")
mail = FlaskMailglass()


def create_app():
    app = Flask(__name__)
    mail.init_app(app)
    app.register_blueprint(mail_pages())
    return app
"""
POSTMARK = {
    "MAILGLASS_ADAPTER": "postmark",
    "MAILGLASS_PROVIDER_OPTIONS": '{"server_token": "t", "webhook_secret": "hook:a-long-password"}',
    "MAILGLASS_DATABASE_URL": "postgresql://127.0.0.1:1/none",
}


def _run(
    *arguments: str, folder: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "doctor", *arguments],
        env=kept | environ, capture_output=True, text=True, check=False, timeout=120,
        cwd=folder,
    )  # fmt: skip


def test_the_command_tells_each_check_and_exits_by_the_worst(database_url: str) -> None:
    """0 without errors, 1 with one, 1 for a warning with --strict."""
    told = _run("mailglass.demo.mailables:Receipt", MAILGLASS_DATABASE_URL=database_url,
                MAILGLASS_DATABASE_ROLE="mailglass_app")  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ok    database.migrated" in told.stdout
    assert "ok    mail.previews_render" in told.stdout
    strict = _run("--strict", MAILGLASS_DATABASE_URL=database_url)
    assert strict.returncode == 1
    assert "WARN  database.role_is_superuser" in strict.stdout
    bad = _run("--json", MAILGLASS_DATABASE_URL="postgresql://app:canary7f3a@127.0.0.1:1/none")
    assert bad.returncode == 1
    found = {one["id"]: one for one in json.loads(bad.stdout)["checks"]}
    assert found["database.reachable"]["status"] == "error"
    assert found["database.reachable"]["guide"] == "guides/doctor.md#database-reachable"
    assert found["database.migrated"]["status"] == "cannot_verify"
    assert "canary7f3a" not in bad.stdout + bad.stderr


def test_the_mails_of_the_installed_package_are_looked_at(tmp_path: Path) -> None:
    """Without any, or where they cannot be imported, no check of mails is called good."""
    away = {"MAILGLASS_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    assert (
        "  ?   mail.previews_render: no mailable was looked at"
        in _run(folder=tmp_path, **away).stdout
    )
    apply(plan(read_project(tmp_path)), tmp_path)
    assert "ok    mail.previews_render" in _run(folder=tmp_path, **away).stdout
    (tmp_path / "mails/broken.py").write_text("raise ValueError('zoe@mail.example')\n", "utf-8")
    told = _run(folder=tmp_path, **away).stdout
    assert (
        "  ?   mail.previews_render: the installed package cannot be imported: ValueError" in told
    )
    assert "zoe@" not in told


def test_settings_that_do_not_load_are_one_finding() -> None:
    """Not a traceback."""
    told = _run(MAILGLASS_ADAPTER="smtp")
    assert told.returncode == 1
    assert "FAIL  settings.load: the SMTP adapter needs a host" in told.stdout
    unnamed = _run(MAILGLASS_ENVIRONMENT="production")
    assert "FAIL  database.reachable: no database is named" in unnamed.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--ip", "nonsense"], ["--quiet-minutes", "0"], ["no.module"], ["--webhooks-url", "/w"]],
)
def test_misuse_exits_2(arguments: list[str]) -> None:
    """As with every command."""
    assert _run(*arguments).returncode == 2


def _webhooks(*arguments: str, folder: Path) -> dict[str, str]:
    told = _run("--json", *arguments, folder=folder, **POSTMARK)
    (found,) = [
        one for one in json.loads(told.stdout)["checks"] if one["id"] == "webhooks.reachable"
    ]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("place", ["app.py", "src/shop/app.py"])
def test_the_application_of_the_folder_is_called(place: str, tmp_path: Path) -> None:
    """Found by what the project requires and where applications are by custom; JSON stays whole."""
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["flask"]\n')
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(FLASK_APP)
    assert _webhooks(folder=tmp_path)["status"] == "ok"


def test_the_application_that_is_named_is_called(tmp_path: Path) -> None:
    """Wherever it is; one that cannot be had is said."""
    (tmp_path / "made.py").write_text(FLASK_APP)
    assert _webhooks("--app", "made:create_app", folder=tmp_path)["status"] == "ok"
    other = _webhooks(
        "--app", "made:create_app", "--webhooks-url", "https://a.example/x", folder=tmp_path
    )
    assert (other["status"], other["seen"][:22]) == ("error", "postmark/default: 404:")
    gone = _webhooks("--app", "gone:app", folder=tmp_path)
    assert gone["status"] == "cannot_verify"
    assert gone["seen"] == "the application gone:app cannot be imported: ModuleNotFoundError"
    assert "name it with --app" in _webhooks(folder=tmp_path)["seen"]


def test_djangos_application_is_found_beside_its_settings(tmp_path: Path) -> None:
    """Its CSRF check does not stand before mailglass."""
    shop = tmp_path / "shop"
    shop.mkdir()
    (tmp_path / "manage.py").write_text('setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n')
    (shop / "__init__.py").touch()
    (shop / "settings.py").write_text(
        "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['localhost']\nROOT_URLCONF = 'shop.urls'\nUSE_TZ = True\n"
        "INSTALLED_APPS = ['mailglass.contrib.django']\n"
        "MIDDLEWARE = ['django.middleware.csrf.CsrfViewMiddleware']\n"
    )
    (shop / "urls.py").write_text(
        "from django.urls import include, path\n"
        "urlpatterns = [path('', include('mailglass.contrib.django.urls'))]\n"
    )
    (shop / "wsgi.py").write_text(
        "import os\nfrom django.core.wsgi import get_wsgi_application\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n"
        "application = get_wsgi_application()\n"
    )
    found = _webhooks(folder=tmp_path)
    assert (found["status"], found["seen"]) == ("ok", "")
    host = _webhooks("--webhooks-url", "https://other.example/webhooks", folder=tmp_path)
    assert "postmark/default: 400: a check before mailglass refused it" in host["seen"]


def test_a_broker_that_is_away_is_one_finding(tmp_path: Path) -> None:
    """What its client would log beside it is left out."""
    url = "amqp://shop:canary7f3a@127.0.0.1:1/shop"
    told = _run(folder=tmp_path, **(POSTMARK | {"MAILGLASS_BROKER_URL": url}))
    assert "FAIL  services.broker: amqp at 127.0.0.1:1: " in told.stdout
    assert told.stderr == ""
    assert "canary7f3a" not in told.stdout
