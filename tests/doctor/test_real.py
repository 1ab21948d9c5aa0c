"""The doctor on a real database, on mail that really waits, and on real DNS packets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Mailglass, MailglassError
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.doctor import Patient, Result, Status, UnverifiableError, examine
from mailglass.doctor.dns import RecordType, system_lookup
from mailglass.doctor.server import ServerSigns, signs_of
from mailglass.ledger.inspection import EVENT_TRIGGERS, TRIGGERS, inspect
from mailglass.ledger.store import Store
from mailglass.webhooks.endpoint import Endpoint
from mailglass.worker import Worker
from patients import FACTS, healthy
from webhook_requests import bounced, delivered, hooked, postmark, request

DEADLINE_S = 30.0


def test_a_migrated_database_has_all_guards(database_url: str) -> None:
    """What the migrations create is what the doctor asks for."""
    facts = inspect(database_url, role="mailglass_app")
    assert all(facts.guards[name] for name in TRIGGERS | EVENT_TRIGGERS)
    assert facts.migrations.pending == ()
    assert (facts.role, facts.role_exists, facts.role_can_be_taken) == ("mailglass_app", True, True)
    assert not facts.role_is_superuser
    assert not facts.role_owns_ledger
    assert abs(facts.clock_skew_s) < 5
    assert inspect(database_url, role=None).login_is_superuser
    assert inspect(database_url, role="mailglass_owner").role_owns_ledger
    assert not inspect(database_url, role="nobody_has_this").role_exists


def test_a_trigger_that_was_switched_off_is_seen(database_url: str) -> None:
    """Also where it is merely no longer ENABLE ALWAYS."""
    with psycopg.connect(database_url) as owner:
        owner.execute("drop event trigger mailglass_refuse_ddl")
        owner.execute("drop event trigger mailglass_refuse_drop")
        owner.execute("alter table mailglass.events enable trigger events_refuse_row")
        owner.execute("drop trigger events_refuse_delete on mailglass.events")
    guards = inspect(database_url, role=None).guards
    found = examine(healthy(facts=replace(FACTS, guards=guards)))
    told = {one.id: one for one in found if one.status in {Status.ERROR, Status.WARNING}}
    assert told.keys() == {"database.triggers", "database.event_triggers"}
    seen = [one.seen for one in found if one.id == "database.triggers"]
    assert seen == ["not there: events_refuse_delete", "not ENABLE ALWAYS: events_refuse_row"]


@contextmanager
def _patient(database_url: str) -> Iterator[Patient]:
    with Store(database_url, role="mailglass_app") as store:
        yield healthy(store=store)


def _told(patient: Patient) -> dict[str, Status]:
    results = [one for one in examine(patient) if one.id.startswith("delivery.")]
    return {one.id: one.status for one in results if one.status is not Status.OK}


def _age(database_url: str, column: str, ago: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute(f"update mailglass.messages set {column} = now() - interval '{ago}'".encode())


def test_a_provider_that_refuses_the_account_is_seen(database_url: str) -> None:
    """With whose mail waits for it, and why; nothing is said of it once it is closed."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with front_desk(database_url, fake) as mail:
        mail.deliver(note())
        with _patient(database_url) as patient:
            (seen,) = [one for one in examine(patient) if one.id == "delivery.breakers"]
        assert seen.status is Status.ERROR
        assert seen.seen.startswith("default is open for default, 1 messages wait")
        mail.outbox.close_breaker("default", actor="zoe")
        with _patient(database_url) as patient:
            assert "delivery.breakers" not in _told(patient)


def test_mail_that_flows_has_no_finding(database_url: str) -> None:
    """An empty outbox, and one with fresh mail in it."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        assert _told(patient) == {}
        mail.deliver(note())
        mail.deliver_later(note(to="max@mail.example"))
        assert _told(patient) == {}


@pytest.mark.parametrize(
    ("ago", "found"),
    [
        ("10 minutes", {"delivery.oldest_queued": Status.WARNING}),
        ("2 hours", {"delivery.oldest_queued": Status.ERROR, "delivery.silence": Status.ERROR}),
    ],
)
def test_mail_that_waits_too_long_is_seen(
    database_url: str, ago: str, found: dict[str, Status]
) -> None:
    """Nobody runs a worker, and then nothing is sent at all."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        mail.deliver_later(note())
        _age(database_url, "run_at", ago)
        assert _told(patient) == found


def test_mail_whose_process_is_gone_is_seen(database_url: str) -> None:
    """Claimed, and the lease is over."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        delivery = mail.deliver_later(note())
        mail.store.claim_message("default", delivery.message_id, lease_s=60.0)
        _age(database_url, "lease_until", "1 hour")
        assert _told(patient) == {"delivery.stuck": Status.WARNING}


def test_mail_in_doubt_for_long_is_seen(database_url: str) -> None:
    """Somebody has to ask the provider."""
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with _patient(database_url) as patient, front_desk(database_url, fake) as mail:
        with pytest.raises(MailglassError):
            mail.deliver(note())
        assert _told(patient) == {}
        _age(database_url, "updated_at", "2 hours")
        assert _told(patient) == {"delivery.unknown": Status.WARNING}


def test_mail_that_is_held_and_forgotten_is_seen(database_url: str) -> None:
    """After a day, and it counts as nothing else."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        delivery = mail.deliver_later(note())
        mail.outbox.hold(delivery.id, actor="ops")
        _age(database_url, "run_at", "2 days")
        assert _told(patient) == {"delivery.held": Status.WARNING}


