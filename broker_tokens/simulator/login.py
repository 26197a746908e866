"""The login endpoints: the dialog with automatic consent, and the token endpoint.

Upstox documents the authorization code grant alone; the refresh grants are RFC 6749, section 6.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote, urlencode

from broker_tokens.clock import Clock
from broker_tokens.simulator.ledger import Family, Ledger
from broker_tokens.simulator.wire import RefusalError, Request, Response, json_response

# RFC 6749, section 5.2; what Upstox would answer is undocumented.
REFRESH_REFUSED_STATUS = 400

# What servers that forgive a repeated request allow for it by default: 10 s to a minute.
GRACE_PERIOD = timedelta(seconds=30)

# A grant type that nobody knows, with every field filled: undocumented.
UNKNOWN_GRANT_CODE = "UDAPI10000"


class RefreshGrant(StrEnum):
    """What the token endpoint makes of `grant_type=refresh_token`."""

    OFF = "off"  # as Upstox documents it: there is none
    ON = "on"  # one refresh token a login, good until it is revoked
    ROTATING = "rotating"  # each use brings the next one; a replay ends the whole family
    GRACE = "grace"  # as rotating, but the token just spent is taken for a few seconds more


@dataclass(frozen=True)
class App:
    """The registered app, as the developer page shows it."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


class LoginEndpoints:
    """The rules of both endpoints; the caller holds the lock."""

    def __init__(self, clock: Clock, app: App, ledger: Ledger, refresh: RefreshGrant) -> None:
        self._clock = clock
        self._app = app
        self._ledger = ledger
        self._refresh = refresh

    def dialog(self, request: Request, user_id: str) -> Response:
        """Consent at once and redirect with a code (Upstox docs, Authorize)."""
        query = request.query
        # Only this one is declared as required by the OpenAPI document of the dialog.
        require(query, "redirect_uri", "UDAPI1018")
        expected = (self._app.client_id, self._app.redirect_uri, "code")
        names = ("client_id", "redirect_uri", "response_type")
        if tuple(query.get(name) for name in names) != expected:
            raise RefusalError("UDAPI100068")
        answer = {"code": self._ledger.issue_code(user_id)}
        if "state" in query:
            answer["state"] = query["state"]
        return Response(302, {"Location": with_query(self._app.redirect_uri, answer)})

    def token(self, request: Request) -> Response:
        """Exchange a code or a refresh token (Upstox docs, Get Token)."""
        form = request.form()
        # First of all: a code is single use whether or not the exchange succeeds.
        user_id = self._ledger.spend_code(form.get("code", ""))
        self._check_credentials(form)
        require(form, "grant_type", "UDAPI1023")
        if form["grant_type"] == "refresh_token" and self._refresh is not RefreshGrant.OFF:
            return self._renew(form)
        require(form, "code", "UDAPI1022")
        require(form, "redirect_uri", "UDAPI1018")
        if form["grant_type"] != "authorization_code":
            raise RefusalError(UNKNOWN_GRANT_CODE, "grant_type")
        return self._exchange(form, user_id)

    def _check_credentials(self, form: Mapping[str, str]) -> None:
        """Refuse wrong credentials before grant type and code are looked at (Upstox SDK tests)."""
        require(form, "client_id", "UDAPI1017")
        require(form, "client_secret", "UDAPI1024")
        if not (
            same(form["client_id"], self._app.client_id)
            and same(form["client_secret"], self._app.client_secret)
        ):
            raise RefusalError("UDAPI100069")

    def _exchange(self, form: Mapping[str, str], user_id: str | None) -> Response:
        if form["redirect_uri"] != self._app.redirect_uri:
            raise RefusalError("UDAPI100070", "redirect_uri")
        if user_id is None:
            raise RefusalError("UDAPI100057", "code")
        family = None
        if self._refresh is not RefreshGrant.OFF:
            family = self._ledger.open_family(user_id)
        renew = form.get("refresh_extended_token", "").lower() == "true"
        extended = self._ledger.extended_token(user_id, renew=renew)
        return json_response(
            profile_of(user_id)
            | self._access_fields(user_id, family)
            | {"extended_token": extended}
        )

    def _renew(self, form: Mapping[str, str]) -> Response:
        """Answer a refresh grant; a spent refresh token ends its family (RFC 9700, 4.14.2)."""
        presented = form.get("refresh_token", "")
        if not presented:
            raise RefusalError("UDAPI100036", "refresh_token", extra={"error": "invalid_request"})
        family = self._ledger.family(presented)
        if family is None or family.revoked:
            raise refused_grant()
        if presented != family.current and not self._is_forgiven(presented, family):
            self._ledger.revoke_family(family)
            raise refused_grant()
        if self._refresh is not RefreshGrant.ON:
            self._ledger.rotate(family, presented)
        return json_response(
            profile_of(family.user_id) | self._access_fields(family.user_id, family)
        )

    def _is_forgiven(self, presented: str, family: Family) -> bool:
        return (
            self._refresh is RefreshGrant.GRACE
            and presented == family.spent
            and family.spent_at is not None
            and self._clock() <= family.spent_at + GRACE_PERIOD
        )

    def _access_fields(self, user_id: str, family: Family | None) -> dict[str, object]:
        """Mint, and return the token fields; those of RFC 6749 only where a refresh grant is."""
        token = self._ledger.issue_access(user_id, family)
        if family is None:
            return {"access_token": token}
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self._seconds_left(token, self._clock()),
            "refresh_token": family.current,
        }

    def _seconds_left(self, access_token: str, now: datetime) -> int:
        holding = self._ledger.holding(access_token)
        return int((holding.expires_at - now).total_seconds()) if holding else 0


def refused_grant() -> RefusalError:
    """Return the refusal of a refresh token: Upstox's envelope with RFC 6749's `error` on top."""
    return RefusalError(
        "UDAPI100057",
        "refresh_token",
        status=REFRESH_REFUSED_STATUS,
        extra={"error": "invalid_grant"},
    )


def require(fields: Mapping[str, str], name: str, code: str) -> None:
    """Refuse a missing or empty field with its own error code."""
    if not fields.get(name):
        raise RefusalError(code, name)


def same(given: str, expected: str) -> bool:
    """Compare two strings in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def with_query(address: str, fields: Mapping[str, str]) -> str:
    """Return the address with percent-encoded fields added to its query."""
    return f"{address}{'&' if '?' in address else '?'}{urlencode(fields, quote_via=quote)}"


def profile_of(user_id: str) -> dict[str, object]:
    """Return a user's profile, every field of the documented reply (Upstox docs, Get Profile)."""
    return {
        "email": f"{user_id.lower()}@example.com",
        "exchanges": ["NSE", "NFO", "CDS", "BSE", "BFO", "BCD", "MCX"],
        "products": ["I", "D", "CO", "OCO", "MTF"],
        "broker": "UPSTOX",
        "user_id": user_id,
        "user_name": f"Simulated {user_id}",
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "user_type": "individual",
        "poa": False,
        "ddpi": False,
        "is_active": True,
    }
