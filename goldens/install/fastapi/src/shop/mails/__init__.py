"""The mails of this application: one class a mail, its templates beside it."""

from shop.mails.welcome import Welcome

__all__ = ["Welcome"]
