"""What the broker is asked about a token: does it live, whose is it, does it open the feed."""

from collections.abc import Callable, Iterator

from broker_tokens.brokers import Broker, CallNotAllowed
from broker_tokens.brokers.upstox_fields import user_id_in
from broker_tokens.doctor.finding import Finding, fail, failed, ok, warn
from broker_tokens.errors import EXIT_PERSON, TokenError, TokenRejected
from broker_tokens.expiry import is_read_only, subject_claim
from broker_tokens.http_message import NoReply
from broker_tokens.look import Look
from broker_tokens.secrets import Secret

_LOG_IN = "Log in for a normal access token: python init_tokens.py"


def ask(look: Look, token: Secret, price: Callable[[], float]) -> Iterator[Finding]:
    """Ask three questions; the answer to each is a finding, whatever became of the others.

    `price` asks the first. Raises TokenRejected if the token is dead, NoReply if nobody answers:
    then the other two are not asked.
    """
    yield from _price(price)
    yield from _account(look, token)
    yield from _feed(look.broker, token)
    yield from claimed_class(token)


def claimed_class(token: Secret) -> Iterator[Finding]:
    """Tell a token that calls itself one for reading only; a hint, as nobody has verified it."""
    if is_read_only(token):
        yield warn(
            "class",
            "the token says that it is a read-only one of a year (Analytics or extended):"
            " orders and portfolio are refused with it",
            _LOG_IN,
        )


def _price(ask_price: Callable[[], float]) -> Iterator[Finding]:
    try:
        yield ok("price", f"NIFTY 50: {ask_price():,.2f}")
    except (TokenRejected, NoReply):
        raise
    except TokenError as error:
        yield failed("price", error)


def _account(look: Look, token: Secret) -> Iterator[Finding]:
    """Whose token it is; where the profile is closed to it, the token's own claim is taken."""
    owner: str | None
    try:
        owner = look.broker.profile(token)
        yield ok("account", owner)
    except CallNotAllowed as error:
        owner = user_id_in(subject_claim(token))
        whose = f"{owner}, by its own claim" if owner else "not told by the token"
        yield warn("account", f"{whose}; the profile is closed to it. {error.cause}", error.advice)
    except TokenError as error:
        yield failed("account", error)
        return
    yield from stranger(owner, look.tokens.user_id)


def stranger(owner: str | None, pinned: str | None) -> Iterator[Finding]:
    """Tell a token of another account than the one that was logged in first."""
    if owner is not None and pinned is not None and owner != pinned:
        yield fail(
            "account",
            f"the token is {owner}'s, and UPSTOX_USER_ID names {pinned}",
            "Log in with the right account; or empty UPSTOX_USER_ID to change accounts.",
            EXIT_PERSON,
        )


def _feed(broker: Broker, token: Secret) -> Iterator[Finding]:
    try:
        broker.feed_address(token)  # which opens once, and is nobody's business
    except TokenError as error:
        yield failed("feed", error)
    else:
        yield ok("feed", "authorized, a WebSocket may be opened")
