"""The goldens of a mailable: each preview as it would be sent, with ids and a date that never change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import MIMEPart
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

from mailglass.compliance.tracking import TrackingLinks
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.delivery.finish import Finishing
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.rendering import mime
from mailglass.rendering.attachments import load_attachments
from mailglass.rendering.render import Renderer
from mailglass.tokens import Keyring, TokenKey

SUFFIXES: Final = (".html", ".txt", ".headers")
DATE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When every golden mail is sent."""
TENANT: Final = "golden"
_MESSAGE_ID: Final = UUID(int=0)
_KEYS: Final = Keyring([TokenKey(secret=hashlib.sha256(b"mailglass goldens").digest())])

FINISHING: Final = Finishing(
    unsubscribe=UnsubscribeLinks(url="https://leave.example.com/u", keys=_KEYS),
    tracking=TrackingLinks(
        url="https://track.example.net/t", keys=_KEYS, never=("https://leave.example.com/u",)
    ),
)
"""What golden mails get besides their author's words: the same on every machine, whatever is set.

They are not signed: a signature is the host's, and changes with its keys.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """The ids that a mail would get when it is frozen, and the moment of that."""

    message_id: UUID
    delivery_ids: tuple[UUID, ...]
    now: datetime


def goldens_of(
    renderer: Renderer, mailable: Mailable, *, attachments_root: Path | None = None
) -> dict[str, str]:
    """Return the golden texts of one mail by suffix; a part that it has not is missing.

    Raises:
        MailglassError: whatever a send would raise when it renders or freezes this mail.

    """
    return texts_of(finished(renderer, mailable, attachments_root=attachments_root))


def finished(
    renderer: Renderer, mailable: Mailable, *, attachments_root: Path | None = None
) -> Message:
    """Return the message of a mailable with its attachments loaded.

    Raises:
        MailglassError: whatever a send would raise when it renders this mail.

    """
    return load_attachments(renderer.render(mailable), attachments_root)


def texts_of(message: Message) -> dict[str, str]:
    """Return the golden texts of a finished message by suffix.

    Raises:
        SendError: ``serialization_failed`` when it is no valid mail.

    """
    ids = Ids(
        message_id=_MESSAGE_ID,
        delivery_ids=tuple(UUID(int=number) for number, _ in enumerate(message.recipients, 1)),
        now=DATE,
    )
    return dict(_texts(frozen_bytes(message, ids)))


def frozen_bytes(message: Message, ids: Ids) -> bytes:
    """Return the bytes that ``freeze`` would store for a message, had it drawn these ids.

    Raises:
        SendError: ``serialization_failed`` when it is no valid mail.

    """
    finished = FINISHING.message(message, ids.delivery_ids, ids.now)
    if finished.text is None and finished.html is None:
        finished = finished.replace(text="")
    return mime.build(
        finished,
        message_id=f"<{ids.message_id.hex}@{message.sender.domain}>",
        date=ids.now,
        extra_headers=FINISHING.headers(finished, TENANT, ids.delivery_ids, ids.now),
        boundary_seed=ids.message_id.bytes,
    )


def golden_path(kind: type[Mailable], preview: str, suffix: str) -> str:
    """Return where a golden stands: ``shop.Welcome/long name.html``; no name leaves the folder."""
    return f"{golden_folder(kind)}/{quote(preview, safe=' ')}{suffix}"


def golden_folder(kind: type[Mailable]) -> str:
    """Return the folder of a mailable's goldens."""
    return quote(kind.qualified_name(), safe=" ")


def _texts(payload: bytes) -> Iterator[tuple[str, str]]:
    mail = mime.thaw(payload)
    bodies: Mapping[str, str | None] = {".html": mail.html, ".txt": mail.text}
    yield from ((suffix, body) for suffix, body in bodies.items() if body is not None)
    yield ".headers", _headers(payload)


def _headers(payload: bytes) -> str:
    """Return the headers, unfolded and decoded, then the tree of the parts."""
    head = payload.partition(b"\r\n\r\n")[0].decode()
    lines = [_decoded(line) for line in head.replace("\r\n ", " ").split("\r\n")]
    tree = _tree(message_from_bytes(payload, policy=policy.default), 0)
    return "\n".join([*lines, "", *tree]) + "\n"


def _decoded(line: str) -> str:
    name, _, value = line.partition(": ")
    return f"{name}: {make_header(decode_header(value))}" if "=?" in value else line


def _tree(part: MIMEPart, depth: int) -> Iterator[str]:
    content_id, name = part["Content-ID"], part.get_filename()
    about = [f"{'  ' * depth}{part.get_content_type()}"]
    about += [f"named {name}"] if name else []
    about += [f"shown as cid:{content_id.strip('<>')}"] if content_id else []
    if name or content_id:
        content = part.get_payload(decode=True)
        raw = content if isinstance(content, bytes) else b""
        about += [f"{len(raw)} bytes", f"sha256 {hashlib.sha256(raw).hexdigest()}"]
    yield ", ".join(about)
    if part.is_multipart():
        for child in part.iter_parts():
            yield from _tree(child, depth + 1)
