"""What every HTTP client's helper must know: where the token may go, and what a 401 calls for."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from broker_tokens.brokers.upstox_errors import Call, error_for
from broker_tokens.errors import TokenError, TokenRejected
from broker_tokens.http_message import Reply
from upstox_token_manager import UpstoxTokenManager

_UPSTOX = "upstox.com"

# What may be sent twice: it changes nothing (RFC 9110, section 9.2.1). Never an order.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Bearer:
    """One manager's token, as a client sends it."""

    def __init__(self, manager: UpstoxTokenManager | None = None) -> None:
        """Use `manager`, else one of the nearest `.env`; raises ConfigurationError without one."""
        self.manager = manager or UpstoxTokenManager()

    def may_go_to(self, url: str) -> bool:
        """Whether `url` is Upstox's (https), or at the place that UPSTOX_API_URL names.

        A session that also talks to others must not hand them the token.
        """
        asked = urlsplit(url)
        host = asked.hostname or ""
        if asked.scheme == "https" and (host == _UPSTOX or host.endswith(f".{_UPSTOX}")):
            return True
        try:
            api = urlsplit(self.manager.api_url)
        except TokenError:
            return False  # a call to others must not fail because `.env` is away
        return (asked.scheme, asked.netloc) == (api.scheme, api.netloc)

    def header(self) -> str:
        """Return the Authorization header (RFC 6750); raises as `get_current_token` does."""
        return f"Bearer {self.manager.get_current_token()}"

    def header_after(self, method: str, sent: str, body: bytes) -> str | None:
        """Return the header to repeat a call with that got 401, or None if that cannot help.

        `sent` is the header it had, `body` the reply's. If the broker calls the token dead, `.env`
        is read again and, where that brings no other, the token reported and renewed: also for a
        call that is not repeated, so that the next one has a live token.
        """
        refusal = error_for(Call.BEARER, Reply(401, {}, body), datetime.now(UTC))
        if not isinstance(refusal, TokenRejected):
            return None
        try:
            fresh = self.header()
            if fresh == sent:
                self.manager.report_rejected(sent.removeprefix("Bearer "))
                fresh = self.header()
        except TokenError:
            return None  # the next call raises it, with its advice
        return fresh if fresh != sent and method.upper() in _SAFE_METHODS else None
