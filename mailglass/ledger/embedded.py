"""Starts a private PostgreSQL server for demos, development and tests, and owns its folder.

The server listens on a Unix socket in a private folder and nowhere else. It lives as long as the
process that started it: `supervisor.py` ends it however that process ends. A second process on
the same folder uses the running server. What the folder holds::

    mailglass.lock   held by every process of a running server, free exactly when none is left
    data/            PostgreSQL's files, renamed into place once initdb is done
    socket/          the socket (below /tmp when this path is too long for one)
    server.log       what the server says when it starts, stops or breaks; never a statement
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.binaries import (
    Account,
    account_for,
    find_binaries,
    make_public_folder,
    reachable_binaries,
    refuse_other_major,
    server_environment,
)

START_S_MAX = 120.0
STOP_S_MAX = 40.0
INITDB_S_MAX = 120.0
POLL_S = 0.005
CONNECT_S_MAX = 2
PORT = 5432
SOCKET_FOLDER_BYTES_MAX = 103 - len(f"/.s.PGSQL.{PORT}")
"""The shortest limit of a socket's path is macOS's 103 bytes; Linux takes 107."""
LOG_BYTES_MAX = 1_000_000
LOG_TAIL_BYTES_MAX = 2_000
LOCK_NAME = "mailglass.lock"
FRESH_PREFIX = "data.new-"
SUPERVISOR = Path(__file__).with_name("supervisor.py")

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "mailglass",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",
    "log_destination": "stderr",
    # Above "error", so that no failed statement, in which an address may stand, is logged.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
FORGETFUL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def default_folder() -> Path:
    """Return the folder used when none is named: ``/var/lib`` for root, else the user's own.

    Raises ConfigError when the user has neither ``XDG_DATA_HOME`` nor a home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/mailglass/postgres")
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "mailglass" / "postgres"
    try:
        return Path.home() / ".local" / "share" / "mailglass" / "postgres"
    except RuntimeError as error:
        raise ConfigError(
            "There is no home folder to keep an embedded database in.",
            type=ConfigErrorType.MISSING,
            key="HOME",
            hint="Set HOME or XDG_DATA_HOME, or set MAILGLASS_DATABASE_URL.",
        ) from error


class EmbeddedServer:
    """A running server; use `start`, never the constructor."""

    def __init__(self, *, folder: Path, binaries: Path, account: Account) -> None:
        """Describe a server on a folder that is ready for it; starts nothing."""
        self.folder = folder
        self.binaries = binaries
        self._account = account
        self._socket = _socket_folder(folder, account)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._starter_pid = os.getpid()

    @classmethod
    def start(cls, folder: Path | None = None, *, durable: bool = True) -> Self:
        """Start a server on the folder, or use the one that runs there; wait until it answers.

        Without a folder takes `default_folder`. ``durable=False`` trades safety against power cuts
        for speed: tests only. Raises ConfigError, with the end of the server's log where it helps.
        A server that was started here ends with `stop` or with this process, at the latest.
        """
        place = (folder or default_folder()).expanduser().resolve()
        try:
            account = account_for(place / "data")
            _prepare(place, account)
            binaries = reachable_binaries(find_binaries(os.environ), account)
            server = cls(folder=place, binaries=binaries, account=account)
            server._start_or_attach(durable=durable)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigError(
                f"The embedded PostgreSQL cannot be started in {place}: {error}",
                type=ConfigErrorType.INVALID,
                key="folder",
                hint="Choose another folder, or set MAILGLASS_DATABASE_URL.",
            ) from error
        return server

    @property
    def is_started_here(self) -> bool:
        """Tell whether this object started the server, so that `stop` ends it."""
        return self._supervisor is not None and os.getpid() == self._starter_pid

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database of this server; it holds no secret."""
        host = quote(str(self._socket), safe="/")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={PORT}"

    def stop(self) -> None:
        """End the server if this object started it, and wait until it is gone; else do nothing."""
        supervisor = self._supervisor
        if supervisor is None or not self.is_started_here:
            return
        self._supervisor = None
        atexit.unregister(self.stop)
        # A byte rather than only the end of the pipe: a forked child may hold the pipe open too.
        supervisor.communicate(b"." if supervisor.poll() is None else None, timeout=STOP_S_MAX)

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server if it was started here."""
        self.stop()

    def _start_or_attach(self, *, durable: bool) -> None:
        deadline = time.monotonic() + START_S_MAX
        with _lock_file(self.folder) as lock:
            while not self._answers():
                if _is_free(lock):
                    _make_private(self._socket, self._account)
                    self._clear_leftovers()
                    if not (self.folder / "data").exists():
                        self._initialise(lock, durable=durable)
                    else:
                        refuse_other_major(self.folder / "data", self.binaries, self._account)
                    self._launch(lock, deadline, durable=durable)
                    return
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"Another process holds {self.folder} and its server does not answer.",
                        type=ConfigErrorType.CONFLICTING,
                        key="folder",
                    )
                time.sleep(POLL_S)

    def _answers(self) -> bool:
        """Try to connect: a pid file tells less than an answer does."""
        import psycopg  # noqa: PLC0415 - 0.1 s, which only who wants a database should pay

        if not _is_private(self._socket, self._account):
            return False
        try:
            psycopg.connect(self.url(), connect_timeout=CONNECT_S_MAX).close()
        except psycopg.OperationalError:
            return False
        return True

    def _clear_leftovers(self) -> None:
        """Remove what a crash left; the lock is ours, so no server of ours runs here."""
        for unfinished in self.folder.glob(f"{FRESH_PREFIX}*"):
            shutil.rmtree(unfinished)
        # PostgreSQL itself sees through a pid file whose process is gone, but not through one
        # whose number a stranger has got since, nor one whose process nobody has reaped.
        file = self.folder / "data" / "postmaster.pid"
        pid = _recorded_pid(file)
        if pid is not None and _is_no_server(pid, file.parent):
            file.unlink()

    def _initialise(self, lock: int, *, durable: bool) -> None:
        """Create the cluster beside its place and move it there when it is complete."""
        fresh = Path(tempfile.mkdtemp(prefix=FRESH_PREFIX, dir=self.folder))
        _give(fresh, self._account)
        result = self._account.run(
            [
                self.binaries / "initdb",
                f"--pgdata={fresh}",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--auth-local=trust",  # who may reach the socket is decided by its folder
                "--auth-host=reject",
                *([] if durable else ["--no-sync"]),
            ],
            timeout_s=INITDB_S_MAX,
            kept_fds=(lock,),
        )
        if result.returncode != 0:
            shutil.rmtree(fresh)
            raise _failure("initdb failed", result.stdout)
        fresh.rename(self.folder / "data")
        if durable:
            _sync(self.folder)

    def _launch(self, lock: int, deadline: float, *, durable: bool) -> None:
        settings = SETTINGS | ({} if durable else FORGETFUL_SETTINGS)
        who = self._account
        with _log_file(self.folder) as log:
            log_start_bytes = os.fstat(log).st_size
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own script and programs
                [
                    *(sys.executable, "-I", "-S", SUPERVISOR),
                    *(str(lock), str(who.uid or -1), str(who.gid or -1)),
                    *(self.binaries / "postgres", "-D", self.folder / "data", "-k", self._socket),
                    *(
                        part
                        for name, value in settings.items()
                        for part in ("-c", f"{name}={value}")
                    ),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                cwd="/",
                env=server_environment(os.environ),
                umask=0o077,
                start_new_session=True,
            )
        atexit.register(self.stop)
        while not self._answers():
            is_over = self._supervisor.poll() is not None
            if is_over or time.monotonic() > deadline:
                self.stop()
                said = _log_since(self.folder, log_start_bytes)
                raise _failure("it stopped" if is_over else "it does not answer", said)
            time.sleep(POLL_S)


