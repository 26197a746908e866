"""The stored token: is there one, does it live, whose is it, and what is it good for."""

from collections.abc import Iterator

from broker_tokens.brokers.upstox_fields import user_id_in
from broker_tokens.clock import format_duration, format_ist
from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, fail, ok, warn
from broker_tokens.doctor.questions import ask, claimed_class, stranger
from broker_tokens.errors import EXIT_PERSON, TokenError, TokenRejected
from broker_tokens.expiry import subject_claim
from broker_tokens.policy import Life
from broker_tokens.secrets import Secret

_LOG_IN = "Log in: python init_tokens.py"


def check_token(case: Case) -> Iterator[Finding]:
    """What the files know of the token, then what the broker says; no refusal is noted down."""
    look = case.look
    token, expires_at = look.tokens.access_token, look.situation.expires_at
    if not case.is_readable:
        return
    if token is None:
        yield _missing(case, "no live token is stored")
    elif look.situation.life is Life.UNKNOWN:
        yield ok("token", f"fingerprint {token.fingerprint}, put there by somebody else")
        yield from _ask(case, token)
    elif expires_at is not None and expires_at <= look.now:
        yield _missing(case, f"Token is expired or invalid: it ended {format_ist(expires_at)}")
    elif expires_at is not None:
        left = format_duration(expires_at - look.now)
        yield ok(
            "token",
            f"fingerprint {token.fingerprint}, lives until {format_ist(expires_at)}, for {left}",
        )
        yield from _ask(case, token)


def _missing(case: Case, words: str) -> Finding:
    """Return the finding of no live token: a failure only when today's session needs a person."""
    if case.look.needs_person:
        return fail("token", f"{words}; today's session needs one", _LOG_IN, EXIT_PERSON)
    return warn("token", words, _LOG_IN)


def _ask(case: Case, token: Secret) -> Iterator[Finding]:
    if case.visit is None or case.visit.error is not None:
        if case.visit is not None:
            yield warn("token", "the broker could not be asked about it")
        yield from stranger(user_id_in(subject_claim(token)), case.look.tokens.user_id)
        yield from claimed_class(token)
        return
    look = case.look
    try:
        yield from ask(look, token, lambda: look.broker.last_price(token))
    except TokenRejected as error:
        remedy = f"{error.advice} (`upstox-token check` has strategies told that it is dead.)"
        yield fail("token", error.cause, remedy, error.exit_code)
    except TokenError as error:
        yield warn("token", f"the broker could not be asked about it: {error.cause}", error.advice)


def check_static_ip(case: Case) -> Iterator[Finding]:
    """Whether the last failure was the static IP's gate, which is about orders, not the login."""
    failure = case.look.state.last_failure
    if failure is not None and any(code in failure.what for code in ("UDAPI1221", "UDAPI1154")):
        yield warn(
            "static IP",
            f"{format_ist(failure.at)}: {failure.what}",
            "Register this machine's public address at Upstox; that ends every token, so log in"
            " again afterwards.",
        )
