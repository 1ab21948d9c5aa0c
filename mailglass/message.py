"""Message: one finished mail with everything its author set; immutable and checked when it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Final, Literal, Self, TypeVar

from mailglass import limits
from mailglass.address import Address, parse_address
from mailglass.errors import Json, SendError
from mailglass.headers import (
    check_content_type,
    check_filename,
    check_header,
    check_json,
    check_moment,
    check_text,
    check_token,
    refuse,
)

PROVIDER_BYTES_MAX: Final = 256 * 1024
"""The variables of a stored template, and the options for the provider, each as JSON."""

_PAIR: Final = 2
_Member = TypeVar("_Member", bound=StrEnum)

AddressLike = str | Address
"""An addr-spec or a ``Name <addr-spec>`` mailbox (RFC 5322 §3.4), or one already parsed."""


@unique
class Stream(StrEnum):
    """The policy class of a message."""

    TRANSACTIONAL = "transactional"
    OPERATIONAL = "operational"
    BULK = "bulk"


@unique
class RecipientKind(StrEnum):
    """Where a recipient stands; a bcc recipient never appears in a header."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


@unique
class OnUnknown(StrEnum):
    """What the author wants for a mail whose outcome is unknown: rather wait, or rather double it."""

    PARK = "park"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Whether opens and clicks are watched; both are off unless somebody asks.

    None leaves a switch as the provider's account is set.
    """

    opens: bool | None = False
    clicks: bool | None = False

    def __bool__(self) -> bool:
        """Tell whether the mail asks for any tracking."""
        return bool(self.opens or self.clicks)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTemplate:
    """A template that the provider keeps, and the variables that it fills in.

    Without an ``id`` the message's own bodies hold the provider's placeholders. ``per_recipient``
    goes from an address to the variables of that recipient, which win over ``variables``;
    ``own_metadata`` and ``own_headers`` do the same for metadata and headers. When one of the three
    is given, even empty, each To recipient gets a mail of their own and sees no other.

    Raises:
        SendError: ``serialization_failed`` for a wrong address or variables that are no JSON.

    """

    id: str | None = None
    variables: Mapping[str, Json] = field(default_factory=dict, repr=False)
    per_recipient: Mapping[str, Mapping[str, Json]] | None = field(default=None, repr=False)
    own_metadata: Mapping[str, Mapping[str, str]] | None = field(default=None, repr=False)
    own_headers: Mapping[str, Mapping[str, str]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Keep copies of the variables, under each address as it is compared."""
        if self.id is not None:
            check_text("template id", self.id, chars_max=limits.IDEMPOTENCY_KEY_CHARS_MAX)
            if not self.id:
                raise refuse("the template id is empty", code="empty_template_id")
        object.__setattr__(self, "variables", _json_mapping("variables", self.variables))
        for name in ("per_recipient", "own_metadata", "own_headers"):
            given = getattr(self, name)
            if given is not None:
                known = {parse_address(one).key: dict(its) for one, its in given.items()}
                object.__setattr__(self, name, _json_mapping(name.replace("_", " "), known))

    @property
    def is_individual(self) -> bool:
        """Tell whether each To recipient gets a mail of their own."""
        own = (self.per_recipient, self.own_metadata, self.own_headers)
        return any(one is not None for one in own)

    @property
    def fills(self) -> bool:
        """Tell whether the provider is to fill variables in."""
        return bool(self.variables) or self.per_recipient is not None

    def own_variables(self, address: Address) -> dict[str, Json]:
        """Return the variables that this recipient alone has."""
        return dict((self.per_recipient or {}).get(address.key, {}))

    def metadata_of(self, address: Address) -> Mapping[str, str]:
        """Return the metadata that this recipient alone has."""
        return (self.own_metadata or {}).get(address.key, {})

    def headers_of(self, address: Address) -> Mapping[str, str]:
        """Return the headers that this recipient alone has."""
        return (self.own_headers or {}).get(address.key, {})

    def variables_for(self, address: Address) -> dict[str, Json]:
        """Return all variables as this recipient's mail sees them."""
        return {**self.variables, **self.own_variables(address)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that travels with the mail, or an inline image when ``content_id`` is set.

    Give ``content``, or a ``path`` that is read when the mail is queued: relative to the configured
    ``attachments_root``, which it cannot leave. Refer to an inline image as ``cid:CONTENT_ID``.
    """

    filename: str = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    content_type: str = "application/octet-stream"
    content_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse a wrong name or type, and an attachment with two sources or none."""
        check_filename(self.filename)
        check_content_type(self.content_type)
        if self.content is not None and not isinstance(self.content, bytes):
            raise _wrong_kind("an attachment's content", "bytes")
        if self.content_id is not None:
            check_token("content id", self.content_id, allow="@")
        if (self.content is None) == (self.path is None):
            raise refuse("an attachment needs either content or a path", code="attachment_source")
        if self.content is not None and len(self.content) > limits.ATTACHMENT_BYTES_MAX:
            raise refuse("the attachments are larger than 25 MiB", code="attachment_too_large")


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False)
class Message:
    """One finished mail.

    Strings are accepted wherever an address is expected, and one in place of many. Everything is
    checked here, so a ``Message`` that exists can be sent.

    ``send_at`` is when mailglass hands the mail over; ``provider_send_at`` asks the provider, which
    gets the mail at once, to wait: a mail that it holds cannot be cancelled here. ``envelope_sender``
    is where bounces go (RFC 5321 §4.1.1.2), the sender when None. ``provider_options`` is merged into
    the provider's own request, over what is there. A provider that lacks one of these refuses.

    Raises:
        SendError: ``serialization_failed`` for a wrong address, no recipient, no body, a control
            character in a header, or anything over a limit of ``mailglass.limits``. ``code`` names
            the rule; the text never holds the value.

    """

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[Attachment, ...]
    stream: Stream
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    tracking: Tracking
    mailable: str | None
    authenticates: bool
    locale: str | None
    idempotency_key: str | None
    expires_at: datetime | None
    send_at: datetime | None
    on_unknown: OnUnknown | None
    ordering_key: str | None
    unsubscribe: bool
    stored_template: StoredTemplate | None
    envelope_sender: Address | None
    provider_send_at: datetime | None
    provider_options: Mapping[str, Json]

    def __init__(  # noqa: PLR0913 - a mail has this many parts, and each is a keyword
        self,
        *,
        sender: AddressLike,
        to: AddressLike | Iterable[AddressLike],
        subject: str,
        text: str | None = None,
        html: str | None = None,
        cc: AddressLike | Iterable[AddressLike] = (),
        bcc: AddressLike | Iterable[AddressLike] = (),
        reply_to: AddressLike | Iterable[AddressLike] = (),
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        attachments: Iterable[Attachment] = (),
        stream: Stream | Literal["transactional", "operational", "bulk"] = Stream.TRANSACTIONAL,
        tags: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        tracking: Tracking = Tracking(),
        mailable: str | None = None,
        authenticates: bool = False,
        locale: str | None = None,
        idempotency_key: str | None = None,
        expires_at: datetime | None = None,
        send_at: datetime | None = None,
        on_unknown: OnUnknown | None = None,
        ordering_key: str | None = None,
        unsubscribe: bool = False,
        stored_template: StoredTemplate | None = None,
        envelope_sender: AddressLike | None = None,
        provider_send_at: datetime | None = None,
        provider_options: Mapping[str, Json] | None = None,
    ) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("sender", _address(sender))
        put("to", _addresses(to))
        put("cc", _addresses(cc))
        put("bcc", _addresses(bcc))
        put("reply_to", _addresses(reply_to))
        put("subject", subject)
        put("text", text)
        put("html", html)
        put("headers", _pairs("headers", headers))
        put("attachments", _many("attachments", attachments))
        put("stream", _member(Stream, stream))
        put("tags", _many("tags", tags))
        put("metadata", MappingProxyType(dict(_pairs("metadata", metadata))) if metadata else _NONE)
        put("tracking", tracking)
        put("mailable", mailable)
        put("authenticates", authenticates)
        put("locale", locale)
        put("idempotency_key", idempotency_key)
        put("expires_at", _moment("expires_at", expires_at))
        put("send_at", _moment("send_at", send_at))
        put("on_unknown", None if on_unknown is None else _member(OnUnknown, on_unknown))
        put("unsubscribe", unsubscribe)
        put("ordering_key", ordering_key)
        put("stored_template", stored_template)
        put("envelope_sender", None if envelope_sender is None else _address(envelope_sender))
        put("provider_send_at", _moment("provider_send_at", provider_send_at))
        put("provider_options", _options(provider_options))
        self._check()

    def __repr__(self) -> str:
        """Show what kind of mail it is, and nothing of whom it is for or what it says."""
        many = len(self.recipients)
        return (
            f"Message(mailable={self.mailable!r}, stream={self.stream.value!r}, recipients={many})"
        )

    def _check(self) -> None:
        _check_kinds(self)
        _check_recipients(self)
        check_text("subject", self.subject, chars_max=limits.SUBJECT_CHARS_MAX)
        _check_bodies(self)
        _check_headers(self.headers)
        _check_attachments(self.attachments)
        _check_labels(self)

    @property
    def recipients(self) -> tuple[tuple[RecipientKind, Address], ...]:
        """Return every recipient with its kind: to, then cc, then bcc."""
        if len(self.to) == 1 and not (self.cc or self.bcc):
            return ((RecipientKind.TO, self.to[0]),)
        found = [(RecipientKind.TO, address) for address in self.to]
        if self.cc:
            found += [(RecipientKind.CC, address) for address in self.cc]
        if self.bcc:
            found += [(RecipientKind.BCC, address) for address in self.bcc]
        return tuple(found)

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed, checked anew."""
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return type(self)(**(kept | changes))


def _address(value: AddressLike) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise _wrong_kind("an address", "text")
    return parse_address(value)


def _addresses(value: AddressLike | Iterable[AddressLike]) -> tuple[Address, ...]:
    if isinstance(value, (str, Address)):
        return (_address(value),)
    return tuple(map(_address, _many("addresses", value)))


def _wrong_kind(what: str, kind: str) -> SendError:
    return refuse(f"{what} is not {kind}", code="wrong_type")


def _many(name: str, value: Any) -> tuple[Any, ...]:
    """Return a collection as a tuple; a single text is a mistake, not a collection of letters."""
    if type(value) is tuple:
        return value
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _wrong_kind(name, "a list")
    return tuple(value)


def _pairs(
    name: str, value: Mapping[str, str] | Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    if type(value) is tuple and not value:
        return ()
    many = _many(name, value.items() if isinstance(value, Mapping) else value)
    if any(not isinstance(one, tuple | list) or len(one) != _PAIR for one in many):
        raise _wrong_kind(name, "a mapping or a list of pairs")
    return tuple((one[0], one[1]) for one in many)


def _member(kind: type[_Member], value: str) -> _Member:
    if type(value) is kind:
        return value
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(one.value for one in kind)
        raise _wrong_kind(f"a {kind.__name__}", f"one of {names}") from None


def _check_kinds(message: Message) -> None:
    """Refuse what Python took and no mail can hold, before it fails somewhere deep."""
    for name, (kind, what) in _KINDS.items():
        if not isinstance(getattr(message, name), kind):
            raise _wrong_kind(name, what)
    if any(not isinstance(one, Attachment) for one in message.attachments):
        raise _wrong_kind("an attachment", "an Attachment")


def _moment(name: str, value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise _wrong_kind(name, "a datetime")
    if value.tzinfo is None:
        raise refuse(f"{name} has no time zone", code="naive_datetime")
    check_moment(name, value)
    return value


def _json_mapping(name: str, value: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a copy that nobody else holds, as JSON would bring it back."""
    try:
        shown = json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise refuse(f"the {name} are no JSON", code="not_json") from None
    if len(shown) > PROVIDER_BYTES_MAX:
        raise refuse(f"the {name} are larger than 256 KiB", code="provider_json_too_large")
    check_json(f"the {name}", shown)
    return MappingProxyType(json.loads(shown))


