"""What is found out by asking the broker: whether the token lives, and when the market is open."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from broker_tokens.clock import ist_date
from broker_tokens.errors import TokenError, TokenRejected
from broker_tokens.expiry import expiry_claim
from broker_tokens.intake import TokenIntake
from broker_tokens.model import TokenDied
from broker_tokens.renewals import setbacks
from broker_tokens.secrets import Secret
from broker_tokens.store import ACCESS_TOKEN, EXPIRES_AT, format_expiry

log = logging.getLogger(__name__)

# A strategy that reports one refusal after the other has the broker asked no more often than this.
_REPORT_PACE = timedelta(seconds=30)


class TokenLookout(TokenIntake):
    """Asks the broker about what is stored, and keeps what it says."""

    def confirm(self) -> float:
        """Ask the broker whether the stored token works; return the NIFTY 50's price in rupees.

        Raises LoginRequired without a token. A refusal is raised as TokenRejected and kept, so that
        no strategy is handed the token any more, and the next tick looks for another.
        """
        look = self.look()
        token = look.tokens.access_token
        if token is None:
            raise look.no_token()
        try:
            return look.broker.last_price(token)
        except TokenRejected as error:
            with self._store.writing() as writer:
                again = self._look(writer)
                is_stored = again.tokens.access_token == token  # else it was replaced meanwhile
                if is_stored:
                    setbacks.record_death(writer, again, error, token)
            if is_stored:
                self._tell(TokenDied(look.now, token.fingerprint))
            raise

    def report_rejected(self, token: Secret) -> None:
        """Have the broker judge a token that a strategy was refused with (401, UDAPI100050).

        Nothing happens if another one is stored by now. A dead one is handed out no more, and the
        next tick, or the next strategy that asks, looks for another.
        """
        look = self.look()
        if look.state.has_refused(token.fingerprint):
            self._mark_dead_again(token)
            return
        probed_at = look.state.probed_at
        is_answered = probed_at is not None and look.now - _REPORT_PACE < probed_at <= look.now
        if look.tokens.access_token == token and not is_answered:
            with suppress(TokenRejected):
                self.probe()

    def _mark_dead_again(self, token: Secret) -> None:
        """See to it that `.env` does not call a dead token alive: an old copy of it may be back."""
        claim = expiry_claim(token)
        with self._store.writing() as writer:
            stored, now = writer.load(), self._clock()
            is_back = stored.values.get(ACCESS_TOKEN) == token.reveal()
            if is_back and claim and stored.values.get(EXPIRES_AT) == format_expiry(claim):
                writer.save_tokens({EXPIRES_AT: format_expiry(now)}, stored.state)

    def probe(self) -> None:
        """Ask the broker whether the stored token lives, and note when; raises TokenRejected."""
        try:
            self.confirm()
        except TokenRejected:
            raise
        except TokenError as error:
            log.debug("Whether the token lives could not be found out: %s", error)
        with self._store.writing() as writer:
            look = self._look(writer)
            writer.save_state(replace(look.state, probed_at=look.now))

    def learn_calendar(self) -> None:
        """Ask the broker for holidays and special sessions; what cannot be had is asked later."""
        look = self.look()
        token = look.tokens.access_token if look.situation.is_live(look.now) else None
        exchange, known = look.settings.exchange, look.state.calendar
        days = known.days if known.exchange == exchange else {}
        self._save_calendar(asked_at=look.now, exchange=exchange, days=days)
        try:
            days = look.broker.market_days(exchange, ist_date(look.now), token, days)
        except TokenError as error:
            log.info("The exchange's holidays could not be had: %s", error.cause)
        else:
            self._save_calendar(days=days, learned_at=look.now)

    def _save_calendar(self, **changes: Any) -> None:
        with self._store.writing() as writer:
            state = writer.load().state
            writer.save_state(replace(state, calendar=replace(state.calendar, **changes)))
