"""One HTTP request with hard limits: total time, size, no redirect, no `.netrc`, no retry.

`requests` limits each read, not the whole request, so a server that drips bytes could hold it for
ever. The request therefore runs in a thread of its own, and when the time is up its socket is shut
down under it; the same ends name look-ups and proxies that hang.
"""

import threading
import time
from datetime import timedelta
from typing import Protocol

from broker_tokens import __version__
from broker_tokens.errors import TemporaryFailure
from broker_tokens.http_message import NoReply, Reply, Request, host_of
from broker_tokens.waker import Waker

# Cloudflare refuses some unnamed clients (error 1010), so ours says who it is.
USER_AGENT = f"broker-tokens/{__version__} (python-requests)"

# The broker answers in well under a second; a reply later than this is not coming.
DEADLINE = timedelta(seconds=20)

# A wait that ends so much too late was held up: the process was stopped, or given no time to run.
_HELD_UP = timedelta(seconds=1)

# What has come meanwhile is then read within this; it may hold a refresh token that cannot be had
# again.
_CATCH_UP = timedelta(seconds=5)

# The largest documented reply, a year of holidays, has a few KB.
LARGEST_REPLY = 1 << 20


class Transport(Protocol):
    """What a broker sends its requests with."""

    def send(self, request: Request) -> Reply:
        """Return the reply, or raise TemporaryFailure or ConfigurationError."""


class HttpTransport:
    """Sends requests over the network; proxies and CA bundle of the environment are honoured."""

    def __init__(self, *, deadline: timedelta = DEADLINE, waker: Waker | None = None) -> None:
        """Limit every request to `deadline`; `waker` is the service's, to end it on a signal."""
        self._deadline = deadline
        self._waker = waker

    def send(self, request: Request) -> Reply:
        """Return the reply to `request`; raises TemporaryFailure or ConfigurationError."""
        from broker_tokens.http_worker import Attempt  # requests takes 90 ms: not for readers

        done = _new_waker()
        attempt = Attempt(request, USER_AGENT, self._deadline, LARGEST_REPLY, done.wake)
        try:
            threading.Thread(target=attempt.run, daemon=True).start()
            is_done = self._wait(done, request)
        finally:
            attempt.cut()
            done.close()
        if not is_done:
            raise NoReply(
                f"{host_of(request.url)} gave no complete answer within"
                f" {self._deadline.total_seconds():.0f} s.",
                "Check the network and the broker's status page if it stays so.",
                request_sent=attempt.may_have_been_sent,  # known only once the line is cut
            )
        return attempt.result()

    def _wait(self, done: Waker, request: Request) -> bool:
        began = time.monotonic()
        is_done = self._wait_for(done, self._deadline, request)
        late_by = timedelta(seconds=time.monotonic() - began) - self._deadline
        return is_done or (late_by > _HELD_UP and self._wait_for(done, _CATCH_UP, request))

    def _wait_for(self, done: Waker, length: timedelta, request: Request) -> bool:
        if self._waker is not None and request.may_be_cut:
            return self._waker.wait_for(done, length)
        return done.wait(length)


def _new_waker() -> Waker:
    try:
        return Waker()
    except OSError:
        raise TemporaryFailure(
            "This process has too many files and connections open to make another.",
            "Close some, or raise its limit (ulimit -n).",
            request_sent=False,
        ) from None
