"""What follows of events and renewals: log lines, notices, the user's command."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from broker_tokens.announcer import Announcer
from broker_tokens.clock import Clock, system_clock
from broker_tokens.credentials import surroundings
from broker_tokens.errors import TokenError
from broker_tokens.event_log import log_event
from broker_tokens.file_metadata import open_to_others
from broker_tokens.lenient_settings import LenientSettings
from broker_tokens.look import Look
from broker_tokens.model import Event, TokenStored
from broker_tokens.notices.after_renewal import AfterRenewal
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.notifier import Notifier
from broker_tokens.settings import Settings, load_settings
from broker_tokens.store import TokenStore

log = logging.getLogger(__name__)

# How soon a signal ends the wait for a notice under way.
_SLICE = timedelta(seconds=0.1)


class Aftermath:
    """The observers of one `.env`'s service, and the threads in which their slow work is done."""

    def __init__(
        self,
        env_path: str,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        """Work for the service of `env_path`; `environ` is the process's by default."""
        around = surroundings(environ)
        store = TokenStore(env_path)

        lenient = LenientSettings(
            lambda values: load_settings(values, around, source=env_path), is_quiet=True
        )

        def settings() -> Settings:
            return lenient(store.load().values)

        with suppress(TokenError):
            settings()  # what is right now holds on, should a slip in `.env` follow

        # Two, so that no channel that hangs delays the command, nor the command an alarm.
        notices, command = self._couriers = (Courier(), Courier())
        self._after_renewal = AfterRenewal(store, clock, command, around)
        notifier = Notifier(store, settings, notices, around)

        def warn_of_readers(event: Event) -> None:
            if isinstance(event, TokenStored) and (warning := open_to_others(env_path)):
                log.warning("%s", warning)

        self.announcer = Announcer([log_event, notifier, warn_of_readers])

    def look_after(self, look: Look) -> None:
        """Do what a new token calls for; made to be called after each tick."""
        self._after_renewal.look_after(look)

    def finish(self, limit: timedelta, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Wait for what is under way, at most for `limit` or until asked to stop."""
        give_up_at = time.monotonic() + limit.total_seconds()
        while not all(courier.drain(_SLICE) for courier in self._couriers):
            if is_stopping() or time.monotonic() >= give_up_at:
                return
