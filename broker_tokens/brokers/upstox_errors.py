"""Upstox's errors, told apart by their code, not by the HTTP status.

Which HTTP status comes with which code is mostly undocumented, so the status decides only where
there is no code.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from broker_tokens.brokers import ApprovalNotOffered, CallNotAllowed
from broker_tokens.brokers import upstox_codes as codes_of
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenError, TokenRejected
from broker_tokens.http_message import Reply


class Call(Enum):
    """The kinds of endpoint; the same code can mean different things at each."""

    CODE = auto()
    REFRESH = auto()
    APPROVAL = auto()
    BEARER = auto()
    FEED = auto()


# RFC 6749 governs these alone.
_TOKEN_REQUESTS = {Call.CODE, Call.REFRESH}

# Nothing else of a reply's text reaches a message: it may be anything, our own secrets included.
_CODE = re.compile(r"UDAPI\d{1,9}")

# With these Cloudflare itself refuses; with others the page is of the server behind it. Its header
# is on every reply of Upstox, and its errors are JSON, text or HTML (Cloudflare docs, 1xxx errors).
_REFUSALS_OF_CLOUDFLARE = {403, 429, 503}
_CLOUDFLARE_ERROR = re.compile(rb"cloudflare|error code: 1\d{3}", re.IGNORECASE)

_LONGEST_WAIT = timedelta(days=1)

# RFC 6749 section 5.2, for a server that answers by the standard.
_STANDARD_REFUSALS = {
    *("invalid_grant", "unauthorized_client", "unsupported_grant_type"),
    *("invalid_request", "invalid_scope"),
}

_LOG_IN = "Log in again: python init_tokens.py"
_NEW_LOGIN = "Start the login again from its first step: python init_tokens.py"
_LATER = "Try again later; a running service does so by itself."


def error_for(call: Call, reply: Reply, now: datetime) -> TokenError | None:
    """Return the error that a reply stands for, or None if it is a success."""
    body = read_json(reply)
    codes, standard = _codes(body)
    is_error = codes or standard or (body is not None and body.get("status") == "error")
    if 200 <= reply.status < 300 and not is_error:
        return None if body is not None else _not_json(reply)
    if not codes and _is_cloudflare(reply, body):
        return TemporaryFailure(
            f"{_status_words(reply.status)} blocked by Cloudflare, which guards Upstox.",
            "Try again later, over IPv4, or from another network; the token is kept.",
            retry_after=_retry_after(reply, now),
        )
    return (
        _by_code(call, codes, reply, now)
        or _by_standard_error(call, standard, reply)
        or _by_status(call, reply, body, codes, _retry_after(reply, now))
    )


def is_plain_no(reply: Reply) -> bool:
    """Whether an error reply says for sure that nothing was done.

    A gateway that gave up waiting, a page instead of an answer and "something went wrong" do not.
    503 does: whoever answers it has not passed the request on (RFC 9110, section 15.6.4).
    """
    codes, _ = _codes(read_json(reply))
    is_coded_no = bool(codes) and not codes & codes_of.TRANSIENT
    return is_coded_no or 300 <= reply.status < 500 or reply.status == 503


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
    entries = [body, *(errors if isinstance(errors, list) else [errors])]
    found = [
        entry.get(spelling)
        for entry in entries
        if isinstance(entry, dict)
        for spelling in ("error_code", "errorCode")
    ]
    standard = body.get("error")
    return (
        {code for code in found if isinstance(code, str) and _CODE.fullmatch(code)},
        standard if isinstance(standard, str) else "",
    )


def _by_code(call: Call, codes: set[str], reply: Reply, now: datetime) -> TokenError | None:
    known = _wherever_it_comes(codes, reply, now)
    if known is not None or not codes:
        return known
    if call in (Call.BEARER, Call.FEED):
        return _at_a_bearer_call(codes)
    if call is Call.APPROVAL:
        return _at_an_approval(codes)
    refused, by_what = (
        (_grant_refused, codes & codes_of.NO_REFRESH_GRANT)
        if call is Call.REFRESH
        else (_code_refused, codes & codes_of.BAD_CODE)
    )
    return refused(_name(by_what)) if by_what else _by_credentials(codes)


def _by_credentials(codes: set[str]) -> ConfigurationError | None:
    code = min(codes & codes_of.CREDENTIALS.keys(), default=None)
    if code is not None:
        return _credentials_refused(f"{codes_of.CREDENTIALS[code]} ({code})")
    return _by_app(codes, ConfigurationError)


def _by_app(codes: set[str], kind: type[ConfigurationError]) -> ConfigurationError | None:
    code = min(codes & codes_of.APP.keys(), default=None)
    if code is None:
        return None
    what, remedy = codes_of.APP[code]
    return kind(f"{what} ({code}).", remedy)


def _wherever_it_comes(codes: set[str], reply: Reply, now: datetime) -> TokenError | None:
    if codes & codes_of.RATE_LIMIT or reply.status == 429:
        return _rate_limited(reply, now)
    if codes & codes_of.TRANSIENT:
        cause = f"Upstox has trouble of its own ({_name(codes & codes_of.TRANSIENT)})."
        return TemporaryFailure(cause, _LATER, retry_after=_retry_after(reply, now))
    if codes & codes_of.ACCOUNT:
        cause = f"The Upstox account has no active segment ({_name(codes & codes_of.ACCOUNT)})."
        return TokenRejected(cause, "Reactivate it in the Upstox app, then log in again.")
    if codes & codes_of.OUR_FAULT:
        return TokenError(
            f"Upstox does not understand our request ({_name(codes & codes_of.OUR_FAULT)}).",
            "This is a defect of this program or a change at Upstox; please report the code.",
        )
    return _not_allowed(codes)


def _not_allowed(codes: set[str]) -> CallNotAllowed | None:
    if codes & codes_of.IP_GATE:
        return CallNotAllowed(
            "403 Forbidden: this call is allowed only from the registered static IP"
            f" ({_name(codes & codes_of.IP_GATE)}); the token itself is fine.",
            "Run it from that machine, or register this one's address at Upstox.",
        )
    if codes & codes_of.TOKEN_CLASS:
        return CallNotAllowed(
            "403 Forbidden: this token is of the wrong class for the call"
            f" ({_name(codes & codes_of.TOKEN_CLASS)}).",
            "Log in for a normal access token: python init_tokens.py",
        )
    if codes & codes_of.PLAN:
        return CallNotAllowed(
            "403 Forbidden: this call needs Upstox Plus"
            f" ({_name(codes & codes_of.PLAN)}); the token itself is fine.",
            "Subscribe to that plan at Upstox, or do without this call.",
        )
    return None


def _at_a_bearer_call(codes: set[str]) -> TokenError | None:
    if codes & codes_of.DEAD_TOKEN:
        name = _name(codes & codes_of.DEAD_TOKEN)
        return TokenRejected(f"Token is expired or invalid: Upstox refuses it ({name}).", _LOG_IN)
    return _by_credentials(codes - codes_of.UNCLEAR)


def _at_an_approval(codes: set[str]) -> ConfigurationError | None:
    """Judge the milder way where there are two: wrong credentials would end every way at once."""
    not_offered = _by_app(codes, ApprovalNotOffered)
    return not_offered or _by_credentials(codes - codes_of.NOT_IN_AN_APPROVAL)


def _by_standard_error(call: Call, standard: str, reply: Reply) -> TokenError | None:
    """Judge by RFC 6749's word: it is about token requests, and no verdict of a failing server."""
    if call not in _TOKEN_REQUESTS or reply.status >= 500:
        return None
    if standard == "invalid_client":
        return _credentials_refused(f"the client ID or client secret is wrong ({standard})")
    if standard == "unauthorized_client" and call is Call.CODE:
        return _credentials_refused(f"the app may not log in this way ({standard})")
    if standard in _STANDARD_REFUSALS:
        return (_grant_refused if call is Call.REFRESH else _code_refused)(standard)
    return None


