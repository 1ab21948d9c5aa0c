"""The mails of this application: one class a mail, its templates beside it."""

from mails.welcome import Welcome

__all__ = ["Welcome"]
