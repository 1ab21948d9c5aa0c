"""Three mails as shops send them (a reset, a receipt of 30 lines, a digest of 200 rows), and data."""

# ruff: noqa: INP001, E501, ISC004 - part of a script that is run as a folder; mails have long lines
from __future__ import annotations

import random
from typing import Any, Final

_WORDS: Final = [
    "amber",
    "basin",
    "cedar",
    "délta",
    "ember",
    "fjord",
    "grove",
    "harbour",
    "inlet",
    "jünger",
    "kelp",
    "linen",
]

_COMMON: Final = """
body{margin:0;padding:0;width:100%;background-color:#f4f5f7;color:#444b57;font-family:"Source Sans",Arial,sans-serif}
table{border-spacing:0}td{word-break:break-word;font-size:16px}a{color:#2b63c9}
p{margin:0 0 18px;font-size:16px;line-height:1.6}h1{margin-top:0;color:#222;font-size:23px;font-weight:bold}
.preview{display:none !important;visibility:hidden;mso-hide:all;font-size:1px;line-height:1px;opacity:0}
.outer{width:100%;margin:0;padding:0;background-color:#f4f5f7}
.inner{width:600px;margin:0 auto;padding:0;background-color:#fff}.pad{padding:40px}
.button{background-color:#2b63c9;border:10px solid #2b63c9;display:inline-block;color:#fff;text-decoration:none;
border-radius:4px}.button--go{background-color:#1f9d58;border:10px solid #1f9d58}
.button:hover{background-color:#173f85 !important}.small{font-size:13px;color:#6d7480}
.foot p{color:#9aa0a8;font-size:12px;text-align:center}.right{text-align:right}
@media only screen and (max-width:520px){.inner{width:100% !important}.button{width:100% !important}}
@media (prefers-color-scheme:dark){body,.outer,.inner{background-color:#222 !important;color:#fff !important}}
"""
_RECEIPT: Final = """
.lines{width:100%;margin:0;padding:30px 0}.line{padding:9px 0;color:#444b57;font-size:15px;line-height:19px}
.line_head{padding-bottom:8px;border-bottom:1px solid #e6e8eb}.line_head p{margin:0;color:#80868f;font-size:12px}
.line_foot{padding-top:14px;border-top:1px solid #e6e8eb}
.sum{margin:0;text-align:right;font-weight:bold;color:#222}td.code{font-family:monospace;font-size:12px}
.facts{margin:0 0 20px}.facts_in{background-color:#f0f1f4;padding:15px}
"""
_HEAD: Final = """<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>TITLE</title>
<!--[if mso]><style>td,p,a,h1{font-family:Arial,sans-serif;mso-line-height-rule:exactly}</style><![endif]-->
<style>SHEET</style>
</head>
<body><span class="preview">PREVIEW&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;</span>
<table class="outer" width="100%" cellpadding="0" cellspacing="0" role="presentation"><tr><td align="center">
<!--[if mso]><table role="presentation" width="600" align="center"><tr><td><![endif]-->
<table class="inner" align="center" cellpadding="0" cellspacing="0" role="presentation"><tr><td class="pad">
"""
_FOOT: Final = """</td></tr></table>
<!--[if mso]></td></tr></table><![endif]-->
<table class="foot" align="center" width="600" role="presentation"><tr><td class="pad" align="center">
<p>&copy; 2026 {{ company }}. All rights reserved.</p><p>{{ place }}</p></td></tr></table>
</td></tr></table></body></html>
"""


def _page(title: str, preview: str, body: str, more: str = "") -> str:
    head = _HEAD.replace("TITLE", title).replace("PREVIEW", preview)
    return head.replace("SHEET", _COMMON + more) + body + _FOOT


