"""Idle SMTP sessions, kept for the next mail: bounded in number and age, one set a process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mailglass.adapters.smtp_connection import not_sent
from mailglass.adapters.smtp_session import SmtpSession
from mailglass.clock import Clock
from mailglass.failures import Signal


@dataclass(slots=True)
class _Shelf:
    """The sessions of one process, the newest last."""

    pid: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    idle: list[SmtpSession] = field(default_factory=list)
    in_use: int = 0


class SmtpPool:
    """Lends sessions to threads, at most ``connections_max`` at once.

    A forked child starts with an empty shelf and closes its copies of the parent's sockets without
    a word, so two processes never speak on one connection.
    """

    def __init__(
        self,
        *,
        open_session: Callable[[], SmtpSession],
        clock: Clock,
        connections_max: int,
        idle_s_max: float,
        wait_s_max: float,
    ) -> None:
        """Open nothing yet; ``wait_s_max`` bounds the wait for a session that others hold."""
        self._open_session = open_session
        self._clock = clock
        self._connections_max = connections_max
        self._idle_s_max = idle_s_max
        self._wait_s_max = wait_s_max
        self._shelf = _Shelf(os.getpid())

    def take(self) -> SmtpSession:
        """Return a session that answered just now, or a new one.

        Only one idle session is asked: when it is dead the others are as old, and all go.

        Raises:
            MailglassError: none is free in time, or none can be opened.

        """
        shelf = self._here()
        with shelf.changed:
            if not shelf.changed.wait_for(lambda: self._is_free(shelf), self._wait_s_max):
                raise not_sent("every SMTP connection is in use", Signal.POOL_TIMEOUT)
            stale = self._remove_stale(shelf)
            session = shelf.idle.pop() if shelf.idle else None
            shelf.in_use += 1
        try:
            for one in stale:
                one.quit()
            if session is not None:
                if session.revive():
                    return session
                session.drop()
                self._drop_idle(shelf)
            return self._open_session()
        except BaseException:
            if session is not None:
                session.drop()
            self._leave(shelf)
            raise

    def put_back(self, session: SmtpSession) -> None:
        """Keep the session when nothing about it is in doubt, else close it."""
        shelf = self._here()
        if session.pid != shelf.pid:
            session.drop()
            return
        kept = session if session.is_usable and self._idle_s_max > 0 else None
        try:
            if kept is not None:
                kept.idle_since = time.monotonic()
            elif session.is_usable:
                session.quit()
            else:
                session.drop()
        finally:
            self._leave(shelf, kept)

    def close(self) -> None:
        """Take leave of every idle session; those in use are not touched."""
        shelf = self._here()
        with shelf.changed:
            idle, shelf.idle = shelf.idle, []
        for session in idle:
            session.quit()

    def _here(self) -> _Shelf:
        shelf = self._shelf
        pid = os.getpid()
        if shelf.pid == pid:
            return shelf
        inherited, self._shelf = shelf.idle, _Shelf(pid)
        for session in inherited:
            session.drop()
        return self._shelf

    def _is_free(self, shelf: _Shelf) -> bool:
        return shelf.in_use < self._connections_max

    def _remove_stale(self, shelf: _Shelf) -> list[SmtpSession]:
        oldest = time.monotonic() - self._idle_s_max
        now = self._clock()
        fresh: list[SmtpSession] = []
        stale: list[SmtpSession] = []
        for session in shelf.idle:
            token_ended = session.ends_at is not None and session.ends_at <= now
            (stale if session.idle_since < oldest or token_ended else fresh).append(session)
        shelf.idle = fresh
        return stale

    def _drop_idle(self, shelf: _Shelf) -> None:
        with shelf.changed:
            idle, shelf.idle = shelf.idle, []
        for session in idle:
            session.drop()

    def _leave(self, shelf: _Shelf, session: SmtpSession | None = None) -> None:
        with shelf.changed:
            shelf.in_use -= 1
            if session is not None:
                shelf.idle.append(session)
            shelf.changed.notify()
