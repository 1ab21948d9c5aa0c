"""A provider in a process of its own that counts what it accepts, with a key or without, and loses answers.

Each request is a line of JSON on a connection of its own, and so is each answer. What the sink accepts
is counted the moment it is accepted: an answer that gets lost afterwards takes nothing back.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from mailglass.adapters import Capabilities
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import FailureClass, SendError, SendErrorType
from mailglass.message import Message

ROOT: Final = Path(__file__).parents[2]
LINE_BYTES_MAX: Final = 1_000_000
WINDOW_S: Final = 86_400.0
START_S_MAX: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPlan:
    """How the sink behaves; the parts are of 1, times in seconds.

    ``lost`` of the requests are accepted and get no answer, ``deaf`` get none and are not accepted,
    ``busy`` are refused for now. A mail is shown by a search up to ``lag_s`` after it was accepted.
    """

    seed: int = 0
    is_keyed: bool = True
    lost: float = 0.02
    deaf: float = 0.02
    busy: float = 0.02
    slow_s: float = 0.02
    lag_s: float = 0.2


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What the sink has accepted."""

    plan: SinkPlan
    dice: random.Random
    lock: threading.Lock = field(default_factory=threading.Lock)
    copies: Counter[str] = field(default_factory=Counter)
    first_shown_at: dict[str, float] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    changed: int = 0

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request, or None where the connection just ends."""
        match asked["verb"]:
            case "send":
                return self._send(asked)
            case "find":
                with self.lock:
                    now = time.monotonic()
                    shown = [one for one in asked["ids"] if self.first_shown_at.get(one, now) < now]
                return {"ids": shown}
            case _:
                with self.lock:
                    return {
                        "copies": dict(self.copies),
                        "changed": self.changed,
                        "tokens": self.tokens,
                    }

    def _send(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            fate, wait_s = self.dice.random(), self.dice.uniform(0, self.plan.slow_s)
        time.sleep(wait_s / 2)
        plan = self.plan
        if fate < plan.busy:
            return {"busy": True}
        if fate < plan.busy + plan.deaf:
            return None
        with self.lock:
            self._accept(asked)
        time.sleep(wait_s / 2)
        return None if fate < plan.busy + plan.deaf + plan.lost else {"ok": True}

    def _accept(self, asked: Mapping[str, Any]) -> None:
        key, body = asked["key"], asked["sha256"]
        if self.plan.is_keyed and key in self.answered:
            self.changed += self.answered[key] != body
            return
        self.answered[key] = body
        for one in asked["ids"]:
            self.copies[one] += 1
            self.tokens.setdefault(one, []).append(asked["token"])
            shown_at = time.monotonic() + self.dice.uniform(0, self.plan.lag_s)
            self.first_shown_at.setdefault(one, shown_at)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            return  # the sender died in the middle of its request
        told = self.server.ledger.answer(json.loads(line))  # type: ignore[attr-defined]  # set by serve
        if told is not None:
            try:
                self.wfile.write(json.dumps(told).encode() + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                return  # the sender died before its answer came


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def serve(path: str, plan: SinkPlan) -> None:
    """Serve until standard input ends; say so once the socket is there."""
    with _Server(path, _Handler) as server:
        server.ledger = Ledger(plan=plan, dice=random.Random(plan.seed))  # type: ignore[attr-defined]  # noqa: S311 - a seeded run, no secret
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


def ask(path: str, question: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Ask the sink something.

    Raises:
        ConnectionRefusedError, FileNotFoundError, BlockingIOError: it never got the question.
        OSError: it may have got it, and its answer did not come.

    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout_s)
        line.connect(path)
        try:
            line.sendall(json.dumps(question).encode() + b"\n")
            with line.makefile("rb") as answers:
                told = answers.readline(LINE_BYTES_MAX * 100)
        except OSError as error:
            raise TimeoutError("no answer") from error
        if not told.endswith(b"\n"):
            raise TimeoutError("no answer")
        found: dict[str, Any] = json.loads(told)
        return found


class SinkAdapter:
    """Hands mail to the sink; knows its answers as an adapter knows its provider's."""

    name = "sink"

    def __init__(
        self,
        path: str,
        *,
        is_keyed: bool,
        search_lag_s: float | None,
        timeout_s: float,
        lease_s: float,
    ) -> None:
        """Describe the way to the sink; nothing is opened before a mail is sent."""
        self._path, self._timeout_s = path, timeout_s
        self.capabilities = Capabilities(
            idempotency_window_s=WINDOW_S if is_keyed else None,
            search_lag_s=search_lag_s,
            lease_s=lease_s,
        )

    def check(self, message: Message) -> None:
        """Refuse nothing."""

    def send(self, envelope: Envelope) -> Accepted:
        """Make one attempt; an answer that does not come is unknown."""
        question = {
            "verb": "send",
            "key": envelope.idempotency_key,
            "ids": [str(one.delivery_id) for one in envelope.recipients],
            "sha256": hashlib.sha256(envelope.payload).hexdigest(),
            "token": envelope.token,
        }
        try:
            told = ask(self._path, question, timeout_s=self._timeout_s)
        except TimeoutError:
            failure: FailureClass | None = FailureClass.UNKNOWN
        except OSError:
            failure = FailureClass.NOT_SENT
        else:
            failure = FailureClass.NOT_SENT if "busy" in told else None
        verdicts = [
            Verdict(delivery_id=one.delivery_id, failure_class=failure)
            for one in envelope.recipients
        ]
        return Accepted(provider=self.name, verdicts=tuple(verdicts))

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Return those that the sink shows by now."""
        question = {"verb": "find", "ids": [str(one) for one in delivery_ids]}
        try:
            told = ask(self._path, question, timeout_s=self._timeout_s)
        except OSError as error:
            raise SendError("no answer", type=SendErrorType.ADAPTER_FAILURE) from error
        return {UUID(one): None for one in told["ids"]}

    def close(self) -> None:
        """Do nothing: every request has a connection of its own."""


@contextmanager
def running_sink(path: Path, plan: SinkPlan) -> Iterator[str]:
    """Run a sink in a process of its own; yield where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.sink", str(path), json.dumps(asdict(plan))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield str(path)
        finally:
            process.stdin.close()
            process.wait(START_S_MAX)


if __name__ == "__main__":
    serve(sys.argv[1], SinkPlan(**json.loads(sys.argv[2])))
