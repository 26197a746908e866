"""Our client before an OAuth 2.0 server that this project did not write (oidc-provider)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from integration.oauth_server.fixture import (
    fingerprint,
    require_server,
    running_server,
    token_requests,
)
from integration.oauth_server.person import log_in

from broker_tokens.app import build_service
from broker_tokens.errors import TokenRejected
from upstox_token_manager import UpstoxTokenManager

CLIENT_ID = "a-client"
CLIENT_SECRET = "its-secret&more=50%"
REDIRECT_URI = "http://localhost:3000/callback"
RENEWALS = 20


@pytest.fixture(scope="module")
def server():
    require_server()
    with running_server(CLIENT_ID, CLIENT_SECRET, REDIRECT_URI) as url:
        yield url


@pytest.fixture
def env_file(server, tmp_path):
    """A `.env` that leads to the server, after a login."""
    path = tmp_path / ".env"
    path.write_text(
        f"UPSTOX_API_URL={server}\nUPSTOX_CLIENT_ID={CLIENT_ID}\n"
        f"UPSTOX_CLIENT_SECRET={CLIENT_SECRET}\nUPSTOX_REDIRECT_URI={REDIRECT_URI}\n"
        "access_token=\n",
        encoding="utf-8",
    )
    manager = UpstoxTokenManager(path, environ={})
    manager.get_access_token_from_code(log_in(manager.get_authorization_url("a state")))
    return path


def test_login_and_twenty_renewals(server, env_file):
    """Twenty renewals in a row: none lost, and no refresh token presented twice."""
    before = len(token_requests(server))
    manager = UpstoxTokenManager(env_file, environ={})
    service = build_service(str(env_file), environ={})
    held = [manager.refresh_token]
    access_tokens = {manager.get_current_token()}
    for _ in range(RENEWALS):
        access_tokens.add(service.renew().access_token.reveal())
        held.append(manager.refresh_token)
    seen = token_requests(server)[before:]

    assert len(access_tokens) == len(set(held)) == RENEWALS + 1
    assert {request["status"] for request in seen} == {200}
    assert [request["refresh_token_sha256"] for request in seen] == [
        fingerprint(token) for token in held[:-1]
    ]
    assert manager.get_current_token() == service.current_token().reveal()


def test_renewals_by_many_at_once(server, env_file):
    """Several programs that renew at the same time spend each refresh token once."""
    before = len(token_requests(server))

    def renew(_):
        return UpstoxTokenManager(env_file, environ={}).refresh_access_token()

    with ThreadPoolExecutor(5) as pool:
        tokens = list(pool.map(renew, range(10)))
    seen = token_requests(server)[before:]
    presented = [request["refresh_token_sha256"] for request in seen]

    assert len(set(tokens)) == len(presented) == len(set(presented)) == 10
    assert {request["status"] for request in seen} == {200}


def test_a_refused_refresh_token_is_final(server, env_file):
    """A refresh token that the server refuses is not presented again by the service."""
    manager = UpstoxTokenManager(env_file, environ={})
    spent = manager.refresh_token
    manager.refresh_access_token()
    text = env_file.read_text(encoding="utf-8")
    text = text.replace(f"={manager.refresh_token}", f"={spent}")
    env_file.write_text(text.replace(manager.access_token, ""), encoding="utf-8")
    before = len(token_requests(server))
    service = build_service(str(env_file), environ={})
    errors = [service.tick().error for _ in range(3)]
    seen = token_requests(server)[before:]

    assert isinstance(errors[0], TokenRejected)
    assert errors[1:] == [None, None]
    assert [(request["status"], request["error"]) for request in seen] == [(400, "invalid_grant")]
