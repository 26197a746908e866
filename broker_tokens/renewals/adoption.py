"""A token that somebody else put into `.env`: taken over once it is known when it dies."""

from dataclasses import replace
from datetime import datetime

from broker_tokens.errors import TokenError, TokenRejected
from broker_tokens.expiry import expiry_claim, next_cut
from broker_tokens.look import Look
from broker_tokens.model import StoredTokens, Way
from broker_tokens.renewals.acceptance import after_success
from broker_tokens.renewals.setbacks import Jitter, record, record_death
from broker_tokens.secrets import Secret
from broker_tokens.store import EXPIRES_AT, Writer, format_expiry


def adopt(writer: Writer, look: Look, token: Secret, jitter: Jitter) -> StoredTokens:
    """Note the stored `token` as ours, with its expiry, and return it with that.

    Raises TokenRejected if the broker calls it dead, TemporaryFailure if it cannot be asked; both
    are noted in the state.
    """
    expires_at = expiry_claim(token) or _ask_broker(writer, look, token, jitter)
    state = after_success(look, Way.FOUND, expires_at).with_written(token, expires_at)
    writer.save_tokens({EXPIRES_AT: format_expiry(expires_at)}, state)
    return replace(look.tokens, expires_at=expires_at)


def _ask_broker(writer: Writer, look: Look, token: Secret, jitter: Jitter) -> datetime:
    """Return the next 03:30 IST if the broker takes the token, which does not tell its end."""
    try:
        look.broker.check_life(token)
    except TokenRejected as error:
        record_death(writer, look, error, token)
        raise
    except TokenError as error:
        record(writer, look, error, jitter)
        raise
    return next_cut(look.now)
