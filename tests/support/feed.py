"""The market feed, as the SDK's streamers reach it: TLS, WebSocket, one address that is fixed.

`websockets` serves it. The SDK's address cannot be changed, so it is led here by a proxy that opens
a tunnel to this place wherever one asks to go.
"""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import Queue

from support.doors import LIMIT
from upstox_client.feeder.proto.MarketDataFeedV3_pb2 import FeedResponse
from websockets.sync.server import serve

from broker_tokens.simulator.broker import SimulatedUpstox


@dataclass
class Feed:
    """The feed of a simulated broker."""

    broker: SimulatedUpstox
    proxy: str = ""
    tokens: Queue = field(default_factory=Queue)
    connections: list = field(default_factory=list)
    refused: int = 0
    away: int = 0

    def admit(self, connection, request):
        """Answer the handshake: 401 to a dead token (Upstox docs, Market Data Feed V3)."""
        if self.away:
            self.away -= 1
            return connection.respond(HTTPStatus.BAD_GATEWAY, "")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.broker.is_live(token):
            self.refused += 1
            return connection.respond(HTTPStatus.UNAUTHORIZED, "")
        self.tokens.put(token)
        return None

    def talk(self, connection):
        """Send a price for each subscription until the client goes."""
        self.connections.append(connection)
        with suppress(Exception):
            for _ in connection:
                connection.send(price("NSE_INDEX|Nifty 50", 23_456.7))

    def close_all(self):
        """End every connection, as Upstox does at 03:30."""
        for connection in self.connections:
            connection.close(4001)
        self.connections.clear()


def price(key, value):
    """Return one message of the feed."""
    message = FeedResponse(type=1)
    message.feeds[key].ltpc.ltp = value
    return message.SerializeToString()


@contextmanager
def running_feed(broker, folder):
    """Serve the feed, and a proxy that leads to it, until left."""
    feed = Feed(broker)
    with (
        serve(feed.talk, "127.0.0.1", 0, ssl=_tls(folder), process_request=feed.admit) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = server.socket.getsockname()
        threading.Thread(target=_accept, args=(listener, place), daemon=True).start()
        feed.proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield feed
        feed.close_all()


def _tls(folder):
    key, certificate = folder / "feed.key", folder / "feed.pem"
    subprocess.run(
        [
            *(shutil.which("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=api.upstox.com", "-days", "2", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        timeout=LIMIT,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _accept(listener, place):
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_tunnel, args=(client, place), daemon=True).start()


def _tunnel(client, place):
    with suppress(OSError), client, socket.create_connection(place) as server:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        there = threading.Thread(target=_pump, args=(client, server), daemon=True)
        there.start()
        _pump(server, client)
        there.join()


def _pump(source, target):
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
