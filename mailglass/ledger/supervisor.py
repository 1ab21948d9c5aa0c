"""Runs beside an embedded PostgreSQL server and ends it when the program that wanted it ends.

A script of its own, started as ``python -I -S supervisor.py LOCK UID GID COMMAND...`` by
``mailglass.ledger.embedded``; it must import nothing outside the standard library. Its standard
input is a pipe whose other end only that program holds: the kernel closes it on every kind of
death, ``kill -9`` included, whichever thread started us, on every Unix. Should this process itself
be killed, Linux sends the server a SIGINT, which to PostgreSQL is a fast, clean shutdown.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

PR_SET_PDEATHSIG = 1
STOP_STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast shutdown, immediate shutdown, the end; each with the seconds it is given."""


def main(arguments: Sequence[str]) -> int:
    """Run the server until it ends, standard input ends or says a byte, or a signal arrives."""
    lock, uid, gid, *command = arguments
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    server = _start(command, int(lock), int(uid), int(gid))
    stopped_by = {sys.stdin.fileno(), woken}
    while server.poll() is None:
        ready, _, _ = select.select(stopped_by, [], [])
        if ready != [woken] or set(os.read(woken, 64)) - {signal.SIGCHLD}:
            return _stop(server)
    return server.returncode


def _start(command: Sequence[str], lock: int, uid: int, gid: int) -> subprocess.Popen[bytes]:
    """Start the server, as the given account unless ``uid`` is -1.

    The server and all its processes inherit the lock file, so the lock is free exactly when the
    last of them is gone.
    """
    drops = uid != -1
    return subprocess.Popen(  # noqa: S603 - the command comes from our own launcher
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(lock,),
        user=uid if drops else None,
        group=gid if drops else None,
        extra_groups=[] if drops else None,
        # Runs after the change of user, which would clear the setting, and is safe here because
        # this process has one thread.
        preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
    )


def _die_with(parent: int) -> Callable[[], None] | None:
    """Make the function that ties a child's life to ours; only Linux knows such a thing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        if prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:  # we died before the call, so no signal will come
            os._exit(1)

    return tie


def _stop(server: subprocess.Popen[bytes]) -> int:
    """End the server, politely first; return 0 for a clean end."""
    for number, patience_s in STOP_STEPS:
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return server.wait(patience_s)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
