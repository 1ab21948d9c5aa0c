"""What Django's admin reads of the mails: tables that mailglass owns and Django neither makes nor changes."""

from __future__ import annotations

from django.db import models


class Message(models.Model):  # type: ignore[misc]  # Django publishes no types
    """A finished mail, without its bytes."""

    id = models.UUIDField(primary_key=True)
    stream = models.TextField()
    mailable = models.TextField(null=True)  # noqa: DJ001 - the table's own null
    state = models.TextField()
    attempts = models.IntegerField()
    run_at = models.DateTimeField()

    class Meta:
        """The table, in a schema of its own."""

        managed = False
        db_table = '"mailglass"."messages"'

    def __str__(self) -> str:
        """Return its id, which names nobody."""
        return str(self.id)


class Delivery(models.Model):  # type: ignore[misc]  # Django publishes no types
    """One recipient of one message, as its events say."""

    id = models.UUIDField(primary_key=True)
    message = models.ForeignKey(Message, models.DO_NOTHING, related_name="+")
    tenant_id = models.TextField("tenant")
    kind = models.TextField()
    address = models.TextField()
    address_key = models.TextField()
    state = models.TextField()
    outcome = models.TextField()
    provider = models.TextField(null=True)  # noqa: DJ001 - the table's own null
    provider_message_id = models.TextField(null=True)  # noqa: DJ001 - as above
    code = models.TextField(null=True)  # noqa: DJ001 - as above
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        """The table, in a schema of its own."""

        managed = False
        db_table = '"mailglass"."deliveries"'
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        """Return its id, which names nobody."""
        return str(self.id)


class Suppression(models.Model):  # type: ignore[misc]  # Django publishes no types
    """A standing refusal to send."""

    id = models.UUIDField(primary_key=True)
    tenant_id = models.TextField("tenant")
    scope = models.TextField()
    value = models.TextField()
    stream = models.TextField(null=True)  # noqa: DJ001 - the table's own null
    reason = models.TextField()
    source = models.TextField()
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        """The table, in a schema of its own."""

        managed = False
        db_table = '"mailglass"."suppressions"'

    def __str__(self) -> str:
        """Return its id, which names nobody."""
        return str(self.id)
