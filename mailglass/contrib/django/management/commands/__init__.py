"""The management commands: ``manage.py mailglass …``."""
