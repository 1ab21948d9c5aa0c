"""Inbound: mail that providers hand over is read into one form and routed to a handler."""
