"""One SMTP session: greeting, TLS and login, then transactions of one recipient each."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mailglass.adapters.smtp_auth import (
    AccessToken,
    Credentials,
    choose_mechanism,
    lines_of,
    wrong,
)
from mailglass.adapters.smtp_connection import (
    Connection,
    ConnectionTroubleError,
    Trouble,
    connect,
    deadline_in,
    not_sent,
)
from mailglass.adapters.smtp_replies import Reply
from mailglass.adapters.smtp_server import Server, SmtpSecurity, is_loopback, own_name
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass
from mailglass.failures import (
    SMTP_GO_AHEAD,
    Signal,
    SmtpPhase,
    class_of,
    of_smtp_reply,
    smtp_signal,
)

QUIT_TIMEOUT_S: Final = 2.0
"""How long a goodbye may take; its reply changes nothing."""
_TERMINATOR: Final = b".\r\n"
_CONTINUE: Final = 334
_DIGITS: Final = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What every transaction of an envelope says: the sender and the bytes, dots doubled.

    ``octets`` counts the payload without the doubled dots (RFC 1870 §5).
    """

    sender: str = field(repr=False)
    stuffed: bytes = field(repr=False)
    octets: int
    needs_smtputf8: bool
    needs_8bitmime: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one transaction came to; ``failure_class`` None means that the server took the mail."""

    failure_class: FailureClass | None
    code: str
    queue_id: str | None = None


class LoginRefusedError(Exception):
    """Is raised when the server refuses the credentials; ``label`` is its code, not its text."""

    def __init__(self, label: str) -> None:
        """Keep basic and enhanced code."""
        super().__init__(label)
        self.label = label


class SmtpSession:
    """An open session, between transactions; made by ``open_session``.

    ``is_usable`` is false from the first byte of a transaction until its end is beyond doubt, so
    whatever interrupts one (a signal, a time limit) leaves a session that nobody takes again.
    """

    def __init__(self, server: Server, connection: Connection) -> None:
        """Take over a connection on which nothing has been read."""
        self._server = server
        self._connection = connection
        self._extensions: Mapping[str, str] = MappingProxyType({})
        self._needs_reset = False
        self.is_usable = False
        self.pid = os.getpid()
        self.ends_at: datetime | None = None
        self.idle_since = time.monotonic()

    def greet(self, deadline: float) -> None:
        """Read the banner, encrypt as the settings demand and learn what the server can do.

        Raises:
            SendError: ``adapter_failure``, class not_sent.
            ConfigError: ``invalid``: no STARTTLS where it is demanded, or an untrusted certificate.

        """
        server = self._server
        if server.security is SmtpSecurity.TLS:
            self._start_tls(deadline)
        self._check(SmtpPhase.BANNER, self._opening(SmtpPhase.BANNER, None, deadline))
        self._say_hello(deadline)
        if server.security is not SmtpSecurity.STARTTLS:
            return
        if "STARTTLS" not in self._extensions:
            raise ConfigError(
                "the SMTP server does not offer STARTTLS",
                type=ConfigErrorType.INVALID,
                key="smtp_security",
                hint="Either the port is wrong or somebody on the way removed the offer.",
            )
        reply = self._opening(SmtpPhase.STARTTLS, b"STARTTLS", deadline)
        self._check(SmtpPhase.STARTTLS, reply)
        self._start_tls(deadline)
        self._say_hello(deadline)

    def log_in(self, credentials: Credentials, token: AccessToken | None, deadline: float) -> None:
        """Authenticate, over TLS or to a loopback peer only.

        Raises:
            LoginRefusedError: the server refuses the credentials.
            ConfigError: no TLS, no common mechanism, or a credential that cannot be carried.
            SendError: ``adapter_failure``, class not_sent, for anything temporary.

        """
        if not (self._connection.is_encrypted or is_loopback(self._connection.peer)):
            raise wrong("SMTP AUTH is refused without TLS", key="smtp_security")
        offered = frozenset(self._extensions.get("AUTH", "").upper().split())
        mechanism = choose_mechanism(credentials, offered)
        for line in lines_of(mechanism, credentials, token):
            reply = self._opening(SmtpPhase.AUTH, line, deadline)
            if reply.code != _CONTINUE:
                break
        if smtp_signal(SmtpPhase.AUTH, reply.code, reply.enhanced) is Signal.SMTP_ACCOUNT_REFUSED:
            raise LoginRefusedError(reply.label)
        self._check(SmtpPhase.AUTH, reply)
        self.ends_at = token.expires_at if token is not None else None

    def revive(self) -> bool:
        """Ask with NOOP, or RSET after a refused transaction, whether the next one may start.

        Nothing of a mail is at stake here, so a dead session is simply False.
        """
        self.is_usable = False
        command = b"RSET" if self._needs_reset else b"NOOP"
        try:
            reply = self._exchange(command, self._server.command_timeout_s)
        except ConnectionTroubleError:
            return False  # the caller opens another session
        if reply.code not in SMTP_GO_AHEAD[SmtpPhase.CHECK]:
            return False
        self._needs_reset = False
        self.is_usable = True
        return True

    def goes_on(self) -> bool:
        """Make the session ready for the next recipient; False when it has to be another one.

        Some servers say 421 right behind the 250 to their last message.
        """
        if not self.is_usable:
            return False
        try:
            self.is_usable = self._connection.reply_out_of_turn() is None
        except ConnectionTroubleError:
            self.is_usable = False
        return self.is_usable and (not self._needs_reset or self.revive())

    def transact(self, mail: Mail, recipient: str, *, needs_smtputf8: bool) -> Answer:
        """Hand the mail over for one recipient, once, and say what came of it.

        Only the answer says how it went: no exception is raised for anything the server, the
        network or a deadline does.
        """
        utf8 = mail.needs_smtputf8 or needs_smtputf8
        if (signal := self._unsupported(mail, utf8=utf8)) is not None:
            return Answer(failure_class=class_of(signal), code=signal.value)
        self.is_usable = False
        self._needs_reset = True
        phase = SmtpPhase.MAIL
        try:
            for phase, line in (
                (SmtpPhase.MAIL, self._mail_line(mail, utf8=utf8)),
                (SmtpPhase.RCPT, f"RCPT TO:<{recipient}>".encode()),
                (SmtpPhase.DATA, b"DATA"),
            ):
                reply = self._exchange(line, self._server.command_timeout_s)
                if reply.code not in SMTP_GO_AHEAD[phase]:
                    return self._refused(phase, reply)
            phase = SmtpPhase.BODY
            if (early := self._send_body(mail.stuffed)) is not None:
                return self._refused(phase, early)
            phase = SmtpPhase.DOT
            return self._finish()
        except ConnectionTroubleError as error:
            return _in_doubt(phase, error.trouble)
        except MemoryError:
            return _in_doubt(phase, Trouble.LOST)

    def quit(self) -> None:
        """Take leave and close; whatever goes wrong here changes no verdict."""
        try:
            # Every verdict is in; a server that is already gone needs no goodbye.
            with suppress(ConnectionTroubleError):
                self._exchange(b"QUIT", QUIT_TIMEOUT_S)
        finally:
            self.drop()

    def drop(self) -> None:
        """Close without a word: the session is in doubt, or belongs to the parent process."""
        self.is_usable = False
        self._connection.close()

    def _start_tls(self, deadline: float) -> None:
        context = self._server.context
        if context is None:
            raise wrong("there is no TLS context", key="smtp_security")
        self._connection.start_tls(context, self._server.host, deadline)

    def _say_hello(self, deadline: float) -> None:
        name = self._server.local_hostname or own_name(self._connection.own_address)
        reply = self._opening(SmtpPhase.EHLO, b"EHLO " + name.encode("ascii"), deadline)
        self._check(SmtpPhase.EHLO, reply)
        words = (text.decode("ascii", "replace").split(" ", 1) for text in reply.texts[1:])
        self._extensions = MappingProxyType(
            {word[0].upper(): (word[1] if len(word) > 1 else "") for word in words}
        )

    def _opening(self, phase: SmtpPhase, line: bytes | None, deadline: float) -> Reply:
        try:
            if line is not None:
                self._connection.send_command(line, deadline)
            return self._connection.read_reply(deadline)
        except ConnectionTroubleError as error:
            signal = _BEFORE_DOT[error.trouble]
            raise not_sent(f"the SMTP session ended at {phase}", signal) from error

    def _check(self, phase: SmtpPhase, reply: Reply) -> None:
        failure = of_smtp_reply(phase, reply.code, reply.enhanced)
        if failure is FailureClass.CONFIGURATION and phase is SmtpPhase.STARTTLS:
            raise wrong("the SMTP server refuses STARTTLS", key="smtp_security")
        if failure is FailureClass.CONFIGURATION:
            raise account_refused(reply.label)
        if failure is not None:
            raise not_sent(f"the SMTP server refused the session at {phase}", reply.label)

    def _exchange(self, line: bytes, timeout_s: float) -> Reply:
        deadline = deadline_in(timeout_s)
        self._connection.send_command(line, deadline)
        return self._connection.read_reply(deadline)

    def _unsupported(self, mail: Mail, *, utf8: bool) -> Signal | None:
        limit = self._extensions.get("SIZE", "")
        if _DIGITS.fullmatch(limit) and 0 < int(limit) < mail.octets:
            return Signal.MESSAGE_TOO_LARGE
        if utf8 and "SMTPUTF8" not in self._extensions:
            return Signal.SMTPUTF8_UNSUPPORTED
        if mail.needs_8bitmime and "8BITMIME" not in self._extensions:
            return Signal.EIGHTBITMIME_UNSUPPORTED
        return None

    def _mail_line(self, mail: Mail, *, utf8: bool) -> bytes:
        line = f"MAIL FROM:<{mail.sender}>"
        if "SIZE" in self._extensions:
            line += f" SIZE={mail.octets}"
        if mail.needs_8bitmime:
            line += " BODY=8BITMIME"
        if utf8:
            line += " SMTPUTF8"
        return line.encode()

    def _send_body(self, stuffed: bytes) -> Reply | None:
        """Send everything but the final dot; return what the server said meanwhile, if it did."""
        try:
            self._connection.send(stuffed, deadline_in(self._server.body_timeout_s))
        except ConnectionTroubleError as trouble:
            return self._last_words(trouble)
        return self._connection.reply_out_of_turn()

    def _last_words(self, trouble: ConnectionTroubleError) -> Reply:
        try:
            reply = self._connection.reply_out_of_turn()
        except ConnectionTroubleError:
            raise trouble from None
        if reply is None:
            raise trouble
        return reply

    def _finish(self) -> Answer:
        deadline = deadline_in(self._server.final_dot_timeout_s)
        self._connection.send(_TERMINATOR, deadline)
        reply = self._connection.read_reply(deadline)
        if reply.code not in SMTP_GO_AHEAD[SmtpPhase.DOT]:
            return self._refused(SmtpPhase.DOT, reply)
        self._needs_reset = False
        self.is_usable = True
        return Answer(failure_class=None, code=reply.label, queue_id=reply.queue_id)

    def _refused(self, phase: SmtpPhase, reply: Reply) -> Answer:
        signal = smtp_signal(phase, reply.code, reply.enhanced)
        self.is_usable = (
            phase is not SmtpPhase.BODY and reply.code != _CLOSING and signal in _CLEAN_REFUSALS
        )
        return Answer(failure_class=class_of(signal), code=reply.label)


def open_session(
    server: Server, credentials: Credentials | None, token: AccessToken | None
) -> SmtpSession:
    """Connect, greet and log in: at most ``connect_timeout_s`` and then ``command_timeout_s``.

    Raises:
        LoginRefusedError: the server refuses the credentials.
        SendError: ``adapter_failure``, class not_sent.
        ConfigError: ``invalid`` for certificate, security or mechanism.

    """
    session = SmtpSession(server, connect(server.host, server.port, server.connect_timeout_s))
    try:
        deadline = deadline_in(server.command_timeout_s)
        session.greet(deadline)
        if credentials is not None:
            session.log_in(credentials, token, deadline)
    except BaseException:
        session.drop()
        raise
    session.is_usable = True
    return session


def account_refused(label: str) -> ConfigError:
    """Return the error for credentials or rights that a person has to put right."""
    return ConfigError(
        "the SMTP server refuses this account",
        type=ConfigErrorType.INVALID,
        key="smtp_username",
        hint=f"The server answered {label}. Servers that have switched passwords off want XOAUTH2.",
        code=label,
    )


_CLOSING: Final = 421
_CLEAN_REFUSALS: Final = frozenset(
    {
        Signal.SMTP_TEMPORARY_BEFORE_DOT,
        Signal.SMTP_TEMPORARY_AT_DOT,
        Signal.SMTP_PERMANENT,
        Signal.SMTP_MAILBOX_REFUSED,
    }
)
"""After these the server waits for the next command; after anything else, who knows."""

_BEFORE_DOT: Mapping[Trouble, Signal] = MappingProxyType(
    {
        Trouble.TIMEOUT: Signal.SMTP_TIMEOUT_BEFORE_DOT,
        Trouble.LOST: Signal.SMTP_LOST_BEFORE_DOT,
        Trouble.BAD_REPLY: Signal.SMTP_BAD_REPLY_BEFORE_DOT,
    }
)
_AT_DOT: Mapping[Trouble, Signal] = MappingProxyType(
    {
        Trouble.TIMEOUT: Signal.SMTP_TIMEOUT_AT_DOT,
        Trouble.LOST: Signal.SMTP_LOST_AT_DOT,
        Trouble.BAD_REPLY: Signal.SMTP_BAD_REPLY_AT_DOT,
    }
)


def _in_doubt(phase: SmtpPhase, trouble: Trouble) -> Answer:
    signal = (_AT_DOT if phase is SmtpPhase.DOT else _BEFORE_DOT)[trouble]
    return Answer(failure_class=class_of(signal), code=signal.value)
