"""Random mails for property tests, and how many of them a run tries."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

from mailglass.address import Address
from mailglass.errors import SendError
from mailglass.message import Attachment

EXAMPLES_MAX: Final = int(os.environ.get("MAILGLASS_HYPOTHESIS_EXAMPLES", "300"))
MANY: Final = settings(max_examples=EXAMPLES_MAX, deadline=None, database=None)

BIDI: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ATEXT: Final = "abcXYZ019!#$%&'*+-/=?^_`{|}~"

header_chars = st.one_of(
    st.sampled_from(' "\\<>(),:;@.=?_aZ9é€\U0001f600'),
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=BIDI),
)
header_text = st.one_of(
    st.text(header_chars, max_size=200),
    st.text("abc XYZ.-", max_size=400),
    st.sampled_from(["=?utf-8?q?=0ABcc:_v@evil.example?=", "=?utf-8?b?Cg==?= =?utf-8?q?a?=", "=?"]),
)
names = st.one_of(st.text(header_chars, max_size=120), st.text("ab cd", max_size=250))
ascii_locals = st.text(ATEXT, min_size=1, max_size=40)
utf8_locals = st.text("äßñ日本кл", min_size=1, max_size=12)
domains = st.sampled_from(
    ["example.org", "bücher.example", "localhost", "a.b.c.example", "例え.jp"]
)
addresses = st.builds(Address, names, ascii_locals, domains)
any_addresses = st.builds(Address, names, st.one_of(ascii_locals, utf8_locals), domains)

body_chars = st.one_of(
    st.sampled_from("\r\n\t .=-aé€\U0001f600"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
)
body_pieces = st.one_of(
    st.text(body_chars, max_size=120),
    st.sampled_from(
        [
            "\r\n",
            "\n",
            "\r",
            "\n.\n",
            "\r\n.\r",
            "--=_",
            "x" * 998,
            "y" * 999,
            "z " * 600,
            "ü" * 400,
        ]
    ),
)
bodies = st.lists(body_pieces, max_size=8).map("".join)


def _may_be_filename(name: str) -> bool:
    try:
        Attachment(filename=name, content=b"")
    except SendError:
        return False
    return True


filenames = st.one_of(
    st.text(header_chars, min_size=1, max_size=60), st.text("ab c.", min_size=1, max_size=150)
).filter(_may_be_filename)
attachments = st.builds(
    Attachment,
    filename=filenames,
    content=st.binary(max_size=400),
    content_type=st.sampled_from(["application/pdf", "text/csv", "image/png", "text/calendar"]),
)
