"""The one place where tokens change: load, decide, renew, save, tell.

Whatever brings a token (grant, login, paste) ends in `_accept`, under the lock of the `.env`.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker_tokens.announcer import Announcer, Observer
from broker_tokens.clock import Clock, format_ist
from broker_tokens.errors import (
    StoreError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.expiry import expiry_claim, next_cut
from broker_tokens.look import Configure, Look, take_look
from broker_tokens.model import (
    PersonNeeded,
    RenewalFailed,
    StoredTokens,
    TokenDied,
    TokenReply,
    Way,
)
from broker_tokens.policy import Decision, FindOut, Life, RenewSilently, TellPerson, Wait
from broker_tokens.renewals import acceptance, adoption, code_exchange, refresh_grant, setbacks
from broker_tokens.secrets import Secret
from broker_tokens.store import (
    ACCESS_TOKEN,
    EXPIRES_AT,
    EXTENDED_TOKEN,
    REFRESH_TOKEN,
    TokenStore,
    Writer,
)

# What ends with a logout, as far as the `.env` goes.
_ALL_TOKENS = (ACCESS_TOKEN, EXPIRES_AT, REFRESH_TOKEN, EXTENDED_TOKEN)

# One tick can adopt, fail to renew, and tell the person; the next one does what is left.
_STEPS_PER_TICK = 4

# After a failure that the state could not take (a full disk): how long things are left alone.
_PAUSE_AFTER_ERROR = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tick came to: the look at its end, when to look again, and what went wrong."""

    look: Look
    next_due: datetime
    error: TokenError | None = None


