"""Upstox departs from RFC 6749 like this: its documents know no refresh grant and no `expires_in`,
every token dies at 03:30 IST, the token reply adds the account, errors are codes in `errors[]`, and
the client's secret travels in the form. The refresh grant is here by the standard all the same, for
whoever is given a refresh token.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from broker_tokens.brokers import CallNotAllowed, UselessReply
from broker_tokens.brokers.upstox_errors import Call, error_for, read_json
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.expiry import expiry_of, subject_claim
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings
from broker_tokens.transport import Request, Transport

_AUTHORIZE = "/v2/login/authorization/dialog"
_TOKEN = "/v2/login/authorization/token"  # noqa: S105 -- a path
_PROFILE = "/v2/user/profile"
_LOGOUT = "/v2/logout"
_LAST_PRICE = "/v3/market-quote/ltp"
_NIFTY_50 = "NSE_INDEX|Nifty 50"

# A token is a header's value; web servers refuse headers beyond 8 KB.
_LONGEST_TOKEN = 8_000


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
        return f"{self._settings.api_url}{_AUTHORIZE}?{urlencode(query)}"

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
        path = f"{_LAST_PRICE}?{urlencode({'instrument_key': _NIFTY_50})}"
        quotes = self._call("GET", path, token).get("data")
        for quote in quotes.values() if isinstance(quotes, dict) else ():
            if isinstance(quote, dict) and quote.get("instrument_token") == _NIFTY_50:
                price = quote.get("last_price")
                if isinstance(price, int | float):
                    return float(price)
        raise TemporaryFailure(
            "Upstox's reply holds no price of the NIFTY 50.", "It is tried again later by itself."
        )

    def user_id(self, token: Secret) -> str:
        """Return the account's id: from the profile, or the JWT where the profile is gated."""
        try:
            data = self._call("GET", _PROFILE, token).get("data")
        except CallNotAllowed:
            claimed = subject_claim(token)
            if claimed is None:
                raise
            return claimed
        found = data.get("user_id") if isinstance(data, dict) else None
        if not isinstance(found, str) or not found:
            raise TemporaryFailure(
                "Upstox's profile reply names no user.", "It is tried again later by itself."
            )
        return found

    def log_out(self, token: Secret) -> None:
        """End the token (Upstox docs, Logout); one that is dead already is no error.

        The 401 of this endpoint is not the usual envelope, so here the status decides.
        """
        reply = self._transport.send(self._bearer("DELETE", _LOGOUT, token))
        error = error_for(Call.BEARER, reply, self._clock())
        if error is not None and reply.status != 401:
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
        user_id = body.get("user_id")
        return TokenReply(
            access_token=access_token,
            expires_at=expires_at,
            user_id=user_id if isinstance(user_id, str) and user_id else None,
            refresh_token=refresh_token,
            extended_token=_token(body.get("extended_token")),
        )


def _token(value: object) -> Secret | None:
    """Return a reply's token, or None if it is absent or none that a header could carry."""
    if not isinstance(value, str) or len(value) > _LONGEST_TOKEN:
        return None
    token = Secret(value)
    return token if token.is_well_formed else None


def _seconds(value: object) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return None
    return timedelta(seconds=value)
