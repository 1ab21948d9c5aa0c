"""The tracking endpoints as plain functions: a pixel that always comes, a click that always leads on."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from mailglass.clock import Clock, system_clock
from mailglass.compliance.tracking import Seen, TrackingLinks, machine_of, target_sha256
from mailglass.errors import SignatureError
from mailglass.events import EventType
from mailglass.telemetry import Signal, report
from mailglass.web.answers import PRIVATE_HEADERS, Answer

PIXEL: Final = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
"""A transparent GIF89a of one pixel."""
SEEN_AGAIN_MAX: Final = 20
"""How often one token is written down in ``WINDOW``; more tells nothing and fills the ledger."""
WINDOW: Final = timedelta(hours=1)
TOKENS_KEPT_MAX: Final = 10_000
_TAG_CHARS: Final = 21

_PIXEL_HEADERS: Final = (*PRIVATE_HEADERS, ("Content-Type", "image/gif"))


class _Turnstile:
    """Counts uses of each token, for a bounded number of tokens in this process."""

    def __init__(self) -> None:
        self._uses: OrderedDict[str, tuple[datetime, int]] = OrderedDict()
        self._lock = Lock()

    def lets_pass(self, token: str, now: datetime) -> bool:
        """Count one use; tell whether it is among the first of its hour."""
        # A token ends in its tag, which no other token has and which is always short.
        tag = token[-_TAG_CHARS:]
        with self._lock:
            since, count = self._uses.pop(tag, (now, 0))
            if now - since >= WINDOW:
                since, count = now, 0
            self._uses[tag] = (since, count + 1)
            if len(self._uses) > TOKENS_KEPT_MAX:
                self._uses.popitem(last=False)
        return count < SEEN_AGAIN_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingPages:
    """The endpoints behind the links of ``TrackingLinks``.

    ``record`` writes one open or click; it runs after the answer has left, and what it raises is
    reported and changes nothing for the reader. A HEAD request is answered and not recorded: people
    do not make them.
    """

    links: TrackingLinks
    record: Callable[[Seen], object]
    clock: Clock = system_clock
    _turnstile: _Turnstile = field(default_factory=_Turnstile, repr=False, compare=False)

    def pixel(self, token: str, *, headers: Mapping[str, str], is_head: bool = False) -> Answer:
        """Return the pixel, the same for any token; ``headers`` has lower-case names."""
        now = self.clock()
        try:
            delivery_id = self.links.opened_of(token, now=now)
        except SignatureError:
            return Answer(status=200, headers=_PIXEL_HEADERS, body=PIXEL)
        seen = Seen(
            delivery_id=delivery_id,
            type=EventType.OPENED,
            occurred_at=now,
            machine=machine_of(headers),
        )
        after = None if is_head else self._later(token, seen)
        return Answer(status=200, headers=_PIXEL_HEADERS, body=PIXEL, after=after)

    def click(self, token: str, *, headers: Mapping[str, str], is_head: bool = False) -> Answer:
        """Return the redirect to the link's target, or one constant 404; never anything else."""
        now = self.clock()
        try:
            delivery_id, target = self.links.clicked_of(token, now=now)
        except SignatureError:
            return Answer(status=404)
        seen = Seen(
            delivery_id=delivery_id,
            type=EventType.CLICKED,
            occurred_at=now,
            machine=machine_of(headers),
            target_sha256=target_sha256(target),
        )
        after = None if is_head else self._later(token, seen)
        return Answer(status=302, headers=(*PRIVATE_HEADERS, ("Location", target)), after=after)

    def _later(self, token: str, seen: Seen) -> Callable[[], None] | None:
        if not self._turnstile.lets_pass(token, seen.occurred_at):
            return None

        def write() -> None:
            try:
                self.record(seen)
            except Exception as error:  # noqa: BLE001 - the reader has the answer; it is reported
                name = type(error).__name__
                report(Signal.TRACKING_FAILED, level=logging.ERROR, error_type=name)

        return write
