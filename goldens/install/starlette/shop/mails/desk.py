"""The front desk of the Starlette application, and its routes for providers and readers.

Make it with ``Starlette(routes=[*routes, …], lifespan=lifespan)``; an endpoint calls
``await mailglass_of(request).adeliver_later(…)``.
"""

from mailglass.contrib.starlette import lifespan, mail_routes, mailglass_of
from mailglass.web.page import Theme

# POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
routes = mail_routes(theme=Theme(name="Shop"))

__all__ = ["lifespan", "mailglass_of", "routes"]
