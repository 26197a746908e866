"""Tells the observers what happened, each thing once; no observer can disturb a renewal."""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from broker_tokens.look import Look
from broker_tokens.model import Event, StoredTokens, TokenStored, Way

log = logging.getLogger(__name__)

Observer = Callable[[Event], None]


class Announcer:
    """Hands events to observers, and knows which token was the last one to be told of.

    Shared by the service's loop and the listener's thread. Observers are called at once, in the
    thread that brings the news: they write a line, or leave the work to a thread of their own.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._guard = threading.Lock()
        # Fingerprint and end of the token that was seen last; None before the first look.
        self._seen: tuple[str, datetime | None] | None = None

    def tell(self, event: Event) -> None:
        """Tell every observer; one that fails is logged, and the next one is told."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # an observer is somebody else's code
                log.exception("A notice could not be given.")

    def tell_stored(self, now: datetime, tokens: StoredTokens, way: Way) -> None:
        """Tell of a token that has been stored, if it lives."""
        token, expires_at = tokens.access_token, tokens.expires_at
        if token is None or expires_at is None or not tokens.is_live(now):
            return
        if self._is_news(token.fingerprint, expires_at):
            self.tell(TokenStored(now, way, expires_at, token.fingerprint, tokens.user_id))

    def notice(self, look: Look) -> None:
        """Tell of a token that another process of ours has stored since the last look.

        Somebody else's is told of once it has been taken over.
        """
        if look.is_foreign:
            return
        renewal = look.state.last_renewal
        if self._seen is not None and renewal is not None:
            self.tell_stored(look.now, look.tokens, renewal.way)
        token = look.tokens.access_token
        self._is_news("" if token is None else token.fingerprint, look.tokens.expires_at)

    def _is_news(self, fingerprint: str, expires_at: datetime | None) -> bool:
        seen = (fingerprint, expires_at)
        with self._guard:
            is_news = seen != self._seen
            self._seen = seen
        return is_news
