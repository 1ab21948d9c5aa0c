"""Telemetry: closed lists of names and fields, an observer that can do no harm, and nothing personal."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import dramatiq
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from front_desk import front_desk, note
from mailglass import ConfigError, MailglassError, Suppression, SuppressionReason, SuppressionScope
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.envelope import Accepted, Envelope
from mailglass.errors import ConfigErrorType
from mailglass.settings import load_settings
from mailglass.telemetry import (
    FIELDS,
    Signal,
    SpanName,
    export_by_otel,
    observe,
    report,
    run_id,
    span,
)
from mailglass.telemetry.observers import Fields
from mailglass.telemetry.otel import OtelObserver
from mailglass.worker import Worker
from mailglass.worker.brokers import broker_from
from mailglass.worker.serving import Serving, register

CANARY = "canary7f3a"
ID = UUID(int=7)


class Recording:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.signals: list[tuple[str, Fields]] = []
        self.spans: list[tuple[str, Fields]] = []
        self.dropped: list[str] = []

    def counted(self, name: str, fields: Fields) -> None:
        """Keep a signal."""
        self.signals.append((name, fields))

    def begun(self, name: str) -> Callable[[Fields | None, float], None]:
        """Keep a span at its end."""

        def end(fields: Fields | None, duration_s: float) -> None:
            assert duration_s >= 0
            if fields is None:
                self.dropped.append(name)
            else:
                self.spans.append((name, fields))

        return end


class Broken:
    """An observer with a bug in everything."""

    def counted(self, name: str, fields: Fields) -> None:
        """Fail."""
        raise ZeroDivisionError(CANARY)

    def begun(self, name: str) -> Callable[[Fields | None, float], None]:
        """Fail at the beginning of some and at the end of others."""
        if name == SpanName.CLAIM:
            raise ZeroDivisionError(CANARY)

        def end(_fields: Fields | None, _duration_s: float) -> None:
            raise ZeroDivisionError(CANARY)

        return end


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Return an observer that is told of everything during the test."""
    made = Recording()
    forget = observe(made)
    yield made
    forget()


def test_every_line_has_the_run_the_attempt_and_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lines can be searched by them, whatever they are about."""
    caplog.set_level(logging.DEBUG)
    report(Signal.SETTLED, attempt=3)
    report(Signal.DATABASE_AWAY, error_type="OperationalError")
    with span(SpanName.SWEEP):
        pass
    for record in caplog.records:
        for name in ("run_id=", "attempt=", "error_type="):
            assert name in record.message
    assert f"run_id={run_id()} attempt=3 error_type=-" in caplog.text


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
class Refusing(FakeAdapter):
    """Raises, as an adapter over HTTP does, for an account that the provider refuses."""

    def send(self, envelope: Envelope) -> Accepted:
        """Raise."""
        raise ConfigError(
            "refused",
            type=ConfigErrorType.INVALID,
            key="postmark",
            code=f"http {400 + envelope.attempt}",
        )


def test_a_refused_account_is_a_warning_with_the_providers_code(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No mail leaves until a person acts, so it must not be lost among what is fine."""
    with caplog.at_level(logging.INFO), front_desk(database_url, Refusing()) as mail:
        delivery = mail.deliver(note())
    assert delivery.code == "http 401"
    line = next(one for one in caplog.records if "attempt.settled" in one.getMessage())
    assert line.levelno == logging.WARNING
    assert "error_type=configuration: http 401" in line.getMessage()


