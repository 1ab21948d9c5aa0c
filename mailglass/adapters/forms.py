"""Forms as providers post them, URL-encoded or multipart: every field in order, within bounds."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from mailglass.webhook import FORM_FIELDS_MAX, PARSED_BYTES_MAX, WebhookRequest, malformed

URL_ENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(
    r"""boundary=(?:"([^"\x00-\x1f\x7f]{1,70})"|([!#-+\--:<>-~]{1,70}))""", re.ASCII | re.IGNORECASE
)
_NAME: Final = re.compile(rb'(?:^|[;\s])name="([^"]{0,1024})"')
_FILENAME: Final = re.compile(rb"(?:^|[;\s])filename\*?=", re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"content-disposition:\s*form-data\s*;([^\r\n]*)", re.IGNORECASE)


def form_kind(request: WebhookRequest) -> str | None:
    """Return which of the two kinds of form the request says it is; None for anything else."""
    kind = (request.headers.first("content-type") or "").partition(";")[0].strip().lower()
    return kind if kind in {URL_ENCODED, MULTIPART} else None


def form_fields(request: WebhookRequest, *, provider: str) -> tuple[tuple[str, str], ...]:
    """Return the text fields of a form in order, a name as often as it stands; files are left out.

    Raises:
        SignatureError: ``malformed_header`` for another content type, for more than 64 MB or 1,000
            fields, or for a multipart body that does not follow RFC 7578.

    """
    if len(request.body) > PARSED_BYTES_MAX:
        raise malformed(provider, "body_too_large")
    match form_kind(request):
        case "application/x-www-form-urlencoded":
            return _url_encoded(request.body, provider)
        case "multipart/form-data":
            return _multipart(request, provider)
        case _:
            raise malformed(provider, "content type")


def _url_encoded(body: bytes, provider: str) -> tuple[tuple[str, str], ...]:
    text = body.decode("utf-8", "replace")
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise malformed(provider, "form") from None


def _multipart(request: WebhookRequest, provider: str) -> tuple[tuple[str, str], ...]:
    parts = form_parts(request, provider=provider, parts_max=FORM_FIELDS_MAX)
    return tuple(field for field in (_field(part, provider) for part in parts) if field)


def form_parts(request: WebhookRequest, *, provider: str, parts_max: int) -> tuple[bytes, ...]:
    """Return the parts of a multipart form as they came, each from the end of its boundary's line.

    Nothing looks into a part, so that a mail in it stays one part (RFC 2046 §5.1.1, RFC 7578).

    Raises:
        SignatureError: ``malformed_header`` for more parts, or for what is no multipart body.

    """
    found = _BOUNDARY.search(request.headers.first("content-type") or "")
    if found is None:
        raise malformed(provider, "boundary")
    mark = b"--" + (found[1] or found[2]).encode("ascii", "replace")
    _, *parts = (b"\r\n" + request.body).split(b"\r\n" + mark, parts_max + 2)
    if len(parts) > parts_max + 1 or not parts or not parts[-1].startswith(b"--"):
        raise malformed(provider, "form")
    return tuple(parts[:-1])


def _field(part: bytes, provider: str) -> tuple[str, str] | None:
    """Return name and text of one part; None for a file."""
    head, gap, content = part.partition(b"\r\n\r\n")
    disposition = _DISPOSITION.search(head)
    name = _NAME.search(disposition[1]) if disposition else None
    if not gap or disposition is None or name is None:
        raise malformed(provider, "form")
    if _FILENAME.search(disposition[1]):
        return None
    shown = name[1].replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")
    return shown.decode("utf-8", "replace"), content.decode("utf-8", "replace")
