"""The fake adapter: keeps what it is given in memory, and fails on demand, for tests and demos."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from functools import cached_property
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.adapters import Capabilities
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Accepted, Envelope, Recipient, Verdict
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass
from mailglass.message import Message

PROVIDER: Final = "fake"
IDEMPOTENCY_WINDOW_S: Final = 86_400.0
"""What the fake claims when it honours idempotency keys; it forgets none before ``clear``."""


@unique
class FakeMode(StrEnum):
    """How the fake treats a call or a recipient.

    ``accepted_then_crash`` keeps the mail and then dies, ``crash_before_send`` dies first: neither
    gives a verdict, as when the process is killed. ``unknown_timeout`` keeps no mail.
    """

    ACCEPT = "accept"
    REJECT_PERMANENT = "reject_permanent"
    REJECT_TEMPORARY = "reject_temporary"
    SUPPRESSED = "suppressed"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_TIMEOUT = "unknown_timeout"
    BAD_CREDENTIALS = "bad_credentials"
    ACCEPTED_THEN_CRASH = "accepted_then_crash"
    CRASH_BEFORE_SEND = "crash_before_send"


class SimulatedCrash(BaseException):
    """Is raised in place of a killed process; like one, it passes every ``except Exception``."""


@dataclass(frozen=True, kw_only=True)
class SentMail:
    """One mail that the fake took, with the recipients it took it for."""

    envelope: Envelope
    recipients: tuple[Recipient, ...] = field(repr=False)
    at: datetime

    @cached_property
    def message(self) -> Message:
        """Return the message, read back from the frozen payload when first asked for."""
        return self.envelope.thaw()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    mode: FakeMode
    retry_after_s: float | None = None


_ACCEPT: Final = _Plan(mode=FakeMode.ACCEPT)
_REFUSALS: Final = MappingProxyType(
    {
        FakeMode.REJECT_PERMANENT: (FailureClass.PERMANENT, "550 5.0.0"),
        FakeMode.REJECT_TEMPORARY: (FailureClass.NOT_SENT, "450 4.0.0"),
        FakeMode.SUPPRESSED: (FailureClass.SUPPRESSED, "550 5.1.1"),
        FakeMode.RATE_LIMITED: (FailureClass.NOT_SENT, "http 429"),
        FakeMode.UNKNOWN_TIMEOUT: (FailureClass.UNKNOWN, "timeout"),
        FakeMode.BAD_CREDENTIALS: (FailureClass.CONFIGURATION, "http 401"),
    }
)
_TAKEN: Final = frozenset({FakeMode.ACCEPT, FakeMode.ACCEPTED_THEN_CRASH})
_FINAL: Final = frozenset({None, FailureClass.PERMANENT, FailureClass.SUPPRESSED})
"""Verdicts that a repeated idempotency key gets again; the others leave the question open."""


class FakeAdapter:
    """Takes every mail, unless told otherwise; safe to share between threads.

    With ``honours_idempotency_key`` a repeated key gets its first final verdicts and nothing is
    kept twice, as from a provider that replays its answer. With ``search_lag_s`` it can be asked what
    it has, as providers with a log of messages can.
    """

    def __init__(
        self,
        *,
        honours_idempotency_key: bool = False,
        search_lag_s: float | None = None,
        clock: Clock = system_clock,
    ) -> None:
        """Start with an empty outbox."""
        self._search_lag_s = search_lag_s
        self._honours_key = honours_idempotency_key
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: list[SentMail] = []
        self._planned: deque[_Plan] = deque()
        self._of_recipient: dict[str, _Plan] = {}
        self._answered: dict[tuple[str, UUID], Verdict] = {}
        self._taken_count = 0

    def __repr__(self) -> str:
        """Show how much was taken, and of whom nothing."""
        return f"FakeAdapter({len(self._sent)} sent)"

    @property
    def name(self) -> str:
        """Return ``fake``."""
        return PROVIDER

    @property
    def capabilities(self) -> Capabilities:
        """Return the widest there are; the idempotency window only where keys are honoured."""
        window_s = IDEMPOTENCY_WINDOW_S if self._honours_key else None
        return Capabilities(
            smtputf8=True, idempotency_window_s=window_s, search_lag_s=self._search_lag_s
        )

    @property
    def sent(self) -> tuple[SentMail, ...]:
        """Return every mail taken, the oldest first."""
        with self._lock:
            return tuple(self._sent)

    @property
    def last(self) -> SentMail | None:
        """Return the mail taken last, or None."""
        with self._lock:
            return self._sent[-1] if self._sent else None

    def next(self, mode: FakeMode, *, times: int = 1, retry_after_s: float | None = None) -> None:
        """Treat the next ``times`` calls so; calls of this method queue up behind each other."""
        with self._lock:
            self._planned.extend([_Plan(mode=mode, retry_after_s=retry_after_s)] * times)

    def for_recipient(
        self, key: str, mode: FakeMode, *, retry_after_s: float | None = None
    ) -> None:
        """Treat the recipient with this ``Address.key`` so from now on, whatever ``next`` says."""
        with self._lock:
            self._of_recipient[key] = _Plan(mode=mode, retry_after_s=retry_after_s)

    def clear(self) -> None:
        """Forget all mail, all plans and all idempotency keys."""
        with self._lock:
            self._sent.clear()
            self._planned.clear()
            self._of_recipient.clear()
            self._answered.clear()

    def check(self, message: Message) -> None:
        """Refuse nothing."""

    def send(self, envelope: Envelope) -> Accepted:
        """Treat each recipient as planned.

        Raises:
            ConfigError: ``invalid``, for ``bad_credentials`` at the first recipient.
            SimulatedCrash: for the two crashing modes; no verdict of the call survives it.

        """
        with self._lock:
            plan = self._planned.popleft() if self._planned else _ACCEPT
            verdicts: list[Verdict] = []
            taken: list[Recipient] = []
            try:
                for recipient in envelope.recipients:
                    verdicts.append(self._treat(envelope, recipient, plan, taken, verdicts))
            finally:
                if taken:
                    self._sent.append(
                        SentMail(envelope=envelope, recipients=tuple(taken), at=self._clock())
                    )
            return Accepted(provider=PROVIDER, verdicts=tuple(verdicts))

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Return those of the deliveries that were taken."""
        return {
            one.delivery_id: None
            for mail in self.sent
            if (mail.envelope.tenant_id, mail.envelope.message_id) == (tenant_id, message_id)
            for one in mail.recipients
            if one.delivery_id in delivery_ids
        }

    def close(self) -> None:
        """Do nothing: what was sent can still be looked at."""

    def _treat(
        self,
        envelope: Envelope,
        recipient: Recipient,
        plan: _Plan,
        taken: list[Recipient],
        verdicts: list[Verdict],
    ) -> Verdict:
        answered = self._answered.get((envelope.idempotency_key, recipient.delivery_id))
        if answered is not None:
            return answered
        plan = self._of_recipient.get(recipient.address.key, plan)
        if plan.mode is FakeMode.CRASH_BEFORE_SEND:
            raise SimulatedCrash(plan.mode.value)
        if plan.mode is FakeMode.BAD_CREDENTIALS and not verdicts:
            raise ConfigError(
                "the fake provider refuses this account",
                type=ConfigErrorType.INVALID,
                key="adapter",
            )
        verdict = self._verdict(recipient, plan)
        if plan.mode in _TAKEN:
            taken.append(recipient)
        if self._honours_key and verdict.failure_class in _FINAL:
            self._answered[envelope.idempotency_key, recipient.delivery_id] = verdict
        if plan.mode is FakeMode.ACCEPTED_THEN_CRASH:
            raise SimulatedCrash(plan.mode.value)
        return verdict

    def _verdict(self, recipient: Recipient, plan: _Plan) -> Verdict:
        if plan.mode in _TAKEN:
            self._taken_count += 1
            return Verdict(
                delivery_id=recipient.delivery_id,
                provider_message_id=f"fake-{recipient.delivery_id.hex}-{self._taken_count}",
            )
        failure_class, code = _REFUSALS[plan.mode]
        return Verdict(
            delivery_id=recipient.delivery_id,
            failure_class=failure_class,
            code=code,
            retry_after_s=plan.retry_after_s,
        )