def test_where_logging_is_not_set_up_warnings_are_seen() -> None:
    """One line each on standard error, whoever runs mailglass; what is fine stays quiet."""
    script = (
        "import logging\n"
        "from mailglass.telemetry import Signal, report\n"
        "report(Signal.WEBHOOK_REFUSED, level=logging.WARNING, error_type='bad_signature')\n"
        "report(Signal.QUEUED)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    (line,) = told.stderr.splitlines()
    assert line.startswith("webhook.refused ")
    assert "error_type=bad_signature" in line


def test_a_forked_process_is_a_run_of_its_own() -> None:
    """Lines of two processes are never taken for those of one."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, run_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read() not in {"", run_id()}


def test_a_step_tells_its_fields_at_its_end(recording: Recording) -> None:
    """What is only known afterwards is told too."""
    with span(SpanName.ATTEMPT) as step:
        step.note(tenant_id="shop", message_id=ID, attempt=1)
        step.note(provider="fake", error_type=None)
    assert recording.spans == [
        ("mailglass.attempt",
         {"tenant_id": "shop", "message_id": str(ID), "attempt": 1, "provider": "fake"}),
    ]  # fmt: skip


def test_a_step_that_fails_says_how_and_lets_the_error_pass(recording: Recording) -> None:
    """By the kind of the error, never by its text."""
    with pytest.raises(KeyError), span(SpanName.CLAIM):
        raise KeyError(CANARY)
    assert recording.spans == [("mailglass.claim", {"error_type": "KeyError"})]


def test_a_step_with_nothing_to_do_is_not_told(recording: Recording) -> None:
    """An idle worker is silent."""
    with span(SpanName.SWEEP) as step:
        step.drop()
    assert (recording.spans, recording.dropped) == ([], ["mailglass.sweep"])


def test_who_stops_observing_is_told_no_more() -> None:
    """And observing twice is observing once."""
    made = Recording()
    forget, again = observe(made), observe(made)
    report(Signal.QUEUED)
    assert len(made.signals) == 1
    forget()
    again()
    report(Signal.QUEUED)
    assert len(made.signals) == 1


def test_an_observer_with_a_bug_stops_no_mail(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is reported by its kind; the mail leaves all the same."""
    forget = observe(Broken())
    fake = FakeAdapter()
    try:
        with front_desk(database_url, fake) as mail:
            mail.deliver_later(note())
            _work(lambda: len(fake.sent) == 1, Worker(mail=mail, poll_s=0.01))
    finally:
        forget()
    assert "telemetry.observer_raised" in caplog.text
    assert "error_type=ZeroDivisionError" in caplog.text
    assert CANARY not in caplog.text


def test_opentelemetry_is_loaded_only_when_asked_for() -> None:
    """Who does not export pays nothing."""
    code = (
        "import mailglass.worker, mailglass.telemetry, sys\n"
        "from mailglass import Mailglass\n"
        "assert not [one for one in sys.modules if one.startswith('opentelemetry')]\n"
        "mailglass.telemetry.export_by_otel()\n"
        "assert 'opentelemetry.trace' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that helps."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError) as caught:
        export_by_otel()
    assert caught.value.type is ConfigErrorType.OPTIONAL_DEP_MISSING
    assert caught.value.hint == "pip install 'mailglass[otel]'"


def test_nothing_personal_is_emitted_in_a_full_run(
    database_url: str, caplog: pytest.LogCaptureFixture, recording: Recording
) -> None:
    """Logs, observers, spans and counters of every outcome, with marked values in every mail."""
    caplog.set_level(logging.DEBUG)
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[metrics])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    forget = observe(OtelObserver(tracer_provider=tracers, meter_provider=meters))
    try:
        _full_run(database_url)
    finally:
        forget()
    told = [
        caplog.text,
        repr([vars(one) for one in caplog.records if one.name.startswith("mailglass")]),
        repr(recording.signals + recording.spans),
        *(one.to_json() for one in spans.get_finished_spans()),
        str(metrics.get_metrics_data()),
    ]
    for step in (SpanName.CLAIM, SpanName.ATTEMPT, SpanName.FINALIZE):
        assert all(step.value in one for one in (told[0], told[2], "".join(told[3:])))
    assert "mailglass.attempt.settled" in told[-1]
    assert "mailglass.step.duration" in told[-1]
    assert CANARY not in "\n".join(told)
    _only_what_is_on_the_lists(recording, spans.get_finished_spans())
    tracers.shutdown()
    meters.shutdown()


def _only_what_is_on_the_lists(recording: Recording, spans: tuple[ReadableSpan, ...]) -> None:
    assert {name for name, _ in recording.signals} <= {one.value for one in Signal}
    assert {name for name, _ in recording.spans} <= {one.value for one in SpanName}
    assert {key for _, fields in recording.signals + recording.spans for key in fields} <= set(
        FIELDS
    )
    assert {one.name for one in spans} <= {one.value for one in SpanName}
    assert {key for one in spans for key in one.attributes or ()} <= {
        f"mailglass.{one}" for one in FIELDS
    }
    assert not [one for one in spans if one.events]  # an exception's text would stand there


def _full_run(database_url: str) -> None:
    """Send by every path, with every outcome that the fake knows."""
    message = note(
        sender=f"{CANARY} <{CANARY}@shop.example>",
        to=f"{CANARY} <{CANARY}@mail.example>",
        bcc=f"b{CANARY}@mail.example",
        subject=CANARY,
        text=CANARY,
        headers={"X-Secret": CANARY},
        metadata={"k": CANARY},
    )
    fake = FakeAdapter()
    with front_desk(database_url, fake, retry_base_s=3600.0, retry_cap_s=3600.0) as mail:
        for mode in FakeMode:
            fake.next(mode, retry_after_s=3600.0)
            mail.deliver_later(message.replace(to=f"{mode.value}{CANARY}@mail.example"))
        _work(lambda: not mail.store.due_messages(limit=1), Worker(mail=mail, poll_s=0.01))
        broker = broker_from(load_settings(broker_url="stub://"))
        serving = Serving(lambda: mail, closes_mail=False, streams=(), poll_s=0.01)
        register(broker, serving)
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=20)
        worker.start()
        told = mail.deliver_later(note(to=f"last{CANARY}@mail.example", subject=CANARY))
        serving.attempt("default", [str(told.message_id), f"{CANARY}@mail.example"])
        worker.stop()
        mail.suppress(
            Suppression(
                scope=SuppressionScope.ADDRESS, value=f"{CANARY}@mail.example",
                reason=SuppressionReason.MANUAL, source="test",
            )
        )  # fmt: skip
        with pytest.raises(MailglassError):
            mail.deliver(message)
        mail.sweep()


def _work(is_done: Callable[[], bool], worker: Worker) -> None:
    """Run a worker until something is so, and a little bit more: what is in flight is finished."""
    stopped = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stopped,))
    thread.start()
    try:
        for _ in range(3000):
            if is_done():
                break
            stopped.wait(0.01)
        else:
            pytest.fail("the worker did not come to an end")
    finally:
        stopped.set()
        thread.join(30.0)
    assert not thread.is_alive()
