"""The public pages for any framework: a provider's webhook and the unsubscribe link, as plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from mailglass.app import Mailglass
from mailglass.clock import system_clock
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.web.answers import Answer
from mailglass.web.page import Theme
from mailglass.web.unsubscribe import UnsubscribePage
from mailglass.webhook import HeaderMap, WebhookRequest

WEBHOOKS_PATH: Final = "/webhooks"
UNSUBSCRIBE_PATH: Final = "/unsubscribe"
"""Where the pages are unless an application says otherwise."""
METHODS: Final = ("GET", "HEAD", "POST")
"""Providers post; some try an address with GET or HEAD first."""
TOO_LARGE: Final = Answer(status=413)
CUT_OFF: Final = Answer(status=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as any framework knows it: the raw body, and every header it came with.

    ``url`` is the one the caller used, ``remote_ip`` the last hop that is no proxy of yours.
    """

    method: str
    url: str = field(repr=False)
    headers: HeaderMap
    body: bytes = field(repr=False)
    remote_ip: str | None = field(default=None, repr=False)


def webhook(mail: Mailglass, endpoint: str, asked: Asked) -> Answer:
    """Answer a provider as ``Mailglass.ingest`` says; a slash at the end of the path is no matter."""
    request = WebhookRequest(
        method=asked.method,
        url=asked.url,
        headers=asked.headers,
        body=asked.body,
        remote_ip=asked.remote_ip,
        now=system_clock(),
    )
    told = mail.ingest(endpoint.strip("/"), request)
    return Answer(status=told.status, headers=told.headers, body=told.body)


def unsubscribe(mail: Mailglass, token: str, asked: Asked, *, theme: Theme | None = None) -> Answer:
    """Answer somebody who follows an unsubscribe link, or a mailbox provider that posts to it.

    It is 404 where ``unsubscribe_url`` is not set. Without a theme the page names the link's host.
    """
    page = page_of(mail, theme)
    if page is None:
        return Answer(status=404)
    language = asked.headers.first("accept-language") or ""
    if asked.method != "POST":
        return page.show(token.strip("/"), accept_language=language)
    return page.act(
        token.strip("/"),
        asked.body,
        content_type=asked.headers.first("content-type") or "",
        accept_language=language,
    )


def page_of(mail: Mailglass, theme: Theme | None) -> UnsubscribePage | None:
    """Return the page behind a Mailglass' links; None where it makes none."""
    links = mail.finishing.unsubscribe
    if links is None:
        return None

    def leave(delivery_id: UUID) -> None:
        mail.unsubscribe(delivery_id)

    return UnsubscribePage(
        links=links,
        unsubscribe=leave,
        theme=theme or Theme(name=_host(links)),
    )


def _host(links: UnsubscribeLinks) -> str:
    return urlsplit(links.url).hostname or ""
