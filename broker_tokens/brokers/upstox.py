"""Upstox departs from RFC 6749 like this: its documents know no refresh grant and no `expires_in`,
every token dies at 03:30 IST, the token reply adds the account, errors are codes in `errors[]`, and
the client's secret travels in the form. The refresh grant is here by the standard all the same, for
whoever is given a refresh token. Beside the standard stands approval on the phone: JSON instead of
a form, and the token comes to a notifier, not in the reply.
"""

from collections.abc import Mapping
from datetime import date
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from broker_tokens.brokers import ApprovalReply, CallNotAllowed, OutcomeUnknown, UselessReply
from broker_tokens.brokers import upstox_calendar as calendar
from broker_tokens.brokers.upstox_errors import Call, error_for, is_plain_no, read_json
from broker_tokens.brokers.upstox_fields import (
    address_in,
    instant_in,
    number_in,
    refresh_token_in_fragment,
    seconds_in,
    token_in,
    user_id_in,
)
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.expiry import expiry_of, next_cut, subject_claim
from broker_tokens.http_message import BrokenOff, Reply, Request
from broker_tokens.model import Session, TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings
from broker_tokens.transport import Transport

_AUTHORIZE = "/v2/login/authorization/dialog"
_TOKEN = "/v2/login/authorization/token"  # noqa: S105 -- a path
_PROFILE = "/v2/user/profile"
_LOGOUT = "/v2/logout"
_LAST_PRICE = "/v3/market-quote/ltp"
_APPROVAL = "/v3/login/auth/token/request"
_HOLIDAYS = "/v2/market/holidays"
_TIMINGS = "/v2/market/timings"
_NIFTY_50 = "NSE_INDEX|Nifty 50"