def _by_status(
    call: Call,
    reply: Reply,
    body: dict[str, Any] | None,
    codes: set[str],
    wait: timedelta | None,
) -> TokenError:
    status = reply.status
    which = f" ({_name(codes)})" if codes else ""
    # RFC 6749 section 5.2 keeps 401 for credentials; a page of a proxy or gate is not Upstox's, and
    # with a code that we do not know it may mean anything.
    if status == 401 and call in _TOKEN_REQUESTS and body is not None and not codes:
        return _credentials_refused("401 Unauthorized")
    if 300 <= status < 400:
        return TemporaryFailure(
            f"Upstox redirects the request (HTTP {status}), which is not followed.",
            "Check UPSTOX_API_URL and any proxy in between.",
        )
    if status == 403 and call is Call.FEED and body is not None:
        return _feed_refused(which)
    if status in (401, 403) or status >= 500:
        cause = f"{_status_words(status)} Upstox gave no reason that we know{which}."
        return TemporaryFailure(cause, _LATER, retry_after=wait)
    if body is None:
        return _not_json(reply)
    return TemporaryFailure(
        f"Upstox answered HTTP {status} with an error that we do not know{which}.", _LATER
    )


def _status_words(status: int) -> str:
    words = {401: "401 Unauthorized:", 403: "403 Forbidden:", 503: "503 Service Unavailable:"}
    return words.get(status, f"HTTP {status}:")


