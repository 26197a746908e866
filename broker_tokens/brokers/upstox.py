"""Upstox departs from RFC 6749 like this: its documents know no refresh grant and no `expires_in`,
every token dies at 03:30 IST, the token reply adds the account, errors are codes in `errors[]`, and
the client's secret travels in the form. The refresh grant is here by the standard all the same, for
whoever is given a refresh token.
"""

import math
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from broker_tokens.brokers import CallNotAllowed, UselessReply
from broker_tokens.brokers.upstox_errors import Call, error_for, read_json
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenRejected
from broker_tokens.expiry import expiry_of, subject_claim
from broker_tokens.http_message import Request
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings
from broker_tokens.transport import Transport

_AUTHORIZE = "/v2/login/authorization/dialog"
_TOKEN = "/v2/login/authorization/token"  # noqa: S105 -- a path
_PROFILE = "/v2/user/profile"
_LOGOUT = "/v2/logout"
_LAST_PRICE = "/v3/market-quote/ltp"
_NIFTY_50 = "NSE_INDEX|Nifty 50"

# A token is a header's value; web servers refuse headers beyond 8 KB.
_LONGEST_TOKEN = 8_000

# Known ones have 6 characters; an id is shown to people and stored, so it is not just any text.
_USER_ID = re.compile(r"[A-Za-z0-9]{1,64}")


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
                price = _number(each.get("last_price"))
                if price is not None:
                    return price
        raise TemporaryFailure("Upstox's reply holds no price of the NIFTY 50.", "Try again later.")

    def user_id(self, token: Secret) -> str:
        """Return the account's id: from the profile, or the JWT where the profile is gated."""
        try:
            data = self._call("GET", _PROFILE, token).get("data")
        except CallNotAllowed:
            claimed = _user_id(subject_claim(token))
            if claimed is None:
                raise
            return claimed
        found = _user_id(data.get("user_id")) if isinstance(data, dict) else None
        if found is None:
            raise TemporaryFailure("Upstox's profile reply names no user.", "Try again later.")
        return found

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

    def _require_credentials(self) -> None:
        if not self._settings.has_credentials:
            raise ConfigurationError(
                "Client ID/Secret not found.",
                "Set UPSTOX_CLIENT_ID and UPSTOX_CLIENT_SECRET in .env, from your app at"
                " https://account.upstox.com/developer/apps",
            )

    def _call(self, method: str, path: str, token: Secret) -> dict[str, Any]:
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
        body = self._send(call, Request("POST", url, form=form, may_be_cut=False))
        return self._read_token_reply(body)

    def _send(self, call: Call, request: Request) -> dict[str, Any]:
        reply = self._transport.send(request)
        error = error_for(call, reply, self._clock())
        if error is not None:
            raise error
        return read_json(reply) or {}

    def _read_token_reply(self, body: dict[str, Any]) -> TokenReply:
        """Check a reply offline; one without a usable token still hands over its refresh token."""
        now = self._clock()
        refresh_token = _token(body.get("refresh_token"))
        access_token = _token(body.get("access_token"))
        if access_token is None:
            raise UselessReply(
                "Upstox's reply holds no access token.",
                "Log in again: python init_tokens.py",
                refresh_token=refresh_token,
            )
        expires_at = expiry_of(access_token, now, _seconds(body.get("expires_in")))
        if expires_at <= now:
            raise UselessReply(
                "Upstox sent a token that is expired already.",
                "Check this machine's clock, then try again.",
                refresh_token=refresh_token,
            )
        return TokenReply(
            access_token=access_token,
            expires_at=expires_at,
            user_id=_user_id(body.get("user_id")),
            refresh_token=refresh_token,
            extended_token=_token(body.get("extended_token")),
        )


def _token(value: object) -> Secret | None:
    """Return a reply's token, or None if it is absent or none that a header could carry."""
    if not isinstance(value, str) or len(value) > _LONGEST_TOKEN:
        return None
    token = Secret(value)
    return token if token.is_well_formed else None


def _user_id(value: object) -> str | None:
    return value if isinstance(value, str) and _USER_ID.fullmatch(value) else None


def _seconds(value: object) -> timedelta | None:
    number = _number(value)
    return timedelta(seconds=number) if number is not None and 0 < number < 1e9 else None


def _number(value: object) -> float | None:
    """Return a JSON number that is one: Python's parser also takes NaN and endless integers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _encoded(query: dict[str, str]) -> str:
    """Return a query with blanks as %20, as Upstox's examples have them."""
    return urlencode(query, quote_via=quote)