def _options(given: Mapping[str, Json] | None) -> Mapping[str, Json]:
    return _json_mapping("provider options", given) if given else _NONE


def _check_recipients(message: Message) -> None:
    everyone = message.recipients
    if not message.to:
        raise refuse("the message has no To recipient", code="no_recipient")
    if len(everyone) > limits.RECIPIENTS_MAX:
        raise refuse("the message has more than 50 recipients", code="too_many_recipients")
    if len(everyone) > 1 and len({address.key for _, address in everyone}) != len(everyone):
        raise refuse("a recipient is named twice", code="duplicate_recipient")


def _check_bodies(message: Message) -> None:
    bodies = [body for body in (message.text, message.html) if body is not None]
    is_stored = message.stored_template is not None and message.stored_template.id is not None
    if not is_stored and not any(body.strip() for body in bodies):
        raise refuse("the message has neither a text nor an HTML body", code="no_body")
    for body in bodies:
        if "\x00" in body:
            raise refuse("a body holds a NUL character", code="nul_in_body")
        if len(body.encode("utf-8", "surrogatepass")) > limits.BODY_BYTES_MAX:
            raise refuse("a body is larger than 2 MiB", code="body_too_large")


def _check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    if len(headers) > limits.HEADERS_MAX:
        raise refuse("the message has more than 100 headers", code="too_many_headers")
    for name, value in headers:
        check_header(name, value)
    names = [name.lower() for name, _ in headers]
    if len(set(names)) != len(names):
        raise refuse("a header is given twice", code="duplicate_header")


