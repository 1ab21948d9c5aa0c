"""Recorded and written cases of providers: where they are, and how far an adapter is from one."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from mailglass.adapters.api import ApiAdapter
from mailglass.adapters.forms import form_fields
from mailglass.adapters.http import Request, Response, failed
from mailglass.adapters.providers import API_PROVIDERS, build_offline, names
from mailglass.cli.adapters import enveloped
from mailglass.cli.documents import message, webhook_request
from mailglass.cli.webhooks import hooks_of, inspected
from mailglass.errors import SendError
from mailglass.failures import Signal
from mailglass.message import Message
from mailglass.webhook import TOKEN_KEY, HeaderMap

WRITTEN: Final = Path(__file__).parents[1] / "conformance"
DEVIATIONS: Final = WRITTEN / "deviations.json"
_OTHER_NAMES: Final = {"is_permanent": "permanent", "is_machine": "machine"}
_NOT_OPTIONS: Final = (
    "IGNORE_",
    "SEND_DEFAULTS",
    "AMAZON_SES_",
    "UNISENDER_GO_GENERATE",
)
"""Settings of the recording client's own behaviour."""
SIGNED_ELSEWHERE: Final = frozenset({"amazon_ses"})
"""The recorded bodies carry no valid signature: they are read and not verified."""
UNDATED: Final[Mapping[str, Mapping[str, str]]] = {"mailgun": {"webhook_tolerance_s": "1e9"}}
"""The recording client checks no age, and some of its timestamps are years old."""
_CLIENT_ID: Final = "anymail_id"
"""The recording client's id, which it sends as metadata and reads back as the message's id."""


def corpus() -> Path | None:
    """Return the folder of the recorded cases, or None where there is none."""
    named = os.environ.get("MAILGLASS_CORPUS")
    root = WRITTEN.parents[1]
    places = [Path(named)] if named else [parent / "shared/corpus" for parent in root.parents]
    return next((one for one in places if (one / "webhook_cases.json").is_file()), None)


def cases(name: str) -> list[dict[str, Any]]:
    """Return the recorded cases of one file about the providers that exist here; none without one."""
    folder = corpus()
    if folder is None:
        return []
    known = set(names()) & set(API_PROVIDERS)
    found = json.loads((folder / name).read_text("utf-8"))
    return [case for case in found if case["esp"] in known]


def written() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the provider and the content of every case of our own, in order of their paths."""
    for path in sorted(WRITTEN.glob("*/*.json")):
        yield path.parent.name, json.loads(path.read_text("utf-8"))


def written_ids() -> list[str]:
    """Return the names of those cases, in the same order."""
    return [f"{path.parent.name}/{path.stem}" for path in sorted(WRITTEN.glob("*/*.json"))]


def deviations() -> dict[str, str]:
    """Return the reason of every case that is known to be different here."""
    return {
        case: why if isinstance(why, str) else why["reason"] for case, why in _deviating().items()
    }


def deviating_fields() -> dict[str, list[str]]:
    """Return what differs in each of those cases, where that is told: all else is as recorded."""
    return {case: why["differs"] for case, why in _deviating().items() if not isinstance(why, str)}


def _deviating() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DEVIATIONS.read_text("utf-8"))
    return found


class Upstream:
    """Answers what a check asks of its provider, and nothing else."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        """Keep the answers."""
        self._answers = answers

    def __call__(self, request: Request) -> Response:
        """Return the answer for the address, or lose the connection."""
        for one in self._answers:
            if one.get("url") == request.url:
                body = one.get("response_body") or ""
                is_text = one.get("response_body_encoding", "utf-8") == "utf-8"
                return Response(
                    status=one["response_status"],
                    headers=HeaderMap(one.get("response_headers") or {}),
                    body=body.encode() if is_text else base64.b64decode(body),
                )
        raise failed(Signal.CONNECT_FAILED)


def _inspected(provider: str, case: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    hooks = hooks_of(provider, settings, transport=Upstream(case.get("upstream") or []))
    return inspected(hooks, webhook_request(case["request"]))


def written_differences(provider: str, case: Mapping[str, Any]) -> list[str]:
    """Return how an adapter's reading differs from a case of our own."""
    told = _inspected(provider, case, case["settings"])
    expected = case["expected"]
    found = []
    if told["verified"] != expected["verified"]:
        found.append(f"verified: {told['verified']} ({told['error']})")
    if expected.get("error") and (told["error"] or {}).get("type") != expected["error"]:
        found.append(f"error: {told['error']}")
    wanted = expected.get("events") or []
    if not wanted and not expected["verified"]:
        return found
    if len(wanted) != len(told["events"]):
        return [*found, f"{len(told['events'])} events"]
    for event, want in zip(told["events"], wanted, strict=True):
        for name, value in want.items():
            got = event[_OTHER_NAMES.get(name, name)]
            if _plain(name, got) != _plain(name, value):
                found.append(f"{name}: {got!r}, not {value!r}")
    return found


