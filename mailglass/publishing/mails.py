"""The mails of a candidate, each made once for its goldens: what they say, and which cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

from mailglass.errors import MailglassError
from mailglass.mailable import Mailable
from mailglass.publishing import pictures
from mailglass.publishing.goldens import Difference, compare, read_goldens, read_pictures
from mailglass.publishing.mail import SUFFIXES, finished, golden_folder, golden_path, texts_of
from mailglass.publishing.stale import is_gone
from mailglass.rendering.render import Renderer

_Kept = TypeVar("_Kept", str, bytes)
_CHANGES: Final = "it is another mail each time: give it a fixed time and ids"


class Mails:
    """Makes the goldens of mailables; a mail that cannot be made hides none of the others."""

    def __init__(
        self,
        renderer: Renderer,
        *,
        camera: pictures.Camera | None = None,
        attachments_root: Path | None = None,
    ) -> None:
        self._renderer, self._camera, self._root = renderer, camera, attachments_root
        self._made: dict[str, str] = {}
        self._pictures: dict[str, bytes] = {}
        self._unknown: set[str] = set()
        """Folders whose goldens cannot be judged, and paths without a suffix."""
        self.faults: list[str] = []

    def add(self, kind: type[Mailable]) -> None:
        """Make every preview of a mailable."""
        try:
            previews = kind.previews()
        except Exception as error:  # noqa: BLE001 - the author's code; it must not hide the others
            self._unknown.add(golden_folder(kind))
            self.faults.append(f"{kind.qualified_name()}, previews(): {told(error)}")
            return
        if not previews:
            self.faults.append(f"{kind.qualified_name()} has no previews")
        for name, mailable in previews.items():
            try:
                is_steady = self._make(kind, name, mailable)
            except Exception as error:  # noqa: BLE001 - as above
                self._spoil(kind, name, told(error))
            else:
                if not is_steady:
                    self._spoil(kind, name, _CHANGES)

    def differences(self, goldens: Path) -> tuple[Difference, ...]:
        """Return what differs, but for goldens of mails that could not be made or are not asked for.

        Pictures are compared where they were taken; without a camera only stale ones are told.
        """
        texts = compare(self._judged(read_goldens(goldens, SUFFIXES)), self._made)
        kept = self._judged(read_pictures(goldens, {pictures.SUFFIX}))
        if self._camera is None:
            pages = {path.removesuffix(".html") for path in self._made}
            kept = {path: raw for path, raw in kept.items()
                    if path.removesuffix(pictures.SUFFIX) not in pages}  # fmt: skip
        return tuple(sorted((*texts, *compare(kept, self._pictures)), key=lambda one: one.path))

    def _make(self, kind: type[Mailable], name: str, mailable: Mailable) -> bool:
        """Make one preview; False when it is another mail the second time."""
        message = finished(self._renderer, mailable, attachments_root=self._root)
        again = finished(self._renderer, kind.previews()[name], attachments_root=self._root)
        texts = texts_of(message)
        if texts != texts_of(again):
            return False
        if self._camera is not None and ".html" in texts:
            path = golden_path(kind, name, pictures.SUFFIX)
            self._pictures[path] = self._camera.picture(message, texts[".html"])
        self._made |= {golden_path(kind, name, suffix): text for suffix, text in texts.items()}
        return True

    def _spoil(self, kind: type[Mailable], name: str, why: str) -> None:
        self._unknown.add(golden_path(kind, name, ""))
        self.faults.append(f"{kind.qualified_name()}, {name}: {why}")

    def _judged(self, kept: dict[str, _Kept]) -> dict[str, _Kept]:
        ours = {path.partition("/")[0] for path in self._made}
        return {path: one for path, one in kept.items() if self._is_judged(path, ours)}

    def _is_judged(self, path: str, ours: set[str]) -> bool:
        folder = path.partition("/")[0]
        if folder in self._unknown or path.removesuffix(Path(path).suffix) in self._unknown:
            return False
        return folder in ours or is_gone(folder)


def told(error: Exception) -> str:
    """Return what may be shown of an error: ours are written for it, others may quote a value."""
    if isinstance(error, MailglassError):
        return f"{type(error).__name__}.{error.type.value}: {error.message}"
    return type(error).__name__
