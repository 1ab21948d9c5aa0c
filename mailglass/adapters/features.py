"""Features: what a provider can carry, and which of the things that a message asks for it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailglass import limits
from mailglass.address import Address
from mailglass.message import Message
from mailglass.webhook import TOKEN_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a provider can carry beyond sender, recipients, subject and bodies.

    ``stored_templates`` are the provider's own, by their id; ``body_templates`` are placeholders of
    the provider's in the message's bodies, filled for each recipient. ``schedules`` is a time at
    which the provider sends. ``envelope_sender`` is an address for bounces. ``own_metadata`` and
    ``own_headers`` are those of one recipient among several who each get a mail of their own.
    """

    tags_max: int = limits.TAGS_MAX
    tag_chars_max: int = limits.TAG_CHARS_MAX
    reply_to_max: int = limits.RECIPIENTS_MAX
    recipients_max: int = limits.RECIPIENTS_MAX
    metadata_keys_max: int = 1_000
    metadata_key_chars_max: int = limits.TAG_CHARS_MAX
    metadata_value_chars_max: int = limits.METADATA_BYTES_MAX
    inline_images: bool = True
    tracks_opens: bool = True
    tracks_clicks: bool = True
    utf8_local_parts: bool = False
    needs_html: bool = False
    stored_templates: bool = False
    body_templates: bool = False
    own_metadata: bool = False
    own_headers: bool = False
    envelope_sender: bool = False
    schedules: bool = False
    provider_options: bool = False
    message_bytes_max: int | None = None
    idempotency_window_s: float | None = None


def for_one(message: Message, address: Address) -> Message:
    """Return a message with the metadata and headers that one recipient's own mail has.

    Raises:
        SendError: ``serialization_failed`` for one that no mail may have.

    """
    stored = message.stored_template
    if stored is None:
        return message
    metadata, headers = stored.metadata_of(address), stored.headers_of(address)
    if not metadata and not headers:
        return message
    own = {name.lower() for name in headers}
    kept = [pair for pair in message.headers if pair[0].lower() not in own]
    return message.replace(
        metadata={**message.metadata, **metadata}, headers=[*kept, *headers.items()]
    )


def lacking_of(message: Message, features: Features) -> str | None:
    """Return the first thing that a message asks for and the provider lacks, in words."""
    mails = (message, *(for_one(message, one) for one in message.to))
    labels = (_labels(one, features) for one in mails)
    for found in (*labels, _switches(message, features)):
        lacking = next(found, None)
        if lacking is not None:
            return lacking
    return None


def _labels(message: Message, features: Features) -> Iterator[str]:
    if len(message.tags) > features.tags_max:
        yield f"more than {features.tags_max} tags" if features.tags_max else "tags"
    if any(len(tag) > features.tag_chars_max for tag in message.tags):
        yield f"a tag of more than {features.tag_chars_max} characters"
    if len(message.reply_to) > features.reply_to_max:
        yield f"more than {features.reply_to_max} reply addresses"
    if len(message.recipients) > features.recipients_max:
        yield f"more than {features.recipients_max} recipients"
    if TOKEN_KEY in message.metadata:
        yield f"metadata of the name {TOKEN_KEY}, which is mailglass's own"
    if len(message.metadata) >= features.metadata_keys_max:
        yield f"{features.metadata_keys_max} metadata keys and our own"
    for key, value in message.metadata.items():
        if len(key) > features.metadata_key_chars_max:
            yield f"metadata names of more than {features.metadata_key_chars_max} characters"
        if len(value) > features.metadata_value_chars_max:
            yield f"metadata of more than {features.metadata_value_chars_max} characters"


def _switches(message: Message, features: Features) -> Iterator[str]:
    stored = message.stored_template
    has_id = stored is not None and stored.id is not None
    everybody = (message.sender, *message.reply_to, *people(message))
    wanted = (
        (any(one.content_id for one in message.attachments), "inline_images", "inline images"),
        (message.tracking.opens, "tracks_opens", "a switch for tracking opens"),
        (message.tracking.clicks, "tracks_clicks", "a switch for tracking clicks"),
        (has_id, "stored_templates", "a stored template"),
        (
            stored is not None and not has_id and stored.fills,
            "body_templates",
            "variables without a template id",
        ),
        (
            stored is not None and stored.own_metadata is not None,
            "own_metadata",
            "metadata of one recipient's own",
        ),
        (
            stored is not None and stored.own_headers is not None,
            "own_headers",
            "headers of one recipient's own",
        ),
        (message.envelope_sender is not None, "envelope_sender", "an envelope sender"),
        (message.provider_send_at is not None, "schedules", "a time at which the provider sends"),
        (bool(message.provider_options), "provider_options", "options of the provider's request"),
        (
            any(one.needs_smtputf8 for one in everybody),
            "utf8_local_parts",
            "an address whose local part is not ASCII",
        ),
    )
    for is_wanted, feature, words in wanted:
        if is_wanted and not getattr(features, feature):
            yield words
    if message.html is None and features.needs_html and not has_id:
        yield "a mail without HTML"


def people(message: Message) -> tuple[Address, ...]:
    """Return the address of every recipient, whatever their kind."""
    return tuple(address for _, address in message.recipients)
