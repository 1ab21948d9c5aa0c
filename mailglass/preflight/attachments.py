"""The check that attachments are of a size, a kind and a content that somebody will take."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Final

from mailglass import limits
from mailglass.headers import refuse
from mailglass.message import Attachment, Message
from mailglass.preflight import Check, Context, Phase

_BASE64_LINE_CHARS: Final = 76
"""RFC 2045 §6.8, without the CRLF."""

SUFFIXES_REFUSED: Final = frozenset(
    {
        "ade", "adp", "apk", "appx", "appxbundle", "bat", "cab", "chm", "cmd", "com", "cpl",
        "diagcab", "diagcfg", "diagpkg", "dll", "dmg", "ex", "ex_", "exe", "hta", "img", "ins",
        "iso", "isp", "jar", "jnlp", "js", "jse", "lib", "lnk", "mde", "mjs", "msc", "msi", "msix",
        "msixbundle", "msp", "mst", "nsh", "pif", "ps1", "scr", "sct", "shb", "sys", "vb", "vbe",
        "vbs", "vhd", "vxd", "wsc", "wsf", "wsh", "xll",
    }
)  # fmt: skip
"""What Gmail takes from nobody: https://support.google.com/mail/answer/6590"""

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_OLE: Final = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)
_SIGNATURES: Final[dict[str, tuple[bytes, ...]]] = {
    "application/pdf": (b"%PDF-",),
    "application/zip": _ZIP,
    "application/gzip": (b"\x1f\x8b",),
    "application/msword": (*_OLE, b"{\\rtf"),
    "application/vnd.ms-excel": _OLE,
    "application/vnd.ms-powerpoint": _OLE,
    "application/vnd.apple.pkpass": _ZIP,
    "application/epub+zip": _ZIP,
    "application/rtf": (b"{\\rtf",),
    "image/bmp": (b"BM",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\x00", b"MM\x00*"),
    "image/webp": (b"RIFF",),
}
"""How the content of each type begins; a type that is not here is believed."""
_SIGNATURES_OF_FAMILIES: Final = (
    ("application/vnd.openxmlformats-officedocument.*", _ZIP),
    ("application/vnd.oasis.opendocument.*", _ZIP),
)
_PDF_HEADER_WITHIN_BYTES: Final = 1024
"""Readers look for the header in the first kilobyte (ISO 32000-1, implementation note 13)."""
_BYTE_ORDER_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_ELF: Final = b"\x7fELF"
_MACH_O: Final = (
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
)
_PE_OFFSET_AT: Final = 0x3C


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentPolicy:
    """What may be attached.

    ``types_allowed`` are content types or patterns such as ``image/*``; None allows all.
    ``suffixes_refused`` are lower case, without the dot. ``bytes_max`` is of all attachments
    together, before encoding.
    """

    types_allowed: frozenset[str] | None = None
    suffixes_refused: frozenset[str] = SUFFIXES_REFUSED
    bytes_max: int = limits.ATTACHMENT_BYTES_MAX


def attachment_policy(policy: AttachmentPolicy) -> Check:
    """Return the check of a policy of your own; give it in place of ``attachments_are_allowed``."""

    def attachments_are_allowed(message: Message, context: Context) -> None:
        """Refuse attachments that are too large, of a refused kind, or not what they say they are.

        What is frozen cannot change, so nothing is read again at dispatch. The size that the
        provider takes is compared with the least that the encoded mail can have.

        Raises:
            SendError: ``serialization_failed`` with code ``attachment_too_large``,
                ``attachment_type``, ``attachment_suffix``, ``attachment_executable``,
                ``attachment_content`` or ``message_too_large``.

        """
        if context.phase is Phase.DISPATCH:
            return
        sizes = [len(one.content or b"") for one in message.attachments]
        if sum(sizes) > policy.bytes_max:
            raise refuse(
                f"the attachments have more than {policy.bytes_max} bytes",
                code="attachment_too_large",
            )
        for one in message.attachments:
            _check(one, policy)
        bytes_max = context.message_bytes_max
        if bytes_max is not None and encoded_bytes(message, sizes) > bytes_max:
            raise refuse(
                f"the encoded mail has more than the {bytes_max} bytes that the provider takes",
                code="message_too_large",
            )

    return attachments_are_allowed


attachments_are_allowed: Final[Check] = attachment_policy(AttachmentPolicy())
"""Refuses what no receiver takes: over 25 MiB, executables, and content that is not its type."""


def encoded_bytes(message: Message, attachment_bytes: Iterable[int]) -> int:
    """Return the least bytes that a mail can have: bodies as they are, attachments in base64."""
    bodies = sum(
        len(body.encode("utf-8", "surrogatepass")) for body in (message.text, message.html) if body
    )
    return bodies + sum(map(_as_base64, attachment_bytes))


def _as_base64(count: int) -> int:
    chars = -(-count // 3) * 4
    return chars + 2 * -(-chars // _BASE64_LINE_CHARS)


def _check(one: Attachment, policy: AttachmentPolicy) -> None:
    declared = one.content_type.lower()
    allowed = policy.types_allowed
    if allowed is not None and not any(fnmatchcase(declared, pattern) for pattern in allowed):
        raise refuse("an attachment has a type that is not allowed", code="attachment_type")
    # A trailing dot or space is dropped by Windows, and the file runs all the same.
    suffix = PurePath(one.filename.lower().rstrip(". ")).suffix.removeprefix(".")
    if suffix in policy.suffixes_refused:
        raise refuse("an attachment is of a kind that runs", code="attachment_suffix")
    content = one.content or b""
    if is_executable(content):
        raise refuse("an attachment is a program", code="attachment_executable")
    if not is_what_it_says(declared, content):
        raise refuse("an attachment is not what its type says", code="attachment_content")


def is_executable(content: bytes) -> bool:
    """Tell whether content is a program of Windows (PE), Linux (ELF) or macOS (Mach-O)."""
    if content.startswith((_ELF, *_MACH_O)):
        return True
    if not content.startswith(b"MZ") or len(content) < _PE_OFFSET_AT + 4:
        return False
    (offset,) = struct.unpack_from("<I", content, _PE_OFFSET_AT)
    return content[offset : offset + 4] == b"PE\x00\x00"


def is_what_it_says(content_type: str, content: bytes) -> bool:
    """Tell whether content begins as its type does; an unknown type is believed, text has no NUL."""
    if content_type.startswith("text/"):
        return b"\x00" not in content or content.startswith(_BYTE_ORDER_MARKS)
    expected = _SIGNATURES.get(content_type) or next(
        (known for pattern, known in _SIGNATURES_OF_FAMILIES if fnmatchcase(content_type, pattern)),
        (),
    )
    if not expected:
        return True
    if content_type == "application/pdf":
        return expected[0] in content[:_PDF_HEADER_WITHIN_BYTES]
    if content_type == "image/webp":
        return content.startswith(expected) and content[8:12] == b"WEBP"
    return content.startswith(expected)
