"""Mutated requests: what a provider sends, spoiled by a seed in one to three ways.

The same seed spoils the same request alike, so that a finding can be repeated from its seed.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from mailglass.cli.documents import webhook_request
from mailglass.cli.webhooks import Hooks, hooks_of
from mailglass.errors import MailglassError, SignatureError
from mailglass.webhook import HeaderMap, ProviderEvent, WebhookRequest
from recorded import Upstream, written, written_ids

_WAYS_MAX: Final = 3
_FORM: Final = "application/x-www-form-urlencoded"
_NUMBER: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_Way = Callable[[WebhookRequest, random.Random], WebhookRequest]
_INSIDE: Final = object()
"""The step into a text that is itself JSON."""
_GONE: Final = object()
"""What stands for taking a value away."""
_ODD_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    2**63,
    -(2**63),
    10**19,
    10**400,
    1e308,
    -1e308,
    0.1,
    "",
    " ",
    "x",
    "\x00",
    "\ud800",
    "a\udfff\x00b",
    "\U0001f600" * 40,
    "9" * 5_000,
    "1e999",
    "NaN",
    "2026-02-30T25:61:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "253402300800",
    "{",
    "[[[[",
    "\r\nX: y",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": None},
    {"a": {"b": []}},
    {"type": {}, "event": [], "\x00": "\ud800"},
    [0] * 200,
    {str(number): number for number in range(200)},
)
_ODD_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "é",
    "\udcff",
    "A" * 10_000,
    "=",
    "Basic",
    "Basic =",
    "Bearer ",
    "t=1,v1=00",
    "v1,AAAA v1,",
    "0" * 64,
    "-1",
    "99999999999999999999",
    "\u0661\u0662\u0663",
)
_ODD_KINDS: Final = (
    "",
    "text/plain",
    "application/json; charset=utf-16",
    _FORM,
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    'multipart/form-data; boundary="',
    "application/xml",
)
_ODD_URLS: Final = (
    "",
    "x",
    "http://[",
    "https://a.example/?%ff=%",
    "\ud800",
    "https://u:p@a.example",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One written case of a provider: its request and what reads it."""

    provider: str
    name: str
    request: WebhookRequest
    hooks: Hooks


@cache
def subjects() -> Mapping[str, tuple[Subject, ...]]:
    """Return every written case of each provider."""
    found: dict[str, list[Subject]] = {}
    for (provider, case), name in zip(written(), written_ids(), strict=True):
        upstream = Upstream(case.get("upstream") or [])
        subject = Subject(
            provider=provider,
            name=name,
            request=webhook_request(case["request"]),
            hooks=hooks_of(provider, case["settings"], transport=upstream),
        )
        found.setdefault(provider, []).append(subject)
    return {provider: tuple(many) for provider, many in found.items()}


def finding(provider: str, seed: int) -> str | None:
    """Return what a mutated request of the provider did that none may do; None when nothing."""
    chance = random.Random(f"{provider} {seed}")  # noqa: S311 - repeatable on purpose
    subject = chance.choice(subjects()[provider])
    request = mutated(subject.request, chance)
    try:
        fault = _fault(subject.hooks, request)
    except Exception as error:  # noqa: BLE001 - any other error is what is looked for
        fault = f"raised {type(error).__name__}: {error}"
    return None if fault is None else f"{subject.name} with seed {seed} {fault}"


def _fault(hooks: Hooks, request: WebhookRequest) -> str | None:
    try:
        hooks.verify(request)
    except MailglassError as error:
        json.dumps(error.to_dict())
    try:
        events = hooks.events(request)
    except SignatureError as error:
        json.dumps(error.to_dict())
        return None
    return next((fault for fault in map(_unfit, events) if fault), None)


