"""How Upstox's tokens look and when they die: HS256 JWTs that end at the next 03:30 IST."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from broker_tokens.clock import next_occurrence

# Every normal token dies at this IST time, whenever it was made (Upstox docs, Get Token).
DAY_END = time(3, 30)

# An extended token lives one year (Upstox docs, announcement on extended tokens).
EXTENDED_LIFE = timedelta(days=365)

HEADER = {"typ": "JWT", "key_id": "sk_v1.0", "alg": "HS256"}
ISSUER = "udapi-gateway-service"


def expiry_after(minted: datetime) -> datetime:
    """Return the first 03:30 IST strictly after minting.

    The very second 03:30:00 is undocumented; here it counts to the new day.
    """
    return next_occurrence(minted, DAY_END)


@dataclass(frozen=True)
class Mint:
    """The makers of token strings: signed with a key of its own, or opaque hex on request."""

    opaque: bool = False
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def access_token(self, user_id: str, minted: datetime, expires: datetime) -> str:
        """Return a new access token."""
        return self._token(claims(user_id, minted, expires))

    def extended_token(self, user_id: str, minted: datetime) -> str:
        """Return a new extended token; that it is a JWT with `isExtended` is undocumented."""
        extended = claims(user_id, minted, minted + EXTENDED_LIFE) | {"isExtended": True}
        return self._token(extended)

    def _token(self, content: Mapping[str, object]) -> str:
        return secrets.token_hex(32) if self.opaque else sign(content, self.key)


def claims(user_id: str, minted: datetime, expires: datetime) -> dict[str, object]:
    """Return the claims seen in published tokens, `iat` and `exp` in epoch seconds."""
    return {
        "sub": user_id,
        "jti": secrets.token_hex(12),
        "isMultiClient": False,
        "isPlusPlan": False,
        "iat": int(minted.timestamp()),
        "iss": ISSUER,
        "exp": int(expires.timestamp()),
    }


def sign(content: Mapping[str, object], key: bytes) -> str:
    """Return the claims as a compact HS256 JWT (RFC 7515, section 3.1)."""
    signed = b".".join(_base64url(_compact(part)) for part in (HEADER, content))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return (signed + b"." + _base64url(digest)).decode("ascii")


def _compact(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
