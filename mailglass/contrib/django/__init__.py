"""Django: an app, an email backend on the ledger, and mail inside Django's own transactions.

Add ``mailglass.contrib.django`` to INSTALLED_APPS and set ``EMAIL_BACKEND =
"mailglass.contrib.django.EmailBackend"``; ``MAILGLASS`` is a dict of settings. Without a database URL
the mails are in Django's own database, so that they are queued, or rolled back, with its rows.
"""

from __future__ import annotations

from mailglass.contrib.extras import lacking

try:
    from mailglass.contrib.django.backend import EmailBackend
    from mailglass.contrib.django.desk import aqueue, get_mailglass, queue, using_mailglass
except ModuleNotFoundError as error:
    raise lacking(error, extra="django") from error


__all__ = ["EmailBackend", "aqueue", "get_mailglass", "queue", "using_mailglass"]
