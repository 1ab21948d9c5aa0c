"""Attachments given by path: read inside one root, without following a link anywhere on the way."""

from __future__ import annotations

import mimetypes
import os
import stat
from dataclasses import replace
from pathlib import Path

from mailglass import limits
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.headers import refuse
from mailglass.message import Attachment, Message


def load_attachments(message: Message, root: Path | None) -> Message:
    """Return the message with the content of every attachment that was given by path.

    Raises:
        ConfigError: ``missing`` without a configured root; ``invalid`` for a path that leaves it,
            passes a symbolic link, is not there or is not a regular file.
        SendError: ``serialization_failed`` when the attachments are larger than 25 MiB together.

    """
    if all(one.path is None for one in message.attachments):
        return message
    left = limits.ATTACHMENT_BYTES_MAX - sum(len(one.content or b"") for one in message.attachments)
    loaded = []
    for one in message.attachments:
        if one.path is None:
            loaded.append(one)
            continue
        content = _read(one.path, root, left)
        left -= len(content)
        loaded.append(replace(one, content=content, path=None))
    return message.replace(attachments=tuple(loaded))


def typed(filename: str, content: bytes) -> Attachment:
    """Make an attachment whose type is what its filename suggests."""
    guessed, encoding = mimetypes.guess_type(filename)
    known = guessed if guessed is not None and encoding is None else "application/octet-stream"
    return Attachment(filename=filename, content=content, content_type=known)


def _read(path: Path, root: Path | None, bytes_max: int) -> bytes:
    if root is None:
        raise ConfigError(
            "an attachment is given by path, and no folder is configured for them",
            type=ConfigErrorType.MISSING,
            key="attachments_root",
            hint="Set MAILGLASS_ATTACHMENTS_ROOT, or give the attachment its content.",
        )
    if path.is_absolute() or ".." in path.parts or not path.parts or "\x00" in str(path):
        raise _outside()
    try:
        return _read_below(root, path.parts, bytes_max)
    except OSError as error:
        raise _outside() from error


def _read_below(root: Path, parts: tuple[str, ...], bytes_max: int) -> bytes:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            deeper = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = deeper
        # Without O_NONBLOCK a FIFO would hold the caller until somebody writes to it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(parts[-1], flags, dir_fd=folder), "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _outside()
            content = file.read(bytes_max + 1)
    finally:
        os.close(folder)
    if len(content) > bytes_max:
        raise refuse("the attachments are larger than 25 MiB", code="attachment_too_large")
    return content


def _outside() -> ConfigError:
    return ConfigError(
        "an attachment's path is not a regular file inside the configured folder",
        type=ConfigErrorType.INVALID,
        key="attachments_root",
        hint="Name a file below attachments_root, relative to it and without symbolic links.",
    )
