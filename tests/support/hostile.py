"""A real loopback server that misbehaves by script, and a search for secrets in an error."""

import base64
import json
import select
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

# No test waits this long for anything that works; a hang ends here.
LIMIT = 10.0

# How long a drip waits between two pieces: far below any deadline a test gives.
_BETWEEN_DROPS = 0.05


@dataclass(frozen=True)
class Received:
    """One request as the server got it. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Line:
    """The server's end of one connection, for a script to play on."""

    def __init__(self, server: "HostileServer", connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._file = connection.makefile("rb")

    def read_head(self) -> Received:
        """Read the request line and headers; note the request without its body."""
        method, path, _ = self._file.readline().decode("latin-1").split(" ", 2)
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Received(method, path, headers, b"")

    def read_request(self) -> Received:
        """Read and note a whole request."""
        head = self.read_head()
        body = self._file.read(int(head.headers.get("content-length", "0")))
        received = Received(head.method, head.path, head.headers, body)
        self._server.requests.append(received)
        return received

    def send(self, data: bytes) -> None:
        """Send all; raises OSError once the client is gone."""
        self._connection.sendall(data)
        self._server.bytes_sent += len(data)

    def drip(self, data: bytes) -> None:
        """Send byte by byte, slowly; note it if the client hangs up before the end."""
        for byte in data:
            if self._hung_up_within(_BETWEEN_DROPS):
                return
            self.send(bytes([byte]))

    def wait_for_hang_up(self) -> None:
        """Send nothing and wait until the client closes."""
        self._connection.settimeout(LIMIT)
        while self._connection.recv(65_536):
            pass
        self._server.hung_up.set()

    def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as after a proxy's CONNECT."""
        self._connection = context.wrap_socket(self._connection, server_side=True)
        self._file = self._connection.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def _hung_up_within(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._connection], [], [], seconds)
        if not ready:
            return False
        if not self._connection.recv(65_536):
            self._server.hung_up.set()
            return True
        return False


Script = bytes | Callable[[Line], None]


@dataclass
class HostileServer:
    """Plays one script a connection; the last one is played for all that come after.

    A script is the raw bytes of a reply, sent once the request is read whole, or a function.
    """

    scripts: tuple[Script, ...]
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    bytes_sent: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "a script of the hostile server hangs"

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="hostile", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._guard:
                    script = self.scripts[min(self.connections, len(self.scripts) - 1)]
                    self.connections += 1
                    self._open.append(connection)
                self._start(self._play, connection, script)

    def _play(self, connection: socket.socket, script: Script) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            line = Line(self, connection)
        except (OSError, ValueError):
            connection.close()
            return
        try:
            if callable(script):
                script(line)
            else:
                line.read_request()
                line.send(script)
        except (ConnectionError, ssl.SSLError, ValueError):
            self.hung_up.set()
        except TimeoutError:
            pass  # the client never hung up, and `hung_up` says so
        finally:
            line.close()


def http(status: int, body: bytes | str | object = b"", /, **headers: str) -> bytes:
    """Return a raw reply: bytes and text as they are, anything else as JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    content = body if isinstance(body, bytes) else body.encode()
    lines = {"content-type": "application/json", "content-length": str(len(content))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode("latin-1") + content


def jwt(**claims: object) -> str:
    """Return an unsigned token that looks like Upstox's."""
    parts = ({"typ": "JWT", "alg": "HS256"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )


def texts_of(error: BaseException) -> Iterator[str]:
    """Yield every text that a log or a debugger could make of an error and of all behind it."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        pending += [current.__cause__, current.__context__]
        yield str(current)
        yield repr(current)
        yield repr(current.args)
        yield repr(vars(current))
        yield from traceback.format_exception(current)
