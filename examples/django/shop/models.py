"""The orders."""

from __future__ import annotations

from django.db import models


class Order(models.Model):  # type: ignore[misc]  # Django publishes no types
    """A paid order."""

    number = models.IntegerField(primary_key=True)
    total = models.TextField()
    customer = models.TextField()

    def __str__(self) -> str:
        """Return the number."""
        return str(self.number)
