"""Compile-once inlining: styles are written into a template's source, not into every mail."""
