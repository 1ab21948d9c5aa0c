"""Render three mails in every way, in turns, and print a table: ``python benchmarks/render``.

Needs mailglass with the extra ``inline``. With Django beside it (``pip install 'django>=5.2'``, for
this benchmark alone) it also measures Django templates with premailer, as a user would write it.
Times are medians of interleaved rounds in one process; read the ratios, not the times.
"""

# ruff: noqa: INP001, T201 - a script, run as a folder, that prints its findings
from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from statistics import median
from typing import Any, Final

import css_inline
from jinja2 import Environment, StrictUndefined
from mails import TEMPLATES, data
from premailer import Premailer

from mailglass import Message
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.mime import build
from mailglass.rendering.templates import Templates

ROUND_S: Final = 0.05
"""How long one contestant runs before the next has its turn."""
THREADS: Final = 8
MANY: Final = 1_000
PURE: Final = "pure Jinja"
Contestants = dict[str, Callable[[], object]]


def measured(contestants: Contestants, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            calls, begun = 0, time.perf_counter()
            while (spent := time.perf_counter() - begun) < ROUND_S or calls == 0:
                run()
                calls += 1
            times[name].append(spent / calls * 1000)
    return {name: median(found) for name, found in times.items()}


def table(title: str, found: Mapping[str, float], base: str) -> None:
    """Print a table with ratios to one row."""
    print(f"\n### {title}\n\n| way | ms | x {base} |\n|---|---:|---:|")
    for name, spent in found.items():
        print(f"| {name} | {spent:.3f} | {spent / found[base]:.2f} |")


def written(folder: Path) -> Path:
    """Write the templates, those for the derived text in a folder of their own."""
    (folder / "derived").mkdir()
    for name, (html, text) in TEMPLATES.items():
        (folder / f"{name}.html.jinja").write_text(html, "utf-8")
        (folder / f"{name}.txt.jinja").write_text(text, "utf-8")
        (folder / "derived" / f"{name}.html.jinja").write_text(html, "utf-8")
    return folder


def warm(name: str, folder: Path, values: dict[str, Any]) -> Contestants:
    """Return the ways to make the HTML and the text of one mail."""
    html, text = TEMPLATES[name]
    file = f"{name}.html.jinja"
    ours, derived = Templates([folder]), Templates([folder / "derived"])
    fast = Templates([folder], Engine.CSS_INLINE)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(html)
    plain = Environment(autoescape=False, undefined=StrictUndefined).from_string(text)  # noqa: S701 - a text part
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)

    def by_premailer() -> tuple[str, str]:
        made = Premailer(page.render(values), keep_style_tags=True, allow_network=False)
        return made.transform(pretty_print=False), plain.render(values)

    ways: Contestants = {
        PURE: lambda: (page.render(values), plain.render(values)),
        "mailglass, warm": lambda: ours.render_mail(file, values),
        "mailglass, warm, engine css-inline": lambda: fast.render_mail(file, values),
        "mailglass, warm, derived text": lambda: derived.render_mail(file, values),
        "Jinja, css-inline per message": lambda: (
            inliner.inline(page.render(values)),
            plain.render(values),
        ),
        "Jinja, premailer per message": by_premailer,
    }
    django = django_way(html, text, values)
    return ways if django is None else {**ways, "Django + premailer per message": django}


def django_way(html: str, text: str, values: dict[str, Any]) -> Callable[[], object] | None:
    """Return the way of Django, where it is installed."""
    try:
        from django.conf import settings  # noqa: PLC0415 - optional
    except ImportError:
        return None
    if not settings.configured:
        import django  # noqa: PLC0415 - optional

        backend = "django.template.backends.django.DjangoTemplates"
        settings.configure(TEMPLATES=[{"BACKEND": backend}], USE_I18N=False)
        django.setup()
    from django.template import engines  # noqa: PLC0415 - optional

    page = engines["django"].from_string(html)
    plain = engines["django"].from_string(f"{{% autoescape off %}}{text}{{% endautoescape %}}")

    def run() -> tuple[str, str]:
        made = Premailer(page.render(values), keep_style_tags=True, allow_network=False)
        return made.transform(pretty_print=False), plain.render(values)

    return run


def cold(name: str, folder: Path) -> Contestants:
    """Return our compilation of a template, and premailer's own time for its source."""
    file, html = f"{name}.html.jinja", TEMPLATES[name][0]
    return {
        "premailer on the template": lambda: Premailer(
            html, keep_style_tags=True, allow_network=False, cache_css_parsing=False
        ).transform(pretty_print=False),
        "mailglass, cold": lambda: Templates([folder]).compiled(file),
        "mailglass, cold, engine css-inline": lambda: Templates(
            [folder], Engine.CSS_INLINE
        ).compiled(file),
    }


def mime(folder: Path, values: dict[str, Any]) -> Contestants:
    """Return our MIME builder and the standard library's on the receipt."""
    html, text = Templates([folder]).render_mail("receipt.html.jinja", values)
    sender, to, subject = "shop@shop.example", "Zoë <zoe@mail.example>", "Your receipt, Zoë"
    message = Message(sender=sender, to=to, subject=subject, text=text, html=html)
    now = datetime(2026, 3, 1, tzinfo=UTC)

    def standard() -> bytes:
        made = EmailMessage(policy=SMTP)
        made["From"], made["To"], made["Subject"] = sender, to, subject
        made["Message-ID"], made["Date"] = "<1@shop.example>", now
        made.set_content(text)
        made.add_alternative(html, subtype="html")
        return made.as_bytes()

    return {
        "standard library": standard,
        "mailglass": lambda: build(
            message, message_id="<1@shop.example>", date=now, boundary_seed=b"seed"
        ),
    }


def memory() -> None:
    """Print how much memory a thousand templates take, rendered by eight threads."""
    values = data()
    html = TEMPLATES["receipt"][0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(MANY):
            (folder / f"m{number}.html.jinja").write_text(html.replace("Hi ", f"Hi {number} "))
        templates = Templates([folder])
        templates.compiled("m0.html.jinja")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        failed: list[int] = []

        def work(part: int) -> None:
            for number in range(part, MANY, THREADS):
                made, _ = templates.render_mail(f"m{number}.html.jinja", values)
                if f"Hi {number} " not in made:
                    failed.append(number)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong = f", {len(failed)} WRONG" if failed else ""
    print(f"\n{MANY} templates in {THREADS} threads: {after // 1024} MB at the peak{wrong}")
    print(f"({before // 1024} MB with one template)")


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--memory", action="store_true", help="only the memory, in this process")
    given = asked.parse_args()
    if given.memory:
        memory()
        return
    values = data()
    with tempfile.TemporaryDirectory() as name:
        folder = written(Path(name))
        for mail in TEMPLATES:
            report = Templates([folder]).compiled(f"{mail}.html.jinja").report
            size = len(Templates([folder]).render_mail(f"{mail}.html.jinja", values)[0])
            table(
                f"{mail}: html + text ({report.mode.value}, {size // 1000} kB)",
                measured(warm(mail, folder, values), given.rounds),
                PURE,
            )
            table(
                f"{mail}: compiling",
                measured(cold(mail, folder), given.rounds),
                "premailer on the template",
            )
        table(
            "receipt: MIME build", measured(mime(folder, values), given.rounds), "standard library"
        )
        if django_way("", "", {}) is None:
            print("\nDjango is not installed, so its rows are missing.")
    sys.stdout.flush()
    subprocess.run([sys.executable, __file__, "--memory"], check=True)  # noqa: S603 - this file


if __name__ == "__main__":
    main()
