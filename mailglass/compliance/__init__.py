"""Compliance: unsubscribe links, tracking, DKIM, S/MIME and further headers; all of it pure."""
