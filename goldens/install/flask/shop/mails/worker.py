"""Sends queued mail until it is told to stop: ``python -m shop.mails.worker``."""

import signal
import threading

from mailglass import Mailglass
from mailglass.worker import Worker


def main() -> None:
    """Run one worker; start as many processes as you like, they share nothing but Postgres."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Mailglass.from_env() as mail:
        Worker(mail=mail, threads=4).run(stopped)


if __name__ == "__main__":
    main()
