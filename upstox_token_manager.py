"""A live Upstox access token for a strategy: `from upstox_token_manager import get_current_token`.

Importing this costs a strategy next to nothing: no network, no `requests`, no change to
`os.environ`, no logging set-up. What a renewal needs is imported when one is needed.
"""

import broker_tokens  # isort: skip  # noqa: F401 -- says in words when this Python is too old
import time
from datetime import UTC, datetime, timedelta

from broker_tokens.env_path import locate
from broker_tokens.errors import (
    ConfigurationError,
    LoginRequired,
    StoreError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.reader import TokenReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from broker_tokens.changes import Changes
    from broker_tokens.clock import Clock
    from broker_tokens.model import StoredTokens
    from broker_tokens.reader import Known
    from broker_tokens.service import TokenService
    from broker_tokens.settings import Settings

__all__ = [
    "ConfigurationError",
    "LoginRequired",
    "StoreError",
    "TemporaryFailure",
    "TokenError",
    "TokenRejected",
    "UpstoxTokenManager",
    "get_current_token",
]

_NO_MARGIN = timedelta(0)


class UpstoxTokenManager:
    """Reads, makes and renews the tokens of one `.env`; each process may have its own."""

    def __init__(
        self,
        env_file_path: "str | Path | None" = None,
        *,
        environ: "Mapping[str, str] | None" = None,
        clock: "Clock | None" = None,
    ) -> None:
        """Use `env_file_path`, else UPSTOX_ENV_FILE, else the nearest `.env`.

        `environ` (default: the process's) outranks the file for settings, never for tokens; `clock`
        (default: the machine's) returns the present as an aware datetime. Raises ConfigurationError
        if there is no `.env`.
        """
        self._environ = environ
        self._clock: Clock = clock or (lambda: datetime.now(UTC))
        self._path = locate(None if env_file_path is None else str(env_file_path), environ)
        now = time.time if clock is None else lambda: clock().timestamp()
        self._live_token = TokenReader(self._path, self._load, now=now).live_token
        self._service_made: TokenService | None = None

    def __repr__(self) -> str:
        return f"UpstoxTokenManager({self._path!r})"

    @property
    def client_id(self) -> str:
        """The app's API key, or an empty text."""
        return self._settings.client_id

    @property
    def client_secret(self) -> str:
        """The app's API secret, or an empty text."""
        return self._settings.client_secret.reveal()

    @property
    def redirect_uri(self) -> str:
        """The redirect address registered for the app."""
        return self._settings.redirect_uri

    @property
    def api_url(self) -> str:
        """Where Upstox's API is reached: https://api.upstox.com, or what UPSTOX_API_URL says."""
        return self._settings.api_url

    @property
    def access_token(self) -> str | None:
        """The stored access token, dead or alive; `get_current_token` is the one to trade with."""
        token = self._stored.access_token
        return None if token is None else token.reveal()

    @property
    def refresh_token(self) -> str | None:
        """The stored refresh token; None on most days, as Upstox documents none."""
        token = self._stored.refresh_token
        return None if token is None else token.reveal()

    @property
    def token_expiry(self) -> datetime | None:
        """When the stored token dies (aware), or None if there is none or nobody knows."""
        return self._stored.expires_at

    def get_authorization_url(self, state: str | None = None) -> str:
        """Return the login address, percent-encoded; raises ConfigurationError without an app.

        `state` (RFC 6749 section 10.12) comes back in the redirect address.
        """
        return self._service.look().broker.authorization_url(state)

    def get_access_token_from_code(self, code: str) -> str:
        """Exchange a login's code, save what it brings, and return the new access token.

        `code` is the bare code or the whole redirect address. One code is never sent twice. Raises
        TokenRejected for a wrong or used code, ConfigurationError for a wrong app, TemporaryFailure
        for anything unclear, StoreError (with nothing sent) if `.env` cannot be written.
        """
        from broker_tokens.renewals.code_exchange import read_code

        return self._reveal(self._service.exchange_code(read_code(code)))

    def refresh_access_token(self) -> str:
        """Renew by the refresh grant now, whatever is due, and return the new access token.

        Raises LoginRequired ("Refresh token not found") without a refresh token, TokenRejected if
        the broker refuses it, and as `get_access_token_from_code` otherwise.
        """
        return self._reveal(self._service.renew())

    def get_current_token(self, min_valid: timedelta = _NO_MARGIN) -> str:
        """Return an access token that lives longer than `min_valid`; never an expired one.

        Renews silently when that can help. Raises LoginRequired (with `login_url`) when only a
        person can, TemporaryFailure when time can, ConfigurationError or StoreError when `.env` is
        wrong or unreadable.
        """
        margin = 0.0 if min_valid is _NO_MARGIN else min_valid.total_seconds()
        return self._live_token(margin) or self._service.current_token(min_valid).reveal()

    def report_rejected(self, token: str) -> None:
        """Report that the broker refused `token` with 401 and UDAPI100050; ask for another after.

        The broker is asked whether it is really dead, at most once in half a minute; a dead one is
        handed to nobody any more. Other 401s (a static-IP gate) do not mean a dead token. Raises as
        `get_current_token` does when `.env` is wrong.
        """
        from broker_tokens.secrets import Secret

        self._service.report_rejected(Secret(token))

    def on_change(self, callback: "Callable[[str], object]") -> "Callable[[], None]":
        """Call `callback` with each new live token, from now on; returns a function that ends that.

        It is called in a daemon thread, within about a second, whoever stored the token; what it
        raises is logged. A dead token is renewed meanwhile if that needs no person.
        """
        return self.changes.call(callback, self._live_token(0.0))

    def wait_for_change(
        self, timeout: timedelta | None = None, *, since: str | None = None
    ) -> str | None:
        """Wait until the live token is another one; return it, or None after `timeout`.

        `since` is the token that the caller uses ("": none yet); by default the one that is live at
        the call. A dead token is renewed meanwhile if that needs no person.
        """
        return self.changes.wait(self._live_token(0.0) if since is None else since, timeout)

    async def wait_for_change_async(
        self,
        timeout: timedelta | None = None,  # noqa: ASYNC109 -- as in `wait_for_change`
        *,
        since: str | None = None,
    ) -> str | None:
        """Do as `wait_for_change`, in an asyncio event loop, which it does not hold up."""
        import asyncio

        known = self._live_token(0.0) if since is None else since
        for step in self.changes.steps(known, timeout):
            if isinstance(step, str):
                return step
            if step is None:
                await asyncio.to_thread(self.changes.try_to_renew)
            else:
                await asyncio.sleep(step)
        return None

    def start_auto_refresh_scheduler(
        self, refresh_time: str = "02:00"
    ) -> "threading.Thread | None":
        """Run the service's loop in a daemon thread and return the thread.

        `refresh_time` is HH:MM, IST. Returns None if a service already keeps this `.env`. Raises
        ConfigurationError for a wrong time.
        """
        from broker_tokens.background import start_thread

        return start_thread(self._path, refresh_time, environ=self._environ, clock=self._clock)

    @property
    def _service(self) -> "TokenService":
        """The service, made when something beyond reading is first needed."""
        if self._service_made is None:
            from broker_tokens.app import build_service

            self._service_made = build_service(self._path, environ=self._environ, clock=self._clock)
        return self._service_made

    @property
    def changes(self) -> "Changes":
        """What `on_change` and `wait_for_change` are made of."""
        from broker_tokens.changes import Changes

        return Changes(lambda: self._live_token(0.0), self.get_current_token)

    @property
    def _stored(self) -> "StoredTokens":
        from broker_tokens.store import TokenStore

        return TokenStore(self._path).load().tokens

    def _load(self) -> "Known":
        stored = self._stored
        if stored.access_token is None or stored.expires_at is None:
            return "", 0.0
        return stored.access_token.reveal(), stored.expires_at.timestamp()

    @property
    def _settings(self) -> "Settings":
        return self._service.look().settings

    @staticmethod
    def _reveal(tokens: "StoredTokens") -> str:
        assert tokens.access_token is not None  # noqa: S101 -- just stored
        return tokens.access_token.reveal()


_shared: "dict[str | Path | None, UpstoxTokenManager]" = {}


def get_current_token(
    env_file_path: "str | Path | None" = None, min_valid: timedelta = _NO_MARGIN
) -> str:
    """Return a live access token, from a manager shared by the whole process.

    Arguments and errors are those of `UpstoxTokenManager` and its `get_current_token`.
    """
    manager = _shared.get(env_file_path)
    if manager is None:
        manager = _shared.setdefault(env_file_path, UpstoxTokenManager(env_file_path))
    return manager.get_current_token(min_valid)


if __name__ == "__main__":
    import sys

    from broker_tokens.cli.main import main

    # Alone it is the status; with a command it is `upstox-token`, where that is not installed.
    is_command = sys.argv[1:] and not sys.argv[1].startswith("-")
    sys.exit(main(sys.argv[1:] if is_command else ["status", *sys.argv[1:]]))
