"""An empty project, on the server that this run has already started."""

from __future__ import annotations

import pytest

from kit_project import Project
from mailglass.ledger.scratch import VARIABLE


@pytest.fixture
def project(
    pytester: pytest.Pytester, postgres_server: object, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Return an empty project."""
    url = postgres_server.url(postgres_server.maintenance_database)  # type: ignore[attr-defined]  # TestServer of the root conftest
    monkeypatch.setenv(VARIABLE, url)
    return Project(pytester)
