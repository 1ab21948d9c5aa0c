"""The SMTP adapter: one transaction a recipient over a kept connection, one verdict a recipient.

The rules are RFC 5321's. Until the first byte of the final dot a server must throw away what it
has, so a failure before it is *not sent*; from that byte to the reply the outcome is *unknown*.
Commands are not pipelined: a reply then always belongs to the one command that was asked.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from mailglass import limits
from mailglass.adapters import Capabilities, refuse_what_only_a_provider_has
from mailglass.adapters.smtp_auth import (
    AccessToken,
    SmtpAuth,
    TokenCache,
    credentials_of,
    wrong,
)
from mailglass.adapters.smtp_connection import PROVIDER, not_sent
from mailglass.adapters.smtp_pool import SmtpPool
from mailglass.adapters.smtp_server import Server, SmtpSecurity, is_hostname, is_loopback
from mailglass.adapters.smtp_session import (
    Answer,
    LoginRefusedError,
    Mail,
    SmtpSession,
    account_refused,
    open_session,
)
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Accepted, Envelope, Recipient, Verdict
from mailglass.errors import (
    ConfigErrorType,
    FailureClass,
    MailglassError,
    SendError,
    SendErrorType,
)
from mailglass.message import Message

__all__ = ["AccessToken", "SmtpAdapter", "SmtpAuth", "SmtpSecurity"]

PORTS: Final = MappingProxyType(
    {
        SmtpSecurity.STARTTLS: 587,
        SmtpSecurity.TLS: 465,
        SmtpSecurity.NONE: 25,
    }
)
"""The port of each kind of security when none is given (RFC 8314 §3, RFC 6409)."""
_LEASE_MARGIN_S: Final = 30.0
_PORT_MAX: Final = 65_535
_HOST: Final = re.compile(r"[^\x00-\x20\x7f/@\\]{1,253}")
_UNFIT_FOR_A_COMMAND: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class SmtpAdapter:
    """Hands mail to one SMTP server.

    ``password`` may be a callable, asked at each login. ``token_source`` returns a fresh OAuth
    token and bounds its own time. ``connect_timeout_s`` bounds the TCP connection and the wait for
    a free one, ``command_timeout_s`` the rest of the opening and each command, ``body_timeout_s``
    the whole body, ``final_dot_timeout_s`` the reply to it (RFC 5321 §4.5.3.2.6: ten minutes).
    An idle connection is kept for ``idle_s_max`` seconds; 0 keeps none. ``ssl_context`` replaces
    the system's trust store; it must verify chain and host name and not allow TLS below 1.2
    by its own word (a floor that was left to OpenSSL is set to 1.2).

    Raises:
        ConfigError: settings that are missing, wrong, or would send credentials in the clear.

    """

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        host: str,
        port: int | None = None,
        security: SmtpSecurity = SmtpSecurity.STARTTLS,
        username: str | None = None,
        password: str | Callable[[], str] | None = None,
        auth: SmtpAuth = SmtpAuth.AUTO,
        token_source: Callable[[], AccessToken] | None = None,
        local_hostname: str | None = None,
        connect_timeout_s: float = 10.0,
        command_timeout_s: float = 60.0,
        body_timeout_s: float = 300.0,
        final_dot_timeout_s: float = 600.0,
        connections_max: int = 4,
        idle_s_max: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock = system_clock,
    ) -> None:
        """Check the settings; nothing is connected before the first mail."""
        self._tokens = TokenCache(token_source, clock) if token_source is not None else None
        self._credentials = credentials_of(
            username=username, password=password, auth=SmtpAuth(auth), tokens=self._tokens
        )
        self._server = Server(
            host=host,
            port=PORTS[security] if port is None else port,
            security=SmtpSecurity(security),
            context=_tls_context(SmtpSecurity(security), ssl_context),
            local_hostname=local_hostname,
            connect_timeout_s=connect_timeout_s,
            command_timeout_s=command_timeout_s,
            body_timeout_s=body_timeout_s,
            final_dot_timeout_s=final_dot_timeout_s,
        )
        _check_server(self._server, logs_in=self._credentials is not None)
        if connections_max < 1:
            raise wrong("connections_max is below 1", key="connections_max")
        self._pool = SmtpPool(
            open_session=self._open,
            clock=clock,
            connections_max=connections_max,
            idle_s_max=idle_s_max,
            wait_s_max=connect_timeout_s,
        )

    def __repr__(self) -> str:
        """Show where it sends and nothing of who logs in."""
        server = self._server
        return f"SmtpAdapter({server.host!r}, {server.port}, {server.security.value!r})"

    @property
    def name(self) -> str:
        """Return ``smtp``."""
        return PROVIDER

    @property
    def capabilities(self) -> Capabilities:
        """Return what holds for every SMTP server; SIZE and SMTPUTF8 are known only when asked.

        The lease covers a wait for a connection, a dead idle one, a login that needs a new token,
        and one transaction with every timeout used up.
        """
        server = self._server
        opening_s = server.connect_timeout_s + server.command_timeout_s
        transaction_s = 3 * server.command_timeout_s + server.body_timeout_s
        return Capabilities(
            smtputf8=True,
            lease_s=(
                server.connect_timeout_s
                + server.command_timeout_s
                + 2 * opening_s
                + transaction_s
                + server.final_dot_timeout_s
                + _LEASE_MARGIN_S
            ),
        )

    def check(self, message: Message) -> None:
        """Refuse what only a provider has; what a server cannot carry is known after its EHLO."""
        refuse_what_only_a_provider_has(self.name, message)

    def send(self, envelope: Envelope) -> Accepted:
        """Make one attempt for each recipient, one transaction after the other.

        A connection in doubt is closed and never used again; recipients that were not yet
        attempted go on over another.

        Raises:
            SendError: ``serialization_failed`` for a payload that SMTP cannot carry exactly, or
                ``adapter_failure`` when no connection came about. No recipient was attempted.
            ConfigError: ``invalid`` for credentials, certificate or security, likewise.

        """
        verdicts = self._verdicts(_prepared(envelope), envelope.recipients)
        return Accepted(provider=PROVIDER, verdicts=tuple(verdicts))

    def close(self) -> None:
        """Say QUIT on idle connections; the adapter may be used again."""
        self._pool.close()

    def _verdicts(self, mail: Mail, recipients: tuple[Recipient, ...]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        session: SmtpSession | None = None
        try:
            for place, recipient in enumerate(recipients):
                if session is not None and not session.goes_on():
                    self._pool.put_back(session)
                    session = None
                try:
                    session = session or self._pool.take()
                except MailglassError as error:
                    if place == 0:
                        raise
                    return verdicts + _refused(recipients[place:], *_class_and_code(error))
                answer = _transact(session, mail, recipient)
                if answer.failure_class is FailureClass.CONFIGURATION:
                    if place == 0:
                        raise account_refused(answer.code)
                    return verdicts + _refused(
                        recipients[place:], answer.failure_class, answer.code
                    )
                verdicts.append(_verdict(recipient, answer))
        finally:
            if session is not None:
                self._pool.put_back(session)
        return verdicts

    def _open(self) -> SmtpSession:
        token = self._tokens.current() if self._tokens is not None else None
        try:
            return open_session(self._server, self._credentials, token)
        except LoginRefusedError as refused:
            if self._tokens is None or token is None:
                raise account_refused(refused.label) from None
            renewed = self._tokens.renewed(token)
            if renewed.value == token.value:
                raise account_refused(refused.label) from None
        try:
            return open_session(self._server, self._credentials, renewed)
        except LoginRefusedError as refused:
            raise account_refused(refused.label) from None


def _tls_context(security: SmtpSecurity, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if security is SmtpSecurity.NONE:
        return None
    if given is None:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    # Some builds of Python, Debian's among them, leave the floor to OpenSSL: then it is ours to set.
    if given.minimum_version is ssl.TLSVersion.MINIMUM_SUPPORTED:
        given.minimum_version = ssl.TLSVersion.TLSv1_2
    is_strict = given.verify_mode is ssl.CERT_REQUIRED and given.check_hostname
    if not is_strict or given.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise wrong("the TLS context does not verify, or allows TLS below 1.2", key="ssl_context")
    return given


def _check_server(server: Server, *, logs_in: bool) -> None:
    if not _HOST.fullmatch(server.host):
        raise wrong("the SMTP host is not a host name", key="smtp_host")
    if not 0 < server.port <= _PORT_MAX:
        raise wrong("the SMTP port is not between 1 and 65535", key="smtp_port")
    if server.local_hostname is not None and not is_hostname(server.local_hostname):
        raise wrong("the local host name is not a domain", key="smtp_local_hostname")
    if logs_in and server.security is SmtpSecurity.NONE and not is_loopback(server.host):
        raise wrong(
            "SMTP credentials need TLS beyond this machine",
            ConfigErrorType.CONFLICTING,
            key="smtp_security",
        )
    for name in ("connect", "command", "body", "final_dot"):
        if not getattr(server, f"{name}_timeout_s") > 0:
            raise wrong("a timeout is not above 0", key=f"{name}_timeout_s")


def _prepared(envelope: Envelope) -> Mail:
    for recipient in envelope.recipients:
        _check_address(recipient.address)
    try:
        return _mail_of(envelope)
    except MemoryError as error:
        raise not_sent("there is not enough memory for the mail", "out_of_memory") from error


def _mail_of(envelope: Envelope) -> Mail:
    payload = envelope.payload
    _check_payload(payload)
    _check_address(envelope.mail_from)
    header_end = payload.find(b"\r\n\r\n")
    header = payload if header_end < 0 else payload[:header_end]
    stuffed = payload.replace(b"\r\n.", b"\r\n..")
    return Mail(
        sender=envelope.mail_from.addr_spec,
        stuffed=b"." + stuffed if stuffed.startswith(b".") else stuffed,
        octets=len(payload),
        needs_smtputf8=envelope.mail_from.needs_smtputf8 or not header.isascii(),
        needs_8bitmime=not payload.isascii(),
    )


def _check_payload(payload: bytes) -> None:
    """Refuse what would not arrive byte for byte, or could end the data early (SMTP smuggling)."""
    pairs = payload.count(b"\r\n")
    if payload.count(b"\r") != pairs or payload.count(b"\n") != pairs:
        raise _unfit("bare_line_break")
    if not payload.endswith(b"\r\n"):
        raise _unfit("no_final_line_break")
    if b"\x00" in payload:
        raise _unfit("nul")
    start = 0
    while start < len(payload):
        # Jump to the last line end within reach: every longer line has none.
        end = payload.rfind(b"\r\n", start, start + limits.LINE_OCTETS_MAX + 2)
        if end < 0:
            raise _unfit("line_too_long")
        start = end + 2


def _check_address(address: Address) -> None:
    """Assert once more what the parser guarantees: no line break can end a command early."""
    if _UNFIT_FOR_A_COMMAND.search(address.addr_spec):
        raise _unfit("address")


def _unfit(code: str) -> SendError:
    return SendError(
        "the frozen message cannot be carried by SMTP",
        type=SendErrorType.SERIALIZATION_FAILED,
        provider=PROVIDER,
        failure_class=FailureClass.PERMANENT,
        code=code,
    )


def _transact(session: SmtpSession, mail: Mail, recipient: Recipient) -> Answer:
    address = recipient.address
    return session.transact(mail, address.addr_spec, needs_smtputf8=address.needs_smtputf8)


def _verdict(recipient: Recipient, answer: Answer) -> Verdict:
    return Verdict(
        delivery_id=recipient.delivery_id,
        failure_class=answer.failure_class,
        code=answer.code,
        provider_message_id=answer.queue_id,
    )


def _class_and_code(error: MailglassError) -> tuple[FailureClass, str]:
    if isinstance(error, SendError):
        return error.failure_class or FailureClass.NOT_SENT, error.code or error.type.value
    return FailureClass.CONFIGURATION, f"config {error.type.value}"


def _refused(
    recipients: tuple[Recipient, ...], failure_class: FailureClass, code: str
) -> list[Verdict]:
    return [
        Verdict(delivery_id=one.delivery_id, failure_class=failure_class, code=code)
        for one in recipients
    ]
