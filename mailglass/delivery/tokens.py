"""Tokens: what callers are allowed is taken once a mail's turn has come, not when it is first looked at."""

from __future__ import annotations

from dataclasses import dataclass

from mailglass.pacing.buckets import Request


@dataclass(slots=True)
class TokensLater:
    """Stands for the buckets of callers: lets every mail pass, and notes whether it asked for any."""

    was_asked: bool = False

    def take(self, _request: Request) -> None:
        """Take nothing yet."""
        self.was_asked = True
