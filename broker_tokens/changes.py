"""Waiting for another token: for what holds a connection open that the old token made."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

from broker_tokens.errors import TokenError
from broker_tokens.secrets import Secret, redact

log = logging.getLogger(__name__)

# One look at the file's metadata a second: cheap, and the same on every file system.
LOOK_SECONDS = 1.0

# How often a dead token is tried to be renewed where no service does so.
_RENEW_SECONDS = 30.0


class Changes:
    """Tells when the live token has become another one."""

    def __init__(
        self,
        live_token: Callable[[], str | None],
        renew: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`live_token` returns the stored token while it lives; `renew` tries to get one."""
        self._live_token = live_token
        self._renew = renew
        self._clock = clock

    def wait(
        self,
        since: str | None,
        timeout: timedelta | None,
        pause: Callable[[float], object] = time.sleep,
    ) -> str | None:
        """Return the live token as soon as it is not `since`, or None after `timeout`.

        `pause` sleeps, in seconds; what it returns, if true, ends the wait.
        """
        for step in self.steps(since, timeout):
            if isinstance(step, str):
                return step
            if step is None:
                self.try_to_renew()
            elif pause(step):
                return None
        return None

    def steps(self, since: str | None, timeout: timedelta | None) -> Iterator[str | float | None]:
        """Yield what a wait does: sleep so many seconds, renew (None), or be done (the token)."""
        ends_at = None if timeout is None else self._clock() + timeout.total_seconds()
        renew_at = self._clock()
        while True:
            token = self._live()
            if token is not None and token != since:
                yield token
                return
            now = self._clock()
            if token is None and now >= renew_at:
                renew_at = now + _RENEW_SECONDS
                yield None
                continue
            if ends_at is not None and now >= ends_at:
                return
            yield LOOK_SECONDS if ends_at is None else min(LOOK_SECONDS, ends_at - now)

    def try_to_renew(self) -> None:
        """Renew if that can be done without a person; a failure is the service's to tell."""
        with suppress(TokenError):
            self._renew()

    def call(self, callback: Callable[[str], object], since: str | None) -> Callable[[], None]:
        """Call `callback` with each new token, in a daemon thread; return what ends that."""
        stop = threading.Event()

        def run() -> None:
            known = since
            while (token := self.wait(known, None, stop.wait)) is not None:
                known = token
                _guarded(callback, token)

        threading.Thread(target=run, name="upstox-token-change", daemon=True).start()
        return stop.set

    def _live(self) -> str | None:
        try:
            return self._live_token()
        except TokenError:
            return None  # the file is being edited, or is away for a moment


def _guarded(callback: Callable[[str], object], token: str) -> None:
    """Call a user's function; what it raises is logged, and the next token is told all the same."""
    try:
        callback(token)
    except Exception:  # noqa: BLE001 -- anything may go wrong in there
        held = Secret(token)
        log.error("on_change: the callback failed.\n%s", redact(traceback.format_exc(), held))
