"""Fields of Upstox's replies, read with suspicion: each is what it should be, or None."""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from broker_tokens.env_text import is_safe_value
from broker_tokens.secrets import Secret
from broker_tokens.setting_values import LOOPBACK_HOSTS

# A token is a header's value; web servers refuse headers beyond 8 KB.
_LONGEST_TOKEN = 8_000

# A whole one, to its closing quote; what stands in tokens needs no escape.
_REFRESH_TOKEN = re.compile(rb'"refresh_token"\s*:\s*"([!#-\[\]-~]{1,8000})"')

# Known ones have 6 characters; an id is shown to people and stored, so it is not just any text.
_USER_ID = re.compile(r"[A-Za-z0-9]{1,64}")

# Browsers and proxies take no longer address.
_ADDRESS = re.compile(r"(?:https?|wss?)://[!-~]{1,2000}", re.IGNORECASE)

# Python refuses to convert thousands of digits; an epoch in milliseconds has 13.
_DIGITS = re.compile(r"[0-9]{1,15}")

# 3000-01-01, in milliseconds: a larger one is nonsense.
_LATEST_EPOCH = 32_503_680_000_000


def token_in(value: object) -> Secret | None:
    """Return a token that a header can carry and `.env` can hold."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TOKEN:
        return None
    return Secret(value) if is_safe_value(value) else None


def refresh_token_in_fragment(body: bytes) -> Secret | None:
    """Return the refresh token in what came of a JSON object that broke off after it."""
    found = _REFRESH_TOKEN.findall(body) if body.lstrip().startswith(b"{") else []
    return token_in(found[0].decode()) if len(found) == 1 else None


def user_id_in(value: object) -> str | None:
    """Return an account's id."""
    return value if isinstance(value, str) and _USER_ID.fullmatch(value) else None


def address_in(value: object) -> str | None:
    """Return a web address that can be taken apart."""
    is_one = _scheme_and_host(value)[0] in ("http", "https")
    return value if isinstance(value, str) and is_one else None


def socket_address_in(value: object) -> Secret | None:
    """Return a WebSocket's address, which opens for whoever has it: TLS, loopback aside."""
    scheme, host = _scheme_and_host(value)
    is_safe = scheme == "wss" or (scheme == "ws" and host in LOOPBACK_HOSTS)
    return Secret(value) if isinstance(value, str) and is_safe else None


def http_date_in(value: object) -> datetime | None:
    """Return the instant of a `Date` header (RFC 9110, section 5.6.7), which is always in GMT."""
    if not isinstance(value, str):
        return None
    try:
        date = parsedate_to_datetime(value)
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def seconds_in(value: object) -> timedelta | None:
    """Return a length of time given in seconds."""
    number = number_in(value)
    return timedelta(seconds=number) if number is not None and 0 < number < 1e9 else None


def instant_in(value: object) -> datetime | None:
    """Return an aware instant given as epoch milliseconds: Upstox sends numbers and texts."""
    if isinstance(value, str):
        number = float(value) if _DIGITS.fullmatch(value) else None
    else:
        number = number_in(value)
    if number is None or not 0 < number < _LATEST_EPOCH:
        return None
    return datetime.fromtimestamp(number / 1000, UTC)


def number_in(value: object) -> float | None:
    """Return a JSON number that is one: Python's parser also takes NaN and endless integers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _scheme_and_host(value: object) -> tuple[str, str]:
    """Return the parts of an address that tell what it is; two empty texts if it is none."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        return "", ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return "", ""
    return (parts.scheme, parts.hostname) if parts.hostname else ("", "")
