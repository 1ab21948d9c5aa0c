"""What holds for every command: help, one JSON document, errors in one line, no colour in a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from command_help import commands
from front_desk import front_desk
from guides import command
from mailglass import MailglassError, Suppression, SuppressionReason, SuppressionScope
from mailglass.cli import progress as cli_progress
from tests_paths import ROOT

COMMANDS = commands()
AWAY = "postgresql://app:canary7f3a@127.0.0.1:1/none?connect_timeout=1"
ID = str(UUID(int=1))
ARGUMENTS: Mapping[str, list[str]] = {
    "adapters close": ["main"],
    "adapters history": ["main"],
    "erase": ["zoe@mail.example"],
    "export": ["zoe@mail.example"],
    "features explain": ["new_checkout"],
    "features set": ["new_checkout", "10%"],
    "features show": ["new_checkout"],
    "limits free": ["main"],
    "limits warmup": ["shop.example"],
    "events": [ID],
    "outbox cancel": [ID],
    "outbox hold": [ID],
    "outbox release": [ID],
    "outbox reschedule": [ID, "--at", "2027-01-31T12:00:00+00:00"],
    "outbox retry": [ID],
    "outbox settle": [ID, "--sent"],
    "outbox show": [ID],
    "suppressions add": ["zoe@mail.example"],
    "suppressions check": ["zoe@mail.example"],
    "suppressions erase": ["zoe@mail.example"],
    "suppressions history": ["zoe@mail.example"],
    "suppressions import": ["list.csv"],
    "suppressions remove": ["zoe@mail.example", "--why", "asked"],
    "webhooks replay": [ID],
    "webhooks show": [ID],
    "worker": ["--drain"],
}
"""What a command needs before it opens the database."""
WARM_UP = (
    '[{"per": ["sender_domain"], "match": {"sender_domain": "shop.example"}, '
    '"warm_up": {"starts": "2026-03-02", "daily": [50, 100]}}]'
)
WITHOUT_JSON: Mapping[str, str] = {
    "adapters request": "it prints JSON always",
    "export": "it prints JSON always",
    "demo": "it tells a story to a person",
    "render": "it prints the mail itself",
    "suppressions export": "it writes the format that is asked for",
    "webhooks inspect": "it prints JSON always",
    "worker": "it runs until it is told to stop; telemetry reports",
}
READS_SETTINGS: Mapping[str, list[str]] = {
    "lint": [],
    "publish-check": ["mailglass.demo.mailables"],
    "render": ["mailglass.demo.mailables:Receipt"],
    "templates": [],
}
"""Commands without a database that read the settings."""
LOOKS_ITSELF = {
    "doctor": "an unreachable database is a finding of it",
    "publish-check": "an unreachable database is a finding of it",
}


def _options(name: str) -> set[str]:
    return {option for one in COMMANDS[name].params for option in (*one.opts, *one.secondary_opts)}


WITH_DATABASE = sorted(
    name for name in COMMANDS if "--database-url" in _options(name) and name not in LOOKS_ITSELF
)


def _main(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", *words],
        env=kept | environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own with a list to import and no setting."""
    (tmp_path / "list.csv").write_text("email\nzoe@mail.example\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("MAILGLASS_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAILGLASS_ERASURE_KEY", "e" * 64)
    monkeypatch.setenv("MAILGLASS_LIMITS", WARM_UP)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_it_does_and_what_each_option_is(name: str) -> None:
    """With -h and --help, and never in colour where nobody looks."""
    code, printed, complained = command(["mailglass", *name.split(), "--help"])
    assert (code, complained) == (0, "")
    assert printed.startswith(f"Usage: mailglass {name}")
    assert (COMMANDS[name].help or "").partition("\n")[0].rstrip(".;") in " ".join(printed.split())
    assert "\x1b" not in printed
    assert command(["mailglass", *name.split(), "-h"])[1] == printed


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_prints_json_or_says_why_not(name: str) -> None:
    """What another program reads is no sentence."""
    assert ("--json" in _options(name)) is (name not in WITHOUT_JSON)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_unknown_option_is_misuse(name: str) -> None:
    """Exit code 2, with a hint at the help."""
    code, printed, complained = command(["mailglass", *name.split(), "--no-such-option"])
    assert (code, printed) == (2, "")
    assert f"Try 'mailglass {name} --help' for help." in complained.replace(" -h'", " --help'")


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", WITH_DATABASE)
def test_a_database_that_is_away_is_one_line_and_a_hint(name: str) -> None:
    """Exit code 2, as for a wrong setting; no traceback and no password."""
    words = [*name.split(), *ARGUMENTS.get(name, []), "--database-url", AWAY]
    code, printed, complained = command(["mailglass", *words])
    *before, said, hint = complained.splitlines()
    assert code == 2
    assert said == (
        "mailglass: database none on 127.0.0.1:1 cannot be reached: Connection refused [OperationalError]"
    )
    assert hint.startswith("  Start PostgreSQL there")
    assert all(line.startswith("mailglass: using database none on 127.0.0.1:1") for line in before)
    assert "canary7f3a" not in printed + complained


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", WITH_DATABASE)
def test_debug_shows_where_an_error_was_raised(name: str) -> None:
    """The error itself comes out, for Python to print; before the command and behind it."""
    words = [*name.split(), *ARGUMENTS.get(name, []), "--database-url", AWAY]
    for told in (["--debug", *words], [*words, "--debug"]):
        with pytest.raises((psycopg.OperationalError, MailglassError)):
            command(["mailglass", *told])


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", [*WITH_DATABASE, *READS_SETTINGS])
def test_a_wrong_setting_is_one_line_and_a_hint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, before anything happens."""
    monkeypatch.setenv("MAILGLASS_SMPT_HOST", "x")
    words = [*name.split(), *{**ARGUMENTS, **READS_SETTINGS}.get(name, [])]
    code, printed, complained = command(["mailglass", *words])
    assert (code, printed) == (2, "")
    assert complained.splitlines() == [
        "mailglass: MAILGLASS_SMPT_HOST is not a setting of mailglass [ConfigError.invalid]",
        "  Did you mean MAILGLASS_SMTP_HOST?",
    ]


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])[;m]")
"""A colour of the foreground or the background (ECMA-48 §8.3.117)."""
READS = {
    "adapters": [],
    "deliveries": [],
    "doctor": [],
    "ledger check": [],
    "lint": [],
    "migrate": [],
    "migrate ": ["--check"],
    "migrate  ": ["--sql"],
    "outbox counts": [],
    "outbox list": [],
    "outbox sweep": [],
    "publish-check": ["mailglass.demo.mailables:Receipt", "--goldens", "none"],
    "reconcile": [],
    "streams": [],
    "suppressions check": ["zoe@mail.example"],
    "suppressions import": ["list.csv"],
    "suppressions list": [],
    "templates": [],
    "webhooks list": [],
    "webhooks prune": [],
    "install": ["--dry-run", "--diff"],
    "new mailable": ["Farewell"],
    "dkim keygen": ["--domain", "shop.example", "--selector", "s1", "--out", "key.pem"],
}


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", READS)
def test_json_is_one_document_without_colour(
    name: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where colour is forced; what is said besides goes to standard error."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, printed, complained = command(["mailglass", *name.split(), *READS[name], "--json"])
    assert printed, complained
    json.loads(printed)
    assert "\x1b" not in printed


def test_a_terminal_without_colour_gets_none(tmp_path: Path, database_url: str) -> None:
    """NO_COLOR is kept where there is a bar; a pipe gets no bar at all (https://no-color.org)."""
    (tmp_path / "list.csv").write_text("email\nzoe@mail.example\n", "utf-8")
    words = ["suppressions", "import", str(tmp_path / "list.csv"), "--database-url", database_url]
    piped = _main(*words)
    assert piped.returncode == 0, piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "importing" not in piped.stderr
    shown = _on_a_terminal(words, NO_COLOR="1")
    assert "importing" in shown
    assert COLOUR.search(shown) is None
    assert COLOUR.search(_on_a_terminal(words)) is not None


def test_publish_check_shows_on_a_terminal_how_far_it_is(tmp_path: Path) -> None:
    """Many mails take a while; a pipe gets no bar."""
    words = ["publish-check", "mailglass.demo.mailables:Receipt", "--goldens", str(tmp_path)]
    assert "mails" in _on_a_terminal([*words, "--accept"], NO_COLOR="1")
    piped = _main(*words)
    assert (piped.returncode, piped.stderr) == (0, "")


LONG = {
    "checking the ledger": ["ledger", "check"],
    "reconciling": ["reconcile"],
    "sweeping": ["outbox", "sweep"],
    "pruning": ["webhooks", "prune"],
    "migrating": ["migrate"],
    "erasing": ["erase", "zoe@mail.example"],
    "exporting": ["suppressions", "export"],
    "checks": ["doctor"],
    "mails": ["lint", "mailglass.demo.mailables:Receipt"],
}
"""What a command says while it works, and the command."""


ONE = "from mailglass.cli import main; main()"
ALL_OF_THEM = """
import json, sys
from mailglass.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, words
"""


@pytest.fixture
def _held(database_url: str) -> None:
    """Hold something on the person who is erased: nothing would be exit code 1."""
    with front_desk(database_url) as mail:
        mail.suppress(
            Suppression(
                scope=SuppressionScope.ADDRESS,
                value="zoe@mail.example",
                reason=SuppressionReason.MANUAL,
                source="test",
            )
        )


@pytest.mark.usefixtures("_folder", "_held")
def test_what_takes_long_moves_on_a_terminal(database_url: str) -> None:
    """Without colour where NO_COLOR is set."""
    given = {"MAILGLASS_DATABASE_URL": database_url, "MAILGLASS_ERASURE_KEY": "e" * 64}
    told = _on_a_terminal([json.dumps([*LONG.values()])], ALL_OF_THEM, NO_COLOR="1", **given)
    assert [label for label in LONG if f"{label} " not in told] == []
    assert COLOUR.search(told) is None


@pytest.mark.usefixtures("_folder", "_held")
@pytest.mark.parametrize("label", LONG)
def test_a_pipe_gets_no_bar(label: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no line of what is done soon."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    code, printed, complained = command(["mailglass", *LONG[label]])
    assert code == 0, complained
    assert f"{label} " not in complained
    assert "\x1b" not in printed + complained


def test_json_has_no_progress_on_a_terminal_either(database_url: str) -> None:
    """Whoever asks for a document watches nothing."""
    told = _on_a_terminal(["ledger", "check", "--json", "--database-url", database_url])
    assert "checking the ledger" not in told


def test_a_log_gets_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many of how many, every ten seconds at most."""
    monkeypatch.setattr(cli_progress, "LINE_EVERY_S", 0.0)
    with cli_progress.progress("pruning") as done:
        done(1500)
    with cli_progress.progress("replaying", total=2) as done:
        done(1)
    with cli_progress.progress("quiet", hidden=True) as done:
        done(1)
    monkeypatch.setattr(cli_progress, "LINE_EVERY_S", 10.0)
    with cli_progress.progress("soon") as done:
        done(1)
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "mailglass: pruning: 1,500",
        "mailglass: replaying: 1 of 2",
    ]
    assert told.out == ""


def _on_a_terminal(words: list[str], code: str = ONE, /, **environ: str) -> str:
    """Return what a command writes to a terminal on its standard error."""
    mine, its = os.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env=kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.DEVNULL, stderr=its,
    )  # fmt: skip
    os.close(its)
    shown = b""
    with os.fdopen(mine, "rb", buffering=0) as terminal:
        while True:
            try:
                read = terminal.read(65_536)
            except OSError:
                break  # Linux says EIO when the other end is closed
            if not read:
                break
            shown += read
    assert process.wait(timeout=60) == 0
    return shown.decode()


@pytest.mark.usefixtures("_folder")
def test_files_are_written_with_json_alike() -> None:
    """What install, new, dkim and uninstall say is a document, and they do the same."""
    told = _json("install", "--diff")
    assert {one["action"] for one in told["steps"]} == {"create"}
    assert told["framework"] == "plain"
    assert "+++ b/mails/welcome.py" in told["diff"]
    assert _json("new", "mailable", "Farewell")["created"][0] == "mails/farewell.py"
    key = ["--domain", "shop.example", "--selector", "s1"]
    made = _json("dkim", "keygen", *key, "--out", "key.pem")
    assert made == _json("dkim", "record", *key, "key.pem")
    assert made["name"] == "s1._domainkey.shop.example"
    assert "PRIVATE" not in json.dumps(made)
    assert {one["action"] for one in _json("uninstall")["steps"]} == {"remove"}
    assert Path("mails/farewell.py").exists()
    assert not Path("mails/welcome.py").exists()


def _json(*words: str) -> dict[str, Any]:
    code, printed, complained = command(["mailglass", *words, "--json"])
    assert code == 0, complained
    found: dict[str, Any] = json.loads(printed)
    return found


def test_help_answers_at_once() -> None:
    """About 100 ms on a quiet machine; the bound allows for a busy one."""
    took_s = []
    for _ in range(3):
        began = time.perf_counter()
        assert _main("--help").returncode == 0
        took_s.append(time.perf_counter() - began)
    assert min(took_s) < 1.0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    """What guides/getting-started.md tells people to put into their shell."""
    source = _completion(f"{shell}_source")
    assert "_MAILGLASS_COMPLETE" in source
    words = {"COMP_WORDS": "mailglass outbox li", "COMP_CWORD": "2"}
    fish = {"COMP_WORDS": "mailglass outbox li", "COMP_CWORD": "li"}
    assert "list" in _completion(f"{shell}_complete", **(fish if shell == "fish" else words))


def _completion(instruction: str, **environ: str) -> str:
    code = "import sys; sys.argv = ['mailglass']\nfrom mailglass.cli import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"_MAILGLASS_COMPLETE": instruction} | environ,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return told.stdout
