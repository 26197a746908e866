"""Upstox departs from RFC 6749 like this: its documents know no refresh grant and no `expires_in`,
every token dies at 03:30 IST, the token reply adds the account, errors are codes in `errors[]`, and
the client's secret travels in the form. The refresh grant is here by the standard all the same, for
whoever is given a refresh token. Beside the standard stands approval on the phone: JSON instead of
a form, and the token comes to a notifier, not in the reply.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from broker_tokens.brokers import ApprovalReply, OutcomeUnknown, UselessReply
from broker_tokens.brokers.upstox_calls import UpstoxCalls
from broker_tokens.brokers.upstox_errors import Call, is_plain_no
from broker_tokens.brokers.upstox_fields import (
    address_in,
    instant_in,
    refresh_token_in_fragment,
    seconds_in,
    token_in,
    user_id_in,
)
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.expiry import expiry_of, next_cut
from broker_tokens.http_message import BrokenOff, Reply, Request
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret

_AUTHORIZE = "/v2/login/authorization/dialog"
_TOKEN = "/v2/login/authorization/token"  # noqa: S105 -- a path
_APPROVAL = "/v3/login/auth/token/request"


class Upstox(UpstoxCalls):
    """Upstox's login, and by inheritance the calls that its tokens are for."""

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

    def _require_credentials(self) -> None:
        if not self._settings.has_credentials:
            raise ConfigurationError(
                "Client ID/Secret not found.",
                "Set UPSTOX_CLIENT_ID and UPSTOX_CLIENT_SECRET in .env, from your app at"
                " https://account.upstox.com/developer/apps",
            )

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
