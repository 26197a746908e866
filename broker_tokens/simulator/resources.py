"""What a bearer token opens: profile, prices, market days, orders, the feed's address, logout."""

import secrets
from collections.abc import Mapping, Sequence

from broker_tokens.simulator.ledger import Ledger
from broker_tokens.simulator.login import profile_of, with_query
from broker_tokens.simulator.market import Holiday, holidays_reply, timings_reply
from broker_tokens.simulator.quotes import last_prices
from broker_tokens.simulator.wire import RefusalError, Request, Response, json_response

# A dead token's logout is not answered in the usual envelope (Upstox docs, Logout); the shape
# itself is undocumented.
LOGOUT_REFUSED: Mapping[str, object] = {"status": "error", "data": False}

FEED_PATH = "/v3/feed/market-data-feed/authorize"

ORDER_PATH = "/v3/order/place"

# The documented address is one of Upstox's own. `.invalid` never resolves (RFC 6761, section
# 6.4), so a client that connects with a simulated code cannot reach the real broker.
FEED_ADDRESS = "wss://feed.simulator.invalid/market-data-feeder/v3/feeds"


class Resources:
    """The endpoints behind a bearer token; the caller holds the lock."""

    def __init__(
        self, ledger: Ledger, holidays: Sequence[Holiday], holidays_need_token: bool
    ) -> None:
        self._ledger = ledger
        self._holidays_need_token = holidays_need_token
        self.holidays = holidays
        self.static_ip_gate = False
        self.feed_refusal = ""

    def _bearer(self, request: Request) -> str:
        """Return the user of a live bearer token (Upstox docs, Error Codes)."""
        token = request.bearer()
        if self._ledger.is_extended(token):
            # Only the calls on Upstox's list take it; that none of these is listed is our choice.
            raise RefusalError("UDAPI100067")
        holding = self._ledger.holding(token)
        if holding is None:
            raise RefusalError("UDAPI100050")
        return holding.user_id

    def profile(self, request: Request) -> Response:
        """Return whose token it is, unless the gate is closed, as it is to Analytics tokens."""
        user_id = self._bearer(request)
        if self.static_ip_gate or self._ledger.is_analytics(request.bearer()):
            raise RefusalError("UDAPI1221")
        return _success(profile_of(user_id))

    def market_holidays(self, request: Request) -> Response:
        """Return the year's special days, or what one date is (Upstox docs, Market Holidays)."""
        if self._holidays_need_token:
            self._bearer(request)
        return holidays_reply(request.path, self.holidays)

    def market_timings(self, request: Request) -> Response:
        """Return the hours of one date (Upstox docs, Market Timings)."""
        self._bearer(request)
        return timings_reply(request.path, self.holidays)

    def last_prices(self, request: Request) -> Response:
        """Return a last traded price for each instrument asked for."""
        self._bearer(request)
        return _success(last_prices(request.query.get("instrument_key", "")))

    def logout(self, request: Request) -> Response:
        """End the bearer token."""
        if self._ledger.holding(request.bearer()) is None:
            return json_response(LOGOUT_REFUSED, 401)
        self._ledger.revoke_access(request.bearer())
        return _success(True)

    def place_order(self, request: Request) -> Response:
        """Take an order, whatever it is for (Upstox docs, Place Order V3)."""
        self._bearer(request)
        if self._ledger.is_analytics(request.bearer()):
            raise RefusalError("UDAPI1221")
        order_id = str(secrets.randbelow(10**15) + 10**15)
        return json_response(
            {"status": "success", "data": {"order_ids": [order_id]}, "metadata": {"latency": 30}}
        )

    def feed(self, request: Request) -> Response:
        """Return a one-time address, both spellings (Upstox docs, Market Data Feed V3)."""
        self._bearer(request)
        if self.feed_refusal:
            raise RefusalError(self.feed_refusal, status=403)
        once = {"requestId": secrets.token_hex(16), "code": secrets.token_urlsafe(16)}
        address = with_query(FEED_ADDRESS, once)
        return _success({"authorized_redirect_uri": address, "authorizedRedirectUri": address})


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
