"""The pipeline: claim in numbers, send in threads, write what came of it together, all at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mailglass.app import Mailglass
from mailglass.delivery.settling import Attempt, released
from mailglass.errors import MailglassError
from mailglass.ledger.faults import DatabaseAwayError, RowHeldError, is_of_a_row
from mailglass.ledger.rows import Claim
from mailglass.ledger.store import CLAIM_BYTES_MAX, FIRST_KEY, KeyPlace
from mailglass.message import Stream
from mailglass.telemetry import Signal, report
from mailglass.tenancy import tenant
from mailglass.worker import steps
from mailglass.worker.in_flight import InFlight, mark_of
from mailglass.worker.lanes import Lanes
from mailglass.worker.reconciling import Reconciler

_TROUBLE_WAIT_S: Final = 5.0
"""How long to wait after the database could not be reached."""
_GROUP_MAX: Final = 200
"""Messages in one claim, and in one writing of verdicts."""
_AHEAD_S: Final = 0.25
"""How much work is claimed ahead of the threads, by the rate of the last moments."""
_AHEAD_MAX: Final = 4 * _GROUP_MAX
"""Enough for one group to be claimed while another is sent and a third is written."""
_PAYLOADS_MAX: Final = 4 * CLAIM_BYTES_MAX
"""Bytes of payloads in flight beyond which mail is claimed one a thread, and no bulk mail."""
_LULL_S: Final = 0.05
"""How long a stream that had nothing due is not asked again while there is other work."""
_RATE_WINDOW_S: Final = 0.1
_LAST_WRITE_S: Final = 20.0
"""How long a stop waits for a database that is away: below the 30 s after which services are killed."""
_STOP_WAIT_S: Final = 0.25
"""How soon a stop is noticed while there is nothing to do."""
_RECONCILED_WAIT_S: Final = 5.0
"""How long the end waits for a pass over reports; one that is cut off is done again by the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Attempts due messages in threads, sweeps now and then, and links reports that came too early.

    It claims what its threads can start within a fraction of a second, so that a crash leaves little
    behind and other hosts get their share. With more than one thread the first takes no bulk mail,
    however much of it waits. Several on one host or on many share nothing but Postgres: a claim is a
    compare-and-set, so each mail has one attempt at a time.
    """

    mail: Mailglass
    threads: int = 4
    streams: tuple[Stream, ...] = tuple(Stream)
    poll_s: float = 1.0
    sweep_every_s: float = 5.0
    reconcile_every_s: float = 30.0

    def run(self, stopped: threading.Event) -> int:
        """Work until the flag is raised, finish what is in flight, and return how many were tried.

        A database that is away for a while is waited for; nothing is lost meanwhile. What was claimed
        and not begun when the flag is raised goes back at once.

        Raises:
            ConfigError: ``conflicting``, when the Mailglass was closed.
            DatabaseAwayError: the database was away for 20 s after the flag, so verdicts are lost
                and their mail becomes *unknown*.

        """
        return _Run(worker=self, stopped=stopped).work()


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of a worker: what is in flight, and what is known of its pace."""

    worker: Worker
    stopped: threading.Event
    lanes: Lanes = field(default_factory=Lanes)
    news: queue.SimpleQueue[Attempt | None] = field(default_factory=queue.SimpleQueue)
    """Attempts that ended; None tells the writer that no more will come."""
    moved: threading.Event = field(default_factory=threading.Event)
    """Raised when there may be something to claim: room, or a ring of the bell."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Raised when no more is to be claimed, since the writer has ended or was refused something."""
    over: threading.Event = field(default_factory=threading.Event)
    """Raised when the run comes to its end, for whatever reason."""
    unwritten: list[Attempt] = field(default_factory=list)
    in_flight: InFlight = field(default_factory=InFlight)
    tried: int = 0
    rate_per_s: float = 0.0
    empty_until: dict[tuple[Stream, bool], float] = field(default_factory=dict)
    """When a stream that had nothing due is asked again; its mail in order is asked for by itself."""
    rings: int = 0
    order_first: set[Stream] = field(default_factory=set)
    """Streams of which mail with an ordering key is asked for before the rest."""
    after: dict[Stream, KeyPlace] = field(default_factory=dict)
    """The ordering key after which keys are looked at next."""
    counted: int = 0
    counted_at: float = field(default_factory=time.monotonic)
    swept_at: float = float("-inf")
    failure: Exception | None = None

    def work(self) -> int:
        threads = [
            threading.Thread(target=self._send, args=(number,), name=f"mailglass-worker-{number}")
            for number in range(self.worker.threads)
        ]
        writer = threading.Thread(target=self._write_all, name="mailglass-writer")
        bell = threading.Thread(
            target=self.worker.mail.store.listen,
            args=(self._rung, self.stopped),
            name="mailglass-bell",
            daemon=True,
        )
        reconciler = Reconciler(
            mail=self.worker.mail, every_s=self.worker.reconcile_every_s, stopped=self.over
        )
        reports = threading.Thread(target=reconciler.run, name="mailglass-reports", daemon=True)
        for one in (*threads, writer, bell, reports):
            one.start()
        try:
            while not (self.stopped.is_set() or self.ended.is_set()):
                self._once()
        finally:
            self.over.set()
            self._end(threads, writer)
            reports.join(_RECONCILED_WAIT_S)
        if self.failure is not None:
            raise self.failure
        return self.tried

    def _once(self) -> None:
        self.moved.clear()
        try:
            if time.monotonic() - self.swept_at >= self.worker.sweep_every_s:
                steps.sweep(self.worker.mail)
                self.swept_at = time.monotonic()
            claimed = self._claim()
        except DatabaseAwayError as error:
            self._wait_for_database(error)
        else:
            if not claimed:
                self._wait_to_claim()

    def _wait_to_claim(self) -> None:
        end = time.monotonic() + self.worker.poll_s
        while not (self.stopped.is_set() or self.moved.is_set()):
            left_s = end - time.monotonic()
            if left_s <= 0:
                return
            self.moved.wait(min(left_s, _STOP_WAIT_S))

    def _wait_for_database(self, error: DatabaseAwayError) -> None:
        report(Signal.DATABASE_AWAY, level=logging.ERROR, error_type=type(error).__name__)
        if self.stopped.wait(_TROUBLE_WAIT_S):
            self.ended.wait(_STOP_WAIT_S)  # a writer still tries until the threads have ended

    def _rung(self) -> None:
        """Take the bell's word that mail has come: no stream is known to be empty any more."""
        self.rings += 1
        self.empty_until.clear()
        self.moved.set()

    def _claim(self) -> int:
        """Claim what there is room for, stream by stream.

        While threads have enough to do it waits until there is room for a whole group: many small
        claims cost more than few large ones. What is not bulk mail finds room for a mail a thread,
        whatever of the other streams is in flight: a flood whose provider turns slow holds up nobody.
        """
        ahead = min(_AHEAD_MAX, int(self.rate_per_s * _AHEAD_S))
        most = self.worker.threads + ahead
        left = most - len(self.in_flight)
        is_busy = ahead > self.worker.threads and left < min(_GROUP_MAX, most // 2)
        is_full = is_busy or self.in_flight.payload_bytes >= _PAYLOADS_MAX
        claimed = 0
        for stream in self.worker.streams:
            room = 0 if is_full else most - len(self.in_flight)
            if stream is not Stream.BULK:
                room = max(room, self.worker.threads - self.in_flight.of(stream))
            if room > 0:
                claimed += self._claim_both(stream, room)
        return claimed

    def _claim_both(self, stream: Stream, room: int) -> int:
        """Claim mail with an ordering key and mail without one; they take turns at going first."""
        claimed = 0
        is_order_first = stream in self.order_first
        for is_in_order in (is_order_first, not is_order_first):
            left = room - claimed
            if left > 0 and not self._is_empty(stream, is_in_order=is_in_order):
                rings = self.rings
                found = (self._in_order if is_in_order else self._of_stream)(stream, left)
                self._note(stream, found, rings, is_in_order=is_in_order)
                claimed += found
        if claimed:
            self.order_first ^= {stream}
        return claimed

    def _of_stream(self, stream: Stream, room: int) -> int:
        limit = min(room, _GROUP_MAX)
        return self._start(steps.claim_due(self.worker.mail, stream, limit=limit))

    def _in_order(self, stream: Stream, room: int) -> int:
        """Claim one by one, since each has to be the first of its key, and few, to hold up no other."""
        mail, limit = self.worker.mail, min(room, self.worker.threads)
        found: list[Claim] = []
        try:
            due, self.after[stream] = mail.store.due_in_order(
                stream, limit=limit, after=self.after.get(stream, FIRST_KEY)
            )
            for tenant_id, message_id in due:
                claim = steps.claim(mail, tenant_id, message_id)
                found += () if claim is None else (claim,)
        finally:  # what was claimed before the database went away is sent all the same
            self._start(tuple(found))
        return len(found)

    def _is_empty(self, stream: Stream, *, is_in_order: bool) -> bool:
        """Tell whether a stream had nothing a moment ago, while there is other work."""
        until = self.empty_until.get((stream, is_in_order), 0.0)
        return bool(self.in_flight) and time.monotonic() < until

    def _note(self, stream: Stream, found: int, rings: int, *, is_in_order: bool) -> None:
        """Remember that nothing was found, unless the bell has rung since it was asked for."""
        if not found and rings == self.rings:
            self.empty_until[stream, is_in_order] = time.monotonic() + _LULL_S

    def _start(self, claims: tuple[Claim, ...]) -> int:
        """Hand claims to the threads; what cannot be asked about them gives them back unsent."""
        if claims:
            dispatcher = self.worker.mail.dispatcher
            self.in_flight.add(claims)
            try:
                known = dispatcher.suppressions_of(claims)
                turns = dispatcher.passes_of(claims, known)
            except Exception:
                for claim in claims:
                    self.news.put(released(claim, "worker_failed"))
                raise
            self.lanes.put(
                (claim, known[claim.tenant_id], turns.get(claim.message_id)) for claim in claims
            )
        return len(claims)

    def _write_all(self) -> None:
        """Write what comes of attempts until no more will come."""
        try:
            while self._collect():
                try:
                    self._write()
                except DatabaseAwayError as error:
                    self._wait_for_database(error)
        finally:
            self.ended.set()
            self.moved.set()

    def _collect(self) -> bool:
        """Wait for an attempt to end, then take all that have; False when no more will come.

        What could not be written before is not waited for.
        """
        try:
            attempt = self.news.get(block=not self.unwritten)
            while attempt is not None:
                self.unwritten.append(attempt)
                if len(self.unwritten) >= _GROUP_MAX:
                    return True
                attempt = self.news.get_nowait()
        except queue.Empty:
            return True
        return False

    def _write(self) -> None:
        """Write what came of attempts; they are kept until the database has them."""
        if not self.unwritten:
            return
        try:
            self._write_these(self.unwritten)
        except Exception as error:
            if isinstance(error, DatabaseAwayError) and not is_of_a_row(error):
                raise
            self._write_each()
        self.moved.set()
        elapsed_s = time.monotonic() - self.counted_at
        if elapsed_s >= _RATE_WINDOW_S:
            self.rate_per_s = (self.tried - self.counted) / elapsed_s
            self.counted, self.counted_at = self.tried, time.monotonic()

    def _write_these(self, attempts: Sequence[Attempt]) -> None:
        steps.finalize(self.worker.mail, attempts)
        written = {mark_of(one.claim) for one in attempts}
        self.in_flight.remove(written)
        self.tried += len(attempts)
        self.unwritten = [one for one in self.unwritten if mark_of(one.claim) not in written]

    def _write_each(self) -> None:
        """Write one by one what cannot be written together, so that one costs no other its verdict.

        One whose rows somebody holds is kept, and one whose chain takes no event is reported and left as it
        is. Any other error ends the run, after the others are written: what is wrong may be the database,
        and then no mail should leave of whose end nothing can be written.
        """
        held: RowHeldError | None = None
        for one in tuple(self.unwritten):
            try:
                self._write_these([one])
            except RowHeldError as error:
                held = error
            except DatabaseAwayError:
                raise
            except Exception as error:  # noqa: BLE001 - told to whoever called run, or reported
                self.unwritten.remove(one)
                if isinstance(error, MailglassError) and is_of_a_row(error):
                    self._leave(one, error)
                else:
                    self.failure = self.failure or error
                    self.ended.set()
        if held is not None:
            raise held

    def _leave(self, attempt: Attempt, error: Exception) -> None:
        claim = attempt.claim
        self.in_flight.remove([mark_of(claim)])
        report(
            Signal.VERDICT_REFUSED,
            level=logging.ERROR,
            tenant_id=claim.tenant_id,
            message_id=claim.message_id,
            error_type=type(error).__name__,
        )

    def _send(self, number: int) -> None:
        takes_bulk = number > 0 or self.worker.threads == 1
        while (job := self.lanes.take(bulk=takes_bulk)) is not None:
            claim, suppressions, turn = job
            try:
                with tenant(claim.tenant_id):
                    attempt = steps.attempt(self.worker.mail, claim, suppressions, turn)
            except BaseException as error:  # noqa: BLE001 - one mail's bug ends no worker; its claim is left to the sweep
                self.in_flight.remove([mark_of(claim)])
                report(
                    Signal.DISPATCH_RAISED,
                    level=logging.ERROR,
                    message_id=claim.message_id,
                    error_type=type(error).__name__,
                )
                self.moved.set()
            else:
                self.news.put(attempt)

    def _end(self, threads: list[threading.Thread], writer: threading.Thread) -> None:
        """Give back what was not begun, wait for what was, and write all of it."""
        for claim in self.lanes.close():
            self.news.put(released(claim, "worker_stopped"))
        for one in threads:
            one.join()
        self.news.put(None)
        writer.join()
        self._write_last()

    def _write_last(self) -> None:
        """Write what is left: a verdict that is lost makes a mail unknown that its provider has."""
        end = time.monotonic() + _LAST_WRITE_S
        while True:
            try:
                self._write()
            except DatabaseAwayError as error:
                report(Signal.DATABASE_AWAY, level=logging.ERROR, error_type=type(error).__name__)
                if time.monotonic() >= end:
                    raise
                time.sleep(_STOP_WAIT_S)
            else:
                return