class Upstox:
    """Upstox's login and the calls that tell whether a token lives."""

    def __init__(self, settings: Settings, transport: Transport, clock: Clock) -> None:
        self._settings = settings
        self._transport = transport
        self._clock = clock

    def authorization_url(self, state: str | None = None) -> str:
        """Return the address of the login dialog (Upstox docs, Authorize)."""
        self._require_credentials()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
        }
        if state is not None:
            query["state"] = state
        return f"{self._settings.api_url}{_AUTHORIZE}?{_encoded(query)}"

    def exchange_code(self, code: Secret) -> TokenReply:
        """Spend an authorization code, which is used up whatever comes (Upstox docs, Get Token).

        Raises TokenRejected for a bad code, ConfigurationError for bad credentials,
        TemporaryFailure for anything unclear.
        """
        return self._request_token(
            Call.CODE,
            {
                "code": code.reveal(),
                "redirect_uri": self._settings.redirect_uri,
                "grant_type": "authorization_code",
            },
        )

    def refresh(self, refresh_token: Secret) -> TokenReply:
        """Renew by RFC 6749 section 6; raises as `exchange_code` does."""
        return self._request_token(
            Call.REFRESH,
            {"refresh_token": refresh_token.reveal(), "grant_type": "refresh_token"},
        )

    def request_approval(self) -> ApprovalReply:
        """Have Upstox ask the person on the phone (Upstox docs, Access Token Request).

        Raises ApprovalNotOffered if this app or account cannot be asked, ConfigurationError for bad
        credentials, TemporaryFailure if nothing was asked; OutcomeUnknown if no reply came, or one
        of which a gateway can say nothing else after Upstox has acted. The phone might ring twice.
        """
        self._require_credentials()
        client_id = quote(self._settings.client_id, safe="", errors="surrogateescape")
        url = f"{self._settings.api_url}{_APPROVAL}/{client_id}"
        body = {"client_secret": self._settings.client_secret.reveal()}
        try:
            reply = self._transport.send(Request("POST", url, json=body, may_be_cut=False))
        except TemporaryFailure as error:
            if not error.request_sent:
                raise
            raise _approval_lost(error) from None
        try:
            content = self._content(Call.APPROVAL, reply)
        except TemporaryFailure as error:
            if is_plain_no(reply):
                raise
            raise _approval_lost(error) from None
        return self._read_approval(content.get("data"))

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
        path = f"{_LAST_PRICE}?{_encoded({'instrument_key': _NIFTY_50})}"
        quotes = self._call("GET", path, token).get("data")
        for each in quotes.values() if isinstance(quotes, dict) else ():
            if isinstance(each, dict) and each.get("instrument_token") == _NIFTY_50:
                price = number_in(each.get("last_price"))
                if price is not None:
                    return price
        raise TemporaryFailure("Upstox's reply holds no price of the NIFTY 50.", "Try again later.")

    def user_id(self, token: Secret) -> str:
        """Return the account's id: from the profile, or the JWT where the profile is gated."""
        try:
            data = self._call("GET", _PROFILE, token).get("data")
        except CallNotAllowed:
            claimed = user_id_in(subject_claim(token))
            if claimed is None:
                raise
            return claimed
        found = user_id_in(data.get("user_id")) if isinstance(data, dict) else None
        if found is None:
            raise TemporaryFailure("Upstox's profile reply names no user.", "Try again later.")
        return found

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

    def _require_credentials(self) -> None:
        if not self._settings.has_credentials:
            raise ConfigurationError(
                "Client ID/Secret not found.",
                "Set UPSTOX_CLIENT_ID and UPSTOX_CLIENT_SECRET in .env, from your app at"
                " https://account.upstox.com/developer/apps",
            )

    def _call(self, method: str, path: str, token: Secret | None) -> dict[str, Any]:
        if token is None:
            return self._send(Call.BEARER, Request(method, self._settings.api_url + path))
        return self._send(Call.BEARER, self._bearer(method, path, token))

    def _bearer(self, method: str, path: str, token: Secret) -> Request:
        if not token.is_well_formed:
            raise TokenRejected(
                "Token is expired or invalid: it holds a character that no token has.",
                "Copy it again, or log in: python init_tokens.py",
            )
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        return Request(method, self._settings.api_url + path, headers)

    def _request_token(self, call: Call, form: dict[str, str]) -> TokenReply:
        self._require_credentials()
        form = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret.reveal(),
            **form,
        }
        url = self._settings.api_url + _TOKEN
        request = Request("POST", url, form=form, may_be_cut=False)
        try:
            reply = self._transport.send(request)
        except BrokenOff as error:
            raise _salvaged(error, error.reply) from None
        try:
            body = self._content(call, reply)
        except TemporaryFailure as error:
            raise _salvaged(error, reply) from None
        return self._read_token_reply(body)

    def _send(self, call: Call, request: Request) -> dict[str, Any]:
        return self._content(call, self._transport.send(request))

    def _content(self, call: Call, reply: Reply) -> dict[str, Any]:
        error = error_for(call, reply, self._clock())
        if error is not None:
            raise error
        return read_json(reply) or {}

    def _read_approval(self, data: object) -> ApprovalReply:
        """Read what was granted; a request lives until the next 03:30 IST at the longest."""
        now = self._clock()
        cut = next_cut(now)
        fields = data if isinstance(data, dict) else {}
        told = instant_in(fields.get("authorization_expiry"))
        expires_at = told if told is not None and now < told < cut else cut
        return ApprovalReply(expires_at, address_in(fields.get("notifier_url")) or "")

    def _read_token_reply(self, body: dict[str, Any]) -> TokenReply:
        """Check a reply offline; one without a usable token still hands over its refresh token."""
        now = self._clock()
        refresh_token = token_in(body.get("refresh_token"))
        access_token = token_in(body.get("access_token"))
        if access_token is None:
            raise UselessReply(
                "Upstox's reply holds no access token that can be kept.",
                "Log in again: python init_tokens.py",
                refresh_token=refresh_token,
            )
        expires_at = expiry_of(access_token, now, seconds_in(body.get("expires_in")))
        if expires_at <= now:
            raise UselessReply(
                "Upstox sent a token that is expired already.",
                "Check this machine's clock, then try again.",
                refresh_token=refresh_token,
            )
        return TokenReply(
            access_token=access_token,
            expires_at=expires_at,
            user_id=user_id_in(body.get("user_id")),
            refresh_token=refresh_token,
            extended_token=token_in(body.get("extended_token")),
        )


def _salvaged(error: TemporaryFailure, reply: Reply) -> TemporaryFailure:
    """Return the error; if half a reply holds the next refresh token, one that carries it."""
    found = refresh_token_in_fragment(reply.body) if reply.status == HTTPStatus.OK else None
    if found is None:
        return error
    return UselessReply(error.cause, error.advice, refresh_token=found)


def _approval_lost(error: TemporaryFailure) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"Upstox's answer to the request for approval was lost: {error.cause}",
        "Look at the phone; if nothing is asked there, log in: python init_tokens.py",
    )


def _encoded(query: dict[str, str]) -> str:
    """Return a query with blanks as %20, as Upstox's examples have them."""
    return urlencode(query, quote_via=quote)
