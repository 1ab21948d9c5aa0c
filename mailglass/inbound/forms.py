"""Forms with files, as two providers hand mail over: fields by name, files by name, within bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final

from mailglass.adapters.forms import MULTIPART, form_parts
from mailglass.inbound.bounds import PARTS_MAX, Spent, parsed
from mailglass.inbound.message import InboundAttachment, bare_name, decoded_text
from mailglass.webhook import WebhookRequest, parse_form

_BOUNDARY_END: Final = re.compile(rb"\A[ \t]*\r\n")
_DISPOSITION: Final = "content-disposition"
_QUOTED_NAME: Final = re.compile(r';\s*filename="(.*)', re.IGNORECASE | re.DOTALL)
_QUOTE: Final = re.compile(r'(?<!\\)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The fields of a form as bytes and its files; of a field given twice the last counts."""

    fields: dict[str, bytes] = field(repr=False)
    files: dict[str, InboundAttachment] = field(repr=False)

    def text(self, name: str, charset: str = "utf-8") -> str | None:
        """Return a field as text, or None where it is not there."""
        found = self.fields.get(name)
        return None if found is None else decoded_text(found, charset)


def read_form(request: WebhookRequest, *, provider: str) -> Form:
    """Read a form, URL-encoded or multipart (RFC 7578).

    Raises:
        SignatureError: ``malformed_header`` for more than 500 parts or what is no form.

    """
    kind = request.headers.first("content-type") or ""
    if not kind.lower().startswith(MULTIPART):
        pairs = parse_form(request.body, provider=provider)
        return Form(fields={name: value.encode() for name, value in pairs.items()}, files={})
    spent = Spent(provider=provider)
    fields: dict[str, bytes] = {}
    files: dict[str, InboundAttachment] = {}
    for one in form_parts(request, provider=provider, parts_max=PARTS_MAX):
        part = parsed(
            _BOUNDARY_END.sub(b"", one, 1), provider=provider, spent=spent, is_one_part=True
        )
        name = part.get_param("name", header=_DISPOSITION)
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            continue
        filename = _name_in(part)
        if filename is None:
            fields[name] = content
        else:
            files[name] = InboundAttachment(
                filename=bare_name(filename), content_type=part.get_content_type(), content=content
            )
    return Form(fields=fields, files=files)


def _name_in(part: EmailMessage) -> str | None:
    """Return the name of a part's file as its sender wrote it, or None where the part is no file.

    In a form a backslash stands for itself unless a quote follows it, as clients write it (RFC 7578
    §4.2 escapes nothing); read as in mail (RFC 2183) it would be lost with the folder's end.
    """
    told = next((value for key, value in part.raw_items() if key.lower() == _DISPOSITION), "")
    quoted = _QUOTED_NAME.search(told)
    if quoted is None or "\\" not in quoted[1]:
        return part.get_filename()
    rest = quoted[1]
    end = _QUOTE.search(rest)
    name = rest[: end.start() if end else max(rest.rfind('"'), 0)]
    return name.replace('\\"', '"').encode("utf-8", "surrogateescape").decode("utf-8", "replace")
