"""Looks at a `.env` that need no files: what they would hold is given by hand."""

import base64
import json
from datetime import datetime

from support.house import ist

from broker_tokens.errors import ConfigurationError
from broker_tokens.look import Look, take_look
from broker_tokens.model import State, StoredTokens
from broker_tokens.secrets import Secret
from broker_tokens.settings import load_settings
from broker_tokens.store import Snapshot

NOW = ist("2026-11-20 12:00")
CUT = ist("2026-11-21 03:30")
OPAQUE = Secret("opaque-token")
REFRESH = Secret("refresh-token")
APP = {"UPSTOX_CLIENT_ID": "i", "UPSTOX_CLIENT_SECRET": "s"}


def jwt(expires_at: datetime, **claims: object) -> Secret:
    """Return a token that tells when it ends, and whatever else."""
    content = json.dumps({"exp": int(expires_at.timestamp()), **claims}).encode()
    return Secret(f"h.{base64.urlsafe_b64encode(content).decode()}.s")


class SilentBroker:
    """Offers a login address; nothing else is asked of it here."""

    def __init__(self, has_app: bool = True) -> None:
        self._has_app = has_app

    def authorization_url(self, state: str | None = None) -> str:
        if not self._has_app:
            raise ConfigurationError("Client ID/Secret not found.")
        return "https://login.example"


def look_at(
    now: datetime = NOW,
    token: Secret | None = OPAQUE,
    expires_at: datetime | None = CUT,
    refresh_token: Secret | None = None,
    state: State | None = None,
    user_id: str | None = None,
    is_listening: bool = False,
    **values: str,
) -> Look:
    """Return a look at files that hold this; `values` are other keys of the `.env`."""
    tokens = StoredTokens(token, expires_at, refresh_token, user_id)
    if state is None:
        state = State(written={token.fingerprint: expires_at} if token and expires_at else {})

    def configure(found):
        settings = load_settings(found, {})
        return settings, SilentBroker(settings.has_credentials)

    return take_look(
        Snapshot({**APP, **values}, tokens, state), configure, now, is_listening=is_listening
    )
