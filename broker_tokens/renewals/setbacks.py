"""What the state remembers of a failure: when to try again, or what never to try again."""

from collections.abc import Callable
from dataclasses import replace

from broker_tokens.backoff import LONGEST_RETRY_AFTER, retry_delay
from broker_tokens.brokers import UselessReply
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.look import Look
from broker_tokens.model import Failure, State
from broker_tokens.policy import longest_retry
from broker_tokens.secrets import Secret
from broker_tokens.store import EXPIRES_AT, REFRESH_TOKEN, Writer, format_expiry

Jitter = Callable[[], float]


def record(
    writer: Writer, look: Look, error: TokenError, jitter: Jitter, *, spent: Secret | None = None
) -> None:
    """Save what `error` means for later tries; `spent` is the token that the broker was shown.

    A useless reply that carries a rotated refresh token has that one saved: the old one is dead.
    """
    state = replace(
        after_failure(look, error, jitter, spent), last_failure=Failure(look.now, str(error))
    )
    rotated = error.refresh_token if isinstance(error, UselessReply) else None
    if rotated is not None:
        writer.save_tokens({REFRESH_TOKEN: rotated.reveal()}, state)
    else:
        writer.save_state(state)


def record_death(writer: Writer, look: Look, error: TokenRejected, token: Secret) -> None:
    """Save that the broker calls the stored `token` dead, so that nobody is handed it any more.

    The `.env` says so too, by an expiry that is not the token's own: readers look at nothing else
    as long as it is.
    """
    state = look.state.with_refused(token.fingerprint)
    state = replace(state, last_failure=Failure(look.now, str(error)))
    writer.save_tokens({EXPIRES_AT: format_expiry(look.now)}, state)


def after_failure(look: Look, error: TokenError, jitter: Jitter, spent: Secret | None) -> State:
    """Return the state after a failure: a backoff if it may pass, else a refusal kept for good."""
    if isinstance(error, TokenRejected) and spent is not None:
        return look.state.with_refused(spent.fingerprint)
    if isinstance(error, ConfigurationError):
        return look.state.with_refused(look.settings.credentials_fingerprint)
    failures = look.state.failures + 1
    delay = retry_delay(failures, jitter(), longest_retry(look.now, look.rules))
    if isinstance(error, TemporaryFailure) and error.retry_after is not None:
        delay = max(delay, min(error.retry_after, LONGEST_RETRY_AFTER))
    return replace(look.state, failures=failures, retry_at=look.now + delay)
