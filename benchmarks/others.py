"""What a user would pick instead: the same question put to libraries for other brokers and clouds.

Each is asked for a token that it holds already and that lives.
"""

import datetime as dt
import logging
import threading
from collections.abc import Callable


def calls() -> dict[str, Callable[[], object]]:
    """Return the calls by name."""
    return {
        "google-auth: credentials.valid": _google(),
        "botocore: RefreshableCredentials": _botocore(),
        "msal: acquire_token_silent": _msal(),
        "schwabdev: update_tokens": _schwabdev(),
    }


def _google() -> Callable[[], object]:
    from google.oauth2.credentials import Credentials

    hour = dt.timedelta(hours=1)
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    credentials = Credentials("token", expiry=now + hour)
    assert credentials.valid
    return lambda: credentials.valid and credentials.token


def _botocore() -> Callable[[], object]:
    from botocore.credentials import RefreshableCredentials

    expiry = dt.datetime.now(dt.UTC) + dt.timedelta(hours=9)
    credentials = RefreshableCredentials(
        "key", "secret", "token", expiry, refresh_using=dict, method="test"
    )
    return lambda: credentials.token


def _msal() -> Callable[[], object]:
    import msal

    cache = msal.TokenCache()
    app = msal.PublicClientApplication(
        "client",
        token_cache=cache,
        instance_discovery=False,
        authority="https://login.microsoftonline.com/common",
        oidc_authority=None,
        http_client=_NoNetwork(),
    )
    cache.add(
        {
            "client_id": "client",
            "scope": ["s"],
            "token_endpoint": "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            "response": {
                "access_token": "token",
                "expires_in": 36_000,
                "token_type": "Bearer",
                "client_info": "eyJ1aWQiOiAidSIsICJ1dGlkIjogInQifQ",
                "id_token_claims": {"sub": "u", "oid": "u", "preferred_username": "u"},
            },
        }
    )
    account = app.get_accounts()[0]
    found = app.acquire_token_silent(["s"], account)
    assert found["access_token"] == "token"
    return lambda: app.acquire_token_silent(["s"], account)


class _NoNetwork:
    """Answers what msal asks while it is set up."""

    def get(self, _: str, **__: object) -> object:
        body = (
            '{"authorization_endpoint": "https://login.microsoftonline.com/common/a",'
            ' "token_endpoint": "https://login.microsoftonline.com/common/oauth2/v2.0/token",'
            ' "issuer": "https://login.microsoftonline.com/common/v2.0"}'
        )
        return type("Reply", (), {"status_code": 200, "text": body, "headers": {}})()

    post = get

    def close(self) -> None:
        """Do nothing."""


def _schwabdev() -> Callable[[], object]:
    from schwabdev.tokens import Tokens

    tokens = Tokens.__new__(Tokens)  # its constructor wants a person at the keyboard
    now = dt.datetime.now(dt.UTC)
    tokens._access_token_issued = tokens._refresh_token_issued = now
    tokens._access_token_timeout, tokens._refresh_token_timeout = 36_000, 7 * 86_400
    tokens._logger, tokens._lock = logging.getLogger("schwabdev"), threading.RLock()
    tokens.access_token = "token"
    tokens._conn = None
    tokens.update_tokens()
    return lambda: tokens.update_tokens() or tokens.access_token
