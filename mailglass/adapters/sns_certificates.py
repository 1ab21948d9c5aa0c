"""Certificates of topics: fetched once and kept, and never at the pace of whoever names them.

A message says itself where its certificate lies, and is not proved before that was fetched: without
a bound each made-up name would be a request of ours to the provider.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mailglass.errors import FailureClass, SendError, SendErrorType
from mailglass.forks import ProcessLock
from mailglass.webhook import WebhookRequest

CERTIFICATES_MAX: Final = 16
WINDOW_S: Final = 60.0
FETCHES_OF_ONE_MAX: Final = 5
"""Fetches in a window on behalf of one caller; a topic needs one or two a year."""
FETCHES_MAX: Final = 30
"""Fetches in a window on behalf of all callers."""


@dataclass(slots=True, kw_only=True)
class Certificates:
    """Holds what was fetched and proved, and fetches what is not held, so often in a minute."""

    provider: str
    fetch: Callable[[str], bytes] = field(repr=False)
    _kept: dict[str, bytes] = field(default_factory=dict, repr=False)
    _fetched: list[tuple[float, str | None]] = field(default_factory=list, repr=False)
    _lock: ProcessLock = field(default_factory=ProcessLock, repr=False)

    def pem(self, url: str, request: WebhookRequest) -> bytes:
        """Return what lies at an address that was checked.

        Raises:
            SendError: ``adapter_failure``, retryable, when too much was fetched of late: the message
                may be genuine, and comes again. What else fails is as ``fetch`` says.

        """
        with self._lock:
            kept = self._kept.get(url)
            if kept is not None:
                return kept
            may_fetch = self._counted(request)
        if not may_fetch:
            raise SendError(
                "too many certificates were asked for",
                type=SendErrorType.ADAPTER_FAILURE,
                provider=self.provider,
                failure_class=FailureClass.NOT_SENT,
                code="certificate_fetches",
            )
        return self.fetch(url)

    def _counted(self, request: WebhookRequest) -> bool:
        now = request.now.timestamp()
        self._fetched = [one for one in self._fetched if abs(now - one[0]) < WINDOW_S]
        own = sum(caller == request.remote_ip for _, caller in self._fetched)
        if own >= FETCHES_OF_ONE_MAX or len(self._fetched) >= FETCHES_MAX:
            return False
        self._fetched.append((now, request.remote_ip))
        return True

    def keep(self, url: str, pem: bytes) -> None:
        """Keep what led to a trusted key, and no more than a few: the oldest goes."""
        with self._lock:
            self._kept[url] = pem
            while len(self._kept) > CERTIFICATES_MAX:
                del self._kept[next(iter(self._kept))]
