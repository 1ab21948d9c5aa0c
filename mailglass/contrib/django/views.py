"""The views behind the mail's addresses: exempt from CSRF checks and login, outside of transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from mailglass.contrib import pages
from mailglass.contrib.django.desk import get_mailglass
from mailglass.web.answers import Answer
from mailglass.web.page import Theme
from mailglass.web.unsubscribe import BODY_BYTES_MAX as FORM_BYTES_MAX
from mailglass.webhook import HeaderMap

THEME: Final = "MAILGLASS_THEME"
_View: TypeAlias = Callable[..., HttpResponse]


def _public(view: _View) -> _View:
    """Return the view for callers who bring neither cookie nor token."""
    # A transaction around it would hold a connection; what is written here has its own.
    free: _View = transaction.non_atomic_requests(view)
    open_to_all: _View = csrf_exempt(login_not_required(free))
    return open_to_all


@_public
def webhook(request: HttpRequest, endpoint: str) -> HttpResponse:
    """Answer a provider, over the body as it came."""
    mail = get_mailglass()
    asked = _asked(request, mail.webhook_bytes_max(endpoint.strip("/")))
    if isinstance(asked, Answer):
        return _response(asked)
    return _response(pages.webhook(mail, endpoint, asked))


@_public
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Show the page, or act for a person or a mailbox provider."""
    asked = _asked(request, FORM_BYTES_MAX)
    if isinstance(asked, Answer):
        return _response(asked)
    return _response(pages.unsubscribe(get_mailglass(), token, asked, theme=_theme()))


def _asked(request: HttpRequest, bytes_max: int) -> pages.Asked | Answer:
    """Return the request with its raw body, or the answer for one that is too long or not whole."""
    if request.method not in pages.METHODS:
        return Answer(status=405, headers=(("Allow", ", ".join(pages.METHODS)),))
    try:
        # Not request.body, which refuses more than DATA_UPLOAD_MAX_MEMORY_SIZE.
        body = request.read(bytes_max + 1)
    except UnreadablePostError:
        return pages.CUT_OFF
    if len(body) > bytes_max:
        return pages.TOO_LARGE
    return pages.Asked(
        method=request.method,
        url=request.build_absolute_uri(),
        headers=HeaderMap(list(request.headers.items())),
        body=body,
        remote_ip=request.META.get("REMOTE_ADDR") or None,
    )


def _theme() -> Theme | None:
    given: dict[str, Any] | None = getattr(settings, THEME, None)
    return None if given is None else Theme(**given)


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
