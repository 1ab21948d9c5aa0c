"""Webhooks: what providers report is kept, made into events, and linked to what was sent."""
