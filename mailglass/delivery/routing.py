"""Routing: which adapter carries a message, and which one follows when it refuses."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from mailglass.adapters import Adapter, Capabilities
from mailglass.adapters.from_settings import DEFAULT_ADAPTER
from mailglass.delivery.breakers import Breakers, CallEnd
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass, Json
from mailglass.ledger.rows import Claim, Routing
from mailglass.message import Message, Stream
from mailglass.settings import Route
from mailglass.tenancy import Tenancy

_REFUSED: Final = "refused"
_BREAKER_OPEN: Final = "breaker_open"
_RESTS: Final = "rests"
_FAILS_OVER: Final = frozenset({FailureClass.NOT_SENT, FailureClass.CONFIGURATION})
"""Nothing was accepted and another provider may take it; no other class allows a second one to try."""
_SAME_KEY_RUNS: Final = "http 409"
"""Another request with our key is still at work at this provider, so it may yet accept the mail."""
_DOWN: Final = re.compile(r"http 5\d\d\b")
"""Trouble on the provider's own side, also where it tells how long to wait (RFC 9110 §15.6.4)."""
_OF_THE_MAILBOX: Final = re.compile(r"\d{3} \d\.[12]\.\d{1,3}\b")
"""Enhanced codes that speak of an address or mailbox (RFC 3463 §3.2, §3.3), not of the provider."""


def fails_over(verdict: Verdict) -> bool:
    """Tell whether another adapter may try a recipient at once: nobody can have accepted the mail."""
    return verdict.failure_class in _FAILS_OVER and not (verdict.code or "").startswith(
        _SAME_KEY_RUNS
    )


def end_of_call(verdicts: Sequence[Verdict]) -> CallEnd:
    """Return what the verdicts of one call tell about the health of who gave them."""
    classes = {one.failure_class for one in verdicts}
    if FailureClass.CONFIGURATION in classes:
        return CallEnd.REFUSED
    if classes & {None, FailureClass.PERMANENT, FailureClass.SUPPRESSED}:
        return CallEnd.PASSED
    is_answer = all(map(_says_that_it_works, verdicts))
    return CallEnd.NEUTRAL if is_answer else CallEnd.FAILED


