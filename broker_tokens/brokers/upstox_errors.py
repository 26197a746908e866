"""Upstox's errors, told apart by their code, not by the HTTP status.

Codes and meanings: Upstox docs, Error Codes and the page of each endpoint. Which HTTP status comes
with which code is mostly undocumented, so the status decides only where there is no code.
"""

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from broker_tokens.brokers import CallNotAllowed
from broker_tokens.errors import (
    ConfigurationError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.transport import Reply


class Call(Enum):
    """The kinds of endpoint; the same code can mean different things at each."""

    CODE = auto()
    REFRESH = auto()
    BEARER = auto()


_DEAD_TOKEN = {"UDAPI100050"}
_BAD_CODE = {"UDAPI100057", "UDAPI1022"}
_ACCOUNT = {"UDAPI100058"}
_IP_GATE = {"UDAPI1221", "UDAPI1154"}
_TOKEN_CLASS = {"UDAPI100067", "UDAPI1149"}
_RATE_LIMIT = {"UDAPI10005", "UDAPI100099"}
_TRANSIENT = {"UDAPI100500", "UDAPI100072", "UDAPI100074"}
_OUR_FAULT = {
    *("UDAPI10000", "UDAPI100060", "UDAPI100036", "UDAPI100038", "UDAPI100015"),
    *("UDAPI1009", "UDAPI1011", "UDAPI1087", "UDAPI100043"),
}
_CREDENTIALS = {
    "UDAPI100016": "invalid credentials",
    "UDAPI100068": "the client ID or redirect URI is wrong",
    "UDAPI100069": "the client ID or client secret is wrong",
    "UDAPI100070": "the redirect URI is not the one registered for the app",
    "UDAPI100073": "the client ID is inactive",
    "UDAPI1017": "the client ID is missing",
    "UDAPI1018": "the redirect URI is missing",
    "UDAPI1023": "the grant type is missing",
    "UDAPI1024": "the client secret is missing",
    "UDAPI1155": "the app is under review or rejected",
    "UDAPI1157": "the app has expired",
}

# What a refresh-shaped form lacks in Upstox's eyes: its token endpoint knows no refresh grant.
_NO_REFRESH_GRANT = {"UDAPI1018", "UDAPI1022", "UDAPI1023", "UDAPI100057", "UDAPI100070"}

# RFC 6749 section 5.2, for a server that answers by the standard.
_STANDARD_CREDENTIALS = {"invalid_client"}
_STANDARD_REFUSALS = {
    *("invalid_grant", "unauthorized_client", "unsupported_grant_type"),
    *("invalid_request", "invalid_scope"),
}

_LOG_IN = "Log in again: python init_tokens.py"
_NEW_LOGIN = "Start the login again from its first step: python init_tokens.py"
_LATER = "It is tried again later by itself."


def error_for(call: Call, reply: Reply, now: datetime) -> TokenError | None:
    """Return the error that a reply stands for, or None if it is a success."""
    body = read_json(reply)
    codes, standard = _codes(body)
    if 200 <= reply.status < 300 and not codes and not standard:
        return None if body is not None else _not_json(reply)
    return (
        _by_code(call, codes, reply, now)
        or _by_standard_error(call, standard)
        or _by_status(call, reply, now, is_json=body is not None)
    )


def read_json(reply: Reply) -> dict[str, Any] | None:
    """Return the reply's JSON object, or None if it is not one."""
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _codes(body: dict[str, Any] | None) -> tuple[set[str], str]:
    """Return Upstox's codes, in either spelling, and RFC 6749's `error`."""
    if body is None:
        return set(), ""
    errors = body.get("errors")
    entries = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    found = {e.get("error_code") or e.get("errorCode") for e in (*entries, body)}
    standard = body.get("error")
    return {c for c in found if isinstance(c, str)}, standard if isinstance(standard, str) else ""


def _by_code(call: Call, codes: set[str], reply: Reply, now: datetime) -> TokenError | None:
    known = _wherever_it_comes(codes, reply, now)
    if known is not None or not codes:
        return known
    if call is Call.BEARER:
        return _at_a_bearer_call(codes)
    if call is Call.REFRESH and codes & _NO_REFRESH_GRANT:
        return _grant_refused(_name(codes & _NO_REFRESH_GRANT))
    if codes & _BAD_CODE:
        return _code_refused(_name(codes & _BAD_CODE))
    for code in sorted(codes & _CREDENTIALS.keys()):
        return _credentials_refused(f"{_CREDENTIALS[code]} ({code})")
    return None


def _wherever_it_comes(codes: set[str], reply: Reply, now: datetime) -> TokenError | None:
    if codes & _RATE_LIMIT or reply.status == 429:
        return _rate_limited(reply, now)
    if codes & _TRANSIENT:
        return TemporaryFailure(f"Upstox has trouble of its own ({_name(codes)}).", _LATER)
    if codes & _ACCOUNT:
        return TokenRejected(
            f"The Upstox account has no active segment ({_name(codes)}).",
            "Reactivate the account in the Upstox app, then log in again.",
        )
    if codes & _OUR_FAULT:
        return TokenError(
            f"Upstox does not understand our request ({_name(codes)}).",
            "This is a defect of this program or a change at Upstox; please report the code.",
        )
    return None


def _at_a_bearer_call(codes: set[str]) -> TokenError | None:
    name = _name(codes)
    if codes & _DEAD_TOKEN:
        return TokenRejected(f"Token is expired or invalid: Upstox refuses it ({name}).", _LOG_IN)
    if codes & _IP_GATE:
        return CallNotAllowed(
            f"403 Forbidden: this call is allowed only from the registered static IP ({name});"
            " the token itself is fine.",
            "Run it from that machine, or register this one's address at Upstox.",
        )
    if codes & _TOKEN_CLASS:
        return CallNotAllowed(
            f"403 Forbidden: this token is of the wrong class for the call ({name}).",
            "Log in for a normal access token: python init_tokens.py",
        )
    return None


def _by_standard_error(call: Call, standard: str) -> TokenError | None:
    if standard in _STANDARD_CREDENTIALS:
        return _credentials_refused(f"the client ID or client secret is wrong ({standard})")
    if standard in _STANDARD_REFUSALS:
        refused = _grant_refused if call is Call.REFRESH else _code_refused
        return refused(standard)
    return None


def _by_status(call: Call, reply: Reply, now: datetime, *, is_json: bool) -> TokenError:
    if reply.status == 429:
        return _rate_limited(reply, now)
    if not is_json and _is_cloudflare(reply):
        return TemporaryFailure(
            f"{_status_words(reply.status)} blocked by Cloudflare, which guards Upstox.",
            "Try again later, over IPv4, or from another network; the token is kept.",
        )
    if reply.status == 401 and call is not Call.BEARER:
        return _credentials_refused("401 Unauthorized")
    if 300 <= reply.status < 400:
        return TemporaryFailure(
            f"Upstox redirects the request (HTTP {reply.status}), which is not followed.",
            "Check UPSTOX_API_URL and any proxy in between.",
        )
    if reply.status in (401, 403) or reply.status >= 500:
        return TemporaryFailure(
            f"{_status_words(reply.status)} Upstox gave no reason that we know.", _LATER
        )
    return (
        _not_json(reply)
        if not is_json
        else TemporaryFailure(
            f"Upstox answered HTTP {reply.status} with an error that we do not know.", _LATER
        )
    )


def _status_words(status: int) -> str:
    words = {401: "401 Unauthorized:", 403: "403 Forbidden:", 503: "503 Service Unavailable:"}
    return words.get(status, f"HTTP {status}:")


def _not_json(reply: Reply) -> TokenError:
    what = "an empty reply" if not reply.body.strip() else "a reply that is not JSON"
    return TemporaryFailure(
        f"Upstox sent {what} (HTTP {reply.status}).",
        "Check UPSTOX_API_URL and any proxy in between; it is tried again later by itself.",
    )


def _is_cloudflare(reply: Reply) -> bool:
    return "cf-ray" in reply.headers or b"cloudflare" in reply.body[:20_000].lower()


def _rate_limited(reply: Reply, now: datetime) -> TemporaryFailure:
    return TemporaryFailure(
        "Upstox's rate limit is reached (429 Too Many Requests).",
        "Look for another program that uses this app's key; it is tried again later by itself.",
        retry_after=_retry_after(reply.headers.get("retry-after", ""), now),
    )


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the header's wait: seconds or a date (RFC 9110 section 10.2.3), None if unreadable."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 86_400))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(timedelta(0), (at if at.tzinfo else at.replace(tzinfo=UTC)) - now)


def _credentials_refused(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Upstox refuses the app's credentials: {reason}.",
        "Compare UPSTOX_CLIENT_ID, UPSTOX_CLIENT_SECRET and UPSTOX_REDIRECT_URI with the app at"
        " https://account.upstox.com/developer/apps",
    )


def _code_refused(reason: str) -> TokenRejected:
    return TokenRejected(f"The code is wrong, used or too old ({reason}).", _NEW_LOGIN)


def _grant_refused(reason: str) -> TokenRejected:
    return TokenRejected(
        f"Upstox refuses to renew with the refresh token ({reason}); it will not be sent again.",
        _LOG_IN,
    )


def _name(codes: set[str]) -> str:
    return ", ".join(sorted(codes))
