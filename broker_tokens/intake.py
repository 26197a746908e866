"""Where tokens come in: a code, a paste, the phone. All end in `_accept`, the one write path."""

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from broker_tokens.announcer import Announcer, Observer
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, LoginRequired, TokenError, TokenRejected
from broker_tokens.expiry import expiry_claim, next_cut
from broker_tokens.look import Configure, Look, take_look
from broker_tokens.model import (
    AttemptFailed,
    Event,
    LoggedOut,
    StoredTokens,
    TokenReply,
    TokenStored,
    Way,
)
from broker_tokens.renewals import acceptance, code_exchange, login_link, phone_approval, setbacks
from broker_tokens.secrets import Secret
from broker_tokens.store import (
    ACCESS_TOKEN,
    EXPIRES_AT,
    EXTENDED_TOKEN,
    NOTIFIER_SECRET,
    REFRESH_TOKEN,
    TokenStore,
    Writer,
)

# What ends with a logout, as far as the `.env` goes.
_ALL_TOKENS = (ACCESS_TOKEN, EXPIRES_AT, REFRESH_TOKEN, EXTENDED_TOKEN)

# 256 bits: nobody guesses the notifier's address.
_NOTIFIER_SECRET_BYTES = 32


class TokenIntake:
    """Takes tokens for one `.env`; any number of processes and threads may use one each."""

    def __init__(
        self,
        store: TokenStore,
        configure: Configure,
        clock: Clock,
        announcer: Announcer | None = None,
        jitter: setbacks.Jitter = random.random,
        *,
        is_listening: bool = False,
        audit: Observer = lambda _: None,
    ) -> None:
        """`is_listening` says that the broker's answers reach this machine's service.

        `audit` is handed what this service itself has done or tried, also what is told to nobody;
        the announcer tells of what other processes have stored, too.
        """
        self._store = store
        self._configure = configure
        self._clock = clock
        self._announcer = announcer or Announcer()
        self._jitter = jitter
        self._is_listening = is_listening
        self._audit = audit

    def look(self) -> Look:
        """Look at the files without a lock; raises StoreError or ConfigurationError."""
        snapshot = self._store.load()
        return take_look(snapshot, self._configure, self._clock(), is_listening=self._is_listening)

    def exchange_code(self, code: Secret, link: Secret | None = None) -> StoredTokens:
        """Spend an authorization code and store what it brings; a code is never sent twice.

        `link` is the state of the login link that it came by, which is used up with it. Raises
        TokenRejected for a bad or used code, ConfigurationError for bad credentials,
        TemporaryFailure for anything unclear, StoreError with nothing sent.
        """
        with self._attempt_by(Way.BROWSER_LOGIN), self._store.writing() as writer:
            look = self._look(writer)
            key = look.settings.notifier_secret
            if link is not None and key is not None:
                login_link.check_state(key, link.reveal(), look.now, look.state.spent_codes)
            reply = code_exchange.exchange(writer, look, code, link)
            tokens = self._accept(writer, reply, Way.BROWSER_LOGIN)
        self._tell_stored(tokens, Way.BROWSER_LOGIN)
        return tokens

    def accept_pasted(self, token: Secret) -> StoredTokens:
        """Store a token that somebody made elsewhere, once the broker has called it alive.

        Raises TokenRejected for a dead token or another account's, TemporaryFailure if the broker
        cannot be asked.
        """
        look = self.look()
        with self._attempt_by(Way.PASTE):
            look.broker.check_life(token)
            user_id = look.broker.user_id(token)
        claim = expiry_claim(token)
        # The broker is the judge: it has just called the token alive, whatever its claims say.
        expires_at = claim if claim is not None and claim > look.now else next_cut(look.now)
        return self._take(TokenReply(token, expires_at, user_id), Way.PASTE)

    def accept_delivered(self, delivery: phone_approval.Delivery) -> StoredTokens:
        """Store a token that came to the notifier's address, once the broker has called it alive.

        Raises TokenRejected for a dead, foreign or outdated one, TemporaryFailure if the broker
        cannot be asked. One that is stored already is no error.
        """
        look = self.look()
        with self._attempt_by(Way.PHONE_APPROVAL):
            phone_approval.check(delivery, look)
            if look.tokens.access_token == delivery.token and look.tokens.is_live(look.now):
                return look.tokens
            look.broker.check_life(delivery.token)
            user_id = phone_approval.owner(delivery, look.broker)
        reply = TokenReply(delivery.token, delivery.expires_at, user_id)
        # Checked again: a login may have been faster than the broker's judgement.
        return self._take(reply, Way.PHONE_APPROVAL, partial(phone_approval.check, delivery))

    def notifier_secret(self) -> Secret:
        """Return the last part of the notifier's path; one is made and stored if there is none."""
        with self._store.writing() as writer:
            look = self._look(writer)
            secret = look.settings.notifier_secret
            if secret is None:
                secret = Secret(secrets.token_urlsafe(_NOTIFIER_SECRET_BYTES))
                writer.save_tokens({NOTIFIER_SECRET: secret.reveal()}, look.state)
        return secret

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
        if look.tokens.access_token is not None:
            self._tell(LoggedOut(look.now, look.tokens.access_token.fingerprint))

    def _take(
        self, reply: TokenReply, way: Way, check: Callable[[Look], None] = lambda _: None
    ) -> StoredTokens:
        with self._attempt_by(way), self._store.writing() as writer:
            check(self._look(writer))
            tokens = self._accept(writer, reply, way)
        self._tell_stored(tokens, way)
        return tokens

    def _tell(self, event: Event) -> None:
        self._audit(event)
        self._announcer.tell(event)

    def _tell_stored(self, tokens: StoredTokens, way: Way) -> None:
        token, expires_at, now = tokens.access_token, tokens.expires_at, self._clock()
        if token is not None and expires_at is not None:
            # Not left to the announcer: another thread may have noticed the token and told of it.
            self._audit(TokenStored(now, way, expires_at, token.fingerprint, tokens.user_id))
        self._announcer.tell_stored(now, tokens, way)

    @contextmanager
    def _attempt_by(self, way: Way) -> Iterator[None]:
        """Hand to the audit what ends a try to get a token by this way, and raise it."""
        try:
            yield
        except LoginRequired:
            raise  # nothing was tried
        except TokenError as error:
            is_final = isinstance(error, TokenRejected | ConfigurationError)
            self._audit(AttemptFailed(self._clock(), way, str(error), is_final))
            raise

    def _accept(self, writer: Writer, reply: TokenReply, way: Way) -> StoredTokens:
        """Write a new token, its expiry, refresh token and account in one replace.

        Raises TokenRejected for another account's token, and for one from outside that would
        replace a better one; StoreError with the old content kept.
        """
        updates, state = acceptance.updates_for(self._look(writer), reply, way)
        writer.save_tokens(updates, state)
        return self._look(writer).tokens

    def _look(self, writer: Writer) -> Look:
        return take_look(
            writer.load(), self._configure, self._clock(), is_listening=self._is_listening
        )
