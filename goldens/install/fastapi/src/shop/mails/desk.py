"""The front desk of the FastAPI application, and its routes for providers and readers.

Make it with ``FastAPI(lifespan=lifespan)`` and call ``app.include_router(router)``; a path operation
with a parameter ``mail: Mail`` calls ``await mail.adeliver_later(…)``.
"""

from mailglass.contrib.fastapi import Mail, lifespan, mail_router
from mailglass.web.page import Theme

# POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
router = mail_router(theme=Theme(name="Shop"))

__all__ = ["Mail", "lifespan", "router"]