def _unfit(event: ProviderEvent) -> str | None:
    """Return what no store could keep of an event."""
    shown = [
        event.provider_event_id,
        event.recipient or "",
        event.word or "",
        event.description or "",
        event.mta_response or "",
        event.click_url or "",
        event.user_agent or "",
        *event.provider_message_ids,
        *event.tags,
        *event.metadata,
        *event.metadata.values(),
    ]
    if not all(isinstance(one, str) for one in shown):
        return "holds what is no text"
    if any("\x00" in one or not _is_encodable(one) for one in shown):
        return "holds a text that no database takes"
    if not event.provider_event_id:
        return "has no id"
    if event.occurred_at is not None and event.occurred_at.tzinfo is None:
        return "has a time without zone"
    return None


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def mutated(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    """Return the request, spoiled in one to three ways."""
    for _ in range(chance.randint(1, _WAYS_MAX)):
        way = chance.choices(tuple(_WAYS), tuple(_WAYS.values()))[0]
        request = way(request, chance)
    return request


def _with_odd_value(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    """Put a value of another type in the place of any one in the document, or take one away."""
    document, written_back = _document(request)
    places = list(sites(document))
    if not places:
        return request
    path = chance.choice(places)
    is_taken_away = chance.random() < 0.15 and path and isinstance(path[-1], str)
    value = _GONE if is_taken_away else chance.choice(_ODD_VALUES)
    return replace(request, body=written_back(replaced(document, path, value)))


def _document(request: WebhookRequest) -> tuple[Any, Callable[[Any], bytes]]:
    """Return the body as values, and what writes values as such a body."""
    kind = (request.headers.first("content-type") or "").partition(";")[0]
    if kind == _FORM:
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        return fields, lambda found: urlencode(
            {key: one if isinstance(one, str) else json.dumps(one) for key, one in found.items()}
            if isinstance(found, dict)
            else {"": str(found)},
            errors="replace",
        ).encode()
    return _parsed(request.body), lambda found: json.dumps(found).encode()


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def sites(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document, also into a text that is JSON itself."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from sites(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from sites(one, (*path, number))
    elif isinstance(value, str) and value[:1] in {"{", "["}:
        inner = _parsed(value)
        if inner is not None:
            yield from sites(inner, (*path, _INSIDE))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a document with another value at the end of the way."""
    if not path:
        return None if new is _GONE else new
    step, *rest = path
    if step is _INSIDE:
        return json.dumps(replaced(json.loads(value), tuple(rest), new))
    copy = dict(value) if isinstance(value, dict) else list(value)
    if new is _GONE and not rest:
        del copy[step]
    else:
        copy[step] = replaced(value[step], tuple(rest), new)
    return copy


def _truncated(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    return replace(request, body=request.body[: chance.randint(0, len(request.body))])


def _with_odd_bytes(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    """Put bytes anywhere that no text, no JSON or no form has there."""
    odd = (
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"{",
        b"\\ud800",
        b"%zz",
        b"\r\n--",
        b"&",
    )
    at = chance.randint(0, len(request.body))
    return replace(request, body=request.body[:at] + chance.choice(odd) + request.body[at:])


def _with_odd_number(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    numbers = list(_NUMBER.finditer(request.body))
    if not numbers:
        return request
    found = chance.choice(numbers)
    odd = chance.choice((b"9" * 400, b"1e999", b"-1e999", b"NaN", b"1e-400", b"0" * 40, b"-0"))
    return replace(request, body=request.body[: found.start()] + odd + request.body[found.end() :])


def _with_a_key_twice(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    places = [found.end() for found in re.finditer(rb"\{", request.body)]
    if not places:
        return replace(request, body=request.body + b"&" + request.body)
    at, key = chance.choice(places), chance.choice((b"event", b"type", b"auth", b"a"))
    twice = b'"' + key + b'": 1, "' + key + b'": {}, '
    return replace(request, body=request.body[:at] + twice + request.body[at:])


def _nested(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    depth, (start, end) = (
        chance.choice((33, 2_000, 100_000)),
        chance.choice(((b"[", b"]"), (b'{"a":', b"}"))),
    )
    inner = chance.choice((request.body, b"1", b""))
    return replace(request, body=start * depth + inner + end * depth)


def _with_odd_header(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    """Take a header away, give it twice, or give it another value."""
    fields = list(_pairs(request.headers))
    if not fields:
        return replace(request, headers=HeaderMap([("Authorization", chance.choice(_ODD_TEXTS))]))
    at = chance.randrange(len(fields))
    name, value = fields[at]
    match chance.randint(0, 3):
        case 0:
            del fields[at]
        case 1:
            fields.append((name, value))
        case 2:
            fields[at] = (name, chance.choice(_ODD_TEXTS))
        case _:
            fields[at] = (name, value[: len(value) // 2] + chance.choice(_ODD_TEXTS))
    return replace(request, headers=HeaderMap(fields))


def _with_odd_kind(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    others = [pair for pair in _pairs(request.headers) if pair[0] != "content-type"]
    kind = ("content-type", chance.choice(_ODD_KINDS))
    return replace(request, headers=HeaderMap([*others, kind]))


def _pairs(headers: HeaderMap) -> tuple[tuple[str, str], ...]:
    return headers._fields


def _with_odd_frame(request: WebhookRequest, chance: random.Random) -> WebhookRequest:
    if chance.random() < 0.5:
        return replace(request, method=chance.choice(("GET", "HEAD", "PUT", "")))
    return replace(request, url=chance.choice(_ODD_URLS))


_WAYS: Final[Mapping[_Way, int]] = {
    _with_odd_value: 12,
    _truncated: 2,
    _with_odd_bytes: 3,
    _with_odd_number: 2,
    _with_a_key_twice: 1,
    _nested: 1,
    _with_odd_header: 4,
    _with_odd_kind: 2,
    _with_odd_frame: 1,
}
"""Every way, and how often it is taken."""