def _not_json(reply: Reply) -> TokenError:
    what = "an empty reply" if not reply.body.strip() else "a reply that is not JSON"
    return TemporaryFailure(
        f"Upstox sent {what} (HTTP {reply.status}).",
        "Check UPSTOX_API_URL and any proxy in between, and try again later.",
    )


def _is_cloudflare(reply: Reply, body: dict[str, Any] | None) -> bool:
    """Whether the reply is Cloudflare's own, not Upstox's passed on."""
    if reply.status not in _REFUSALS_OF_CLOUDFLARE:
        return False
    if body is not None:
        return body.get("cloudflare_error") is True
    return (
        "cf-ray" in reply.headers
        or reply.headers.get("server") == "cloudflare"
        or _CLOUDFLARE_ERROR.search(reply.body[:20_000]) is not None
    )


def _rate_limited(reply: Reply, now: datetime) -> TemporaryFailure:
    return TemporaryFailure(
        "Upstox's rate limit is reached (429 Too Many Requests).",
        "Look for another program that uses this app's key, and try again later.",
        retry_after=_retry_after(reply, now),
    )


def _retry_after(reply: Reply, now: datetime) -> timedelta | None:
    """Return the header's wait: seconds or a date (RFC 9110 section 10.2.3), None if unreadable."""
    text = reply.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        # The cap comes first: Python refuses to convert thousands of digits.
        digits = text.lstrip("0") or "0"
        return _LONGEST_WAIT if len(digits) > 5 else min(_LONGEST_WAIT, timedelta(0, int(digits)))
    try:
        at = parsedate_to_datetime(text)
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(_LONGEST_WAIT, max(timedelta(0), wait))


def _credentials_refused(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Upstox refuses the app's credentials: {reason}.",
        "Compare UPSTOX_CLIENT_ID, UPSTOX_CLIENT_SECRET and UPSTOX_REDIRECT_URI with the app at"
        f" {codes_of.APPS}",
    )


def _feed_refused(which: str) -> CallNotAllowed:
    """Read a 403 as field reports do: too many sockets, or not in the plan; the token lives."""
    return CallNotAllowed(
        f"403 Forbidden: Upstox refuses the market feed to this token{which}.",
        "Close other programs that hold a feed of this account, look up what your plan includes,"
        " or log in for a normal access token: python init_tokens.py",
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
