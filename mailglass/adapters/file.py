"""The file adapter: each recipient's mail becomes one ``.eml`` file, for development and demos."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from mailglass.adapters import Capabilities, refuse_what_only_a_provider_has
from mailglass.envelope import Accepted, Envelope, Recipient, Verdict
from mailglass.errors import FailureClass, SendError, SendErrorType
from mailglass.message import Message

PROVIDER: Final = "file"


class FileAdapter:
    """Writes ``<message_id>-<delivery_id>.eml`` into a folder, which is made when it is missing.

    A file appears whole or not at all, and only its owner may read it. A second attempt replaces
    the file of the first with the same bytes.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Touch nothing yet."""
        self._folder = Path(folder)

    def __repr__(self) -> str:
        """Show the folder."""
        return f"FileAdapter({str(self._folder)!r})"

    @property
    def name(self) -> str:
        """Return ``file``."""
        return PROVIDER

    @property
    def capabilities(self) -> Capabilities:
        """Return what a file can hold, which is any mail."""
        return Capabilities(smtputf8=True)

    def check(self, message: Message) -> None:
        """Refuse what only a provider has."""
        refuse_what_only_a_provider_has(self.name, message)

    def send(self, envelope: Envelope) -> Accepted:
        """Write one file a recipient.

        Raises:
            SendError: ``adapter_failure``, class not_sent, when not even the first can be written;
                a failure after that is the verdict of its recipient. ``code`` names the errno.

        """
        verdicts: list[Verdict] = []
        for recipient in envelope.recipients:
            try:
                verdicts.append(self._written(envelope, recipient))
            except OSError as error:
                code = errno.errorcode.get(error.errno or 0, "EIO")
                if not verdicts:
                    raise SendError(
                        "the mail cannot be written to its file",
                        type=SendErrorType.ADAPTER_FAILURE,
                        provider=PROVIDER,
                        failure_class=FailureClass.NOT_SENT,
                        code=code,
                    ) from error
                verdicts.append(
                    Verdict(
                        delivery_id=recipient.delivery_id,
                        failure_class=FailureClass.NOT_SENT,
                        code=code,
                    )
                )
        return Accepted(provider=PROVIDER, verdicts=tuple(verdicts))

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _written(self, envelope: Envelope, recipient: Recipient) -> Verdict:
        name = f"{envelope.message_id}-{recipient.delivery_id}.eml"
        self._folder.mkdir(parents=True, exist_ok=True)
        # The attempt's token keeps a paused older attempt from writing into the same draft.
        draft = self._folder / f".{name}.{envelope.token}.{os.getpid()}.tmp"
        try:
            _write(draft, envelope.payload)
            draft.replace(self._folder / name)
        except BaseException:
            with suppress(OSError):  # the first failure is the one to tell
                draft.unlink(missing_ok=True)
            raise
        return Verdict(delivery_id=recipient.delivery_id, provider_message_id=name)


def _write(path: Path, payload: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