def _says_that_it_works(verdict: Verdict) -> bool:
    """Tell whether a refusal for now is a rate limit or about a mailbox; 503 with a time is neither."""
    code = verdict.code or ""
    if _DOWN.match(code):
        return False
    return verdict.retry_after_s is not None or _OF_THE_MAILBOX.match(code) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The adapter that an attempt goes by; None where all are kept back, with the time to wait.

    ``departure`` is what the ledger tells where it is not the adapter that one would expect.
    """

    adapter_ref: str | None
    routing: Routing
    is_probe: bool = False
    departure: Mapping[str, Json] | None = None
    waits_for: str | None = None
    wait_s: float = 0.0

    def row(self, claim: Claim) -> dict[str, Json]:
        """Return the form that the statement takes."""
        return {
            "message_id": str(claim.message_id),
            "tenant_id": claim.tenant_id,
            "token": claim.token,
            "adapter_ref": self.adapter_ref,
            "routing": self.routing.value,
            "departure": None if self.departure is None else dict(self.departure),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Chooses adapters by the routes, by what was tried before and by the breakers."""

    adapters: Mapping[str, Adapter]
    routes: Sequence[Route]
    breakers: Breakers
    fallback: str | None

    @classmethod
    def of(
        cls, adapters: Mapping[str, Adapter], routes: Sequence[Route], breakers: Breakers
    ) -> Router:
        """Return a router over the adapters.

        Mail that no route fits goes by the adapter named ``default``, or by the only one there is.

        Raises:
            ConfigError: ``invalid`` for a route that names an unknown adapter, ``missing`` where some
                mail would have neither a route nor a default.

        """
        unknown = {ref for one in routes for ref in one.adapters} - set(adapters)
        if unknown:
            raise ConfigError(
                f"a route names the adapter {min(unknown)}, which is not there",
                type=ConfigErrorType.INVALID,
                key="routes",
                hint="Name adapters of the setting named_adapters, or of Mailglass(adapters=…).",
            )
        fallback = _fallback(adapters)
        if fallback is None and not any(
            one.stream is None and one.tenant is None for one in routes
        ):
            raise ConfigError(
                "there are several adapters, and no route says which of them carries what",
                type=ConfigErrorType.MISSING,
                key="routes",
                hint='Name one adapter "default", or end the routes with {"adapters": […]}.',
            )
        return cls(adapters=adapters, routes=tuple(routes), breakers=breakers, fallback=fallback)

    @property
    def usual(self) -> str:
        """Return the adapter that most mail will go by, to be written down when it is queued."""
        for one in self.routes:
            if one.tenant is None and not one.weights:
                return one.adapters[0]
        return self.fallback or next(iter(self.adapters))

    def route(self, tenant_id: str, stream: Stream) -> Route:
        """Return the first route that fits, or one to the default adapter."""
        for one in self.routes:
            if one.tenant in {None, tenant_id} and one.stream in {None, stream.value}:
                return one
        return _alone(self.fallback or DEFAULT_ADAPTER)

    def order(self, tenant_id: str, stream: Stream, message_id: UUID) -> tuple[str, ...]:
        """Return the adapters of a message, the same at every time that it is asked for."""
        found = self.route(tenant_id, stream)
        if not found.weights:
            return found.adapters
        drawn = sorted(found.weights, key=lambda ref: _draw(message_id, ref, found.weights[ref]))
        return (*drawn, *(ref for ref in found.adapters if ref not in found.weights))

    def named(self, ref: str) -> Adapter:
        """Return an adapter by its name.

        Raises:
            ConfigError: ``missing`` when there is none.

        """
        found = self.adapters.get(ref)
        if found is None:
            raise ConfigError(
                f"the adapter {ref} is not configured",
                type=ConfigErrorType.MISSING,
                key="adapters",
                hint="Give it to Mailglass(adapters=…), or retry the mail through another.",
            )
        return found

    def of_route(self, tenant_id: str, stream: Stream) -> tuple[Adapter, ...]:
        """Return the adapters that may have to carry the mail of a tenant and stream."""
        return tuple(self.named(ref) for ref in self.route(tenant_id, stream).adapters)

    def message_bytes_max(self, tenant_id: str) -> int | None:
        """Return what every adapter that may carry a tenant's mail takes; None: none has a limit."""
        streams = Stream if self.routes else (Stream.BULK,)  # without routes, all go one way
        limits = [
            one.capabilities.message_bytes_max
            for stream in streams
            for one in self.of_route(tenant_id, stream)
        ]
        return min((one for one in limits if one is not None), default=None)

    def first_choices(self, claims: Sequence[Claim]) -> dict[UUID, Choice]:
        """Return where claims that nobody refused yet would go, if that is not written down."""
        found = {}
        for claim in claims:
            if claim.routing is Routing.FREE:
                first = self.order(claim.tenant_id, claim.stream, claim.message_id)[0]
                if first != claim.adapter_ref:
                    found[claim.message_id] = Choice(adapter_ref=first, routing=Routing.FREE)
        return found

    def choose(
        self,
        claim: Claim,
        *,
        rests: Callable[[str], bool],
        lease_s: float | None = None,
        aimed_ref: str | None = None,
    ) -> Choice:
        """Choose who carries a claimed message now; ``lease_s`` is how long a probe may take.

        With no lease it only tells who might, and takes no probe. One is taken for ``aimed_ref``
        alone, whose limits were asked: another's might keep the mail back, and the probe be lost.
        ``rests`` tells which adapter was asked to be left alone for long: a mail that nobody refused
        goes by another meanwhile.

        A message whose adapter may have accepted it has no choice.
        """
        waits: dict[str, float] = {}
        candidates = self._candidates(claim)
        if claim.routing is Routing.FREE and len(candidates) > 1:
            candidates = tuple(sorted(candidates, key=rests))  # the awake first, in their order
        for ref in candidates:
            may_probe = aimed_ref in {None, ref}
            admitted = self.breakers.admit(
                claim.tenant_id, ref, lease_s=lease_s if may_probe else None
            )
            is_open_to_it = may_probe or self.breakers.is_closed(claim.tenant_id, ref)
            if admitted.is_admitted and is_open_to_it:
                return self._taken(claim, ref, is_probe=admitted.is_probe, rests=rests)
            waits[ref] = admitted.wait_s
        soonest = min(waits, key=lambda ref: waits[ref])
        return Choice(
            adapter_ref=None, routing=claim.routing, waits_for=soonest, wait_s=waits[soonest]
        )

    def next_after(self, claim: Claim, ref: str) -> str | None:
        """Return the adapter that may try at once what ``ref`` refused; None: the round is over."""
        if claim.routing is Routing.FIXED:
            return None
        order = self.order(claim.tenant_id, claim.stream, claim.message_id)
        rest = order[order.index(ref) + 1 :] if ref in order else ()
        return next((one for one in rest if self.breakers.is_closed(claim.tenant_id, one)), None)

    def _candidates(self, claim: Claim) -> tuple[str, ...]:
        if claim.routing is Routing.FIXED:
            return (claim.adapter_ref,)
        order = self.order(claim.tenant_id, claim.stream, claim.message_id)
        if claim.routing is Routing.FREE or claim.adapter_ref not in order:
            return order
        begin = order.index(claim.adapter_ref) + (claim.routing is Routing.AFTER)
        return order[begin:] + order[:begin]

    def _taken(
        self, claim: Claim, ref: str, *, is_probe: bool, rests: Callable[[str], bool]
    ) -> Choice:
        order = self.order(claim.tenant_id, claim.stream, claim.message_id)
        is_free = claim.routing is Routing.FREE
        expected = order[0] if is_free else claim.adapter_ref
        departure: dict[str, Json] | None = None
        if ref != expected:
            kept_away = _RESTS if is_free and rests(expected) else _BREAKER_OPEN
            reason = _REFUSED if claim.routing is Routing.AFTER else kept_away
            departure = {"from": expected, "to": ref, "reason": reason}
        routing = Routing.AT if claim.routing is Routing.AFTER else claim.routing
        return Choice(adapter_ref=ref, routing=routing, is_probe=is_probe, departure=departure)


