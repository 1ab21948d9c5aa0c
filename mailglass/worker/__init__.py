"""The worker: takes what is due straight from Postgres, on any number of hosts, until it is stopped."""

from __future__ import annotations

from mailglass.worker.pipeline import Worker

__all__ = ["Worker"]
