"""FastAPI: the dependency ``Mail``; the lifespan is Starlette's."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from mailglass.app import Mailglass
from mailglass.contrib.starlette import lifespan, lifespan_with, mailglass_of


def get_mailglass(connection: HTTPConnection) -> Mailglass:
    """Return the application's Mailglass; override it in tests with ``app.dependency_overrides``.

    Raises:
        RuntimeError: when the application runs without the lifespan.

    """
    return mailglass_of(connection)


Mail = Annotated[Mailglass, Depends(get_mailglass)]
"""A parameter of this type gets the Mailglass: ``async def pay(mail: Mail)``."""

__all__ = ["Mail", "get_mailglass", "lifespan", "lifespan_with", "mailglass_of"]
