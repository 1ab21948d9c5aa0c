"""Rendering: a mailable becomes a finished message, and a message becomes bytes."""
