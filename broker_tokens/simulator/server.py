"""The simulated broker behind a real HTTP server, on this machine only."""

import os
import socket
import sys
from datetime import UTC, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from broker_tokens.simulator.broker import SimulatedUpstox
from broker_tokens.simulator.phone import tap
from broker_tokens.simulator.wire import RefusalError, Request, Response, parse_fields

# The largest real request is a login form of a few hundred bytes.
MAX_BODY = 64 * 1024

# How long a silent client may hold a thread, in seconds.
SOCKET_TIMEOUT = 10

# How often the accept loop looks whether it should end, in seconds: a stop must feel immediate.
POLL_SECONDS = 0.05

# How long closing waits for a request that is being answered, in seconds.
CLOSE_SECONDS = 1


class SimulatorServer:
    """Serve a simulated broker; a context manager, `url` is where clients find it."""

    def __init__(self, broker: SimulatedUpstox, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server(broker, loopback_address(host), port)
        self._thread = Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="simulator", daemon=True
        )

    @property
    def url(self) -> str:
        """Return the base address, without a slash at its end."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering, end open connections, free the port; doing it twice is no error."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end_connections()


def loopback_address(host: str) -> str:
    """Return the address to bind; anything but loopback is refused: the tokens are play money."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"The simulator listens on loopback only, not on {host!r}.")
    return address


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # On Windows this option would let a second simulator share the port in silence.
    allow_reuse_address = os.name != "nt"

    def __init__(self, broker: SimulatedUpstox, host: str, port: int) -> None:
        self.broker = broker
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._connections: dict[Thread, socket.socket] = {}
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of the host's name, which can take seconds."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a daemon thread of its own, remembered until it ends."""
        self._connections = {
            thread: held for thread, held in self._connections.items() if thread.is_alive()
        }
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._connections[thread] = request
        thread.start()

    def end_connections(self) -> None:
        """End idle keep-alive connections, and wait for their threads to close the sockets."""
        for thread, held in self._connections.items():
            if thread.is_alive():
                _hang_up(held)
                thread.join(CLOSE_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away; a defect of ours keeps its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_TIMEOUT
    # Head and body leave in two writes; without this the second one waits for an ACK.
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        try:
            body = self._read_body()
        except RefusalError as refusal:
            # What follows on this connection may be the body that was not read.
            self.close_connection = True
            self._send(refusal.response({}))
            return
        path, _, query = self.path.partition("?")
        headers = dict(self.headers.items())
        request = Request(self.command, path, parse_fields(query), headers, body)
        broker = self.server.broker
        self._send(tap(broker, request) or broker.handle(request))

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 -- names that http.server looks for
    do_PUT = do_PATCH = do_HEAD = do_OPTIONS = _serve  # noqa: N815 -- likewise

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            raise RefusalError("UDAPI100036", status=411)
        if not (length.isascii() and length.isdigit()):
            raise RefusalError("UDAPI100036")
        if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            raise RefusalError("UDAPI100036", status=413)
        return self.rfile.read(int(length))

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 -- stdlib
        """Return the `Date` header by the broker's clock, which may be far from the machine's."""
        broker = self.server.broker
        now = broker.clock() + (broker.date_shift or timedelta(0))
        return format_datetime(now.astimezone(UTC), usegmt=True)

    def send_header(self, keyword: str, value: str) -> None:
        """Send a header, but for the `Date` of a broker that shall tell none."""
        if keyword != "Date" or self.server.broker.date_shift is not None:
            super().send_header(keyword, value)

    def version_string(self) -> str:
        """Return the `Server` header."""
        return "simulated-upstox"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- stdlib's name
        """Log nothing: a request line can hold a code."""
