"""One example of each component, as an author writes it; goldens and screenshots share them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mailglass.rendering.components import Theme
from mailglass.rendering.i18n import language
from mailglass.rendering.templates import Templates

_HEAD: Final = '{% import "mailglass/components.html.jinja" as mg with context %}\n'

PARTS: Final = {
    "preheader": '{{ mg.preheader("Order 1042 is paid") }}',
    "heading": "{{ mg.heading('Thank you') }}{{ mg.heading('Next', level=2, align='center') }}",
    "text": (
        "{% call mg.text() %}See {{ mg.link('your order', 'https://shop.example/o') }}.{% endcall %}"
        "{{ mg.text('Questions & answers', size='small', tone='muted', align='end') }}"
    ),
    "button": (
        "{{ mg.button('Open your order', 'https://shop.example/o?a=1&b=2') }}"
        "{{ mg.button('Not now', 'https://shop.example/later', kind='outline', align='center') }}"
    ),
    "image": (
        "{{ mg.image('cid:logo', 'Shop', 96, 48) }}"
        "{{ mg.image('https://shop.example/b.png', 'Coffee', 552, 120, href='https://shop.example/') }}"
    ),
    "link": "{{ mg.link('Open your account', 'https://shop.example/account') }}",
    "hr": "{{ mg.text('Above') }}{{ mg.hr() }}{{ mg.text('Below') }}",
    "spacer": "{{ mg.text('Above') }}{{ mg.spacer(32) }}{{ mg.text('Below') }}",
    "code": "{{ mg.code('493 027') }}",
    "table": (
        "{{ mg.table(['Item', 'Pieces'], [['Café au lait', 2], ['Brød & smør', 1]],"
        " aligns=['start', 'end']) }}"
    ),
    "receipt": (
        "{{ mg.receipt([('Café au lait', '7,00 €'), ('Brød & smør', '4,50 €')],"
        " total=('Total', '11,50 €')) }}"
    ),
    "row": (
        "{% call mg.row() %}"
        "{% call mg.column(264) %}{{ mg.text('Ordered on 1 March') }}{% endcall %}"
        "{% call mg.column(264) %}{{ mg.text('Arrives on 3 March') }}{% endcall %}"
        "{% endcall %}"
    ),
    "section": "{% call mg.section(ground='soft') %}{{ mg.text('Set apart') }}{% endcall %}",
    "container": "{% call mg.container(width=480) %}{{ mg.text('Narrow') }}{% endcall %}",
}
"""Each component with what it is mostly called with."""

PAGE: Final = (
    "{% call mg.layout(title='Your order', preview='Order 1042 is paid') %}"
    "{% call mg.container() %}{% call mg.section() %}"
    + "".join(PARTS[name] for name in PARTS if name not in {"preheader", "container"})
    + "{% endcall %}{% endcall %}{% endcall %}"
)


def rendered(source: str, folder: Path, *, locale: str | None = None, theme: str = "") -> str:
    """Return what a mail of some source is; ``theme`` is what the template changes of it."""
    changed = "{% set theme = theme.but(" + theme + ") %}\n" if theme else ""
    (folder / "mail.html.jinja").write_text(changed + _HEAD + source, "utf-8")
    spoken_in = language(locale)
    templates = Templates([folder], theme=Theme(direction=spoken_in.direction), spoken_in=spoken_in)
    return templates.render_mail("mail.html.jinja", {})[0].lstrip("\n")


def page_of(name: str) -> str:
    """Return the source of a whole mail with one component in it, or with all."""
    if name == "layout":
        return PAGE
    inside = PARTS[name]
    if name != "container":
        inside = f"{{% call mg.container() %}}{{% call mg.section() %}}{inside}{{% endcall %}}{{% endcall %}}"
    return f"{{% call mg.layout(title='Example') %}}{inside}{{% endcall %}}"
