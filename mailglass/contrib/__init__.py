"""Bindings to web frameworks; each is loaded only by who uses the framework."""
