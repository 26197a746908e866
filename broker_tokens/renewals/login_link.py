"""The `state` of a login link that the service sends out (RFC 6749 section 10.12).

It is signed, not stored: each link carries its own end, survives a restart, and none has to be
remembered but those that were used. The key is the notifier's secret, which only this `.env` holds.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from broker_tokens.errors import TokenRejected
from broker_tokens.secrets import Secret

START_AGAIN = "Open the newest link, or start the login again: python init_tokens.py"

_NONCE_BYTES = 12
_LONGEST = 128


def new_state(key: Secret, expires_at: datetime) -> str:
    """Return a fresh state that counts until `expires_at` (aware)."""
    content = f"{int(expires_at.timestamp()):x}.{secrets.token_urlsafe(_NONCE_BYTES)}"
    return f"{content}.{_signature(key, content)}"


def is_link_state(key: Secret, state: str) -> bool:
    """Whether this state was made with `key`, by whatever process, and however old it is."""
    if len(state) > _LONGEST or not state.isascii():
        return False
    content, _, signature = state.rpartition(".")
    return hmac.compare_digest(signature, _signature(key, content))


def check_state(key: Secret, state: str, now: datetime, used: tuple[str, ...]) -> None:
    """Return if `state` is of one of our links, in time, and not among the `used` fingerprints.

    Raises TokenRejected.
    """
    if not is_link_state(key, state):
        raise TokenRejected("This answer belongs to another login.", START_AGAIN)
    expires_at = datetime.fromtimestamp(int(state.partition(".")[0], 16), UTC)
    if now >= expires_at:
        raise TokenRejected("This login link is too old.", START_AGAIN)
    if Secret(state).fingerprint in used:
        raise TokenRejected("This login link was used before, and it works only once.", START_AGAIN)


def _signature(key: Secret, content: str) -> str:
    message = f"login link\0{content}".encode()
    return hmac.new(key.reveal().encode(), message, hashlib.sha256).hexdigest()[:40]
