"""From an event to the person's phone: worded, let through once, and sent by the courier."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from broker_tokens.errors import TokenError
from broker_tokens.model import Event
from broker_tokens.notices import channels
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.gate import admit
from broker_tokens.notices.words import Notice, notice_of
from broker_tokens.settings import Settings
from broker_tokens.store import TokenStore

log = logging.getLogger(__name__)


class Notifier:
    """An observer that tells the person; it returns at once, and sends later."""

    def __init__(
        self,
        store: TokenStore,
        settings: Callable[[], Settings],
        courier: Courier,
        environ: Mapping[str, str],
    ) -> None:
        """`settings` reads them afresh, so that a new address counts at the next notice."""
        self._store = store
        self._settings = settings
        self._courier = courier
        self._environ = environ
        self._guard = threading.Lock()
        # Beside the saved state: on a full disk, an alarm is sent all the same, and only once.
        self._noticed: Mapping[str, datetime] = {}

    def __call__(self, event: Event) -> None:
        """Have the courier tell of `event`, if it is a person's business."""
        notice = notice_of(event)
        if notice is not None:
            self._courier.submit(lambda: self.tell(notice, event.at))

    def tell(self, notice: Notice, at: datetime, *, only_if_noted: bool = False) -> None:
        """Send `notice` now, if there is anybody to tell and it was not told today.

        `only_if_noted` is for a process that tells once and forgets: unnoted, it would tell again.
        """
        settings = self._settings()
        if not channels.is_any_configured(settings):
            return
        if not self._admit(notice, at, only_if_noted=only_if_noted):
            return
        for name, finished in channels.send(notice, settings, self._environ, self._store.redact):
            if finished.problem:
                said = f" It said: {finished.said}" if finished.said else ""
                log.warning("A notice through %s failed. %s%s", name, finished.problem, said)

    def _admit(self, notice: Notice, now: datetime, *, only_if_noted: bool) -> bool:
        """Whether it may be sent; noted before it is, so that a crash can never repeat it."""
        with self._guard:
            try:
                noticed = self._admit_and_note(notice, now)
            except TokenError as error:
                log.warning("That a notice is sent could not be noted: %s", error)
                noticed = None if only_if_noted else admit(notice, self._noticed, now)
            if noticed is not None:
                self._noticed = noticed
        return noticed is not None

    def _admit_and_note(self, notice: Notice, now: datetime) -> dict[str, datetime] | None:
        with self._store.writing() as writer:
            state = writer.load().state
            noticed = admit(notice, {**self._noticed, **state.noticed}, now)
            if noticed is not None:
                writer.save_state(replace(state, noticed=noticed))
        return noticed
