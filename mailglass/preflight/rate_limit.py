"""The check that a tenant, a stream and a recipient domain get no more mail than allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from mailglass.errors import RateLimitError, RateLimitErrorType
from mailglass.message import Message, Stream
from mailglass.pacing.buckets import Ask, Bucket, Request, Traffic, asks_of
from mailglass.pacing.vocabulary import Limit, LimitKey
from mailglass.preflight import Context, Phase
from mailglass.settings import RateLimit, Settings

_TYPE_OF_KEY: Final = MappingProxyType(
    {
        LimitKey.RECIPIENT_DOMAIN: RateLimitErrorType.PER_DOMAIN,
        LimitKey.SENDER_DOMAIN: RateLimitErrorType.PER_DOMAIN,
        LimitKey.STREAM: RateLimitErrorType.PER_STREAM,
        LimitKey.TENANT: RateLimitErrorType.PER_TENANT,
    }
)
"""What a limit of several keys is called: by the first of them that stands here."""


def rate_is_within_limits(message: Message, context: Context) -> None:
    """Take one token a recipient from each bucket, or refuse and take none.

    Transactional mail passes always. A message takes its tokens once: at intake when it is to leave
    now, at its first attempt when it was scheduled. Limits that delay mail are not asked here.

    Raises:
        RateLimitError: the same call passes after ``retry_after_ms``.

    """
    if not takes_tokens(message, context):
        return
    traffic = _traffic(message, context)
    asks = [
        *_plain(traffic, context.settings),
        *asks_of(context.settings.limits, traffic, delays=False),
    ]
    if not asks:
        return
    request = Request()
    request.add(traffic, asks)
    short = context.take(request)
    if short is not None:
        name, wait_ms = short
        kind = _types(context.settings)[name]
        raise RateLimitError(
            f"the limit {kind.value.replace('_', ' ')} is used up; retry in {wait_ms} ms",
            type=kind,
            retry_after_ms=wait_ms,
        )


def takes_tokens(message: Message, context: Context) -> bool:
    """Tell whether the check may take tokens, so that asking it twice would take them twice."""
    if message.send_at is None:
        takes_now = context.phase is Phase.INTAKE
    else:
        takes_now = context.phase is Phase.DISPATCH and context.attempt == 1
    if message.stream is Stream.TRANSACTIONAL or not takes_now:
        return False
    return _is_limited(context.settings)


def _is_limited(settings: Settings) -> bool:
    plain = (
        settings.rate_limit_per_domain,
        settings.rate_limit_per_tenant,
        settings.rate_limit_per_stream,
    )
    return bool(settings.limits) or any(plain)


def _traffic(message: Message, context: Context) -> Traffic:
    return Traffic(
        tenant=context.tenant_id,
        stream=message.stream.value,
        sender_domain=(message.envelope_sender or message.sender).domain_key,
        provider=None,
        recipients=Counter(address.domain_key for _, address in message.recipients),
    )


def _plain(traffic: Traffic, settings: Settings) -> Iterator[Ask]:
    everyone = sum(traffic.recipients.values())
    for domain, count in traffic.recipients.items():
        yield from _ask(RateLimitErrorType.PER_DOMAIN, domain, count, traffic, settings)
    yield from _ask(RateLimitErrorType.PER_TENANT, "", everyone, traffic, settings)
    yield from _ask(RateLimitErrorType.PER_STREAM, traffic.stream, everyone, traffic, settings)


def _ask(
    kind: RateLimitErrorType, key: str, cost: int, traffic: Traffic, settings: Settings
) -> Iterator[Ask]:
    name = f"rate_limit_{kind.value}"
    limit: RateLimit | None = getattr(settings, name)
    if limit is not None:
        bucket = Bucket.plain(
            name, f"{traffic.tenant} {key}".rstrip(), capacity=limit.capacity, per_s=limit.per_s
        )
        yield Ask(bucket=bucket, cost=cost, is_counted=False)


def _types(settings: Settings) -> dict[str, RateLimitErrorType]:
    plain = {f"rate_limit_{kind.value}": kind for kind in RateLimitErrorType}
    return plain | {one.name: _type_of(one) for one in settings.limits if not one.delays}


def _type_of(limit: Limit) -> RateLimitErrorType:
    return next(kind for key, kind in _TYPE_OF_KEY.items() if key in limit.per)