def _check_attachments(attachments: tuple[Attachment, ...]) -> None:
    if len(attachments) > limits.ATTACHMENTS_MAX:
        raise refuse("the message has more than 50 attachments", code="too_many_attachments")
    if sum(len(one.content or b"") for one in attachments) > limits.ATTACHMENT_BYTES_MAX:
        raise refuse("the attachments are larger than 25 MiB", code="attachment_too_large")
    ids = [one.content_id for one in attachments if one.content_id is not None]
    if len(set(ids)) != len(ids):
        raise refuse("a content id is used twice", code="duplicate_content_id")


def _check_labels(message: Message) -> None:
    if len(message.tags) > limits.TAGS_MAX:
        raise refuse("the message has more than 20 tags", code="too_many_tags")
    for tag in message.tags:
        check_text("tag", tag, chars_max=limits.TAG_CHARS_MAX)
    for key, value in message.metadata.items():
        check_text("metadata key", key, chars_max=limits.TAG_CHARS_MAX)
        check_text("metadata value", value, chars_max=limits.METADATA_BYTES_MAX)
    if message.metadata and (
        len(json.dumps(dict(message.metadata)).encode()) > limits.METADATA_BYTES_MAX
    ):
        raise refuse("the metadata is larger than 8 KiB", code="metadata_too_large")
    if message.locale is not None:
        check_text("locale", message.locale, chars_max=limits.TAG_CHARS_MAX)
    for name in ("idempotency_key", "ordering_key"):
        value = getattr(message, name)
        if value is not None:
            check_text(name, value, chars_max=limits.IDEMPOTENCY_KEY_CHARS_MAX)
            if not value:
                raise refuse(f"{name} is empty", code="empty_key")


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
_TEXT_OR_NONE: Final = ((str, NoneType), "text")
_YES_OR_NO: Final = (bool, "True or False")
_KINDS: Final[Mapping[str, tuple[Any, str]]] = MappingProxyType(
    {
        "subject": (str, "text"),
        "text": _TEXT_OR_NONE,
        "html": _TEXT_OR_NONE,
        "mailable": _TEXT_OR_NONE,
        "locale": _TEXT_OR_NONE,
        "idempotency_key": _TEXT_OR_NONE,
        "ordering_key": _TEXT_OR_NONE,
        "authenticates": _YES_OR_NO,
        "unsubscribe": _YES_OR_NO,
        "tracking": (Tracking, "a Tracking"),
        "stored_template": ((StoredTemplate, NoneType), "a StoredTemplate"),
    }
)
"""What each field must be, where its own check would not say so."""