def _failure(what: str, said: str) -> ConfigError:
    tail = said.encode()[-LOG_TAIL_BYTES_MAX:].decode(errors="replace").strip()
    return ConfigError(
        f"The embedded PostgreSQL did not start: {what}. It said:\n{tail or '(nothing)'}",
        type=ConfigErrorType.INVALID,
        key="folder",
        hint="Choose another folder, or set MAILGLASS_DATABASE_URL.",
    )


def _prepare(folder: Path, account: Account) -> None:
    """Make the folder ours: private, yet open to the account that the server runs as."""
    make_public_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    # In this order: the lock is the first file that another process, starting too, makes here.
    if any(folder.iterdir()) and not (folder / LOCK_NAME).exists():
        raise ConfigError(
            f"{folder} holds files that are not an embedded database of mailglass.",
            type=ConfigErrorType.CONFLICTING,
            key="folder",
            hint="Name an empty folder or one that does not exist yet.",
        )
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(0o711 if account.is_other else 0o700)
    if account.is_other and account.run(["/bin/sh", "-c", 'cd "$0"', folder]).returncode != 0:
        raise ConfigError(
            f"PostgreSQL runs as {account.name}, who cannot reach {folder}.",
            type=ConfigErrorType.INVALID,
            key="folder",
            hint="Name a folder whose parents every user may pass, such as one in /var/lib.",
        )


def _give(folder: Path, account: Account) -> None:
    if account.is_other:
        os.chown(folder, account.effective_uid, -1 if account.gid is None else account.gid)


def _socket_folder(folder: Path, account: Account) -> Path:
    """Return where the socket stands: in the folder, or below /tmp if that path is too long."""
    sockets = folder / "socket"
    if len(os.fsencode(sockets)) <= SOCKET_FOLDER_BYTES_MAX:
        return sockets
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(f"/tmp/mailglass-{account.effective_uid}-{name}")  # noqa: S108 - see _is_private


def _is_private(sockets: Path, account: Account) -> bool:
    """Tell whether it is a real folder that only the server's account can enter."""
    try:
        facts = sockets.lstat()
    except FileNotFoundError:
        return False
    is_closed = stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o077
    return is_closed and facts.st_uid == account.effective_uid


def _make_private(sockets: Path, account: Account) -> None:
    if not os.path.lexists(sockets):
        sockets.mkdir(mode=0o700)
        _give(sockets, account)
    if not _is_private(sockets, account):
        raise ConfigError(
            f"{sockets} is not a private folder of {account.name}.",
            type=ConfigErrorType.CONFLICTING,
            key="folder",
            hint="Remove it and start again.",
        )


@contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _log_file(folder: Path) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    log = os.open(folder / "server.log", flags, 0o600)
    try:
        if os.fstat(log).st_size > LOG_BYTES_MAX:
            os.ftruncate(log, 0)
        yield log
    finally:
        os.close(log)


def _log_since(folder: Path, start_bytes: int) -> str:
    with (folder / "server.log").open("rb") as log:
        log.seek(start_bytes)
        return log.read(LOG_BYTES_MAX).decode(errors="replace")


def _recorded_pid(file: Path) -> int | None:
    try:
        first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else None


def _is_no_server(pid: int, cluster: Path) -> bool:
    """Tell whether that process exists and is surely no server on this cluster."""
    process = Path(f"/proc/{pid}")
    try:
        return (process / "cwd").readlink() != cluster  # a server stands in its cluster
    except FileNotFoundError:
        return process.exists()  # a zombie stands nowhere
    except PermissionError:
        return False  # another user's: PostgreSQL sees through that too


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
