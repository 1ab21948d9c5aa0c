"""FastAPI: the dependency ``Mail`` and a router with the mail's pages; the rest is Starlette's."""

from typing import Annotated, Any

from mailglass.app import Mailglass
from mailglass.contrib.extras import lacking

try:
    from fastapi import APIRouter, Depends
    from starlette.requests import HTTPConnection

    from mailglass.contrib.starlette import (
        TenantMiddleware,
        lifespan,
        lifespan_with,
        mail_routes,
        mailglass_of,
    )
except ModuleNotFoundError as error:
    raise lacking(error, extra="fastapi") from error


def get_mailglass(connection: HTTPConnection) -> Mailglass:
    """Return the application's Mailglass; override it in tests with ``app.dependency_overrides``.

    Raises:
        RuntimeError: when the application runs without the lifespan.

    """
    return mailglass_of(connection)


Mail = Annotated[Mailglass, Depends(get_mailglass)]
"""A parameter of this type gets the Mailglass: ``async def pay(mail: Mail)``."""


def mail_router(**given: Any) -> APIRouter:
    """Return a router with the routes of ``mail_routes``, for ``app.include_router``.

    They take the Mailglass as ``Mail`` does, an override included, and are in no schema.
    """
    return APIRouter(routes=[*mail_routes(mail_of=_overridable, **given)])


def _overridable(connection: HTTPConnection) -> Mailglass:
    overrides = getattr(connection.app, "dependency_overrides", {})
    found = overrides.get(get_mailglass)
    return found() if found is not None else get_mailglass(connection)


__all__ = [
    "Mail",
    "TenantMiddleware",
    "get_mailglass",
    "lifespan",
    "lifespan_with",
    "mail_router",
    "mail_routes",
    "mailglass_of",
]
