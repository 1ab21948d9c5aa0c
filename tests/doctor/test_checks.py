"""Each check on a planted fault, and none of them on a healthy set-up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailglass import Mailable, Stream, Tracking
from mailglass.adapters.smtp_session import account_refused
from mailglass.compliance.dkim_keys import DkimAlgorithm, generate_key, private_pem
from mailglass.doctor import CHECKS, Patient, Status, examine, exit_code
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.inspection import EVENT_TRIGGERS, TRIGGERS
from mailglass.ledger.migrations import MigrationStatus
from mailglass.settings import AdapterSetting, load_settings
from patients import KEY, SIGNS, healthy, zone

PURE = tuple(
    one for one in CHECKS if not one.id.startswith("delivery.") and one.id != "webhooks.dead"
)
"""Those that ask no database; the others are tried on a real one."""


class Broken(Mailable):
    """Its template is not there."""

    sender = "shop@shop.example"
    subject = "x"
    template = "not-there.html.jinja"

    def to(self) -> str:
        """Return a customer."""
        return "zoe@mail.example"

    @classmethod
    def previews(cls) -> dict[str, Mailable]:
        """Return one example."""
        return {"default": cls()}


class Bulk(Broken):
    """Bulk mail, tracked, that claims to let somebody in, and has no preview of its own."""

    stream = Stream.BULK
    authenticates = True
    tracking = Tracking(opens=True)


class Unsaid(Broken):
    """Renders, and its subject is empty."""

    subject = "{{ '' }}"
    template = "unsaid.html.jinja"


class Unseen(Mailable):
    """Has no preview."""

    sender = "shop@shop.example"
    subject = "x"
    template = "x.html.jinja"


def _status(**lists: tuple[str, ...]) -> MigrationStatus:
    return MigrationStatus(**({"applied": (), "pending": (), "edited": (), "unknown": ()} | lists))


def _env(**variables: str) -> dict[str, Any]:
    return {"environ": variables}


def _unnamed() -> dict[str, Any]:
    return {"database": None, "facts": None}


def _refused(*_given: object) -> None:
    raise ConnectionRefusedError("canary7f3a")


def _login_refused(_setting: AdapterSetting) -> None:
    raise account_refused("535 5.7.8")


def _not_found(_environ: object, start: Callable[..., object]) -> list[bytes]:
    start("404 Not Found", [("Content-Type", "text/html")])
    return [b"not here"]


def _keys(file: str) -> dict[str, Any]:
    return {"dkim_keys": [{"domain": "shop.example", "selector": "s1", "file": file}]}


POSTMARK: dict[str, Any] = {
    "adapter": "postmark",
    "provider_options": {"server_token": "k3-Zq.81x"},
}
LINKS: dict[str, Any] = {
    "unsubscribe_url": "https://shop.example/unsubscribe",
    "token_secrets": ["k3-Zq.81x-" * 4],
}
RELAY = {"adapter": "smtp", "smtp_host": "mail.shop.example"}


def _named(**changes: Any) -> dict[str, Any]:
    """Return settings whose second adapter, and not the first, has a fault."""
    return {"named_adapters": {"main": RELAY, "backup": RELAY | changes}}


ALL_GUARDS = dict.fromkeys(TRIGGERS | EVENT_TRIGGERS, True)
FAULTS: list[tuple[str, Status, dict[str, Any]]] = [
    ("settings.load", Status.ERROR, {"settings": None, "settings_error": "smtp_host is not set"}),
    ("settings.secret_whitespace", Status.ERROR, _env(MAILGLASS_SMTP_PASSWORD="abc\n")),
    ("settings.secret_quotes", Status.ERROR, _env(MAILGLASS_SMTP_PASSWORD='"abc-123"')),
    ("settings.secret_placeholder", Status.ERROR, _env(MAILGLASS_SMTP_PASSWORD="changeme")),
    ("settings.secret_placeholder", Status.ERROR, _env(DATABASE_URL="postgresql://app:password@h/d")),
    ("settings.timeout_unit", Status.ERROR, _env(MAILGLASS_SMTP_CONNECT_TIMEOUT_S="10000")),
    ("settings.final_dot_timeout", Status.WARNING, {"smtp_final_dot_timeout_s": 10}),
    ("settings.smtp_port_and_tls", Status.ERROR, {"smtp_port": 465}),
    ("settings.smtp_port_and_tls", Status.ERROR, {"smtp_security": "tls"}),
    ("settings.smtp_plain_text", Status.ERROR, {"smtp_security": "none"}),
    ("settings.smtp_plain_text", Status.WARNING, {"smtp_security": "none", "environment": "test"}),
    ("settings.smtp_relay_port", Status.WARNING, {"smtp_port": 25}),
    ("settings.microsoft_basic_auth", Status.WARNING, {"smtp_host": "SMTP.office365.com"}),
    ("settings.smtp_ca_file", Status.ERROR, {"smtp_ca_file": Path("/nowhere/ca.pem")}),
    ("settings.adapter", Status.ERROR, {"adapter": "fake"}),
    ("settings.adapter", Status.ERROR, _named(adapter="fake")),
    ("settings.smtp_port_and_tls", Status.ERROR, _named(smtp_port=465)),
    ("settings.smtp_plain_text", Status.ERROR, _named(smtp_security="none")),
    ("settings.microsoft_basic_auth", Status.WARNING,
     _named(smtp_host="smtp.office365.com", smtp_username="a", smtp_password="k3-Zq.81x")),
    ("settings.secret_whitespace", Status.ERROR,
     _env(MAILGLASS_PROVIDER_OPTIONS='{"server_token": "k3-Zq.81x\\n"}')),
    ("settings.secret_quotes", Status.ERROR, _env(MAILGLASS_TOKEN_SECRETS='["\\"k3-Zq.81x\\""]')),
    ("settings.secret_placeholder", Status.ERROR,
     _env(MAILGLASS_NAMED_ADAPTERS='{"main": {"smtp_password": "changeme"}}')),
    ("settings.adapters", Status.ERROR, POSTMARK | {"provider_options": {}}),
    ("settings.adapters", Status.ERROR, POSTMARK | {"provider_options": {"server_tokn": "x"}}),
    ("settings.adapters", Status.ERROR, {"named_adapters": {"backup": {"smtp_host": "a.example"}}}),
    ("settings.adapters", Status.ERROR, {"named_adapters": {"default": RELAY}}),
    ("settings.front_desk", Status.ERROR, LINKS | {"token_secrets": ["canary7f3a"]}),
    ("settings.front_desk", Status.ERROR, LINKS | {"unsubscribe_url": "http://localhost:5055/u"}),
    ("settings.front_desk", Status.ERROR, {"unsubscribe_url": "https://shop.example/unsubscribe"}),
    ("settings.front_desk", Status.ERROR, {"routes": [{"adapters": ["nobody"]}]}),
    ("settings.front_desk", Status.ERROR, {"deliver_to": "dev@shop.example"}),
    ("settings.dkim_keys", Status.ERROR, _keys("/nowhere/key.pem")),
    ("settings.dkim_keys", Status.ERROR, _keys(__file__)),
    ("database.extensions", Status.ERROR,
     {"signs": replace(SIGNS, citext_is_there=False, citext_is_available=False)}),
    ("database.extensions", Status.ERROR, {"signs": replace(SIGNS, citext_is_there=False)}),
    ("services.broker", Status.ERROR,
     {"broker_url": "redis://:canary7f3a@127.0.0.1:1/0", "call_broker": _refused}),
    ("services.limits", Status.WARNING, {"limits_redis_url": "redis://:canary7f3a@127.0.0.1:1/0"}),
    ("services.smtp_login", Status.ERROR, {"log_in": _login_refused}),
    ("webhooks.reachable", Status.ERROR, POSTMARK | {"application": lambda: _not_found}),
    ("mail.lints", Status.ERROR, {"mailables": (Unsaid,)}),
    ("settings.folders", Status.ERROR, {"templates": (Path("/nowhere"),)}),
    ("settings.folders", Status.ERROR, {"attachments_root": Path("/nowhere")}),
    ("database.reachable", Status.ERROR, _unnamed()),
    ("database.reachable", Status.ERROR, {"facts": None, "database_error": "OperationalError"}),
    ("database.version", Status.ERROR, {"version_num": 130_011}),
    ("database.encoding", Status.ERROR, {"encoding": "LATIN1"}),
    ("database.migrated", Status.ERROR, {"migrations": _status(pending=("0002_ledger_guard",))}),
    ("database.migrated", Status.ERROR, {"migrations": _status(edited=("0001_ledger",))}),
    ("database.migrated", Status.ERROR, {"migrations": _status(unknown=("0999_later",))}),
    ("database.triggers", Status.ERROR, {"guards": dict.fromkeys(EVENT_TRIGGERS, True)}),
    ("database.triggers", Status.ERROR, {"guards": ALL_GUARDS | {"events_refuse_row": False}}),
    ("database.event_triggers", Status.WARNING, {"guards": dict.fromkeys(TRIGGERS, True)}),
    ("database.role_can_be_taken", Status.ERROR, {"role_exists": False}),
    ("database.role_can_be_taken", Status.ERROR, {"role_can_be_taken": False}),
    ("database.role_is_superuser", Status.ERROR, {"role_is_superuser": True}),
    ("database.role_is_superuser", Status.WARNING, {"role_is_superuser": True, "environment": "test"}),
    ("database.role_owns_ledger", Status.ERROR, {"role_owns_ledger": True}),
    ("database.role_owns_ledger", Status.WARNING, {"role_owns_ledger": True, "environment": "test"}),
    ("database.role_bypasses_rls", Status.ERROR, {"role_bypasses_rls": True}),
    ("database.login_is_superuser", Status.WARNING, {"login_is_superuser": True}),
    ("database.clock", Status.WARNING, {"clock_skew_s": -7.0}),
    ("database.clock", Status.ERROR, {"clock_skew_s": 3600.0}),
    ("database.durability", Status.ERROR, {"synchronous_commit": "off"}),
    ("database.connections", Status.WARNING, {"connections_max": 18}),
    ("database.connections", Status.ERROR, {"connections_max": 10}),
    ("mail.previews_render", Status.ERROR, {"mailables": (Broken,)}),
    ("mail.previews", Status.WARNING, {"mailables": (Unseen,)}),
    ("mail.bulk_address", Status.ERROR, {"mailables": (Bulk,)}),
    ("mail.tracked_login", Status.ERROR, {"mailables": (Bulk,)}),
    ("dns.spf", Status.WARNING, {"lookup": zone(TXT__shop_example=[])}),
    ("dns.spf", Status.WARNING, {"lookup": zone(TXT__shop_example=["v=spf1 -all", "v=spf1 ~all"])}),
    ("dns.spf_lookups", Status.ERROR,
     {"lookup": zone(TXT__shop_example=["v=spf1 include:amazonses.com" + " a mx" * 5 + " -all"])}),
    ("dns.spf_lookups", Status.ERROR,
     {"lookup": zone(TXT__shop_example=["v=spf1 include:amazonses.com include:nothing.example -all"])}),
    ("dns.spf_lookups", Status.ERROR,
     {"lookup": zone(TXT__amazonses_com=["v=spf1 include:shop.example -all"])}),
    ("dns.spf_provider", Status.ERROR, {"lookup": zone(TXT__shop_example=["v=spf1 mx -all"])}),
    ("dns.spf_provider", Status.WARNING, {"lookup": zone(TXT__shop_example=["v=spf1 mx ~all"])}),
    ("dns.spf_provider", Status.ERROR, _named(smtp_host="smtp.postmarkapp.com")),
    ("dns.spf_all", Status.ERROR,
     {"lookup": zone(TXT__shop_example=["v=spf1 include:amazonses.com +all"])}),
    ("dns.spf_all", Status.WARNING,
     {"lookup": zone(TXT__shop_example=["v=spf1 include:amazonses.com"])}),
    ("dns.dkim", Status.ERROR, {"lookup": zone(TXT__s1__domainkey_shop_example=["v=DKIM1; p="])}),
    ("dns.dkim", Status.ERROR, {"lookup": zone(TXT__s1__domainkey_shop_example=["v=DKIM1; p=a b!"])}),
    ("dns.dkim", Status.WARNING,
     {"lookup": zone(TXT__s1__domainkey_shop_example=["v=DKIM1; p=" + "A" * 216])}),
    ("dns.dkim", Status.WARNING,
     {"lookup": zone(TXT__s1__domainkey_shop_example=[f"v=DKIM1; t=y; p={KEY}"])}),
    ("dns.dmarc", Status.WARNING, {"lookup": zone(TXT___dmarc_shop_example=[])}),
    ("dns.dmarc", Status.WARNING, {"lookup": zone(TXT___dmarc_shop_example=["v=DMARC1; p=maybe"])}),
    ("dns.dmarc_alignment", Status.ERROR, {"selectors": ("other",)}),
    ("dns.mx", Status.WARNING, {"lookup": zone(MX__shop_example=[])}),
    ("dns.mx", Status.WARNING, {"lookup": zone(MX__shop_example=["0 "])}),
    ("dns.ptr", Status.WARNING, {"addresses": ("192.0.2.10",)}),
    ("dns.ptr", Status.WARNING, {"lookup": zone(A__mail_shop_example=["192.0.2.77"])}),
    ("dns.mta_sts", Status.WARNING, {"lookup": zone(TXT___mta_sts_shop_example=["v=STSv1"])}),
    ("dns.mta_sts", Status.WARNING, {"lookup": zone(TXT___smtp__tls_shop_example=[])}),
    ("dns.tls_rpt", Status.WARNING, {"lookup": zone(TXT___smtp__tls_shop_example=["v=TLSRPTv1"])}),
    ("dns.bimi", Status.WARNING, {"lookup": zone(TXT___dmarc_shop_example=["v=DMARC1; p=none"])}),
    ("dns.bimi", Status.WARNING,
     {"lookup": zone(TXT__default__bimi_shop_example=["v=BIMI1; l=http://shop.example/l.png"])}),
]  # fmt: skip


def test_a_healthy_setup_has_no_finding() -> None:
    """Nothing is told where nothing is wrong."""
    results = examine(healthy(), PURE)
    assert [one for one in results if one.status is not Status.OK] == []
    assert len(results) == len(PURE)
    assert exit_code(results, is_strict=True) == 0


@pytest.mark.parametrize(("check_id", "status", "planted"), FAULTS)
def test_a_planted_fault_is_found(check_id: str, status: Status, planted: dict[str, Any]) -> None:
    """With what was seen, how to mend it and where to read on."""
    results = [one for one in examine(healthy(**planted), PURE) if one.id == check_id]
    assert results[0].status is status
    assert results[0].seen
    assert "canary7f3a" not in repr(results)
    assert results[0].fix
    assert results[0].guide == f"guides/doctor.md#{check_id.replace('.', '-').replace('_', '-')}"


def test_adapters_with_names_of_their_own_need_no_other() -> None:
    """In production too: the one that settings have by default is not asked to be real then."""
    named = load_settings(environment="production", named_adapters={"main": RELAY})
    found = examine(healthy(settings=named), PURE)
    assert [one for one in found if one.status is not Status.OK] == []


def test_keys_that_are_whole_have_no_finding(tmp_path: Path) -> None:
    """PEM ends in a line end, in a file as in a variable."""
    pem = private_pem(
        generate_key(DkimAlgorithm.ED25519_SHA256, domain="shop.example", selector="s1")
    )
    (tmp_path / "key.pem").write_bytes(pem)
    options = json.dumps({"webhook_key": pem.decode(), "server_token": "k3-Zq.81x"})
    sound = healthy(
        environ={"MAILGLASS_PROVIDER_OPTIONS": options}, **_keys(str(tmp_path / "key.pem"))
    )
    assert [one for one in examine(sound, PURE) if one.status is not Status.OK] == []


def test_every_check_has_a_planted_fault() -> None:
    """A check that nobody has seen fail is not trusted."""
    assert {one.id for one in PURE} == {check_id for check_id, _, _ in FAULTS}
    assert len({one.id for one in CHECKS}) == len(CHECKS) >= 30


@pytest.mark.parametrize(
    "check_id", sorted({one.id for one in CHECKS if one.id.startswith("dns.")})
)
def test_dns_that_does_not_answer_cannot_be_verified(check_id: str) -> None:
    """It is neither good nor bad, and no crash."""

    def dead(name: str, kind: object) -> list[str]:
        raise ConnectionError(name)

    silent = healthy(lookup=zone(
        TXT__shop_example=None, TXT__s1__domainkey_shop_example=None, TXT___dmarc_shop_example=None,
        MX__shop_example=None, PTR__9_2_0_192_in_addr_arpa=None, TXT___mta_sts_shop_example=None,
        TXT___smtp__tls_shop_example=None, TXT__default__bimi_shop_example=None,
    ))  # fmt: skip
    for patient in (silent, healthy(lookup=dead)):
        (found,) = [one for one in examine(patient) if one.id == check_id]
        assert found.status is Status.CANNOT_VERIFY
        assert exit_code([found]) == 0
        assert exit_code([found], is_strict=True) == 1


def test_without_lookup_no_dns_check_runs() -> None:
    """The network is asked only on request."""
    ran = {one.id for one in examine(healthy(lookup=None), PURE)}
    assert not any(name.startswith("dns.") for name in ran)


def test_a_missing_foundation_is_said_and_not_guessed() -> None:
    """What needs the database cannot be verified without it."""
    results = examine(Patient(settings_error="wrong"))
    assert {one.status for one in results if one.id.startswith("database.")} == {
        Status.CANNOT_VERIFY
    }
    assert exit_code(results) == 1


def test_a_check_that_raises_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text might hold anything, so only its type is told."""
    (good, *_rest) = PURE

    def explode(patient: Patient) -> list[Any]:
        raise RuntimeError("zoe@mail.example")

    bad = replace(good, id="x.y", look=explode)
    found = examine(healthy(), (bad, good))
    assert [one.status for one in found] == [Status.CANNOT_VERIFY, Status.OK]
    assert found[0].seen == "the check failed: RuntimeError"


def test_no_finding_shows_a_secret() -> None:
    """Passwords are planted wherever one can stand."""
    canary = "canary7f3a"
    choice = DatabaseChoice(
        url=f"postgresql://app:{canary}@db.example/shop", source="test", is_embedded=False
    )
    environ = {
        "MAILGLASS_SMTP_PASSWORD": f'"{canary}" ',
        "MAILGLASS_DATABASE_URL": f" postgresql://app:{canary}@db.example/shop",
    }
    told = examine(
        healthy(environ=environ, database=choice, facts=None, smtp_password=canary), PURE
    )
    assert canary not in repr(told)
    assert sum(one.status is Status.ERROR for one in told) >= 4
