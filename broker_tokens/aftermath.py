"""What follows of events and renewals: log lines, notices, the user's command."""

import os
from collections.abc import Mapping
from datetime import timedelta

from broker_tokens.announcer import Announcer
from broker_tokens.clock import Clock, system_clock
from broker_tokens.event_log import log_event
from broker_tokens.look import Look
from broker_tokens.notices.after_renewal import AfterRenewal
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.notifier import Notifier
from broker_tokens.settings import Settings, load_settings
from broker_tokens.store import TokenStore


class Aftermath:
    """The observers of one `.env`'s service, and the thread in which their slow work is done."""

    def __init__(
        self,
        env_path: str,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        """Work for the service of `env_path`; `environ` is the process's by default."""
        surroundings = os.environ if environ is None else environ
        store = TokenStore(env_path)

        def settings() -> Settings:
            return load_settings(store.load().values, surroundings, source=env_path)

        self._courier = Courier()
        self._after_renewal = AfterRenewal(store, clock, self._courier, surroundings)
        notifier = Notifier(store, settings, self._courier, surroundings)
        self.announcer = Announcer([log_event, notifier])

    def look_after(self, look: Look) -> None:
        """Do what a new token calls for; made to be called after each tick."""
        self._after_renewal.look_after(look)

    def finish(self, limit: timedelta) -> None:
        """Wait for what is under way, at most for `limit`."""
        self._courier.drain(limit)
