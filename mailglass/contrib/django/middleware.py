"""The tenant of each request, for Django's MIDDLEWARE: sync and async."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import iscoroutinefunction
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware
from django.utils.module_loading import import_string

from mailglass.tenancy import tenant

TENANT_OF: Final = "MAILGLASS_TENANT_OF"


@sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django publishes no types
def tenant_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Set the tenant around each request; stands after the middleware that authenticates.

    ``MAILGLASS_TENANT_OF`` names a function that takes the request and returns the tenant's id, or
    None where there is none. A request whose tenant is no id is refused with a TenancyError.

    Raises:
        ImproperlyConfigured: the setting is missing.
        ImportError: it names nothing that is there.

    """
    tenant_of = _tenant_of()

    def around(request: HttpRequest) -> AbstractContextManager[None]:
        found = tenant_of(request)
        return nullcontext() if found is None else tenant(found)

    async def answer_later(request: HttpRequest) -> HttpResponse:
        with around(request):
            return await get_response(request)

    def answer(request: HttpRequest) -> HttpResponse:
        with around(request):
            return get_response(request)

    return answer_later if iscoroutinefunction(get_response) else answer


def _tenant_of() -> Callable[[HttpRequest], str | None]:
    name = getattr(settings, TENANT_OF, None)
    if not isinstance(name, str):
        raise ImproperlyConfigured(f"{TENANT_OF} names the function that returns the tenant")
    found: Callable[[HttpRequest], str | None] = import_string(name)
    return found
