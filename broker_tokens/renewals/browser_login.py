"""The loopback side of a login: a small server that catches one redirect (RFC 8252 section 7.3)."""

import threading
from datetime import timedelta
from typing import Self
from urllib.parse import parse_qs, urlsplit

from broker_tokens.errors import LoginRequired, TokenRejected
from broker_tokens.renewals.code_exchange import code_from_query
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import LOOPBACK_HOSTS
from broker_tokens.waker import Waker
from broker_tokens.web.http_server import WebServer
from broker_tokens.web.http_values import Route, WebReply, WebRequest
from broker_tokens.web.pages import login_page

# A person needs a mobile number, an OTP and a PIN; after this the link has been left lying.
LOGIN_LIMIT = timedelta(minutes=5)

# How long a browser waits for what the exchange brings.
_EXCHANGE_SECONDS = 30

# For the page that tells how it ended to leave.
_GRACE = timedelta(seconds=1)


class RedirectCatcher:
    """Listens at the redirect address and takes one code, with the right state, once."""

    def __init__(self, redirect_uri: str, state: str) -> None:
        """Bind the address; raises TemporaryFailure if that cannot be."""
        parts = urlsplit(redirect_uri)
        self._state = state
        self._code: Secret | None = None
        self._refusal: TokenRejected | None = None
        self._guard = threading.Lock()
        self._finished = threading.Event()
        self._page = ""
        route = Route(parts.path or "/", "GET", self._receive)
        host, port = parts.hostname or "", parts.port or 80
        self._server = WebServer(
            host, port, lambda: [route], _count_nothing, key="UPSTOX_REDIRECT_URI"
        )
        self._caught = Waker()  # last, as nothing would close it if the address cannot be bound

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._finished.is_set():
            self.finish("The login was not completed. Look at the terminal.")
        self._server.close(_GRACE)
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

    def _receive(self, request: WebRequest) -> WebReply:
        words = self._take(parse_qs(request.query))
        if words is None:
            words = "This answer belongs to another login. Start again from the terminal."
            return WebReply.html(400, login_page(words))
        return WebReply.html(200, login_page(words))

    def _take(self, query: dict[str, list[str]]) -> str | None:
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


def _count_nothing(reason: str) -> None:
    """Leave strangers uncounted: this server lives for one login."""


def can_catch(redirect_uri: str) -> bool:
    """Whether this machine itself is where the redirect goes, without TLS."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
