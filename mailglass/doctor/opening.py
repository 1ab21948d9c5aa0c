"""Checks that what the settings describe can be made: by the code that makes it, connecting to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.from_settings import DEFAULT_ADAPTER, adapter_from, adapters_from
from mailglass.app import Mailglass
from mailglass.doctor.check import Check, Fault, Need, Status
from mailglass.doctor.patient import Patient
from mailglass.errors import ConfigError
from mailglass.ledger.database import DatabaseChoice

_NOWHERE: Final = DatabaseChoice(url="postgresql:///", source="doctor", is_embedded=False)
_TOLD_ELSEWHERE: Final = {"dkim_keys": (), "limits_redis_url": None}
"""What has a check of its own, which tells more."""


def _adapters(patient: Patient) -> Iterator[Fault]:
    """Make each adapter, which reads the keys and secrets that it signs or verifies with; then all."""
    found = False
    for name, one in patient.adapters.items():
        try:
            adapter_from(one).close()
        except ConfigError as error:
            found = True
            where = "" if name == DEFAULT_ADAPTER else f"adapter {name}: "
            yield Fault(seen=f"{where}{error.message}")
    if found:
        return
    try:
        for adapter in adapters_from(patient.the_settings).values():
            adapter.close()
    except ConfigError as error:
        yield Fault(seen=error.message)


def _front_desk(patient: Patient) -> Iterator[Fault]:
    """Make the front desk as a process does when it starts; its store connects at the first query."""
    settings = patient.the_settings.model_copy(update=_TOLD_ELSEWHERE)
    fakes = {name: FakeAdapter() for name in patient.adapters}
    try:
        Mailglass(settings, database=_NOWHERE, adapters=fakes).close()
    except ConfigError as error:
        yield Fault(seen=error.message)


CHECKS: Final = (
    Check(
        id="settings.adapters", need=Need.SETTINGS, status=Status.ERROR, look=_adapters,
        title="Every adapter can be made, its keys read",
        fix="Mend what is named; `mailglass adapters --json` lists what each adapter takes.",
    ),
    Check(
        id="settings.front_desk", need=Need.SETTINGS, status=Status.ERROR, look=_front_desk,
        title="Links, routes and redirection can be made of the settings",
        fix="Mend the setting that is named: a process of yours would stop there when it starts.",
    ),
)  # fmt: skip
