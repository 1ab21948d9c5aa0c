"""Real brokers for tests: started on loopback, on free ports, in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Below Debian's wrapper, which would change the user."""
START_S = 90.0
STOP_S = 20.0


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield a server's URL and process."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
               "--dir", str(folder)]  # fmt: skip
    with _started(command, port=port, folder=folder) as process:
        yield f"redis://127.0.0.1:{port}/0", process


@contextmanager
def rabbitmq_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield a server's URL and process; its port mapper ends with it."""
    port, epmd_port = free_port(), free_port()
    (folder / "plugins").write_text("[].")
    environ = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"mailglass-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
    }
    with ExitStack() as both:
        mapper = ["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"]
        both.enter_context(_started(mapper, port=epmd_port, folder=folder))
        process = both.enter_context(_started([str(RABBITMQ)], port=port, folder=folder, **environ))
        yield f"amqp://guest:guest@127.0.0.1:{port}/%2F", process


@contextmanager
def _started(
    command: list[str], *, port: int, folder: Path, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; everything that it started ends with it."""
    assert shutil.which(command[0]), f"{command[0]} is not installed: use scripts/brokers"
    with (folder / "out").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(port, process)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all in its session; one that has ended already is let be."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
