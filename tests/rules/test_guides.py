"""The documentation against the code: every block runs, every table is what the code has."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from starlette.testclient import TestClient

from guides import Block, PageError, blocks_of, command, run_page
from mailglass.adapters import providers
from mailglass.adapters.fake import FakeMode
from mailglass.cli.group import mailglass
from mailglass.deliveries import DispatchState
from mailglass.errors import ERROR_TYPES
from mailglass.preflight.stream_policy import RULES
from mailglass.rendering.components import FOLDER
from mailglass.rendering.lint.findings import RULES as LINT_RULES
from mailglass.settings import Settings
from mailglass.telemetry import Signal
from tests_paths import ROOT

GUIDES = ROOT / "guides"
PAGES = sorted([ROOT / "README.md", *GUIDES.glob("*.md")])
NOT_RUN_MAX = 4


def _text(name: str) -> str:
    return (GUIDES / f"{name}.md").read_text("utf-8")


def _named(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path, database_url: str) -> None:
    """What a reader copies works, and prints what the page says."""
    blocks = blocks_of(page.read_text("utf-8"))
    ran = run_page(page, folder=tmp_path, database_url=database_url)
    assert ran == sum(one.not_run is None for one in blocks)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    """What cannot run here is the exception."""
    left_out = [
        (page.name, one)
        for page in PAGES
        for one in blocks_of(page.read_text("utf-8"))
        if one.not_run is not None
    ]
    assert len(left_out) <= NOT_RUN_MAX, [(name, one.line) for name, one in left_out]
    assert all(len(one.not_run or "") > len("because") for _, one in left_out)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```", "line 2: ZeroDivisionError"),
        ("```python\nprint(2)\n```\n```text\n3\n```", "it printed"),
        ("```text\n3\n```", "no block before it"),
        ("```ruby\nputs 1\n```", "nobody runs a block of ruby"),
        ("```\nplain\n```", "nobody runs a block of no language"),
        ("```sh\nrm -rf x\n```", "nobody runs rm"),
        ("```sh\nmailglass no-such-command\n```", "exits with 2"),
        ("```sh\nmailglass --version  # exits 1\n```", "exits with 0"),
        ("```sql\nselect no_such_column\n```", "UndefinedColumn"),
        ("```ini\nMAILGLASS_NO_SUCH=1\n```", "is not a setting"),
        ("<!-- nonsense -->\n```python\n```", "nothing that is understood"),
    ],
)
def test_a_broken_page_is_told(
    text: str, complaint: str, tmp_path: Path, database_url: str
) -> None:
    """A test that could not fail would prove nothing."""
    page = tmp_path / "broken.md"
    page.write_text(text + "\n", "utf-8")
    with pytest.raises(PageError, match=re.escape(complaint)):
        run_page(page, folder=tmp_path, database_url=database_url)


def test_comments_above_a_block_are_read() -> None:
    """The file, what a name stands for, and the reason why it is not run."""
    (block,) = blocks_of(
        "<!-- file: a.py -->\n<!-- ID is one.id -->\n<!-- not run: no network -->\n```sh\nx\n```\n"
    )
    assert block == Block(
        language="sh", code="x\n", line=5, file="a.py", not_run="no network", names={"ID": "one.id"}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    """No dead link, not even to a heading."""
    for target, anchor in re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()
    ):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {_anchor(one) for one in headings}, f"{target}#{anchor}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_guide_is_listed_in_the_readme() -> None:
    """A page that nobody finds is not there."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [
        one.name for one in PAGES if one.parent == GUIDES and f"guides/{one.name}" not in readme
    ] == []


def test_every_error_and_type_is_explained() -> None:
    """A page a class, a line a type, in the order of the code."""
    found = {}
    for part in _text("errors").split("\n## ")[1:]:
        found[part.splitlines()[0]] = re.findall(r"^\| `(\w+)`", part, re.MULTILINE)
    assert found == {cls.__name__: [one.value for one in of] for cls, of in ERROR_TYPES.items()}


def test_every_component_is_shown_with_its_arguments() -> None:
    """The table of macros is the file of macros."""
    source = (FOLDER / "components.html.jinja").read_text("utf-8")
    macros = re.findall(r"macro ((?!_)\w+\([^)]*\))", source)
    listed = re.findall(r"^\| `(\w+\([^)]*\))`", _text("components"), re.MULTILINE)
    assert sorted(listed) == sorted(macros)


