"""The front desk of the Starlette application.

Make it with ``Starlette(lifespan=lifespan)``; an endpoint calls
``await mailglass_of(request).adeliver_later(…)``.
"""

from mailglass.contrib.starlette import lifespan, mailglass_of

__all__ = ["lifespan", "mailglass_of"]
