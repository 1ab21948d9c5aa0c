"""The Mailglass of one test: a fake adapter, a clock that can be frozen, and assertions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mailglass.adapters.fake import PROVIDER, FakeAdapter, FakeMode, SentMail
from mailglass.adapters.from_settings import DEFAULT_ADAPTER
from mailglass.address import parse_address
from mailglass.app import Mailglass
from mailglass.deliveries import Delivery
from mailglass.delivery.record import Report
from mailglass.events import Event, EventType, RejectReason
from mailglass.ids import new_id
from mailglass.ledger.database import DatabaseChoice
from mailglass.message import AddressLike
from mailglass.settings import Environment, Settings, load_settings
from mailglass.tenancy import tenant
from mailglass.testing.clock import TestClock
from mailglass.testing.matching import Criteria, describe
from mailglass.testing.reporting import report_by

WAIT_S: Final = 5.0
_POLL_S: Final = 0.005
_QUEUED_MAX: Final = 10_000
"""How many messages ``send_queued`` attempts before it says that the queue does not get empty."""


class _Posing(FakeAdapter):
    """The fake under a provider's name, whose ids are then that provider's."""

    def __init__(self, provider: str, **given: Any) -> None:
        super().__init__(**given)
        self._provider = provider

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self._provider


class PrivateMailglass(Mailglass):
    """A Mailglass that a test has to itself; what it sends stays in the fake adapter.

    Everything else is real: the templates, the checks, Postgres, the ledger. Retries are due at
    once. ``adapter`` is the fake, for whatever the methods here do not offer; ``provider`` is the name
    that it goes by.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: DatabaseChoice,
        provider: str | None = None,
        **given: Any,
    ) -> None:
        self.clock = TestClock()
        self.adapter = _Posing(provider or PROVIDER, clock=self.clock)
        self._seen: set[int] = set()
        self._seen_lock = threading.Lock()
        parts: dict[str, Any] = {
            "adapters": {DEFAULT_ADAPTER: self.adapter},
            "jitter": lambda _bound: 0.0,
        }
        super().__init__(settings, database=database, clock=self.clock, **(parts | given))

    @property
    def sent(self) -> tuple[SentMail, ...]:
        """Return every mail that was handed over, the oldest first; each counts as looked at."""
        mails = self.adapter.sent
        self._look_at(mails)
        return mails

    @property
    def last_mail(self) -> SentMail:
        """Return the mail that was handed over last.

        Raises:
            AssertionError: when there is none.

        """
        found = self.adapter.last
        if found is None:
            raise AssertionError(self._nothing_like(Criteria(), ()))
        self._look_at((found,))
        return found

    def assert_mail_sent(self, *, count: int | None = None, **criteria: Any) -> SentMail:
        """Return the newest mail that meets all criteria (see ``Criteria``).

        Without ``count`` one such mail has to be there, or more; with it exactly so many.

        Raises:
            AssertionError: with what was sent instead.
            TypeError: for a keyword that is no criterion.

        """
        wanted, mails = Criteria(**criteria), self.adapter.sent
        found = [mail for mail in mails if not wanted.misfits(mail)]
        if not found or (count is not None and len(found) != count):
            raise AssertionError(self._nothing_like(wanted, mails, found=len(found), count=count))
        self._look_at(found)
        return found[-1]

    def assert_no_mail_sent(self, **criteria: Any) -> None:
        """Refuse a mail that meets all criteria; without criteria every mail.

        Raises:
            AssertionError: with the mail that was sent.
            TypeError: for a keyword that is no criterion.

        """
        wanted = Criteria(**criteria)
        found = [mail for mail in self.adapter.sent if not wanted.misfits(mail)]
        if found:
            raise AssertionError(f"expected no mail with {wanted}; {describe(found)}")

    def wait_for_mail(self, *, timeout_s: float = WAIT_S, **criteria: Any) -> SentMail:
        """Return a mail that meets all criteria as soon as another thread has sent it.

        Raises:
            AssertionError: when there is none after ``timeout_s`` seconds.

        """
        wanted, deadline = Criteria(**criteria), time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if any(not wanted.misfits(mail) for mail in self.adapter.sent):
                break
            time.sleep(_POLL_S)
        return self.assert_mail_sent(**criteria)

    def send_queued(self) -> int:
        """Attempt what ``deliver_later`` queued and is due, as a worker would; how many attempts.

        Raises:
            AssertionError: when mail comes back to the queue again and again.

        """
        tried = 0
        while found := self.dispatch_due():
            tried += found
            if tried > _QUEUED_MAX:
                raise AssertionError(f"{tried} attempts, and there is still mail in the queue")
        return tried

    def fail_next(
        self, mode: FakeMode, *, times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """Let the provider treat the next calls so: refuse, time out, or crash."""
        self.adapter.next(mode, times=times, retry_after_s=retry_after_s)

    def fail_for(
        self, address: AddressLike, mode: FakeMode, *, retry_after_s: float | None = None
    ) -> None:
        """Let the provider treat one recipient so from now on."""
        parsed = parse_address(address) if isinstance(address, str) else address
        self.adapter.for_recipient(parsed.key, mode, retry_after_s=retry_after_s)

    def trigger_event(  # noqa: PLR0913 - what a provider can say of an event, each with a default
        self,
        delivery: Delivery | UUID,
        event: EventType,
        *,
        at: datetime | None = None,
        is_permanent: bool = True,
        is_machine: bool = False,
        reject_reason: RejectReason | None = None,
        key: str | None = None,
        via: str | None = None,
    ) -> Event | None:
        """Record what the provider reports about a delivery, by the path that webhooks take.

        ``at`` is the provider's time. A ``key`` that was used before makes it a repetition, which
        returns None and changes nothing. With ``via``, a provider's name, its signed webhook is
        verified, stored and read as any other; how it sees machines and reasons is its own.

        Raises:
            SendError: ``serialization_failed`` for an event that no provider reports.
            ValueError: ``via`` a provider that does not report it, or not about this delivery.

        """
        if via is not None:
            known = {"at": at, "is_permanent": is_permanent, "event_id": key}
            return report_by(self, via, delivery, event, **known)
        delivery_id = delivery if isinstance(delivery, UUID) else delivery.id
        fact = Report(
            delivery_id=delivery_id,
            provider=self.adapter.name,
            type=event,
            key=key or str(new_id()),
            occurred_at=at or self.clock(),
            is_permanent=is_permanent,
            is_machine=is_machine,
            reject_reason=reject_reason,
        )
        if isinstance(delivery, UUID):
            return self.record(fact)
        with tenant(delivery.tenant_id):
            return self.record(fact)

    def freeze(self, at: datetime | None = None) -> AbstractContextManager[TestClock]:
        """Let the clock stand still for a block; ``advance`` of what it yields moves it on."""
        return self.clock.freeze(at)

    def assert_every_mail_was_expected(self) -> None:
        """Refuse a mail that no assertion has looked at.

        Raises:
            AssertionError: with the mails.

        """
        with self._seen_lock:
            seen = set(self._seen)
        missed = [mail for mail in self.adapter.sent if id(mail) not in seen]
        if missed:
            raise AssertionError(f"mail that no assertion looked at; {describe(missed)}")

    def _look_at(self, mails: tuple[SentMail, ...] | list[SentMail]) -> None:
        # By identity: the adapter keeps what it took, so an id stands for one mail.
        with self._seen_lock:
            self._seen.update(map(id, mails))

    def _nothing_like(
        self,
        wanted: Criteria,
        mails: tuple[SentMail, ...],
        *,
        found: int = 0,
        count: int | None = None,
    ) -> str:
        expected = "a mail" if count is None else f"{count} mails"
        lines = [f"expected {expected} with {wanted}, found {found}; {describe(mails, wanted)}"]
        waiting = sum(one.messages for one in self.outbox.counts())
        if waiting:
            lines.append(f"{waiting} more wait in the queue: send_queued() hands them over")
        return "\n".join(lines)


@contextmanager
def private_mailglass(
    database_url: str, *, parts: dict[str, Any] | None = None, **settings: Any
) -> Iterator[PrivateMailglass]:
    """Yield a Mailglass on a migrated database; keywords are settings, ``parts`` what code gives.

    No rate limit holds unless a setting names one.

    Raises:
        ConfigError: for settings that are wrong.

    """
    defaults = {
        "environment": Environment.TEST,
        "database_role": "mailglass_app",
        "rate_limit_per_domain": None,
    }
    choice = DatabaseChoice(url=database_url, source="test", is_embedded=False)
    with PrivateMailglass(
        load_settings(**(defaults | settings)), database=choice, **(parts or {})
    ) as mail:
        yield mail
