"""The network guard: who may reach the world from where, asked before any row and before each attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from front_desk import front_desk, note, rows
from mailglass import ConfigError, DispatchState, load_settings
from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.file import FileAdapter
from mailglass.adapters.providers import build_offline
from mailglass.adapters.smtp import SmtpAdapter, SmtpSecurity
from mailglass.envelope import Accepted, Envelope
from mailglass.errors import ConfigErrorType
from mailglass.message import Message
from mailglass.preflight.network_guard import refuse_real_network, stays_on_this_machine

NOTHING = {"messages": 0, "deliveries": 0, "events": 0}


class Stranger:
    """An adapter of somebody else's, of which nothing is known but that it would send."""

    name = "stranger"
    capabilities = FakeAdapter().capabilities

    def __init__(self) -> None:
        self.sent = 0

    def check(self, message: Message) -> None:
        """Carry everything."""

    def send(self, envelope: Envelope) -> Accepted:
        """Count the attempt and accept it."""
        self.sent += 1
        return FakeAdapter().send(envelope)

    def close(self) -> None:
        """Have nothing to give back."""


def _smtp(host: str) -> SmtpAdapter:
    return SmtpAdapter(host=host, security=SmtpSecurity.NONE)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "LOCALHOST."])
def test_smtp_to_this_machine_needs_no_leave(host: str) -> None:
    """A sink on the developer's own machine just works."""
    assert stays_on_this_machine(_smtp(host))
    refuse_real_network(_smtp(host), load_settings())


@pytest.mark.parametrize(
    "host",
    ["smtp.relay.example", "10.0.0.5", "192.168.1.9", "localhost.example", "127.0.0.1.example"],
)
def test_smtp_elsewhere_is_real(host: str) -> None:
    """A private address is somebody else's machine all the same."""
    assert not stays_on_this_machine(_smtp(host))


def test_adapters_that_send_nothing_need_no_leave(tmp_path: Path) -> None:
    """The fake and the file adapter reach nobody."""
    for adapter in (FakeAdapter(), FileAdapter(tmp_path)):
        assert stays_on_this_machine(adapter)
        refuse_real_network(adapter, load_settings(environment="test"))


@pytest.mark.parametrize(
    "adapter", [Stranger(), build_offline("postmark", {"server_token": "t"})], ids=["own", "api"]
)
@pytest.mark.parametrize("environment", ["development", "test"])
def test_an_adapter_that_is_not_known_counts_as_real(adapter: Adapter, environment: str) -> None:
    """The guard fails towards sending nothing, and says how to change that."""
    with pytest.raises(ConfigError) as caught:
        refuse_real_network(adapter, load_settings(environment=environment))
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert caught.value.key == "enable_real_network"
    assert "MAILGLASS_ENABLE_REAL_NETWORK=1" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "settings", [{"environment": "production"}, {"enable_real_network": True}], ids=str
)
def test_real_mail_leaves_where_it_was_asked_for(
    database_url: str, settings: dict[str, Any]
) -> None:
    """Production sends, and so does a machine on which somebody said so."""
    adapter = Stranger()
    with front_desk(database_url, adapter, **settings) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT
    assert adapter.sent == 1


def test_the_variable_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators set ``MAILGLASS_ENABLE_REAL_NETWORK=1``."""
    monkeypatch.setenv("MAILGLASS_ENABLE_REAL_NETWORK", "1")
    refuse_real_network(Stranger(), load_settings())


def test_each_way_of_queueing_is_refused_before_any_row(database_url: str) -> None:
    """A developer's first real mail is an error on the screen, not a mail and not a row."""
    adapter = Stranger()
    with front_desk(database_url, adapter) as mail:
        for send in (mail.deliver, mail.deliver_later, mail.prepare):
            with pytest.raises(ConfigError):
                send(note())
        (one,) = mail.deliver_many([note()])
        assert isinstance(one.error, ConfigError)
        mail.render(note())  # looking at a mail needs no leave
    assert rows(database_url) == NOTHING
    assert adapter.sent == 0


def test_mail_queued_in_production_stays_queued_in_a_copy(database_url: str) -> None:
    """A worker on a copy of production's database mails nobody and loses nothing."""
    adapter = Stranger()
    with front_desk(database_url, adapter, environment="production") as mail:
        delivery = mail.deliver_later(note())
    with front_desk(database_url, adapter) as copy:
        copy.dispatch_due()
        found = copy.delivery(delivery.id)
        assert found is not None
        assert (found.state, found.code) == (DispatchState.QUEUED, "real_network_off")
    assert adapter.sent == 0
    with psycopg.connect(database_url) as owner:
        owner.execute("update mailglass.messages set run_at = now()")
    with front_desk(database_url, adapter, environment="production") as mail:
        mail.dispatch_due()
        assert adapter.sent == 1