@contextmanager
def _working(mail: Mailglass) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=Worker(mail=mail, threads=1).run, args=(stopped,))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _signs(database_url: str, *, role: str | None = None) -> ServerSigns:
    with Store(database_url, role=role) as store:
        return signs_of(store)


def _signs_until(database_url: str, listening: int) -> ServerSigns:
    end = time.monotonic() + DEADLINE_S
    while (found := _signs(database_url)).listening != listening and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_a_worker_shows_by_its_session_and_is_missed_when_it_is_gone(database_url: str) -> None:
    """Without mail to send too; a process that only queues mail is no worker."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        mail.deliver(note())
        assert _signs(database_url).listening == 0
        with _working(mail):
            found = _signs_until(database_url, 1)
            assert (found.listening, found.hidden) == (1, 0)
            assert _told(replace(patient, signs=found)) == {}
        assert _signs_until(database_url, 0).listening == 0


def test_mail_that_is_due_without_a_worker_is_an_error(database_url: str) -> None:
    """Nothing due and no worker is neither good nor bad: a timer may start one."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        idle = replace(patient, signs=_signs(database_url))
        assert _told(idle) == {"delivery.worker": Status.CANNOT_VERIFY}
        mail.deliver_later(note())
        assert _told(idle) == {"delivery.worker": Status.CANNOT_VERIFY}
        _age(database_url, "run_at", "2 minutes")
        assert _told(idle) == {"delivery.worker": Status.ERROR}


def test_sessions_that_may_not_be_seen_are_no_verdict(database_url: str) -> None:
    """Postgres shows the statements of other logins to nobody but who may see them."""
    with _patient(database_url) as patient, front_desk(database_url) as mail:
        with _working(mail):
            _signs_until(database_url, 1)
            blind = _signs(database_url, role="mailglass_app")
        assert blind.listening == 0
        assert blind.hidden >= 1
        mail.deliver_later(note())
        _age(database_url, "run_at", "2 minutes")
        assert _told(replace(patient, signs=blind)) == {"delivery.worker": Status.CANNOT_VERIFY}


def test_what_a_provider_reported_and_was_refused_is_seen(database_url: str) -> None:
    """How many, since when, and the command that lists them; nobody's address."""
    endpoints = [Endpoint(name="default", adapter=postmark(), tenant_id="default")]
    with _patient(database_url) as patient, hooked(database_url, endpoints=endpoints) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(sent.id)))
        assert _of("webhooks.dead", patient).status is Status.OK
        mail.ingest("postmark", request(bounced(sent.id, "canary@mail.example")))
        found = _of("webhooks.dead", patient)
    assert found.status is Status.WARNING
    assert found.seen.startswith("1 requests hold what was refused (1 single reports), since 20")
    assert "`mailglass webhooks list --refused`" in found.fix
    assert "canary" not in repr(found)


def _of(check_id: str, patient: Patient) -> Result:
    (found,) = [one for one in examine(patient) if one.id == check_id]
    return found


@pytest.mark.tampers
def test_an_extension_that_is_gone_is_seen(database_url: str) -> None:
    """And one that is there is not."""
    assert _of("database.extensions", healthy(signs=_signs(database_url))).status is Status.OK
    with psycopg.connect(database_url) as owner:
        owner.execute("drop event trigger mailglass_refuse_ddl")
        owner.execute("drop event trigger mailglass_refuse_drop")
        owner.execute("drop event trigger mailglass_refuse_rewrite")
        owner.execute("drop extension citext cascade")
    found = _of("database.extensions", healthy(signs=_signs(database_url)))
    assert (found.status, found.seen) == (
        Status.ERROR,
        "the extension citext is gone from the database",
    )


@contextmanager
def _dns_server() -> Iterator[dns.resolver.Resolver]:
    records = {"shop.example.": '"v=spf1 " "-all"', "mx.example.": "10 mail.mx.example."}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                packet, peer = server.recvfrom(4096)
                if packet == b"stop":
                    return
                query = dns.message.from_wire(packet)
                asked = query.question[0]
                reply = dns.message.make_response(query)
                text = records.get(str(asked.name))
                if text is None:
                    is_broken = str(asked.name).startswith("broken")
                    reply.set_rcode(dns.rcode.SERVFAIL if is_broken else dns.rcode.NXDOMAIN)
                else:
                    reply.answer.append(
                        dns.rrset.from_text(asked.name, 60, "IN", asked.rdtype, text)
                    )
                server.sendto(reply.to_wire(), peer)

        thread = threading.Thread(target=answer)
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        try:
            yield resolver
        finally:
            server.sendto(b"stop", server.getsockname())
            thread.join()


def test_real_dns_answers_are_read() -> None:
    """Strings of a TXT record are joined, a missing name is empty, a broken one cannot be verified."""
    with _dns_server() as resolver:
        look = system_lookup(resolver)
        assert look("shop.example", RecordType.TXT) == ("v=spf1 -all",)
        assert look("mx.example", RecordType.MX) == ("10 mail.mx.example",)
        assert look("nothing.example", RecordType.TXT) == ()
        with pytest.raises(UnverifiableError, match="NoNameservers"):
            look("broken.example", RecordType.TXT)
        with pytest.raises(UnverifiableError):
            look("a" * 70 + ".example", RecordType.TXT)
