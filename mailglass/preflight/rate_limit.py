"""The check that a tenant, a stream and a recipient domain get no more mail than allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mailglass.errors import Json, RateLimitError, RateLimitErrorType
from mailglass.message import Message, Stream
from mailglass.preflight import Context, Phase
from mailglass.settings import RateLimit, Settings


def rate_is_within_limits(message: Message, context: Context) -> None:
    """Take one token a recipient from each bucket, or refuse and take none.

    Transactional mail passes always. A message takes its tokens once: at intake when it is to leave
    now, at its first attempt when it was scheduled.
    """
    if message.send_at is None:
        takes_now = context.phase is Phase.INTAKE
    else:
        takes_now = context.phase is Phase.DISPATCH and context.attempt == 1
    if message.stream is Stream.TRANSACTIONAL or not takes_now:
        return
    buckets = _buckets(message, context.settings)
    if not buckets:
        return
    waits = context.take(buckets)
    if waits:
        scope, wait_ms = max(waits, key=lambda short: short[1])
        raise RateLimitError(
            f"the limit {scope.replace('_', ' ')} is used up; retry in {wait_ms} ms",
            type=RateLimitErrorType(scope),
            retry_after_ms=wait_ms,
        )


def _buckets(message: Message, settings: Settings) -> list[Mapping[str, Json]]:
    domains = Counter(address.domain_key for _, address in message.recipients)
    everyone = sum(domains.values())
    found = [
        _bucket(RateLimitErrorType.PER_DOMAIN, domain, settings.rate_limit_per_domain, count)
        for domain, count in domains.items()
    ]
    found.append(
        _bucket(RateLimitErrorType.PER_TENANT, "", settings.rate_limit_per_tenant, everyone)
    )
    found.append(
        _bucket(
            RateLimitErrorType.PER_STREAM,
            message.stream.value,
            settings.rate_limit_per_stream,
            everyone,
        )
    )
    return [bucket for bucket in found if bucket is not None]


def _bucket(
    scope: RateLimitErrorType, key: str, limit: RateLimit | None, cost: int
) -> Mapping[str, Json] | None:
    if limit is None:
        return None
    return {
        "scope": scope.value,
        "key": key,
        "capacity": limit.capacity,
        "per_s": limit.per_s,
        "cost": cost,
    }