def webhook_differences(case: Mapping[str, Any]) -> list[str]:
    """Return how an adapter's reading differs from a recorded request; none for a server's fault."""
    category = case["category"]
    if category == "error_500":
        return []
    request = {key: case[key] for key in ("method", "url", "headers", "body", "body_encoding")}
    settings = {
        key: one for key, one in case["settings"].items() if not key.startswith(_NOT_OPTIONS)
    }
    settings |= UNDATED.get(case["esp"], {})
    timed = {**case, "request": {**request, "now": case["recorded_at"]}}
    told = _inspected(case["esp"], timed, settings)
    if category in {"rejected_auth", "auth_challenge"}:
        return ["accepted"] if told["verified"] else []
    is_checked = bool(case["settings"]) and case["esp"] not in SIGNED_ELSEWHERE
    found = [f"refused: {told['error']}"] if is_checked and not told["verified"] else []
    if len(told["events"]) != len(case["events"]):
        return [*found, f"{len(told['events'])} events, not {len(case['events'])}"]
    for event, want in zip(told["events"], case["events"], strict=True):
        found += _event_differences(event, want)
    return found


def _event_differences(event: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in want.items():
        if name == "message_id":
            ids = [*event["message_ids"], event["metadata"].get(_CLIENT_ID)]
            same = value is None or str(value) in ids
        else:
            same = _plain(name, event[name]) == _plain(name, value)
        if not same:
            found.append(f"{name}: {event[name]!r}, not {value!r}")
    return found


def _plain(name: str, value: Any) -> Any:
    match name:
        case "timestamp":
            return datetime.fromisoformat(value) if value else None
        case "tags":
            many = value if isinstance(value, list) else [value]
            flat = [one for each in many for one in (each if isinstance(each, list) else [each])]
            return [one for one in flat if one is not None]
        case "metadata":
            ours = {TOKEN_KEY, _CLIENT_ID}
            return {key: _word(one) for key, one in (value or {}).items() if key not in ours}
        case "event_id" | "message_id":
            return None if value is None else str(value)
        case _:
            return value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def send_differences(case: Mapping[str, Any]) -> list[str] | None:
    """Return how the requests for a recorded message differ; None where they cannot be compared.

    They cannot where the client refuses, where the message asks for what mailglass has no word for,
    or where it is no message here.
    """
    mail = _message(case)
    if mail is None or case["error"] is not None or not case["requests"]:
        return None
    settings = {
        key: one for key, one in case["settings"].items() if not key.startswith(_NOT_OPTIONS)
    }
    adapter = build_offline(case["esp"], settings)
    if not isinstance(adapter, ApiAdapter):
        raise TypeError(case["esp"])
    try:
        adapter.check(mail)
    except SendError as error:
        return [f"refused: {error}"]
    now = datetime.fromisoformat(case["recorded_at"])
    envelope = enveloped(mail, provider=case["esp"], now=now)
    own = frozenset(str(one.delivery_id) for one in envelope.recipients)
    made = adapter.requests(envelope)
    if len(made) != len(case["requests"]):
        return [f"{len(made)} requests, not {len(case['requests'])}"]
    found = []
    for request, want in zip(made, case["requests"], strict=True):
        if request.url != want["url"]:
            found.append(f"url: {request.url}, not {want['url']}")
        sent = want["body"]
        if want.get("body_kind") == "form":
            sent = {key: one if isinstance(one, list) else [one] for key, one in sent.items()}
        got, wanted = _pruned(_parsed(request), own), _pruned(sent, own)
        if got != wanted:
            found.append(f"body: {got}, not {wanted}")
    return found


_OF_MESSAGE: Final = {
    "metadata": "metadata",
    "tags": "tags",
    "envelope_sender": "envelope_sender",
    "send_at": "provider_send_at",
    "esp_extra": "provider_options",
}
_TRACKED: Final = {"track_opens": "opens", "track_clicks": "clicks"}
_TEMPLATE: Final = {
    "template_id": "id",
    "merge_global_data": "variables",
    "merge_data": "per_recipient",
    "merge_metadata": "own_metadata",
    "merge_headers": "own_headers",
}
_OURS: Final = frozenset(
    {TOKEN_KEY, _CLIENT_ID, f"v:{TOKEN_KEY}", f"v:{_CLIENT_ID}", "idempotencyKey"}
)
"""What either side adds for itself: its id of the mail, and a key against sending twice."""
_CALLS: Final = frozenset({"amazon_ses"})
"""Recorded as calls of a library and not as requests."""


def _message(case: Mapping[str, Any]) -> Message | None:
    """Return the recorded message as one of ours; None where it cannot be one."""
    recorded = case["message"]
    asked = recorded["anymail"]
    known = {*_OF_MESSAGE, *_TRACKED, *_TEMPLATE}
    kinds = [kind for _, kind in recorded["alternatives"]]
    attachments = [_attachment(one) for one in recorded["attachments"]]
    if case["esp"] in _CALLS or not known.issuperset(asked) or None in attachments:
        return None
    if kinds not in ([], ["text/html"]) or _is_naive(asked.get("send_at")):
        return None
    is_html = recorded["content_subtype"] == "html"
    body = recorded["body"] or None
    html = body if is_html else next((one for one, _ in recorded["alternatives"]), None)
    given: dict[str, Any] = {
        _OF_MESSAGE[key]: one for key, one in asked.items() if key in _OF_MESSAGE
    }
    if "metadata" in given:
        given["metadata"] = {key: _word(one) for key, one in given["metadata"].items()}
    template = {_TEMPLATE[key]: one for key, one in asked.items() if key in _TEMPLATE}
    if template.get("own_metadata"):
        template["own_metadata"] = {
            whom: {key: _word(one) for key, one in its.items()}
            for whom, its in template["own_metadata"].items()
        }
    headers = dict(recorded["extra_headers"])
    replies = recorded["reply_to"]
    reply = next((key for key in headers if key.lower() == "reply-to"), None)
    if reply is not None:
        replies = [headers.pop(reply)]
    document = {
        **given,
        "sender": recorded["from_email"],
        **{kind: recorded[kind] for kind in ("to", "cc", "bcc", "subject")},
        "reply_to": replies,
        "text": None if is_html else body,
        "html": html,
        "headers": headers,
        "attachments": attachments,
        "tracking": {_TRACKED[key]: one for key, one in asked.items() if key in _TRACKED},
        **({"stored_template": template} if template else {}),
    }
    try:
        return message(document)
    except (SendError, click.UsageError):
        return None


def _is_naive(value: Any) -> bool:
    """Tell a time without a zone, to which the recording client gave one of its own, or no time."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return True


def _attachment(recorded: Mapping[str, Any]) -> dict[str, Any] | None:
    if not recorded["filename"]:
        return None
    content_id = (recorded.get("content_id") or "").strip("<>")
    return {
        "filename": recorded["filename"],
        "content": recorded["content_base64"],
        "content_type": recorded["content_type"] or "application/octet-stream",
        "content_id": content_id or None,
    }


def _parsed(request: Request) -> Any:
    kind = dict(request.headers).get("Content-Type", "")
    if "json" in kind:
        return json.loads(request.body)
    captured = webhook_request({"headers": {"Content-Type": kind}})
    fields = form_fields(replace(captured, body=request.body), provider="request")
    found: dict[str, Any] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


def _pruned(value: Any, own: frozenset[str] = frozenset()) -> Any:
    """Return a body without what says nothing and without either side's own ids.

    Numbers are texts, and JSON in a text is read: how it is spaced says nothing.
    """
    if isinstance(value, Mapping):
        plain = {key: _pruned(one, own) for key, one in value.items() if key not in _OURS}
        return {key: one for key, one in plain.items() if one not in (None, "", [], {})}
    if isinstance(value, list):
        return [_pruned(one, own) for one in value if not _is_our_tag(one)]
    if isinstance(value, str) and value[:1] in ("{", "["):
        return _pruned_json(value, own)
    if isinstance(value, str) and value in own:
        return None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_our_tag(value: Any) -> bool:
    names = (
        {str(value.get(key)) for key in ("name", "key")} if isinstance(value, Mapping) else set()
    )
    return not names.isdisjoint({TOKEN_KEY, "X-Mailglass-Delivery"})


def _pruned_json(value: str, own: frozenset[str]) -> Any:
    try:
        return _pruned(json.loads(value), own)
    except ValueError:
        return value


__all__ = [
    "build_offline",
    "cases",
    "corpus",
    "deviating_fields",
    "deviations",
    "send_differences",
    "webhook_differences",
    "written",
    "written_differences",
    "written_ids",
]