def test_every_lint_rule_is_listed() -> None:
    """With its severity."""
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", _text("previews-and-lint"), re.MULTILINE)
    assert listed == [(name, one[0].value) for name, one in LINT_RULES.items()]


def test_every_state_and_signal_has_its_line() -> None:
    """Dispatch states, fake modes and telemetry."""
    states = re.findall(
        r"^\| `(\w+)` \|.*\| (?:yes|final) \|$", _text("delivery-semantics"), re.MULTILINE
    )
    assert states == [one.value for one in DispatchState]
    signals = re.findall(r"^\| `(\w+\.\w+)` \|", _text("telemetry"), re.MULTILINE)
    assert signals == [one.value for one in Signal]
    modes = re.findall(r"^\| `(\w+)` \|", _text("testing"), re.MULTILINE)
    assert sorted(modes) == sorted(one.value for one in FakeMode)


def test_every_adapter_has_its_section() -> None:
    """With its own options and the setting that chooses it."""
    text = _text("adapters")
    assert {one for one in providers.names() if f"MAILGLASS_ADAPTER={one}\n" not in text} == {
        "fake"
    }
    assert _named(text.split("## Options that providers share")[1].split("\n## ")[0]) >= {
        option.name for option in providers.options("resend") if option.name.startswith("webhook_")
    }
    for part in text.split("MAILGLASS_ADAPTER=")[1:]:
        name = part.splitlines()[0]
        if name in providers.API_PROVIDERS:
            own = {
                one.name for one in providers.options(name) if not one.name.startswith("webhook_")
            }
            assert own <= _named(part), name
            assert json.loads(part.splitlines()[1].partition("=")[2])


def test_commands_are_promised() -> None:
    """Every command with its options stands in the promises, and nothing else does."""
    assert _table("Commands") == dict(_commands(mailglass, ""))


def _commands(found: click.Command, name: str) -> Iterator[tuple[str, set[str]]]:
    context = click.Context(found)
    if isinstance(found, click.Group):
        for one in found.list_commands(context):
            inner = found.get_command(context, one)
            assert inner is not None
            yield from _commands(inner, f"{name} {one}".strip())
        if not name or not found.invoke_without_command:
            return
    yield (
        name,
        {
            option
            for one in found.params
            if isinstance(one, click.Option)
            for option in (*one.opts, *one.secondary_opts)
            if option.startswith("--")
        },
    )


def _table(heading: str) -> dict[str, set[str]]:
    """Return the first cell of each row with what the last one names."""
    promises = (ROOT / "docs" / "api_stability.md").read_text("utf-8")
    section = promises.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("|")]
    return {row[0].strip(" `"): _named(row[-1]) for row in rows[2:]}


def test_settings_are_promised() -> None:
    """Each setting once."""
    listed = [name for names in _table("Settings").values() for name in names]
    assert sorted(listed) == sorted(Settings.model_fields)


def test_every_promised_command_is_in_the_readme() -> None:
    """A newcomer finds each of them."""
    table = (
        (ROOT / "README.md").read_text("utf-8").split("## The command line")[1].split("\n## ")[0]
    )
    assert {name.split()[0] for name in _table("Commands")} <= _named(table)


def test_stream_rules_named_in_guides_exist() -> None:
    """No rule that is gone."""
    known = {rule.name for rules in RULES.values() for rule in rules}
    found = set(
        re.findall(
            r"^(bulk_requires_\w+|auth_mail_\w+)$", _text("streams-and-suppression"), re.MULTILINE
        )
    )
    assert found <= known


def test_the_example_queues_a_receipt_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same order sent twice is one mail, and a worker sends it."""
    monkeypatch.syspath_prepend(ROOT / "examples" / "asgi")
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    shop = import_module("app")
    order = {"number": 7, "total": "11.50", "customer": "zoe@mail.example"}
    with TestClient(shop.app) as client:
        first, second = (client.post("/orders", json=order) for _ in range(2))
        assert first.json() == second.json()
        assert (first.status_code, first.json()["state"]) == (202, "queued")
        assert client.post("/orders", json={}).status_code == 422
        assert client.get("/deliveries/none").status_code == 404
        assert client.get("/").status_code == 404
        assert command(["mailglass", "worker", "--drain"])[1] == "tried 1\n"
        history = client.get(f"/deliveries/{first.json()['delivery']}").json()
    assert history == ["queued", "attempt_started", "dispatched"]
    monkeypatch.delitem(sys.modules, "app")
