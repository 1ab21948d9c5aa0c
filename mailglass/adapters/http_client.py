"""The pooled client under ``HttpTransport``: httpx2 over sockets that count what they write."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpcore2
import httpx2

from mailglass.adapters.http import Request, Response, failed
from mailglass.failures import Signal
from mailglass.webhook import HeaderMap

_PLAIN: Final = ("accept-encoding", "identity")
"""Nothing is inflated: an answer is small, and a bomb is not."""


@dataclass(slots=True)
class _Exchange:
    """What is known of the request that this thread is sending."""

    deadline: float
    bytes_written: int = 0
    signal: Signal | None = None

    def left_s(self, timeout_s: float | None) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took too long")
        return left if timeout_s is None else min(left, timeout_s)


class CountingClient:
    """Sends each request once over a kept or a new connection."""

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        total_timeout_s: float,
        connections_max: int,
        idle_s_max: float,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._total_timeout_s = total_timeout_s
        self._current = _Current()
        pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context or _strict_context(),
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=idle_s_max,
            retries=0,
            network_backend=_Backend(self._current),
        )
        self._client = httpx2.Client(
            transport=_PooledTransport(pool),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx2.Timeout(
                connect=connect_timeout_s,
                read=read_timeout_s,
                write=read_timeout_s,
                pool=connect_timeout_s,
            ),
        )

    def send(self, request: Request) -> Response:
        """Send the request and read as much of the answer as it allows."""
        exchange = _Exchange(deadline=time.monotonic() + self._total_timeout_s)
        self._current.exchange = exchange
        try:
            prepared = httpx2.Request(
                request.method,
                request.url,
                headers=[*request.headers, _PLAIN],
                content=request.body,
                extensions={"timeout": self._client.timeout.as_dict()},
            )
            answer = self._client.send(prepared, stream=True)
        except (httpcore2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise failed(Signal.BUILD_FAILED) from error
        except httpcore2.PoolTimeout as error:
            raise failed(Signal.POOL_TIMEOUT) from error
        except (httpcore2.NetworkError, httpcore2.TimeoutException, OSError) as error:
            raise failed(_lost(exchange)) from error
        except httpcore2.ProtocolError as error:
            raise failed(_lost(exchange)) from error
        try:
            body, is_complete = _read(answer, request.answer_bytes_max)
        finally:
            answer.close()
        return Response(
            status=answer.status_code,
            headers=HeaderMap(answer.headers.multi_items()),
            body=body,
            is_complete=is_complete,
        )

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.close()


def _lost(exchange: _Exchange) -> Signal:
    if exchange.signal is not None:
        return exchange.signal
    if exchange.bytes_written:
        return Signal.HTTP_LOST_AFTER_REQUEST
    return Signal.HTTP_LOST_BEFORE_REQUEST


def _read(answer: httpx2.Response, bytes_max: int) -> tuple[bytes, bool]:
    """Return the body and whether it is whole: a status that came is never lost with its body."""
    body = bytearray()
    try:
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > bytes_max:
                return bytes(body[:bytes_max]), False
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, OSError):
        return bytes(body), False
    return bytes(body), True


def _strict_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Current(threading.local):
    """The exchange of this thread; a request is sent and answered in one thread."""

    exchange: _Exchange = _Exchange(deadline=0.0)


class _PooledTransport(httpx2.BaseTransport):
    """Hands httpx2's requests to a pool whose sockets are ours."""

    def __init__(self, pool: httpcore2.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.read(),
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            status_code=answer.status, headers=answer.headers, stream=_Body(answer)
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Backend(httpcore2.NetworkBackend):
    """Opens connections and notes at which step one failed."""

    def __init__(self, current: _Current) -> None:
        self._current = current

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the pool passes it, always None
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.NetworkStream:
        exchange = self._current.exchange
        with _noting(exchange, Signal.DNS_FAILED):
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with _noting(exchange, Signal.CONNECT_FAILED):
            connection = _connected(addresses, lambda: exchange.left_s(timeout))
        return _Stream(connection, self._current)


def _connected(addresses: list[tuple[Any, ...]], left_s: Callable[[], float]) -> socket.socket:
    last: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left_s())
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


@contextmanager
def _noting(exchange: _Exchange, signal: Signal) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        exchange.signal = Signal.CERTIFICATE_INVALID
        raise httpcore2.ConnectError(signal.value) from error
    except (OSError, UnicodeError) as error:
        exchange.signal = signal
        raise httpcore2.ConnectError(signal.value) from error


class _Stream(httpcore2.NetworkStream):
    """One connection: counts the bytes that the socket took, and ends with the exchange's time."""

    def __init__(self, connection: socket.socket, current: _Current) -> None:
        self._socket = connection
        self._current = current

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(self._current.exchange.left_s(timeout))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout("no answer in time") from error
        except OSError as error:
            raise httpcore2.ReadError("the connection was lost") from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange = self._current.exchange
        view = memoryview(buffer)
        try:
            while view:
                self._socket.settimeout(exchange.left_s(timeout))
                taken = self._socket.send(view)
                exchange.bytes_written += taken
                view = view[taken:]
        except TimeoutError as error:
            raise httpcore2.WriteTimeout("the request was not taken in time") from error
        except OSError as error:
            raise httpcore2.WriteError("the connection was lost") from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        exchange = self._current.exchange
        with _noting(exchange, Signal.TLS_HANDSHAKE_FAILED):
            try:
                self._socket.settimeout(exchange.left_s(timeout))
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
            except BaseException:
                self._socket.close()
                raise
        return _Stream(secured, self._current)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "socket":
                return self._socket
            case "is_readable":
                return _is_readable(self._socket)
            case "ssl_object" if isinstance(self._socket, ssl.SSLSocket):
                return self._socket
            case _:
                return None


def _is_readable(connection: socket.socket) -> bool:
    """Tell whether an idle connection has bytes or its end waiting: either way it is spent."""
    return bool(select.select([connection], [], [], 0)[0])
