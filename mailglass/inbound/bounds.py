"""Bounds: the standard library reads a mail, within what a stranger may make it do."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import TYPE_CHECKING, Any, Final

from mailglass.webhook import malformed

PARTS_MAX: Final = 500
DEPTH_MAX: Final = 20
HEADERS_MAX: Final = 1_000
"""Headers of the mail itself."""
FIELDS_MAX: Final = 10_000
"""Headers of the mail and of all its parts together."""
HEADER_CHARS_MAX: Final = 2_000
"""A longer header is shown as it stands: to take one apart costs the square of its length."""
COMMENTS_MAX: Final = 50
"""A header with more of them (RFC 5322 §3.2.2) is shown as it stands, for the same reason."""
HEADERS_CHARS_MAX: Final = 32_000
"""Characters of all the headers of a mail that are taken apart; what comes after stays as it stands."""
STRUCTURE_CHARS_MAX: Final = 500
"""How much of a header on the content of a part is looked at where it is not taken apart."""
BOUNDARY_TESTS_MAX: Final = 20_000_000
"""Each line of a mail is compared with the boundaries of the parts around it."""

if TYPE_CHECKING:
    _Policy = EmailPolicy[EmailMessage]
else:
    _Policy = EmailPolicy  # it takes no parameter when it runs

_ENCODED: Final = "=?"
_STRUCTURED: Final = frozenset(HeaderRegistry().registry)


@dataclass(slots=True, kw_only=True)
class Spent:
    """What reading one mail has cost by now, also where a provider hands it over in parts."""

    provider: str
    lines: int = 0
    parts: int = 0
    fields: int = 0
    multiparts: int = 0
    chars: int = 0
    read: dict[tuple[str, str], Any] = field(default_factory=dict)

    def note(self, name: str, value: str) -> None:
        """Count a header as it is found."""
        self.fields += 1
        if name.lower() == "content-type" and value.lstrip().lower().startswith("multipart"):
            self.multiparts += 1
        if self.fields > FIELDS_MAX:
            raise malformed(self.provider, "headers")
        if self.multiparts * self.lines > BOUNDARY_TESTS_MAX:
            raise malformed(self.provider, "mime parts")

    def message(self, *, policy: Any) -> EmailMessage:
        """Return an empty part, of which a mail has so many."""
        self.parts += 1
        if self.parts > PARTS_MAX:
            raise malformed(self.provider, "mime parts")
        return EmailMessage(policy=policy)


class _Bounded(_Policy):
    """Reads headers as the default policy does, as far as one mail may have them read."""

    spent: Spent
    refold_source = "none"
    """A mail within the mail is written out as it came."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Count each header before anything looks into it."""
        name, value = super().header_source_parse(sourcelines)
        self.spent.note(name, value)
        return name, value

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return a header decoded, or as it stands where that would cost too much or fails."""
        key = (name.lower(), str(value))
        if key not in self.spent.read:
            self.spent.read[key] = self._read(*key)
        return self.spent.read[key]

    def _read(self, name: str, value: str) -> Any:
        is_plain = name not in _STRUCTURED and _ENCODED not in value
        if is_plain or len(value) > HEADER_CHARS_MAX or value.count("(") > COMMENTS_MAX:
            return _as_it_stands(name, value)
        self.spent.chars += len(value)
        if self.spent.chars > HEADERS_CHARS_MAX:
            return _as_it_stands(name, value)
        try:
            return super().header_fetch_parse(name, value)
        except Exception:  # noqa: BLE001 - the parser of headers raises whatever a stranger makes it raise
            return _as_it_stands(name, value)


def _as_it_stands(name: str, value: str) -> str:
    joined = value.replace("\r", "").replace("\n", "")
    shown = joined.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return shown[:STRUCTURE_CHARS_MAX] if name.startswith("content-") else shown


def parsed(
    raw: bytes, *, provider: str, spent: Spent | None = None, is_one_part: bool = False
) -> EmailMessage:
    """Return a mail taken into its parts; its headers are read when they are asked for.

    ``spent`` is what other pieces of the same mail have cost. Of ``is_one_part`` the content stays
    whole, whatever kind its header says it is.

    Raises:
        SignatureError: ``malformed_header`` for more than 500 parts or 10,000 headers, for parts in
            parts in so many lines that it would take seconds, or deeper than can be read at all.

    """
    policy: _Bounded = _Bounded(raise_on_defect=False)
    counted = spent or Spent(provider=provider)
    counted.lines += raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
    object.__setattr__(policy, "spent", counted)
    object.__setattr__(policy, "message_factory", counted.message)
    try:
        return BytesParser(policy=policy).parsebytes(raw, headersonly=is_one_part)
    except RecursionError:
        raise malformed(provider, "mime parts") from None
