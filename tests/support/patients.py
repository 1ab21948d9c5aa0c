"""A healthy set-up for the doctor, and DNS that a test writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mailglass.demo.mailables import Receipt
from mailglass.doctor import Patient, UnverifiableError
from mailglass.doctor.dns import Lookup, RecordType
from mailglass.doctor.server import ServerSigns
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.inspection import EVENT_TRIGGERS, TRIGGERS, DatabaseFacts
from mailglass.ledger.migrations import MigrationStatus
from mailglass.settings import load_settings

KEY = "A" * 392
ZONE: Mapping[tuple[str, str], Sequence[str]] = {
    ("shop.example", "TXT"): ["v=spf1 include:amazonses.com mx -all", "other=text"],
    ("amazonses.com", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    ("s1._domainkey.shop.example", "TXT"): [f"v=DKIM1; k=rsa; p={KEY}"],
    ("_dmarc.shop.example", "TXT"): ["v=DMARC1; p=reject; adkim=s; rua=mailto:d@shop.example"],
    ("shop.example", "MX"): ["10 mx.shop.example"],
    ("9.2.0.192.in-addr.arpa", "PTR"): ["mail.shop.example"],
    ("mail.shop.example", "A"): ["192.0.2.9"],
    ("_mta-sts.shop.example", "TXT"): ["v=STSv1; id=20260101"],
    ("_smtp._tls.shop.example", "TXT"): ["v=TLSRPTv1; rua=mailto:tls@shop.example"],
    ("default._bimi.shop.example", "TXT"): ["v=BIMI1; l=https://shop.example/logo.svg"],
}
FACTS = DatabaseFacts(
    version_num=160_004, encoding="UTF8", synchronous_commit="on", fsync="on",
    full_page_writes="on", connections_max=100, connections_reserved=3, clock_skew_s=0.01,
    login_is_superuser=False, role="mailglass_app", role_exists=True, role_is_superuser=False,
    role_bypasses_rls=False, role_can_be_taken=True, role_owns_ledger=False,
    guards=dict.fromkeys(TRIGGERS | EVENT_TRIGGERS, True),
    migrations=MigrationStatus(applied=("0001_ledger",), pending=(), edited=(), unknown=()),
)  # fmt: skip
SIGNS = ServerSigns(citext_is_there=True, citext_is_available=True, listening=1, hidden=0)
SMTP: Mapping[str, Any] = {
    "environment": "production",
    "adapter": "smtp",
    "smtp_host": "email-smtp.eu-west-1.amazonaws.com",
    "smtp_username": "shop",
    "smtp_password": "k3-Zq.81x",
}


def zone(**changes: Sequence[str] | None) -> Lookup:
    """Return DNS with some records changed, named ``TXT__shop_example``; None makes it fail."""
    known: dict[str, Sequence[str] | None] = {_key(*of): found for of, found in ZONE.items()}
    known |= changes

    def look(name: str, kind: RecordType) -> Sequence[str]:
        found = known.get(_key(name, kind.value), ())
        if found is None:
            raise UnverifiableError(f"DNS gave no answer for {kind} {name}: Timeout")
        return found

    return look


def _key(name: str, kind: str) -> str:
    return f"{kind}__{name.replace('.', '_').replace('-', '_')}"


def healthy(**changes: Any) -> Patient:
    """Return a set-up with nothing wrong, some of it changed; ``smtp_…`` and the like are settings."""
    settings = dict(SMTP)
    facts: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for name, value in changes.items():
        place = parts if name in Patient.__dataclass_fields__ else settings
        (facts if name in DatabaseFacts.__dataclass_fields__ else place)[name] = value
    choice = DatabaseChoice(url="postgresql://db.example/shop", source="test", is_embedded=False)
    given: dict[str, Any] = {
        "environ": {"MAILGLASS_SMTP_PASSWORD": "k3-Zq.81x"},
        "settings": load_settings(**settings),
        "database": choice,
        "facts": replace(FACTS, **facts),
        "signs": SIGNS,
        "call_broker": lambda _settings: None,
        "log_in": lambda _setting: None,
        "mailables": (Receipt,),
        "domains": ("shop.example",),
        "selectors": ("s1",),
        "addresses": ("192.0.2.9",),
        "lookup": zone(),
    }
    return Patient(**(given | parts))
