"""The manifest: what was installed, with the hash of each text, as TOML beside the application."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailglass.errors import ConfigError, ConfigErrorType

MANIFEST: Final = ".mailglass-install.toml"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of an installation.

    ``written`` has the SHA-256 of each text that was written, by path or ``path#block``; ``offered``
    that of each text that was put beside an edited one.
    """

    framework: str
    package: str
    written: Mapping[str, str] = field(default_factory=dict)
    offered: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read a manifest.

        Raises:
            ConfigError: ``invalid`` for a text that ``dump`` did not write.

        """
        try:
            return _parsed(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{MANIFEST} cannot be read",
                type=ConfigErrorType.INVALID,
                key=MANIFEST,
                hint="Take it back from version control, or remove it and install again.",
            ) from error

    def dump(self) -> str:
        """Return the manifest as TOML, sorted, so that the same installation is the same text."""
        lines = [
            "# Written by `mailglass install`; keep it in version control.",
            f"format = {_FORMAT}",
            f"framework = {json.dumps(self.framework)}",
            f"package = {json.dumps(self.package)}",
        ]
        for name, table in (("written", self.written), ("offered", self.offered)):
            lines += ["", f"[{name}]"]
            lines += [f"{json.dumps(key)} = {json.dumps(table[key])}" for key in sorted(table)]
        return "\n".join(lines) + "\n"


def _parsed(found: dict[str, Any]) -> Manifest:
    tables = [dict(found[name]) for name in ("written", "offered")]
    is_sound = all(isinstance(one, str) for table in tables for one in table.values())
    if found["format"] != _FORMAT or not is_sound:
        raise ValueError(_FORMAT)
    return Manifest(
        framework=str(found["framework"]),
        package=str(found["package"]),
        written=tables[0],
        offered=tables[1],
    )


def sha256_of(text: str) -> str:
    """Return the hash that stands in a manifest."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
