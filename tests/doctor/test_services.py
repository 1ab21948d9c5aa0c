"""The doctor at real services: SMTP servers that a test scripts, a real Redis, a broker that is away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker_servers import free_port, redis_server
from mailglass.cli.probes import call_broker
from mailglass.doctor import CHECKS, Result, Status, examine
from mailglass.doctor.smtp_login import log_in
from patients import healthy

GREETING = b"220 mail.test\r\n"
EHLO = b"250-mail.test\r\n250 AUTH PLAIN\r\n"
CANARY = "canary7f3a"


@contextmanager
def _smtp(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one session: a greeting, then one answer a line; yield the port and the lines."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, client.makefile("rb") as lines:
                client.sendall(GREETING)
                for answer, line in zip(answers, lines, strict=False):
                    heard.append(line.strip())
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            thread.join()


def _told(check_id: str, **given: Any) -> Sequence[Result]:
    checks = [one for one in CHECKS if one.id == check_id]
    return examine(healthy(**given), checks)


def _login(port: int, **given: Any) -> Sequence[Result]:
    settings = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none",
                "smtp_password": CANARY, "log_in": log_in}  # fmt: skip
    return _told("services.smtp_login", **(settings | given))


def test_a_login_is_tried_and_no_mail_is_begun() -> None:
    """Connect, EHLO, AUTH, QUIT."""
    with _smtp(EHLO, b"235 2.7.0 in\r\n", b"221 2.0.0 bye\r\n") as (port, heard):
        (found,) = _login(port)
    assert found.status is Status.OK
    assert [line.split()[0] for line in heard] == [b"EHLO", b"AUTH", b"QUIT"]


def test_a_login_that_is_refused_names_the_answer_and_no_secret() -> None:
    """The server's text, which may hold the user, is left out."""
    with _smtp(EHLO, b"535 5.7.8 canary7f3a is not welcome\r\n") as (port, _heard):
        (found,) = _login(port)
    assert found.status is Status.ERROR
    assert "the SMTP server refuses this account" in found.seen
    assert "535 5.7.8" in found.seen
    assert CANARY not in repr(found)


def test_a_server_that_is_not_there_is_told() -> None:
    """With host and port."""
    port = free_port()
    (found,) = _login(port)
    assert found.status is Status.ERROR
    assert found.seen.startswith(f"adapter default, 127.0.0.1:{port}: ")


def test_no_password_leaves_in_the_clear() -> None:
    """Beyond this machine the login is refused before anything connects."""
    (found,) = _login(free_port(), smtp_host="192.0.2.1")
    assert found.status is Status.ERROR
    assert "SMTP credentials need TLS beyond this machine" in found.seen


@pytest.mark.redis
def test_redis_that_answers_has_no_finding(tmp_path: Path) -> None:
    """As broker and as what counts limits; nothing is left in it."""
    with redis_server(tmp_path) as (url, _process):
        for check_id, setting in (
            ("services.broker", "broker_url"),
            ("services.limits", "limits_redis_url"),
        ):
            (found,) = _told(check_id, call_broker=call_broker, **{setting: url})
            assert found.status is Status.OK


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_told_without_its_password(scheme: str) -> None:
    """With host and port."""
    port = free_port()
    url = f"{scheme}://shop:{CANARY}@127.0.0.1:{port}/0"
    (found,) = _told("services.broker", call_broker=call_broker, broker_url=url)
    assert found.status is Status.ERROR
    assert found.seen.startswith(f"{scheme} at 127.0.0.1:{port}: ")
    assert CANARY not in repr(found)


def test_workers_in_the_same_process_need_no_broker() -> None:
    """Nothing stands between them."""
    (found,) = _told("services.broker", call_broker=None, broker_url="stub://")
    assert found.status is Status.OK