def _framework_sheet() -> str:
    """Return about 15 kB of rules, of which a mail uses a few, as frameworks ship them."""
    rules = [f".fs-{n}{{font-size:{n}px}}.mt-{n}{{margin-top:{n}px}}" for n in range(8, 60)]
    rules += [f".col-{n}{{width:{100 * n // 12}%}}.sm .col-{n}{{width:100%}}" for n in range(1, 13)]
    rules += [
        f".part-{n}{{background-color:#f{n % 10}f4f7;padding:{n % 9}px;border:1px solid #e{n % 10}e0e0}}"
        f".part-{n} .part-{n}__head{{padding:{n % 7}px {n % 11}px;font-size:{12 + n % 6}px}}"
        for n in range(70)
    ]
    rules += [f".badge-{level}{{padding:2px 6px;color:#{colour}}}" for level, colour in _LEVELS]
    return "\n".join(rules) + ".rows{width:100%}.rows td{padding:8px;border-bottom:1px solid #eee}"


_LEVELS: Final = (("info", "2b63c9"), ("good", "1f9d58"), ("warn", "b07a00"), ("bad", "b3261e"))
_BADGES: Final = (
    "{% if row.level == 'info' %}<b class=\"badge-info\">info</b>{% elif row.level == 'good' %}"
    '<b class="badge-good">good</b>{% elif row.level == \'warn\' %}<b class="badge-warn">warn</b>'
    '{% else %}<b class="badge-bad">bad</b>{% endif %}'
)
_ROW: Final = """{% for row in rows %}<tr>
<td class="col-1"><img src="{{ row.image }}" width="32" height="32" alt=""></td>
<td class="col-8"><a href="{{ row.url }}">{{ row.title }}</a><p class="small">{{ row.excerpt }}</p></td>
<td class="col-2">BADGE</td>
<td class="col-1 fs-12">{{ row.when }}{% if row.comments %}<br><span class="fs-11">{{ row.comments }} comments</span>{% endif %}</td>
</tr>
{% endfor %}"""


def _digest(badge: str, more: str = "") -> str:
    body = (
        '<h1>Hi {{ name }}, here is your week</h1><p class="fs-14 mt-16">{{ count }} updates.</p>'
        f'<table class="rows" role="presentation"><tbody>\n{_ROW.replace("BADGE", badge)}</tbody></table>'
        '<p class="mt-24"><a class="button" href="{{ url }}">See everything</a></p>'
    )
    return _page("Your week", "{{ count }} updates", body, _framework_sheet() + more)


_DIGEST_TEXT: Final = """Hi {{ name }}, {{ count }} updates.

{% for row in rows %}{{ row.title }} ({{ row.url }}) {{ row.level }}
{{ row.excerpt }}
{% endfor %}
Everything: {{ url }}
"""

