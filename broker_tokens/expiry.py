"""When a token dies: its own `exp` if it is a JWT, else the next 03:30 IST after it was issued.

Every normal Upstox token dies at 03:30 IST, whenever it was made (Upstox docs, Get Token). The docs
call tokens opaque, so claims are a hint: they are decoded, not verified; the broker is the judge.
"""

import base64
import json
from datetime import UTC, datetime, time, timedelta

from broker_tokens.clock import next_occurrence
from broker_tokens.secrets import Secret

CUT = time(3, 30)

# A JWT of Upstox has about 400 characters; beyond this it is not one.
_LONGEST_JWT = 16_384

# 3000-01-01: a larger `exp` is in milliseconds or nonsense, and no hint at all.
_LATEST_EPOCH = 32_503_680_000


# `expires_in` is in whole seconds and counts from before the reply arrived: two ends that differ by
# less than this are the same end.
SAME_END = timedelta(minutes=1)


def next_cut(after: datetime) -> datetime:
    """Return the first 03:30 IST strictly after `after` (aware)."""
    return next_occurrence(after, CUT)


def is_same_day(one: datetime, other: datetime) -> bool:
    """Whether the broker counts both instants (aware) to one day, from 03:30 to 03:30 IST."""
    return next_cut(one) == next_cut(other)


def expiry_of(token: Secret, issued_at: datetime, expires_in: timedelta | None = None) -> datetime:
    """Return the aware instant at which `token`, issued at `issued_at` (aware), dies.

    `expires_in` (RFC 6749 section 5.1) may shorten the life, never lengthen it.
    """
    dies = expiry_claim(token) or next_cut(issued_at)
    if expires_in is None or expires_in > dies - issued_at - SAME_END:
        return dies
    return issued_at + expires_in


def expiry_claim(token: Secret) -> datetime | None:
    """Return the JWT's `exp` as an aware instant, or None if the token does not tell."""
    return _instant(_claims(token).get("exp"))


def issue_claim(token: Secret) -> datetime | None:
    """Return the JWT's `iat` as an aware instant, or None if the token does not tell."""
    return _instant(_claims(token).get("iat"))


def subject_claim(token: Secret) -> str | None:
    """Return the JWT's `sub`, the Upstox user id, or None if the token does not tell."""
    subject = _claims(token).get("sub")
    return subject if isinstance(subject, str) and subject else None


def is_read_only(token: Secret) -> bool:
    """Whether a JWT looks like a read-only one of a year (Upstox docs, Analytics Token); a hint.

    It says so, or it lives beyond the 03:30 at which every normal token ends.
    """
    claims = _claims(token)
    issued_at, dies = _instant(claims.get("iat")), _instant(claims.get("exp"))
    is_long = issued_at is not None and dies is not None and dies > next_cut(issued_at)
    return claims.get("isExtended") is True or is_long


def _instant(epoch: object) -> datetime | None:
    if isinstance(epoch, bool) or not isinstance(epoch, int | float):
        return None
    return datetime.fromtimestamp(epoch, UTC) if 0 < epoch < _LATEST_EPOCH else None


def _claims(token: Secret) -> dict[str, object]:
    """Return the claims of a JWT (RFC 7519), or nothing for a token that is not one."""
    parts = token.reveal().split(".")
    if len(parts) != 3 or len(parts[1]) > _LONGEST_JWT:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