class TokenService:
    """Keeps the tokens of one `.env`; any number of processes and threads may use one each."""

    def __init__(
        self,
        store: TokenStore,
        configure: Configure,
        clock: Clock,
        observers: Iterable[Observer] = (),
        jitter: setbacks.Jitter = random.random,
    ) -> None:
        self._store = store
        self._configure = configure
        self._clock = clock
        self._announcer = Announcer(observers)
        self._jitter = jitter
        self._unsaved: tuple[StoredTokens, TokenReply] | None = None

    def look(self) -> Look:
        """Look at the files without a lock; raises StoreError or ConfigurationError."""
        return take_look(self._store.load(), self._configure, self._clock())

    def tick(self) -> Outcome:
        """Do all that is due now and return when to come again.

        What a step raises is in the outcome; StoreError and ConfigurationError of the look itself
        are raised.
        """
        error: TokenError | None = None
        failed: Decision | None = None
        for _ in range(_STEPS_PER_TICK):
            look = self.look()
            self._announcer.notice(look)
            decision = self._decision(look)
            if isinstance(decision, Wait):
                return Outcome(look, decision.until, error)
            if decision == failed:
                break  # the failure could not be saved (a full disk, a lock held)
            try:
                self._do(decision)
            except TokenError as failure:
                error, failed = failure, decision
                self._tell_failure(failure)
        look = self.look()
        return Outcome(look, look.now + _PAUSE_AFTER_ERROR, error)

    def renew(self) -> StoredTokens:
        """Renew by the refresh grant now, whatever is due, and whatever was refused before."""
        return self._renew(lambda _: True)

    def current_token(self, min_valid: timedelta = timedelta(0)) -> Secret:
        """Return a token that lives longer than `min_valid`; renews silently if that can help.

        Raises LoginRequired when only a person can help, TemporaryFailure when time can.
        """
        look = self.look()
        # A refusal is noted in the state; the next way is tried, and in the end LoginRequired.
        with suppress(TokenRejected):
            if look.situation.life is Life.UNKNOWN:
                self._respect_backoff(look)
                self._adopt()
        look = self.look()
        with suppress(TokenRejected):
            if not look.tokens.is_live(look.now, min_valid):
                self._renew_if_it_helps(look, min_valid)
        look = self.look()
        token = look.tokens.access_token
        if token is None or not look.tokens.is_live(look.now, min_valid):
            raise look.no_token(min_valid)
        return token

    def exchange_code(self, code: Secret) -> StoredTokens:
        """Spend an authorization code and store what it brings; a code is never sent twice.

        Raises TokenRejected for a bad or used code, ConfigurationError for bad credentials,
        TemporaryFailure for anything unclear, StoreError with nothing sent.
        """
        with self._store.writing() as writer:
            reply = code_exchange.exchange(writer, self._look(writer), code)
            tokens = self._accept(writer, reply, Way.BROWSER_LOGIN)
        self._announcer.tell_stored(self._clock(), tokens, Way.BROWSER_LOGIN)
        return tokens

    def accept_pasted(self, token: Secret) -> StoredTokens:
        """Store a token that somebody made elsewhere, once the broker has called it alive.

        Raises TokenRejected for a dead token or another account's, TemporaryFailure if the broker
        cannot be asked.
        """
        look = self.look()
        look.broker.check_life(token)
        user_id = look.broker.user_id(token)
        claim = expiry_claim(token)
        # The broker is the judge: it has just called the token alive, whatever its claims say.
        expires_at = claim if claim is not None and claim > look.now else next_cut(look.now)
        reply = TokenReply(token, expires_at, user_id)
        with self._store.writing() as writer:
            tokens = self._accept(writer, reply, Way.PASTE)
        self._announcer.tell_stored(self._clock(), tokens, Way.PASTE)
        return tokens

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
                if again.tokens.access_token == token:  # else somebody has replaced it meanwhile
                    setbacks.record_death(writer, again, error, self._jitter, token)
            self._announcer.tell(TokenDied(look.now, token.fingerprint))
            raise

    def check_writable(self) -> None:
        """Raise StoreError if a new token could not be stored; nothing is changed."""
        with self._store.writing() as writer:
            writer.prove_writable()

    def log_out(self) -> None:
        """End the stored token at the broker and empty the tokens in `.env`; raises TokenError.

        The refresh token goes too: with it, a running service would be back in a minute. An
        extended token lives on at the broker, which offers no way to end it.
        """
        with self._store.writing() as writer:
            look = self._look(writer)
            if look.tokens.access_token is not None:
                look.broker.log_out(look.tokens.access_token)
            stored = writer.load().values
            emptied = {key: "" for key in _ALL_TOKENS if key in stored}
            writer.save_tokens(emptied, look.state)

    def _look(self, writer: Writer) -> Look:
        return take_look(writer.load(), self._configure, self._clock())

    @staticmethod
    def _decision(look: Look) -> Decision:
        """Return what is due; somebody else's token whose end is known is first taken over."""
        if look.is_foreign and look.situation.life is Life.KNOWN:
            return FindOut()
        return look.decision

    def _do(self, decision: FindOut | RenewSilently | TellPerson) -> None:
        match decision:
            case FindOut():
                self._adopt()
            case RenewSilently():
                self._renew(lambda look: isinstance(look.decision, RenewSilently))
            case TellPerson():
                self._tell_person()

    def _renew(self, is_due: Callable[[Look], bool]) -> StoredTokens:
        with self._store.writing() as writer:
            look = self._look(writer)
            if not is_due(look):
                return look.tokens  # another process was faster
            reply = self._unsaved_reply(look) or refresh_grant.renew(writer, look, self._jitter)
            try:
                tokens = self._accept(writer, reply, Way.REFRESH_GRANT)
            except TokenRejected as error:
                setbacks.record(writer, look, error, self._jitter, spent=look.tokens.refresh_token)
                raise
            except StoreError:
                self._unsaved = (look.tokens, reply)
                raise
        self._unsaved = None
        self._announcer.tell_stored(self._clock(), tokens, Way.REFRESH_GRANT)
        return tokens

    def _unsaved_reply(self, look: Look) -> TokenReply | None:
        """Return a renewal that could not be written, while nothing newer has come.

        Its refresh token is spent, so asking the broker again could end the whole login.
        """
        if self._unsaved is None or self._unsaved[0] != look.tokens:
            return None
        return self._unsaved[1] if self._unsaved[1].expires_at > look.now else None

    def _renew_if_it_helps(self, look: Look, min_valid: timedelta) -> None:
        """Renew, unless there is no silent way or the new token would end at the same 03:30."""
        ends_at_cut = look.situation.is_live(look.now) and (
            look.tokens.expires_at == next_cut(look.now)
        )
        if look.situation.is_silent and not ends_at_cut:
            self._respect_backoff(look)
            self._renew(lambda again: not again.tokens.is_live(again.now, min_valid))

    def _respect_backoff(self, look: Look) -> None:
        if look.is_backing_off and look.state.retry_at is not None:
            failure = look.state.last_failure
            raise TemporaryFailure(
                f"The last try failed: {failure.what if failure else 'for an unknown reason.'}",
                f"The next one is due at {format_ist(look.state.retry_at)}.",
                retry_after=look.state.retry_at - look.now,
            )

    def _adopt(self) -> None:
        """Take over a token that somebody else put into `.env`."""
        with self._store.writing() as writer:
            look = self._look(writer)
            token = look.tokens.access_token
            if token is None or not look.is_foreign:
                return
            try:
                tokens = adoption.adopt(writer, look, token, self._jitter)
            except TokenRejected as error:
                refusal: TokenRejected | None = error
            else:
                refusal = None
        if refusal is not None:
            self._announcer.tell(TokenDied(look.now, token.fingerprint))
            raise refusal
        self._announcer.tell_stored(self._clock(), tokens, Way.FOUND)

    def _accept(self, writer: Writer, reply: TokenReply, way: Way) -> StoredTokens:
        """Write a new token, its expiry, refresh token and account in one replace.

        Raises TokenRejected for another account's token, and for a pasted one that would replace a
        longer-lived one; StoreError with the old content kept.
        """
        updates, state = acceptance.updates_for(self._look(writer), reply, way)
        writer.save_tokens(updates, state)
        return self._look(writer).tokens

    def _tell_person(self) -> None:
        """Note the stage as told, then tell: a crash in between costs a notice, never a flood."""
        with self._store.writing() as writer:
            look = self._look(writer)
            decision = look.decision
            if not isinstance(decision, TellPerson):
                return
            writer.save_state(replace(look.state, told=decision.due_at))
        opens = decision.session.opens
        self._announcer.tell(PersonNeeded(look.now, decision.stage, opens, look.login_url))

    def _tell_failure(self, failure: TokenError) -> None:
        retry_at = None
        if isinstance(failure, TemporaryFailure):
            retry_at = self.look().state.retry_at
        self._announcer.tell(RenewalFailed(self._clock(), str(failure), retry_at))
