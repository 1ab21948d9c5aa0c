"""The bounds of a message, each with its name; what passes one is refused before any row exists."""

from __future__ import annotations

from typing import Final

RECIPIENTS_MAX: Final = 50
"""To, Cc and Bcc together."""
ADDRESS_CHARS_MAX: Final = 320
"""A whole addr-spec before it is parsed: 64 + 1 + 255 (RFC 5321 §4.5.3.1)."""
LOCAL_PART_OCTETS_MAX: Final = 64
DOMAIN_OCTETS_MAX: Final = 253
DISPLAY_NAME_CHARS_MAX: Final = 256
SUBJECT_CHARS_MAX: Final = 900
"""Below the 998 octets of a line (RFC 5322 §2.1.1), so that no receiver has to cut it."""
HEADERS_MAX: Final = 100
HEADER_VALUE_OCTETS_MAX: Final = 8_192
HEADER_BLOCK_OCTETS_MAX: Final = 65_536
LINE_OCTETS_MAX: Final = 998
"""RFC 5322 §2.1.1, without the CRLF."""
BODY_BYTES_MAX: Final = 2 * 1024 * 1024
"""One text or HTML part, as UTF-8."""
ATTACHMENTS_MAX: Final = 50
ATTACHMENT_BYTES_MAX: Final = 25 * 1024 * 1024
"""All attachments together, before encoding."""
FILENAME_OCTETS_MAX: Final = 150
TAGS_MAX: Final = 20
TAG_CHARS_MAX: Final = 128
METADATA_BYTES_MAX: Final = 8_192
"""The metadata as JSON."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 256
TEMPLATE_OUTPUT_CHARS_MAX: Final = 2 * 1024 * 1024
INLINER_DEPTH_MAX: Final = 200
"""Elements inside one another; premailer drops what lies deeper than about 255."""
INLINER_ELEMENTS_MAX: Final = 20_000
INLINER_BYTES_MAX: Final = 1024 * 1024
INLINER_RULES_MAX: Final = 1_000
