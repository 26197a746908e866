"""One file a broker; what they have in common is said here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from broker_tokens.errors import EXIT_PERSON, ConfigurationError, TemporaryFailure, TokenError
from broker_tokens.model import Session, TokenReply
from broker_tokens.secrets import Secret


class UselessReply(TemporaryFailure):
    """The token endpoint said yes and sent no usable token; a rotated refresh token is carried."""

    def __init__(self, cause: str, advice: str, *, refresh_token: Secret | None = None) -> None:
        super().__init__(cause, advice)
        self.refresh_token = refresh_token


class CallNotAllowed(TokenError):
    """The token is alive, but not for this call: the static-IP gate, or its class."""

    exit_code = EXIT_PERSON


class ApprovalNotOffered(ConfigurationError):
    """This app or account cannot be approved on the phone now; other ways may still work."""


class OutcomeUnknown(TemporaryFailure):
    """The request left and no reply came: the broker may have done what it was asked to do."""


@dataclass(frozen=True, slots=True)
class ApprovalReply:
    """The broker has asked the person on the phone.

    The request ends at `expires_at` (aware). `notifier_url` is where the token will be sent, ""
    if the broker does not tell; its last part is a secret, so it is not shown.
    """

    expires_at: datetime
    notifier_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who answered a call without a token, and by its clock when (aware), as far as it says.

    `error` is None if it was the broker itself, else what stands in its place.
    """

    date: datetime | None
    error: TokenError | None = None


class Broker(Protocol):
    """What the service asks of a broker. All methods raise TokenError and its kinds."""

    def authorization_url(self, state: str | None = None) -> str:
        """Return the address at which a person logs in."""

    def exchange_code(self, code: Secret) -> TokenReply:
        """Spend an authorization code (RFC 6749 section 4.1.3)."""

    def refresh(self, refresh_token: Secret) -> TokenReply:
        """Spend a refresh token (RFC 6749 section 6)."""

    def request_approval(self) -> ApprovalReply:
        """Have the person asked on the phone; the token itself comes to the notifier.

        Raises OutcomeUnknown when the phone may have been asked all the same.
        """

    def greet(self) -> Greeting:
        """Return who answers a call without a token; raises NoReply if nobody does."""

    def check_life(self, token: Secret) -> None:
        """Return if the broker takes the token for alive; raise TokenRejected if it does not."""

    def user_id(self, token: Secret) -> str:
        """Return whose token it is."""

    def profile(self, token: Secret) -> str:
        """Return whose token it is by the profile alone; raises CallNotAllowed where gated."""

    def feed_address(self, token: Secret) -> Secret:
        """Return the one-time address of the market feed; raises CallNotAllowed if refused."""

    def last_price(self, token: Secret) -> float:
        """Return the NIFTY 50's last price."""

    def log_out(self, token: Secret) -> None:
        """End the token at the broker."""

    def market_days(
        self, exchange: str, today: date, token: Secret | None, known: Mapping[date, Session | None]
    ) -> Mapping[date, Session | None]:
        """Return the days on which the exchange is closed (None) or open at hours of their own.

        What is `known` of a day stays where the broker cannot be asked about it.
        """
