"""Answers: what each provider must hear, so that it repeats what was not taken in and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from mailglass.webhook import HeaderMap, WebhookRequest

OK: Final = 200
MALFORMED: Final = 400
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
TOO_LARGE: Final = 413
UNSUPPORTED: Final = 415
OTHER_TENANT: Final = 422
BUSY: Final = 503
RETRY_AFTER_S: Final = 60

_REFUSALS: Final[Mapping[str, int]] = MappingProxyType({"mailgun": 406, "postmark": 403})
"""What ends the repetitions of a request that is not genuine, where 401 does not."""
_BUSY: Final[Mapping[str, int]] = MappingProxyType({"brevo": 429})
"""Brevo throws an event away for ever after any other 4xx and after every 5xx."""
_CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="webhooks"')
"""SNS sends the credentials of its address only after it was asked for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, headers and body for the provider; ``recorded`` counts the events that were new."""

    status: int
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)
    body: bytes = b""
    recorded: int = 0

    @property
    def is_taken(self) -> bool:
        """Tell whether the request is stored for good, now or before."""
        return self.status == OK


Take: TypeAlias = Callable[[str, WebhookRequest], Answer]
"""``Mailglass.ingest``, or what stands in its place."""


def answered(  # noqa: PLR0913 - what any framework knows of a request
    take: Take,
    endpoint: str,
    *,
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    remote_ip: str | None,
    now: datetime,
) -> Answer:
    """Answer a request of whatever framework, from its raw body and every header it came with.

    ``url`` is the one the provider called, ``remote_ip`` the last hop that is no proxy of yours.
    """
    request = WebhookRequest(
        method=method.upper(),
        url=url,
        headers=HeaderMap(headers),
        body=body,
        remote_ip=remote_ip,
        now=now,
    )
    return take(endpoint, request)


def taken(recorded: int = 0) -> Answer:
    """Return the answer for what is stored, new or not."""
    return Answer(status=OK, body=b"ok", recorded=recorded)


def refused(provider: str, *, may_ask_again: bool = False) -> Answer:
    """Return the answer for a request that does not verify."""
    status = _REFUSALS.get(provider, UNAUTHORIZED)
    if may_ask_again:
        return Answer(status=UNAUTHORIZED, headers=(_CHALLENGE,))
    headers = (_CHALLENGE,) if status == UNAUTHORIZED else ()
    return Answer(status=status, headers=headers)


def busy(provider: str) -> Answer:
    """Return the answer that makes a provider send the request again."""
    after = ("Retry-After", str(RETRY_AFTER_S))
    return Answer(status=_BUSY.get(provider, BUSY), headers=(after,))
