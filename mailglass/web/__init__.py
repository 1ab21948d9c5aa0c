"""Web: the public pages (unsubscribe, tracking) as plain functions and as ASGI applications."""
