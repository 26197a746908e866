"""The loopback side of a login: a small server that catches one redirect (RFC 8252 section 7.3)."""

import errno
import html
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from broker_tokens.errors import LoginRequired, TemporaryFailure, TokenRejected
from broker_tokens.renewals.code_exchange import code_from_query
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import LOOPBACK_HOSTS
from broker_tokens.waker import Waker

# A person needs a mobile number, an OTP and a PIN; after this the link has been left lying.
LOGIN_LIMIT = timedelta(minutes=5)

# How long a browser may take to send its request, and to wait for what the exchange brings.
_REQUEST_SECONDS = 10
_EXCHANGE_SECONDS = 30


class RedirectCatcher:
    """Listens at the redirect address and takes one code, with the right state, once."""

    def __init__(self, redirect_uri: str, state: str) -> None:
        """Bind the address; raises TemporaryFailure if that cannot be."""
        parts = urlsplit(redirect_uri)
        self.path = parts.path or "/"
        self._state = state
        self._code: Secret | None = None
        self._refusal: TokenRejected | None = None
        self._guard = threading.Lock()
        self._finished = threading.Event()
        self._page = ""
        self._servers = _bind(parts.hostname or "", parts.port or 80, self)
        self._caught = Waker()  # last, as nothing would close it if the address cannot be bound

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._finished.is_set():
            self.finish("The login was not completed. Look at the terminal.")
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._caught.close()

    def wait(self, limit: timedelta = LOGIN_LIMIT) -> Secret:
        """Return the code; raises TokenRejected if refused, LoginRequired after `limit`."""
        if not self._caught.wait(limit):
            raise LoginRequired(
                f"No login was completed within {limit.total_seconds() / 60:.0f} minutes.",
                "Start it again: python init_tokens.py",
            )
        if self._refusal is not None:
            raise self._refusal
        assert self._code is not None  # noqa: S101 -- the waker is woken with one or the other
        return self._code

    def finish(self, words: str) -> None:
        """Let the browser show how it ended; a reload shows the same."""
        self._page = words
        self._finished.set()

    def take(self, query: dict[str, list[str]]) -> str | None:
        """Take a redirect's query; return the words for the browser, None if it is not ours."""
        with self._guard:
            if self._code is None and self._refusal is None:
                try:
                    self._code = code_from_query(query, self._state, state_needed=True)
                except TokenRejected as error:
                    if "error" not in query or not self._is_ours(query):
                        return None
                    self._refusal = error
                self._caught.wake()
        self._finished.wait(_EXCHANGE_SECONDS)
        return self._page or "Look at the terminal to see how it ended."

    def _is_ours(self, query: dict[str, list[str]]) -> bool:
        return Secret(query.get("state", [""])[0]) == Secret(self._state)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False
    catcher: RedirectCatcher

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that hangs up."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path != self.server.catcher.path:
            self._reply(404, "Nothing is here.")
            return
        words = self.server.catcher.take(parse_qs(parts.query))
        if words is None:
            self._reply(400, "This answer belongs to another login. Start again from the terminal.")
        else:
            self._reply(200, words)

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the address of a request holds the code."""

    def _reply(self, status: int, words: str) -> None:
        page = (
            f"<!doctype html><meta charset=utf-8><title>Upstox login</title><p>{html.escape(words)}"
        )
        content = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)


def can_catch(redirect_uri: str) -> bool:
    """Whether this machine itself is where the redirect goes, without TLS."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS


def _bind(host: str, port: int, catcher: RedirectCatcher) -> list[_Server]:
    """Listen on every loopback address that a browser may take the host's name for."""
    families: list[tuple[type[_Server], str]] = []
    if host in ("localhost", "127.0.0.1"):
        families.append((_Server, "127.0.0.1"))
    if host in ("localhost", "::1"):
        families.append((_Server6, "::1"))
    servers: list[_Server] = []
    for kind, address in families:
        try:
            server = kind((address, port), _Handler)
        except OSError as error:
            if address == "::1" and servers and error.errno != errno.EADDRINUSE:
                continue  # a machine without IPv6
            for bound in servers:
                bound.server_close()
            raise _cannot_listen(port, error) from None
        server.catcher = catcher
        servers.append(server)
    return servers


def _cannot_listen(port: int, error: OSError) -> TemporaryFailure:
    if error.errno == errno.EADDRINUSE:
        cause = f"Port {port} of UPSTOX_REDIRECT_URI is in use by another program."
        return TemporaryFailure(cause, "Close that program, or log in with --no-browser.")
    if error.errno == errno.EACCES:
        cause = f"Port {port} of UPSTOX_REDIRECT_URI may only be used by root."
        return TemporaryFailure(cause, "Register a redirect address with a port above 1023.")
    cause = f"Port {port} of UPSTOX_REDIRECT_URI cannot be used: {error.strerror}."
    return TemporaryFailure(cause, "Log in with --no-browser.")
