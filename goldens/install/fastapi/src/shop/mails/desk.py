"""The front desk of the FastAPI application.

Make it with ``FastAPI(lifespan=lifespan)``; a path operation with a parameter ``mail: Mail`` calls
``await mail.adeliver_later(…)``.
"""

from mailglass.contrib.fastapi import Mail
from mailglass.contrib.starlette import lifespan

__all__ = ["Mail", "lifespan"]
