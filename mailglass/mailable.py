"""Mailable: the typed definition of one kind of mail; its fields are the template's variables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.message import AddressLike, Attachment, OnUnknown, Stream, Tracking


class Mailable(BaseModel):
    """Defines one kind of mail: subclass it, set the class attributes, declare the fields.

    The fields are checked when an instance is made (``pydantic.ValidationError``, which never shows
    a value) and are the variables of ``subject`` and ``template``. Override the methods for what
    depends on them; only ``to`` has to be there. A template is looked up in the configured folders,
    then in ``templates`` beside the module that defines the class, then beside the module itself.
    ``receipt.txt.jinja`` beside ``receipt.html.jinja`` is the text part; without it the text is made
    from the HTML.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    stream: ClassVar[Stream] = Stream.TRANSACTIONAL
    sender: ClassVar[str]
    subject: ClassVar[str]
    """A Jinja template of one line."""
    template: ClassVar[str]
    reply_to: ClassVar[str | None] = None
    tracking: ClassVar[Tracking] = Tracking()
    authenticates: ClassVar[bool] = False
    """True for mail that lets somebody in: never tracked, never opted out of, never sent twice."""
    unsubscribe: ClassVar[bool] = False
    """Whether an operational mail may be unsubscribed from."""
    on_unknown: ClassVar[OnUnknown | None] = None
    """Overrides what the stream does when an outcome is unknown."""
    locale: ClassVar[str | None] = None

    def to(self) -> AddressLike | Iterable[AddressLike]:
        """Return whom the mail is for."""
        raise TypeError(f"{type(self).__name__} must define to()")

    def cc(self) -> AddressLike | Iterable[AddressLike]:
        """Return who gets a copy, seen by all."""
        return ()

    def bcc(self) -> AddressLike | Iterable[AddressLike]:
        """Return who gets a copy, seen by nobody."""
        return ()

    def headers(self) -> Mapping[str, str]:
        """Return further header fields; those that mailglass writes itself are refused."""
        return {}

    def attachments(self) -> Iterable[Attachment]:
        """Return attachments and inline images."""
        return ()

    def tags(self) -> Iterable[str]:
        """Return labels that providers show in their statistics."""
        return ()

    def metadata(self) -> Mapping[str, str]:
        """Return pairs that come back with the provider's events."""
        return {}

    def recipient_locale(self) -> str | None:
        """Return the recipient's language, such as ``de`` or ``pt-BR``; None means the class's own."""
        return None

    def idempotency_key(self) -> str | None:
        """Return a key under which this mail is accepted once, or None."""
        return None

    def expires_at(self) -> datetime | None:
        """Return the moment after which the mail is no longer worth sending."""
        return None

    def send_at(self) -> datetime | None:
        """Return when the mail is to leave; None means now."""
        return None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        """Refuse a field that would hide one of the methods, which mailglass could not call then.

        Raises:
            ConfigError: ``conflicting``.

        """
        super().__pydantic_init_subclass__(**kwargs)
        hidden = sorted(
            name for name in cls.model_fields if callable(getattr(Mailable, name, None))
        )
        if hidden:
            raise ConfigError(
                f"{cls.__name__} has a field {hidden[0]}, which is a method of Mailable",
                type=ConfigErrorType.CONFLICTING,
                key=f"{cls.__name__}.{hidden[0]}",
                hint=f"Name the field otherwise, and define {hidden[0]}() to return what it holds.",
            )

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return named examples, for previews and goldens."""
        return {}

    @classmethod
    def qualified_name(cls) -> str:
        """Return ``module.Class``, as deliveries and the Mailglass-Mailable header show it."""
        return f"{cls.__module__}.{cls.__qualname__}"

    @classmethod
    def folder(cls) -> Path | None:
        """Return the folder of the module that defines the class, if it is a file."""
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return None if file is None else Path(file).parent

    def variables(self) -> dict[str, object]:
        """Return what the templates see: the fields by name, as they are."""
        return {name: getattr(self, name) for name in type(self).model_fields}
