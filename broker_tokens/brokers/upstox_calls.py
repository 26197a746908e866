"""The calls that use an Upstox token: whether it lives, whose it is, what it opens."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from broker_tokens.brokers import CallNotAllowed, Greeting
from broker_tokens.brokers import upstox_calendar as calendar
from broker_tokens.brokers.upstox_errors import Call, error_for, read_json
from broker_tokens.brokers.upstox_fields import (
    http_date_in,
    number_in,
    socket_address_in,
    user_id_in,
)
from broker_tokens.clock import Clock
from broker_tokens.errors import TemporaryFailure, TokenError, TokenRejected
from broker_tokens.expiry import subject_claim
from broker_tokens.http_message import Reply, Request
from broker_tokens.model import Session
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings
from broker_tokens.transport import Transport

_PROFILE = "/v2/user/profile"
_LOGOUT = "/v2/logout"
_FEED = "/v3/feed/market-data-feed/authorize"
_HOLIDAYS = "/v2/market/holidays"
_TIMINGS = "/v2/market/timings"
_NIFTY_50 = "NSE_INDEX|Nifty 50"
_NIFTY_PRICE = "/v3/market-quote/ltp?instrument_key=NSE_INDEX%7CNifty%2050"


class UpstoxCalls:
    """What a bearer token is good for; `Upstox` adds the ways to get one."""

    def __init__(self, settings: Settings, transport: Transport, clock: Clock) -> None:
        self._settings = settings
        self._transport = transport
        self._clock = clock

    def greet(self) -> Greeting:
        """Return who answers a call without a token, and its time; raises if nobody does.

        Upstox itself answers with its code for a missing token. Raises NoReply if the network,
        TLS or a proxy is in the way, ConfigurationError if it can never be reached so.
        """
        reply = self._transport.send(Request("GET", self._settings.api_url + _NIFTY_PRICE))
        error = error_for(Call.BEARER, reply, self._clock())
        if error is None:
            error = TemporaryFailure(
                "Something answers in Upstox's place: a call without a token was not refused.",
                "Check UPSTOX_API_URL and any proxy in between.",
            )
        # A stored copy of a reply has the time of when it was made (RFC 9111, section 5.1).
        date = None if "age" in reply.headers else http_date_in(reply.headers.get("date"))
        return Greeting(date, None if isinstance(error, TokenRejected) else error)

    def check_life(self, token: Secret) -> None:
        """Return if the token lives; raises TokenRejected, or TemporaryFailure if it is unclear.

        Asks for the NIFTY 50's price, which needs a token but no static IP (Upstox docs, LTP V3).
        """
        try:
            self.last_price(token)
        except CallNotAllowed:
            return

    def last_price(self, token: Secret) -> float:
        """Return the NIFTY 50's last price in rupees."""
        quotes = self._call("GET", _NIFTY_PRICE, token).get("data")
        for each in quotes.values() if isinstance(quotes, dict) else ():
            if isinstance(each, dict) and each.get("instrument_token") == _NIFTY_50:
                price = number_in(each.get("last_price"))
                if price is not None:
                    return price
        raise TemporaryFailure("Upstox's reply holds no price of the NIFTY 50.", "Try again later.")

    def user_id(self, token: Secret) -> str:
        """Return the account's id: from the profile, or the JWT where the profile is gated."""
        try:
            return self.profile(token)
        except CallNotAllowed:
            claimed = user_id_in(subject_claim(token))
            if claimed is None:
                raise
            return claimed

    def profile(self, token: Secret) -> str:
        """Return the account's id from the profile; raises CallNotAllowed where that is gated."""
        data = self._call("GET", _PROFILE, token).get("data")
        found = user_id_in(data.get("user_id")) if isinstance(data, dict) else None
        if found is None:
            raise TemporaryFailure("Upstox's profile reply names no user.", "Try again later.")
        return found

    def feed_address(self, token: Secret) -> Secret:
        """Return the address of the market feed's WebSocket; it opens once, for whoever has it.

        Raises CallNotAllowed where the feed is refused though the token lives; but for a dead
        token, messages begin with `Failed to get WebSocket URL` (Upstox docs, Market Data Feed V3).
        """
        try:
            data = self._call("GET", _FEED, token, Call.FEED).get("data")
            fields = data if isinstance(data, dict) else {}
            for spelling in ("authorized_redirect_uri", "authorizedRedirectUri"):
                if (found := socket_address_in(fields.get(spelling))) is not None:
                    return found
            raise TemporaryFailure("Upstox's reply holds no address.", "Try again later.")
        except TokenRejected:
            raise
        except TokenError as error:
            error.cause = f"Failed to get WebSocket URL: {error.cause}"
            raise

    def market_days(
        self, exchange: str, today: date, token: Secret | None, known: Mapping[date, Session | None]
    ) -> Mapping[date, Session | None]:
        """Return the days on which `exchange` is closed (None) or open at hours of their own.

        Needs no token, save for the special sessions of the next weekend (Upstox docs, Market
        Holidays and Market Timings). What is `known` already stays where nothing can be had.
        """
        entries = self._call("GET", _HOLIDAYS, token).get("data")
        if not isinstance(entries, list):
            raise TemporaryFailure("Upstox's reply holds no list of holidays.", "Try again later.")
        days = calendar.days_of_holidays(entries, exchange, today)
        if not entries:  # no year is without holidays
            days = calendar.weekdays_of(known, today)
        for day in calendar.weekend_days(today):
            if day not in days:
                session = self._special_session(exchange, day, token, known.get(day))
                days |= {} if session is None else {day: session}
        return calendar.nearest(days)

    def log_out(self, token: Secret) -> None:
        """End the token (Upstox docs, Logout); one that is dead already is no error.

        The 401 of this endpoint is not the usual envelope, so its status decides; with the code of
        the static-IP gate the token lives on.
        """
        reply = self._transport.send(self._bearer("DELETE", _LOGOUT, token))
        error = error_for(Call.BEARER, reply, self._clock())
        is_dead = isinstance(error, TokenRejected) or reply.status == 401
        if error is not None and (isinstance(error, CallNotAllowed) or not is_dead):
            raise error

    def _special_session(
        self, exchange: str, day: date, token: Secret | None, known: Session | None
    ) -> Session | None:
        """Return the session of a Saturday or Sunday; what is `known` if it cannot be asked for."""
        if token is None:
            return known
        try:
            timings = self._call("GET", f"{_TIMINGS}/{day}", token).get("data")
        except TokenError:
            return known
        return calendar.session_of_timings(timings, exchange, day)

    def _call(
        self, method: str, path: str, token: Secret | None, kind: Call = Call.BEARER
    ) -> dict[str, Any]:
        if token is None:
            request = Request(method, self._settings.api_url + path)
        else:
            request = self._bearer(method, path, token)
        return self._content(kind, self._transport.send(request))

    def _bearer(self, method: str, path: str, token: Secret) -> Request:
        if not token.is_well_formed:
            raise TokenRejected(
                "Token is expired or invalid: it holds a character that no token has.",
                "Copy it again, or log in: python init_tokens.py",
            )
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        return Request(method, self._settings.api_url + path, headers)

    def _content(self, call: Call, reply: Reply) -> dict[str, Any]:
        error = error_for(call, reply, self._clock())
        if error is not None:
            raise error
        return read_json(reply) or {}
