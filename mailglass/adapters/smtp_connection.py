"""The bytes of one SMTP connection: deadlines, TLS, bounded reading; no SMTP command is known."""

from __future__ import annotations

import socket
import ssl
import time
from enum import StrEnum, unique
from typing import Final

from mailglass.adapters.smtp_replies import BadReplyError, Reply, ReplyParser
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    MailglassError,
    SendError,
    SendErrorType,
)
from mailglass.failures import Signal

PROVIDER: Final = "smtp"
ADDRESSES_MAX: Final = 8
"""Addresses of one host name that are tried, in the resolver's order."""
_RECEIVE_OCTETS: Final = 4_096
_SEND_OCTETS: Final = 65_536


@unique
class Trouble(StrEnum):
    """Why a connection must not be used again."""

    TIMEOUT = "timeout"
    LOST = "lost"
    BAD_REPLY = "bad_reply"


class ConnectionTroubleError(Exception):
    """Is raised when a connection fails in mid-session; the caller knows the phase."""

    def __init__(self, trouble: Trouble) -> None:
        """Keep the kind alone: no bytes of the server travel in an exception."""
        super().__init__(trouble.value)
        self.trouble = trouble


def deadline_in(seconds: float) -> float:
    """Return the moment, on the monotonic clock, that lies ``seconds`` ahead."""
    return time.monotonic() + seconds


def not_sent(message: str, code: str) -> SendError:
    """Return the error for a mail that no server has accepted; ``code`` is a label or a Signal."""
    return SendError(
        message,
        type=SendErrorType.ADAPTER_FAILURE,
        provider=PROVIDER,
        failure_class=FailureClass.NOT_SENT,
        code=str(code),
    )


class Connection:
    """A socket whose every wait has a deadline, and whose replies are bounded.

    After any ConnectionTroubleError the connection is worthless: what the server says next may be
    the answer to something asked earlier.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        """Take over a socket that is connected to the IP address ``peer``."""
        self.peer = peer
        self._sock = sock
        self._parser = ReplyParser()

    @property
    def is_encrypted(self) -> bool:
        """Tell whether TLS is in place."""
        return isinstance(self._sock, ssl.SSLSocket)

    @property
    def own_address(self) -> str:
        """Return the IP address of this side."""
        return str(self._sock.getsockname()[0])

    def start_tls(self, context: ssl.SSLContext, host: str, deadline: float) -> None:
        """Encrypt, and check certificate chain and host name.

        Raises:
            SendError: plaintext arrived behind the reply to STARTTLS, which is an injection
                (CVE-2011-0411), or the handshake failed.
            ConfigError: ``invalid`` when the certificate is not one to trust.

        """
        if not self._parser.is_empty:
            raise not_sent("the server sent plaintext after STARTTLS", "plaintext_after_starttls")
        try:
            self._sock.settimeout(_remaining(deadline))
            # On a socket that was reset the ssl module makes no handshake, or loses the descriptor.
            self._sock.getpeername()
            encrypted = context.wrap_socket(self._sock, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise _certificate_invalid(error) from error
        except (OSError, ValueError, ConnectionTroubleError) as error:
            raise not_sent(
                "the TLS handshake with the SMTP server failed", Signal.TLS_HANDSHAKE_FAILED
            ) from error
        self._sock = encrypted
        if encrypted.version() is None:
            raise not_sent("the SMTP server left before TLS began", Signal.TLS_HANDSHAKE_FAILED)

    def send(self, octets: bytes, deadline: float) -> None:
        """Hand every octet to the kernel; some may have left when it fails."""
        view = memoryview(octets)
        while view:
            try:
                self._sock.settimeout(_remaining(deadline))
                view = view[self._sock.send(view[:_SEND_OCTETS]) :]
            except OSError as error:
                raise _trouble(error) from error

    def send_command(self, line: bytes, deadline: float) -> None:
        """Send one command line, unless the server has spoken out of turn."""
        if not self._parser.is_empty:
            raise ConnectionTroubleError(Trouble.BAD_REPLY)
        self.send(line + b"\r\n", deadline)

    def read_reply(self, deadline: float) -> Reply:
        """Wait for one complete reply."""
        while (reply := self._parsed()) is None:
            try:
                self._sock.settimeout(_remaining(deadline))
                received = self._sock.recv(_RECEIVE_OCTETS)
            except OSError as error:
                raise _trouble(error) from error
            if not received:
                raise ConnectionTroubleError(Trouble.LOST)
            self._parser.feed(received)
        return reply

    def reply_out_of_turn(self) -> Reply | None:
        """Return a reply that came while it was our turn to speak, without waiting for one.

        A server that gives up in the middle of DATA says why before it closes. None when nothing
        has arrived; trouble when the connection is gone or holds something else.
        """
        reply = self._parsed()
        if reply is not None:
            return reply
        try:
            self._sock.settimeout(0)
            received = self._sock.recv(_RECEIVE_OCTETS)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not self._parser.is_empty:
                raise ConnectionTroubleError(Trouble.BAD_REPLY) from None
            return None
        except OSError as error:
            raise _trouble(error) from error
        if not received:
            raise ConnectionTroubleError(Trouble.LOST)
        self._parser.feed(received)
        reply = self._parsed()
        if reply is None:
            raise ConnectionTroubleError(Trouble.BAD_REPLY)
        return reply

    def close(self) -> None:
        """Close the socket without a word, also in a forked child: no shutdown, no TLS alert."""
        try:
            self._sock.close()
        except OSError:
            return  # a reset peer: the descriptor is free all the same

    def _parsed(self) -> Reply | None:
        try:
            return self._parser.next_reply()
        except BadReplyError as error:
            raise ConnectionTroubleError(Trouble.BAD_REPLY) from error


def connect(host: str, port: int, timeout_s: float) -> Connection:
    """Open a TCP connection; ``timeout_s`` bounds all addresses of the host together.

    The resolver's own timeout is not ours to set; it comes on top.

    Raises:
        SendError: ``adapter_failure``, class not_sent.

    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:ADDRESSES_MAX]
    except (OSError, UnicodeError) as error:
        raise not_sent("the SMTP server's name does not resolve", Signal.DNS_FAILED) from error
    deadline = deadline_in(timeout_s)
    cause: Exception | None = None
    for left, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        share_s = (deadline - time.monotonic()) / left
        try:
            sock = _connected(family, kind, protocol, address, share_s)
            return Connection(sock, peer=str(address[0]))
        except OSError as error:
            cause = error
    raise not_sent("the SMTP server cannot be reached", Signal.CONNECT_FAILED) from cause


def _connected(
    family: int, kind: int, protocol: int, address: object, timeout_s: float
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(max(timeout_s, 0.001))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # The final dot is a write of its own; Nagle would hold it back for a round trip.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
    except BaseException:
        sock.close()
        raise
    return sock


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ConnectionTroubleError(Trouble.TIMEOUT)
    return left


def _trouble(error: OSError) -> ConnectionTroubleError:
    timed_out = isinstance(error, TimeoutError)
    return ConnectionTroubleError(Trouble.TIMEOUT if timed_out else Trouble.LOST)


def _certificate_invalid(error: ssl.SSLCertVerificationError) -> MailglassError:
    return ConfigError(
        "the SMTP server's certificate is not valid for its name",
        type=ConfigErrorType.INVALID,
        key="smtp_host",
        hint=f"The check failed with OpenSSL's X.509 error {error.verify_code}.",
    )
