"""What a golden of a mail shows: the bytes of a send, with ids that never change."""

from __future__ import annotations

from pathlib import Path

import pytest

from front_desk import NOON, Greeting, note, write_templates
from mailglass import Attachment, Stream, Tracking
from mailglass.compliance.unsubscribe import PLACEHOLDER
from mailglass.delivery.freeze import freeze
from mailglass.publishing.mail import FINISHING, TENANT, Ids, frozen_bytes, goldens_of
from mailglass.rendering.render import Renderer

MESSAGES = {
    "plain": note(),
    "several recipients": note(cc="cc@mail.example", bcc="bcc@mail.example"),
    "bulk": note(stream=Stream.BULK, html=f'<p><a href="{PLACEHOLDER}">Leave</a></p>'),
    "tracked": note(
        html='<a href="https://shop.example/a">A</a>', tracking=Tracking(opens=True, clicks=True)
    ),
    "attached": note(
        html='<img src="cid:logo" alt="">',
        attachments=[
            Attachment(filename="é.pdf", content=b"%PDF", content_type="application/pdf"),
            Attachment(
                filename="l.png", content=b"\x89P", content_type="image/png", content_id="logo"
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_are_those_that_a_send_stores(name: str) -> None:
    """Given the ids of a frozen mail, a golden's bytes are its bytes."""
    message = MESSAGES[name]
    frozen = freeze(message, tenant_id=TENANT, adapter_ref="default", now=NOON, finishing=FINISHING)
    ids = Ids(message_id=frozen.message_id, delivery_ids=frozen.delivery_ids, now=NOON)
    assert frozen_bytes(message, ids) == frozen.parameters["payload"]


class _Attached(Greeting):
    def attachments(self) -> tuple[Attachment, ...]:
        return MESSAGES["attached"].attachments


def test_attachments_are_shown_by_name_size_and_hash(tmp_path: Path) -> None:
    """Their content changes the golden, and is not in it."""
    write_templates(tmp_path, greeting__html='<img src="cid:logo" alt="">')
    found = goldens_of(Renderer([tmp_path]), _Attached())
    tree = found[".headers"].partition("\n\n")[2].splitlines()
    assert [line.partition(", sha256")[0] for line in tree] == [
        "multipart/mixed",
        "  multipart/related",
        "    multipart/alternative",
        "      text/plain",
        "      text/html",
        "    image/png, named l.png, shown as cid:logo, 2 bytes",
        "  application/pdf, named é.pdf, 4 bytes",
    ]


def test_the_host_and_its_settings_are_not_in_a_golden(tmp_path: Path) -> None:
    """The same words on every machine: fixed ids, a fixed date, links of reserved domains."""
    write_templates(tmp_path, greeting__html="<p>Hello</p>")
    headers = goldens_of(Renderer([tmp_path]), Greeting())[".headers"]
    assert "Date: Thu, 01 Jan 2026 00:00:00 +0000\n" in headers
    assert f"Message-ID: <{0:032}@" in headers
