"""One attempt at one HTTP request with `requests`, in a thread that can be cut off."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from broker_tokens.errors import TemporaryFailure, TokenError
from broker_tokens.http_message import BrokenOff, Reply, Request, host_of
from broker_tokens.http_trouble import explain, network_trouble
from broker_tokens.setting_values import LOOPBACK_HOSTS

_CHUNK = 16_384

# An empty address here outranks the proxies of the environment.
_NO_PROXIES = {"http": "", "https": ""}


_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class _CutOff(Exception):
    """The time was up before the connection was made."""


class Attempt:
    """The thread's side of a request: `run()` there; `cut()` and `result()` by who waits."""

    def __init__(
        self,
        request: Request,
        user_agent: str,
        deadline: timedelta,
        largest_reply: int,
        when_done: Callable[[], None],
    ) -> None:
        self._request = request
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._headers.update(request.headers)
        self._seconds = deadline.total_seconds()
        self._largest_reply = largest_reply
        self._when_done = when_done
        self._result: Reply | TokenError | BaseException | None = None
        self._socket: socket.socket | None = None
        self._is_cut = False
        self._guard = threading.Lock()
        self.may_have_been_sent = False

    def run(self) -> None:
        """Make the request and keep the outcome; never raises."""
        try:
            self._result = self._exchange()
        except _CutOff:
            self._result = None
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            UnicodeError,
        ) as error:
            self._result = explain(error, self._request.url, sent=self.may_have_been_sent)
        except BaseException as error:  # noqa: BLE001 -- carried to the waiting thread
            self._result = error
        finally:
            self._when_done()

    def result(self) -> Reply:
        """Return the reply or raise what went wrong."""
        if isinstance(self._result, BaseException):
            raise self._result
        assert self._result is not None  # noqa: S101 -- run() has ended
        return self._result

    def cut(self) -> None:
        """End the connection, so that nothing more is sent and the thread comes to its end."""
        with self._guard:
            self._is_cut = True
            if self._socket is not None:
                _shut_down(self._socket)
                self._socket = None

    def hold(self, connection: socket.socket) -> None:
        """Remember the connection, to be able to cut it; raises when it is too late for one."""
        with self._guard:
            if self._is_cut:
                connection.close()
                raise _CutOff
            # A duplicate: TLS takes the original over, and only the duplicate stays ours to close.
            self._socket = connection.dup()

    def _exchange(self) -> Reply:
        with _Session(self) as session, self._answer(session) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = bytearray()
            try:
                for chunk in self._chunks(response):
                    body += chunk
                # Left to urllib3, a body that is too short would be lost with its error.
                if response.raw.length_remaining:
                    raise ConnectionResetError
            except _BROKEN as error:
                cause, advice = network_trouble(error, host_of(self._request.url))
                partial = Reply(response.status_code, headers, bytes(body))
                raise BrokenOff(cause, advice, partial) from None
            return Reply(response.status_code, headers, bytes(body))

    def _answer(self, session: requests.Session) -> requests.Response:
        is_loopback = urlsplit(self._request.url).hostname in LOOPBACK_HOSTS
        return session.request(
            self._request.method,
            self._request.url,
            headers=self._headers,
            data=self._request.form,
            json=self._request.json,
            auth=_keep_headers,
            # Proxies and CA bundle come from the environment, but no proxy may see a loopback call.
            proxies=dict(_NO_PROXIES) if is_loopback else None,
            timeout=self._seconds,
            allow_redirects=False,
            stream=True,
        )

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        response.raw.enforce_content_length = False
        size = 0
        for chunk in response.iter_content(_CHUNK):
            size += len(chunk)
            if size > self._largest_reply:
                raise TemporaryFailure(
                    f"The reply of {host_of(self._request.url)} is larger than"
                    f" {self._largest_reply >> 20} MiB, so it was not read.",
                    "Check UPSTOX_API_URL and any proxy in between.",
                )
            yield chunk


class _Session(requests.Session):
    """Sends with the attempt's adapter, and looks at no redirect."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(attempt))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target: `requests` would read all of a redirect's body, and open its address,

        even when told not to follow it.
        """


class _Adapter(HTTPAdapter):
    """Makes connections that the attempt can cut; never retries."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        super().__init__(max_retries=urllib3.Retry(0, read=False, redirect=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._attempt)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _pools(self._attempt)
        return manager


def _pools(attempt: Attempt) -> dict[str, Any]:
    """Return urllib3's pools with connections that report to `attempt`."""
    pools: dict[str, Any] = {
        "http": urllib3.HTTPConnectionPool,
        "https": urllib3.HTTPSConnectionPool,
    }
    return {
        scheme: type("Pool", (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, attempt)})
        for scheme, pool in pools.items()
    }


class _QuietReply(http.client.HTTPResponse):
    """A reply whose malformed header lines are dropped; urllib3 would log them, text and all."""

    def begin(self) -> None:
        super().begin()
        self.msg.defects.clear()
        self.msg.set_payload("")


def _watched(connection: Any, attempt: Attempt) -> Any:
    class Watched(connection):  # type: ignore[misc]  # the base is a parameter
        response_class = _QuietReply

        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            attempt.hold(made)
            return made

        def connect(self) -> None:
            super().connect()
            attempt.may_have_been_sent = True

    return Watched


def _keep_headers(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in as `auth`: without one, `requests` would put a `.netrc` password in its place."""
    return prepared


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it may have ended by itself
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