TEMPLATES: Final[dict[str, tuple[str, str]]] = {
    "reset": (
        _page(
            "Reset your password", "Use this link to set a new password.",
            "<h1>Hi {{ name }},</h1><p>Somebody asked for a new password for your {{ company }} account. "
            "<strong>The link works for 24 hours.</strong></p>"
            '<table align="center" role="presentation"><tr><td align="center">'
            '<!--[if mso]><v:rect href="{{ url }}" style="height:40px;width:220px">Reset</v:rect><![endif]-->'
            '<!--[if !mso]><!--><a href="{{ url }}" class="button button--go">Reset your password</a><!--<![endif]-->'
            "</td></tr></table>{% if system %}<p>The request came from {{ browser }} on {{ system }}. If that "
            'was not you, <a href="{{ help }}">tell us</a>.</p>{% endif %}<p>Thanks,<br>The {{ company }} team</p>'
            '<p class="small">If the button does not work, open this address:</p><p class="small">{{ url }}</p>',
        ),
        "Hi {{ name }},\n\nset a new password here: {{ url }}\n\nThe {{ company }} team\n",
    ),
    "receipt": (
        _page(
            "Receipt {{ number }}", "Your receipt of {{ date }}.",
            "<h1>Hi {{ name }},</h1><p>Thank you for your order at {{ company }}. This is your receipt.</p>"
            '<table class="facts" width="100%"><tr><td class="facts_in"><strong>Charged:</strong> {{ total }}<br>'
            "<strong>Card:</strong> {{ card }}</td></tr></table>"
            '<table class="lines" cellpadding="0"><thead><tr><th class="line_head" align="left"><p>Code</p></th>'
            '<th class="line_head" align="left"><p>Description</p></th><th class="line_head"><p class="right">Qty'
            '</p></th><th class="line_head"><p class="right">Amount</p></th></tr></thead><tbody>\n'
            '{% for item in items %}<tr>\n<td class="line code" width="15%">{{ item.code }}</td>\n'
            '<td class="line" width="55%"><a href="{{ item.url }}">{{ item.name }}</a>{% if item.note %}<br>'
            '<span class="small">{{ item.note }}</span>{% endif %}</td>\n<td class="line right" width="10%">'
            '{{ item.qty }}</td>\n<td class="line right" width="20%">{{ item.amount }}</td>\n</tr>\n{% endfor %}'
            '</tbody><tfoot><tr><td class="line_foot" colspan="3"><p class="sum">Total</p></td>'
            '<td class="line_foot"><p class="sum">{{ total }}</p></td></tr></tfoot></table>'
            '<p>Questions? Ask our <a href="{{ help }}">support team</a>.</p>',
            _RECEIPT,
        ),
        "Hi {{ name }},\n\nreceipt {{ number }}, {{ date }}.\n\n{% for item in items %}{{ item.qty }} x "
        "{{ item.name }} ({{ item.code }}): {{ item.amount }}\n{% endfor %}\nTotal: {{ total }}\n",
    ),
    "digest": (_digest(_BADGES), _DIGEST_TEXT),
    "digest-dynamic": (
        _digest(
            '<b class="badge-{{ row.level }}">{{ row.level }}</b>',
            ".rows tr:nth-child(even) td{background-color:#fafafa}",
        ),
        _DIGEST_TEXT,
    ),
}  # fmt: skip
"""HTML and text by name. ``digest-dynamic`` is the digest as it is often written, with a class made
of data and zebra rows by :nth-child: it cannot be compiled, and shows what the fallback costs."""


def data() -> dict[str, Any]:
    """Return the variables of all the mails, the same each time."""
    pick = random.Random(7)  # noqa: S311 - invented data, no secret

    def words(count: int) -> str:
        return " ".join(pick.choice(_WORDS) for _ in range(count))

    address = (
        "https://shop.example/p/{}?ref=mail&i={}&utm_source=mail&utm_medium=email&utm_campaign=c"
    )
    items = [
        {
            "code": f"C-{pick.randrange(10**6):06}", "name": f"{words(6)} & co.", "qty": pick.randrange(1, 9),
            "url": address.format(pick.randrange(10**8), at), "amount": f"€{pick.randrange(9999) / 100:.2f}",
            "note": f"gift <wrapped>, {words(3)}" if at % 2 else "",
        }
        for at in range(30)
    ]  # fmt: skip
    rows = [
        {
            "title": words(6), "url": address.format(pick.randrange(10**8), at), "excerpt": words(22),
            "image": f"https://img.example/{at}.png", "level": pick.choice(_LEVELS)[0], "when": f"{at % 24} h",
            "comments": pick.choice((0, 0, 3, 12)),
        }
        for at in range(200)
    ]  # fmt: skip
    return {
        "name": "Zoë Østergård", "company": "Amber & Sons", "place": "12 Harbour Rd, Cork", "count": 200,
        "url": "https://shop.example/reset?token=abc&id=1", "help": "https://shop.example/help?a=1&b=2",
        "system": "Linux", "browser": "Firefox", "number": "#R-2026-000123", "date": "21 Nov 2026",
        "total": "€4,321.09", "card": "Visa ending 4242", "items": items, "rows": rows,
    }  # fmt: skip
