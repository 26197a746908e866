"""One file a broker; what they have in common is said here."""

from typing import Protocol

from broker_tokens.errors import EXIT_PERSON, TemporaryFailure, TokenError
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret


class UselessReply(TemporaryFailure):
    """The token endpoint said yes and sent no usable token; a rotated refresh token is carried."""

    def __init__(self, cause: str, advice: str, *, refresh_token: Secret | None = None) -> None:
        super().__init__(cause, advice)
        self.refresh_token = refresh_token


class CallNotAllowed(TokenError):
    """The token is alive, but not for this call: the static-IP gate, or its class."""

    exit_code = EXIT_PERSON


class Broker(Protocol):
    """What the service asks of a broker. All methods raise TokenError and its kinds."""

    def authorization_url(self, state: str | None = None) -> str:
        """Return the address at which a person logs in."""

    def exchange_code(self, code: Secret) -> TokenReply:
        """Spend an authorization code (RFC 6749 section 4.1.3)."""

    def refresh(self, refresh_token: Secret) -> TokenReply:
        """Spend a refresh token (RFC 6749 section 6)."""

    def check_life(self, token: Secret) -> None:
        """Return if the broker takes the token for alive; raise TokenRejected if it does not."""

    def user_id(self, token: Secret) -> str:
        """Return whose token it is."""

    def last_price(self, token: Secret) -> float:
        """Return the NIFTY 50's last price."""

    def log_out(self, token: Secret) -> None:
        """End the token at the broker."""
