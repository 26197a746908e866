"""Tells the observers what happened, each thing once; no observer can disturb a renewal."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from broker_tokens.look import Look
from broker_tokens.model import Event, StoredTokens, TokenStored, Way

log = logging.getLogger(__name__)

Observer = Callable[[Event], None]


class Announcer:
    """Hands events to observers, and knows which token was the last one to be told of."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        # The fingerprint that was seen last; None before the first look.
        self._seen: str | None = None

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
        if token is not None and expires_at is not None and tokens.is_live(now):
            self._seen = token.fingerprint
            self.tell(TokenStored(now, way, expires_at, token.fingerprint))

    def notice(self, look: Look) -> None:
        """Tell of a token that another process of ours has stored since the last look."""
        token = look.tokens.access_token
        fingerprint = "" if token is None else token.fingerprint
        is_news = self._seen is not None and fingerprint != self._seen and not look.is_foreign
        if is_news and look.state.last_renewal is not None:
            self.tell_stored(look.now, look.tokens, look.state.last_renewal.way)
        self._seen = fingerprint
