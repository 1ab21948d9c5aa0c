"""Checks of what providers report: that it can arrive, and what of it was refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mailglass.adapters.from_settings import adapters_from
from mailglass.doctor.check import Check, Fault, Need, Status, UnverifiableError
from mailglass.doctor.patient import Patient
from mailglass.doctor.route import Answered, Posted, post
from mailglass.errors import ConfigError
from mailglass.ledger.webhooks import WebhookStore
from mailglass.webhooks import answers
from mailglass.webhooks.endpoint import Endpoint, endpoints_of

_RECEIPTS_MAX: Final = 1000
_FORGED: Final = b'{"forged": "by mailglass doctor"}'
_REDIRECTS: Final = range(300, 400)
_EXPLAINED: Final = {
    400: "a check before mailglass refused it, as that of allowed hosts does",
    404: "no route leads to mailglass, or none of its endpoints has this name",
    405: "the route takes no POST",
    413: "something before mailglass refused its size",
    500: "the application failed; what it logs says why",
}


def _dead(patient: Patient) -> Iterator[Fault]:
    webhooks = WebhookStore(store=patient.the_store)
    found = webhooks.receipts(is_refused=True, limit=_RECEIPTS_MAX)
    if not found:
        return
    more = " or more" if len(found) == _RECEIPTS_MAX else ""
    reports = sum(one.dead for one in found)
    since = min(one.received_at for one in found)
    yield Fault(
        seen=f"{len(found)}{more} requests hold what was refused ({reports} single reports), "
        f"since {since:%Y-%m-%d %H:%M}Z"
    )


def _reachable(patient: Patient) -> Iterator[Fault]:
    endpoints = _endpoints(patient)
    if not endpoints:
        return
    if patient.application is None:
        raise UnverifiableError("no application was named that takes the webhooks")
    application = patient.application()
    for endpoint in endpoints:
        url = f"{patient.webhooks_url.rstrip('/')}/{endpoint.path}"
        posted = Posted(url=url, body=_FORGED, content_type="application/json")
        try:
            answer = post(application, posted)
        except UnverifiableError:
            raise
        except Exception as error:  # noqa: BLE001 - an application may raise anything
            yield Fault(seen=f"{endpoint.path}: the application raised {type(error).__name__}")
            continue
        wrong = _what_is_wrong(endpoint, answer)
        if wrong is not None:
            yield Fault(seen=f"{endpoint.path}: {wrong}")


def _endpoints(patient: Patient) -> tuple[Endpoint, ...]:
    settings = patient.the_settings
    try:
        return endpoints_of(adapters_from(settings), settings.default_tenant)
    except ConfigError as error:
        raise UnverifiableError(f"the adapters cannot be made: {error.message}") from error


def _what_is_wrong(endpoint: Endpoint, answer: Answered) -> str | None:
    """Return why a forged request was not refused by mailglass itself; None where it was."""
    ours = answers.refused(endpoint.provider)
    if answer.status == ours.status and not answer.body and _has(answer, ours):
        return None
    if answer.status == answers.OK:
        return "a forged request was taken"
    if answer.status == answers.busy(endpoint.provider).status and "retry-after" in answer.headers:
        return (
            f"{answer.status}: mailglass was reached and cannot check it: the raw body was read before, "
            "the key is missing, or the database is away"
        )
    if answer.status in _REDIRECTS:
        return f"{answer.status}: it is sent elsewhere, and a provider does not follow"
    told = _EXPLAINED.get(
        answer.status, "something before mailglass, a login or CSRF check, refused it"
    )
    return f"{answer.status}: {told}"


def _has(answer: Answered, ours: answers.Answer) -> bool:
    wanted = {name.lower(): value for name, value in ours.headers}
    return all(answer.headers.get(name) == value for name, value in wanted.items())


CHECKS: Final = (
    Check(
        id="webhooks.dead", need=Need.SCHEMA, status=Status.WARNING, look=_dead,
        title="No report of a provider was refused and forgotten",
        fix="`mailglass webhooks list --refused` shows them, `mailglass webhooks show ID` says why; "
        "replay or prune them.",
    ),
    Check(
        id="webhooks.reachable", need=Need.SETTINGS, status=Status.ERROR, look=_reachable,
        title="A provider reaches mailglass through the application",
        fix="Mount mailglass' routes where providers call, out of login and CSRF checks, with the "
        "raw body; `--app` and `--webhooks-url` say what to call.",
    ),
)  # fmt: skip