class AdaptersOfRoute:
    """The adapters that may have to carry a mail, asked as one: what one of them cannot carry, none may.

    Failover would lose such a mail at the moment when it is needed. ``refuse`` raises for an adapter
    that may not send at all.
    """

    def __init__(
        self, router: Router, tenancy: Tenancy, refuse: Callable[[Adapter], None], name: str
    ) -> None:
        self._router = router
        self._tenancy = tenancy
        self._refuse = refuse
        self._name = name

    @property
    def name(self) -> str:
        """Return the provider of the adapter that is asked for."""
        return self._router.named(self._name).name

    @property
    def capabilities(self) -> Capabilities:
        """Return what all of the tenant's adapters can do."""
        tenant_id = self._tenancy.current()
        everyone = {
            id(one): one.capabilities
            for stream in Stream
            for one in self._router.of_route(tenant_id, stream)
        }.values()
        return Capabilities(
            smtputf8=all(one.smtputf8 for one in everyone),
            message_bytes_max=self._router.message_bytes_max(tenant_id),
        )

    def check(self, message: Message) -> None:
        """Ask every adapter of the message's route.

        Raises:
            SendError: one of them cannot carry what the message asks for.
            ConfigError: one of them may not send from here.

        """
        for one in self._router.of_route(self._tenancy.current(), message.stream):
            self._refuse(one)
            one.check(message)

    def send(self, envelope: Envelope) -> Accepted:  # noqa: ARG002 - the protocol's argument
        """Refuse: a mail is handed over by one adapter, which dispatch chooses.

        Raises:
            ConfigError: ``conflicting``, always.

        """
        raise ConfigError(
            "a route has several adapters, and one of them sends",
            type=ConfigErrorType.CONFLICTING,
            key="routes",
        )

    def close(self) -> None:
        """Do nothing: each adapter is closed by itself."""


def _fallback(adapters: Mapping[str, Adapter]) -> str | None:
    if DEFAULT_ADAPTER in adapters:
        return DEFAULT_ADAPTER
    return next(iter(adapters)) if len(adapters) == 1 else None


@lru_cache(maxsize=64)
def _alone(ref: str) -> Route:
    """Return the route to one adapter; making one checks it, which each mail would pay for."""
    return Route(adapters=(ref,))


def _draw(message_id: UUID, ref: str, weight: float) -> float:
    """Return a number that is smallest for each adapter as often as its weight asks for.

    Weighted rendezvous hashing: the logarithm of a uniform number, divided by the weight, so that a
    message keeps its place when an adapter that it did not go by comes or goes.
    """
    digest = hashlib.sha256(message_id.bytes + ref.encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2.0**64
    return -math.log(uniform) / weight
